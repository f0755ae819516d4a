import type { TurnConfig } from "../machine/config.ts"
import { History } from "../machine/history.ts"
import { isAnswerable } from "../machine/transitions.ts"
import type { Turn } from "../machine/turn.ts"
import { wrapProjector } from "../projectors/wrap-projector.ts"
import type { TurnStart } from "../wire/config.ts"
import type { AnswerableEffect, Effect } from "../wire/effect.ts"
import { jsonText } from "./difference.ts"
import { requireEqualTexts, requireThat } from "./laws.ts"
import { describeInput, give, type TestedMachine, type TestedMachineClass, type TurnInput, type Verdict } from "./turn-input.ts"
import { type DriverCall, watchDriver } from "./watched-driver.ts"

/** The turn under test: what it is made from, and the class of the machine. */
export interface Subject {
  readonly machine: TestedMachineClass
  readonly config: TurnConfig
  readonly start: TurnStart
}

/** An input, or one single poll. */
export type StepInput = { readonly type: "poll_once" } | Exclude<TurnInput, { type: "poll" }>

/** The state of a turn between two steps. */
export interface Standing {
  /** JSON text of the checkpoint. */
  readonly checkpoint: string
  /** The outstanding effect, and its JSON text. */
  readonly outstanding: AnswerableEffect | undefined
  readonly outstandingText: string | undefined
  /** Whether the host has polled the outstanding effect. */
  readonly taken: boolean
  /** The number of calls to the driver so far. */
  readonly driverCallCount: number
  /** Whether the turn has ended. */
  readonly done: boolean
}

/** One step of a turn: the input, its verdict, and the state before and after. */
export interface TraceStep {
  readonly where: string
  readonly input: StepInput
  /** The verdict on an input. Absent for a poll. */
  readonly verdict: Verdict | undefined
  /** The effect that a poll returned, and its JSON text at that time. */
  readonly effect: Effect | undefined
  readonly effectText: string | undefined
  readonly before: Standing
  readonly after: Standing
}

/** A model call that a turn started. */
export interface TracedCall {
  readonly where: string
  readonly id: number
  /** The turn that waits for the call. */
  readonly turn: Turn
  /** JSON text of the request. */
  readonly requestText: string
}

/** A turn that was run once, step by step. */
export interface Trace {
  readonly machine: TestedMachine
  readonly begin: Standing
  readonly steps: readonly TraceStep[]
  readonly driverCalls: readonly DriverCall[]
  readonly modelCalls: readonly TracedCall[]
  /** Whether the driver used the projector of the config. */
  readonly projects: boolean
}

/** What the laws of effects look at. It may begin in the middle of a turn, after it was polled until nothing was left. */
export type EffectTrace = Pick<Trace, "machine" | "begin" | "steps">

/**
 * Runs a turn through its inputs, with a checkpoint after every step.
 * @throws {LawError} `inputs`, where an input gets another verdict than expected; `values`, where an old turn changed
 */
export function traceTurn(subject: Subject, inputs: readonly TurnInput[], mostPolls: number): Trace {
  const driverCalls: DriverCall[] = []
  let projects = false
  const config = withProjector(subject.config, () => {
    projects = true
  })
  const machine = newMachine({ ...subject, config }, (call) => driverCalls.push(call))
  const steps: TraceStep[] = []
  const modelCalls: TracedCall[] = []
  const oldTurns: { readonly where: string; readonly turn: Turn; readonly text: string }[] = []
  const taken = new Set<number>()

  const standing = (): Standing => {
    const { outstanding } = machine
    return {
      checkpoint: checkpointText(machine),
      outstanding,
      outstandingText: jsonText(outstanding),
      taken: outstanding !== undefined && taken.has(outstanding.id),
      driverCallCount: driverCalls.length,
      done: machine.done,
    }
  }
  const begin = standing()
  let before = begin
  const step = (where: string, input: StepInput): TraceStep => {
    oldTurns.push({ where, turn: machine.turn, text: turnText(machine.turn) })
    const effect = input.type === "poll_once" ? machine.poll() : undefined
    const verdict = input.type === "poll_once" ? undefined : give(machine, input)
    if (isAnswerable(effect)) taken.add(effect.id)
    const done = { where, input, verdict, effect, effectText: jsonText(effect), before, after: standing() }
    steps.push(done)
    const { outstanding } = done.after
    if (outstanding?.type === "llm_call" && outstanding.id !== before.outstanding?.id)
      modelCalls.push({ where, id: outstanding.id, turn: machine.turn, requestText: JSON.stringify(outstanding.request) })
    before = done.after
    return done
  }

  inputs.forEach((input, index) => {
    const where = `input ${index} (${describeInput(input)})`
    if (input.type === "poll") {
      const most = input.most ?? mostPolls
      for (let count = 0; count < most; count += 1) if (step(`${where}, poll ${count}`, { type: "poll_once" }).effect === undefined) return
      requireThat("inputs", where, input.most !== undefined, `${mostPolls} polls, and the turn still returns effects`)
      return
    }
    const { verdict } = step(where, input)
    const expected = ("expect" in input ? input.expect : undefined) ?? "accepted"
    requireThat("inputs", where, verdict === expected, `expected ${expected}, received ${verdict}`)
  })

  for (const { where, turn, text } of oldTurns) requireEqualTexts("values", `the turn before ${where}`, "read again at the end", turnText(turn), text)
  return { machine, begin, steps, driverCalls, modelCalls, projects }
}

/** Makes a machine of the subject's class, whose driver records its calls. */
export function newMachine({ machine, config, start }: Subject, report: (call: DriverCall) => void): TestedMachine {
  return new machine(watchedConfig(config, report), start)
}

/** Restores a machine from a checkpoint's JSON text. */
export function restoredMachine({ machine, config }: Subject, checkpoint: string, report: (call: DriverCall) => void): TestedMachine {
  return machine.restore(watchedConfig(config, report), checkpoint)
}

function watchedConfig(config: TurnConfig, report: (call: DriverCall) => void): TurnConfig {
  return { ...config, driver: watchDriver(config.driver, report) }
}

/** Reports each use of the projector. */
function withProjector(config: TurnConfig, used: () => void): TurnConfig {
  const { projector } = config
  const input = <Given>(given: Given): Given => {
    used()
    return given
  }
  return { ...config, projector: wrapProjector(projector, { input }) }
}

export function checkpointText(machine: TestedMachine): string {
  return jsonText(machine.checkpoint()) as string
}

/** A turn as JSON text, its histories item by item: cached lists of a history would hide later changes. */
export function turnText(turn: Turn): string {
  return JSON.stringify(turn, (_key, value: unknown) => (value instanceof History ? [...value] : value))
}
