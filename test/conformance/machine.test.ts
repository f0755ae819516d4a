import { expect } from "vitest"
import { wireValidation } from "../../src/checks/validation.ts"
import { TurnError } from "../../src/errors.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import { TurnMachine } from "../../src/machine/turn-machine.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TurnConfigData, TurnStart } from "../../src/schemas/config.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { Outcome, TurnEvent } from "../../src/schemas/event.ts"
import type { Json } from "../../src/schemas/json.ts"
import type { Part, Role } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { expectSame, runSuite, type Scenario, withoutOurFields } from "./suite.ts"

type ScenarioConfig = TurnConfigData & { readonly autonomous?: boolean } & {
  readonly turnLimitMessage: { role: Role; part: "error" | "text" | "output" | "code"; text: string }
}

interface MachineScenario extends Scenario {
  readonly config: ScenarioConfig
  readonly start: TurnStart
  readonly calls: readonly { readonly callback: string; readonly sees: Json; readonly actions: readonly DriverAction[] }[]
  readonly steps: readonly { readonly do: Do; readonly ignored?: true; readonly effects: readonly Effect[] }[]
  readonly end: Json
}

type Do =
  | { poll_all: true }
  | { poll: number }
  | { respond: Response }
  | { restore: true | { config: ScenarioConfig } }
  | { save: string }
  | { restore_from: string }
  | { finish: Outcome }
  | { fail: TurnEvent }
  | { apply: readonly DriverAction[] }

runSuite<MachineScenario>("machine", (scenario) => {
  const script = scriptOf(scenario)
  let config = configOf(scenario.config, script.driver)
  let machine = new TurnMachine(config, scenario.start)
  const saved = new Map<string, string>()

  scenario.steps.forEach((step, index) => {
    const action = step.do
    const effects: Effect[] = []
    if ("poll_all" in action) effects.push(...poll(machine, Number.POSITIVE_INFINITY))
    else if ("poll" in action) effects.push(...poll(machine, action.poll))
    else if ("respond" in action) respond(machine, action.respond, step.ignored === true)
    else if ("save" in action) saved.set(action.save, JSON.stringify(machine.checkpoint()))
    else if ("restore_from" in action) machine = TurnMachine.restore(config, saved.get(action.restore_from))
    else if ("finish" in action) machine.finish(action.finish)
    else if ("fail" in action) machine.fail(action.fail)
    else if ("apply" in action) machine.apply(action.apply)
    else {
      if (action.restore !== true) config = configOf(action.restore.config, script.driver)
      machine = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
    }
    script.check()
    expectRestorable(config, machine, `step ${index}`)
    expectSame(withoutOurFields(effects), step.effects, `step ${index} ${JSON.stringify(action).slice(0, 200)}: effects`)
  })

  const { done, state, iteration, messages, events, usage, turnCauses } = machine
  expectSame(withoutOurFields({ done, state, iteration, messages, events, usage, turnCauses }), scenario.end, "end")
  expect(script.unused(), "script entries that were never asked for").toBe(0)
})

/** Checks at every step, in addition to the scenario, that a restored machine saves the same checkpoint again. */
function expectRestorable(config: TurnConfig, machine: TurnMachine, where: string): void {
  const checkpoint = machine.checkpoint()
  const again = TurnMachine.restore(config, JSON.stringify(checkpoint)).checkpoint()
  // Only the outstanding effect moves: it was polled before, and is unpolled again.
  const settled = checkpoint.unpolled.filter((effect) => effect.type !== "outstanding")
  expectSame(
    again.unpolled.filter((effect) => effect.type !== "outstanding"),
    settled,
    `${where}: unpolled effects after a restore`,
  )
  expectSame({ ...again, unpolled: [] }, { ...checkpoint, unpolled: [] }, `${where}: checkpoint after a restore`)
}

function poll(machine: TurnMachine, most: number): readonly Effect[] {
  const effects: Effect[] = []
  while (effects.length < most) {
    const effect = machine.poll()
    if (effect === undefined) break
    effects.push(effect)
  }
  return effects
}

function respond(machine: TurnMachine, response: Response, ignored: boolean): void {
  const before = JSON.stringify(machine.checkpoint())
  let status: string
  try {
    ;({ status } = machine.handle(response))
  } catch (error) {
    if (!ignored || !(error instanceof TurnError)) throw error
    status = error.code
  }
  if (!ignored) expect(status).toBe("accepted")
  else {
    expect(status).not.toBe("accepted")
    expectSame(JSON.parse(before), machine.checkpoint(), "an ignored response changed the turn: it")
  }
}

/** The scenarios carry `autonomous` of the reference, on which nothing acts; this package does not have it. */
function configOf({ turnLimitMessage, autonomous: _, ...data }: ScenarioConfig, driver: ProtocolDriver): TurnConfig {
  const { role, part, text } = turnLimitMessage
  return {
    ...data,
    driver,
    projector: () => {
      throw new Error("Requests in a scenario are data; no projector is called.")
    },
    turnLimitMessage: (id, max) => ({ id, role, parts: [{ id: `${id}.p0`, type: part, text: text.replace("{max}", String(max)) } as Part] }),
    validation: wireValidation,
  }
}

interface Script {
  readonly driver: ProtocolDriver
  /** Throws the first failure of a driver call. */
  readonly check: () => void
  readonly unused: () => number
}

/** A driver that returns the scenario's next entry, and checks that the call and its context match the entry. */
function scriptOf(scenario: MachineScenario): Script {
  let position = 0
  let failure: unknown
  const answer = (callback: string, context: DriverContext, shown: { readonly [key: string]: unknown }): readonly DriverAction[] => {
    const entry = scenario.calls[position]
    const where = `driver call ${position} (${callback})`
    position += 1
    try {
      if (entry === undefined) throw new Error(`${where}: the script has ended`)
      expectSame(callback, entry.callback, where)
      const { iteration, messages, events, turnCauses } = context
      const turnCauseIds = turnCauses.map((cause) => cause.id)
      expectSame({ iteration, messageCount: messages.length, eventCount: events.length, turnCauseIds, ...shown }, entry.sees, where)
      return entry.actions
    } catch (error) {
      failure ??= error // a turn continues when its driver throws; the scenario must not
      throw error
    }
  }
  const driver: ProtocolDriver = {
    name: "scripted",
    version: 1,
    prepareIteration: (context) => answer("prepareIteration", context, {}),
    onLlmComplete: (context, waiting, response, textStreamed) =>
      answer("llmComplete", context, {
        terminalReason: response.terminalReason,
        textStreamed: textStreamed || undefined,
        driverState: waiting.driverState,
      }),
    onToolResults: (context, results) => answer("toolResults", context, { callIds: results.map((result) => result.callId) }),
    onExecResult: (context, waiting) => answer("execResult", context, { driverState: waiting.driverState }),
  }
  const check = (): void => {
    if (failure !== undefined) throw failure
  }
  return { driver, check, unused: () => scenario.calls.length - position }
}
