/** What budgets do to the model calls of a turn: which calls count, which are free, which carry a warning. */
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { wrapDriver } from "../../../src/drivers/wrap-driver.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import type { LlmRequest } from "../../../src/schemas/llm.ts"
import { replies, ThreadHost, type ThreadHostOptions } from "./thread-host.ts"

type Answer = ReturnType<typeof replies>

/** Calls a tool until the call `last`, and answers then. */
function looksUntil(last: number): (calls: number) => Answer {
  return (calls) => (calls < last ? replies("", "look") : replies("Done."))
}

/** Runs a turn of the user. Returns the thread, and whether each request carried the warning. */
function turnWith(
  model: (calls: number) => Answer,
  tokenBudget: number,
  options: ThreadHostOptions = {},
): { readonly thread: ThreadHost; readonly warned: readonly boolean[]; readonly caps: readonly (number | undefined)[] } {
  const warned: boolean[] = []
  const caps: (number | undefined)[] = []
  const shown = (calls: number, request: LlmRequest): Answer => {
    warned.push(JSON.stringify(request.messages.slice(-1)).includes("this call alone"))
    caps.push(request.generation.maxOutputTokens)
    return model(calls)
  }
  const thread = new ThreadHost({ model: shown }, options)
  thread.command({ type: "set", objective: "ship", tokenBudget })
  thread.turn("user")
  return { thread, warned, caps }
}

/** A driver that makes a side call before each of its calls, as a compaction does. */
function withSideCalls(): ProtocolDriver {
  const chat = chatDriver()
  return wrapDriver(chat, {
    name: "side(chat)",
    prepareIteration: (next, context) => next(context).map((action) => (action.type === "start_llm" ? { ...action, purpose: "compaction" } : action)),
    onLlmComplete: (next, context, waiting, ...rest) =>
      waiting.outstanding.purpose === undefined ? next(context, waiting, ...rest) : chat.prepareIteration(context),
  })
}

describe("calls after a reached budget", () => {
  const callsMade = (maxCallsAfterBudget: number): readonly [calls: number, outcome: string | undefined] => {
    const { thread } = turnWith(looksUntil(6), 5, { policy: { maxCallsAfterBudget } })
    return [thread.modelCalls, thread.turns[0]?.machine.outcome?.type]
  }

  test("are as many as the policy allows; 0 is no limit", () => {
    expect(callsMade(1)).toEqual([2, "stopped"])
    expect(callsMade(2)).toEqual([3, "stopped"])
    expect(callsMade(0)).toEqual([7, "finished"])
  })

  test("are those that can answer: a side call does not take the place of one", () => {
    // The call that reached the budget and two more, each with a side call before it.
    const { thread } = turnWith((calls) => (calls % 2 === 0 ? replies("A summary.") : replies("", "look")), 15, { inner: withSideCalls() })
    expect(thread.modelCalls).toBe(6)
    expect(thread.turns[0]?.machine.outcome?.type).toBe("stopped")
  })

  test("end the turn with a reason also where a client limited the goal without one", () => {
    const deliveries = {
      get commands() {
        return thread.deliveriesAsked === 1 ? [{ at: thread.at, command: { type: "set", status: "budget_limited" } as const }] : []
      },
    }
    const thread: ThreadHost = new ThreadHost({ model: looksUntil(9) }, { deliveries })
    thread.command({ type: "set", objective: "ship" })
    const { outcome } = thread.turn("user")
    expect(thread.modelCalls).toBe(3)
    expect(outcome).toMatchObject({
      stop: { type: "max_tokens", error: { code: "budget_reached", userMessage: "A budget of the goal is used up." } },
    })
  })
})

describe("a turn that only plans", () => {
  test("is neither warned nor limited nor capped, because it is not charged", () => {
    for (const hardBudget of [false, true]) {
      const driver = { mode: "plan", estimate: () => 1_000 } as const
      const { thread, warned, caps } = turnWith(looksUntil(2), 5, { policy: { hardBudget }, driver })
      expect(thread.turns[0]?.machine.outcome?.type).toBe("finished")
      expect(warned).toEqual([false, false, false])
      expect(caps).toEqual([undefined, undefined, undefined])
      expect(thread.goal).toMatchObject({ status: "active", tokensUsed: 0 })
    }
  })
})

describe("the warning", () => {
  test("is in the next call of the turn itself, not in a side call, whose last message is its instruction", () => {
    const model = (): Answer => replies("Done.")
    expect(turnWith(model, 25, { inner: withSideCalls(), driver: { estimate: () => 30 } }).warned).toEqual([false, true])
  })

  test("is not in a call after the budget was reached: the model reads that it was", () => {
    let estimates = 0
    // The first call is expected to be free, and reaches the budget.
    const estimate = (): number => (estimates++ === 0 ? 0 : 30)
    expect(turnWith(looksUntil(2), 10, { driver: { estimate } }).warned).toEqual([false, false, false])
  })

  test("is a message of the goal in the transcript", () => {
    const { thread } = turnWith(looksUntil(0), 25, { driver: { estimate: () => 30 } })
    const [message] = thread.turns[0]?.machine.messages.filter(({ origin }) => origin?.type === "plugin") ?? []
    expect(message).toMatchObject({ id: "m_0_goal_0", role: "user", origin: { type: "plugin", pluginId: "goal" } })
  })

  test("needs an estimate", () => {
    expect(turnWith(looksUntil(1), 15).warned).toEqual([false, false])
  })
})
