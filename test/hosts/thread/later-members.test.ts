import { expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { goalDriver } from "../../../src/drivers/goal/driver.ts"
import { wrapDriver } from "../../../src/drivers/wrap-driver.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { openTelemetry } from "../../../src/hosts/opentelemetry/index.ts"
import { runThread, Thread } from "../../../src/hosts/thread/index.ts"
import type { DriverContext, ProtocolDriver } from "../../../src/machine/driver.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { CONFIG, START } from "../../replay/support.ts"

const USAGE = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }

/** What a later version of this package may add to a driver's context. */
type LaterContext = DriverContext & { readonly laterFact?: string }

/** Gives the driver inside a context with one member more. */
function withLaterFact(inner: ProtocolDriver): ProtocolDriver {
  return wrapDriver(inner, {
    prepareIteration: (next, context) => next(Object.create(context, { laterFact: { value: "seen" } }) as DriverContext),
  })
}

test("a member that a later version adds to a context reaches the driver inside of a judged goal driver", () => {
  const facts: unknown[] = []
  const driver = wrapDriver(chatDriver(), {
    prepareIteration: (next, context: LaterContext) => {
      facts.push(context.laterFact, context.tools.map(({ name }) => name).includes("get_goal"))
      return next(context)
    },
  })
  const goal = goalDriver(driver, { threadId: "t", turnId: "t.1", startedAt: 0, policy: { endedBy: "judge" } })
  const machine = new TurnMachine({ ...CONFIG, driver: withLaterFact(goal) }, START)
  while (machine.poll() !== undefined);
  expect(facts).toEqual(["seen", true])
})

test("a member that a later version adds to a host reaches the loop of a traced thread", async () => {
  const host: Host & { readonly laterMember: () => string } = {
    llmCall: async () => ({ text: "Done.", parts: [], usage: USAGE, terminalReason: "stop" }),
    laterMember: () => "seen",
  }
  const telemetry = openTelemetry({ provider: "none" })
  const seen: string[] = []
  const thread = await Thread.open(memoryJournalStore(), "t", { config: CONFIG })
  await thread.say("Hello.")
  await runThread(thread, host, {
    runTurn(machine, given, options) {
      for (const each of [given, telemetry.traced(given)]) seen.push((each as typeof host).laterMember())
      return telemetry.runTurn(machine, given, options)
    },
  })
  await thread.close()
  expect(seen).toEqual(["seen", "seen"])
})
