/** What a goal delivers at a checkpoint, and what of a turn's time it does not charge. */
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { goalDeliveries, heldRecord } from "../../../src/drivers/goal/deliveries.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import { changeGoal } from "../../../src/drivers/goal/thread.ts"
import { wrapDriver } from "../../../src/drivers/wrap-driver.ts"
import type { GoalInput } from "../../../src/schemas/goal.ts"
import type { OutputPart } from "../../../src/schemas/llm.ts"
import type { CheckpointDelivery, HistoryRecord, Message } from "../../../src/schemas/message.ts"
import { used } from "./support.ts"
import { replies, TEN, ThreadHost } from "./thread-host.ts"

const SET: GoalInput = { type: "command", at: 1_000, command: { type: "set", objective: "ship", tokenBudget: 10 } }
const STARTS: GoalInput = { type: "turn_started", at: 1_000, turnId: "one", mode: "default", usage: used(0), origin: "user" }

/** The history of a thread after these inputs, one after the other. */
function historyOf(...inputs: readonly GoalInput[]): readonly HistoryRecord[] {
  let history: readonly HistoryRecord[] = []
  for (const input of inputs) history = [...history, ...changeGoal({ threadId: "t1", history }, input).records]
  return history
}

function textsOf({ userMessages = [] }: CheckpointDelivery): readonly string[] {
  return userMessages.map(({ parts }) => JSON.stringify(parts))
}

function edit(objective: string): GoalInput {
  return { type: "command", at: 1_000, turnId: "one", command: { type: "set", objective } }
}

const LIMITED: readonly GoalInput[] = [
  { type: "usage_reported", at: 1_000, turnId: "one", usage: used(12) },
  { type: "tool_finished", at: 1_000, turnId: "one", callId: "c", toolName: "look" },
]

describe("messages of the goal", () => {
  test("where the turn would end are delivered all if the objective changed, and none if only a budget is reached", () => {
    const limited = historyOf(SET, STARTS, ...LIMITED)
    expect(goalDeliveries(limited, "before_completion", 2_000, { threadId: "t1" })).toEqual({})
    const edited = historyOf(SET, STARTS, edit("sink"), ...LIMITED)
    const { userMessages } = goalDeliveries(edited, "before_completion", 2_000, { threadId: "t1" })
    expect(userMessages).toHaveLength(2)
  })

  test("take the place of a continuation", () => {
    const history = historyOf(SET, STARTS, edit("sink"))
    const texts = textsOf(goalDeliveries(history, "before_completion", 2_000, { threadId: "t1", continueInTurn: true }))
    expect(texts).toHaveLength(1)
    expect(texts[0]).toContain("has changed the objective")
  })

  test("are shown in one turn only by the reference's rules", () => {
    const history = historyOf(SET, STARTS, edit("sink"))
    const delivery = goalDeliveries(history, "after_work", 2_000, { threadId: "t1", policy: { compat: "reference" } })
    expect(delivery.transientMessages).toHaveLength(1)
    expect(delivery).not.toHaveProperty("userMessages")
  })

  test("have ids of their own, however many one delivery has", () => {
    const ids: string[] = []
    const commands = (count: number) =>
      Array.from({ length: count }, (_, n) => ({ at: 1_000 + n, command: { type: "set", objective: `${count}-${n}` } as const }))
    const thread: ThreadHost = new ThreadHost(
      { model: (calls) => (calls < 2 ? replies("", "look") : replies("Done.")) },
      {
        deliveries: {
          get commands() {
            return commands([0, 1, 20][thread.deliveriesAsked] ?? 0)
          },
        },
      },
    )
    thread.command({ type: "set", objective: "ship" })
    for (const { origin, id } of thread.turn("user").messages) if (origin?.type === "plugin") ids.push(id)
    expect(ids).toHaveLength(21)
    expect(new Set(ids).size).toBe(21)
  })
})

describe("a continuation within the turn", () => {
  const within = { threadId: "t1", continueInTurn: true } as const

  test("needs an open turn", () => {
    expect(goalDeliveries([], "before_completion", 2_000, within)).toEqual({})
    expect(goalDeliveries(historyOf(SET), "before_completion", 2_000, within)).toEqual({})
  })

  test("does not begin before the account's usage limit ends", () => {
    const failed = { kind: "usage_limit", message: "Too much.", retryAt: 9_000 } as const
    const history = historyOf(
      SET,
      STARTS,
      { type: "turn_failed", at: 1_000, turnId: "one", error: failed },
      { type: "command", at: 1_000, command: { type: "resume" } },
      { ...STARTS, turnId: "two" },
    )
    expect(goalDeliveries(history, "before_completion", 8_999, within)).toEqual({})
    expect(goalDeliveries(history, "before_completion", 9_000, within).userMessages).toHaveLength(1)
  })

  test("shows the goal in full once, and reminds of it then", () => {
    const policy = { maxIdleContinuations: 3 }
    const thread = new ThreadHost({ model: (calls) => replies(`Part ${calls}.`) }, { policy, deliveries: { continueInTurn: true } })
    thread.command({ type: "set", objective: "ship the boat" })
    const shown = thread.turn("user").messages.filter(({ origin }) => origin?.type === "plugin")
    expect(shown.map(({ parts }) => JSON.stringify(parts).includes("ship the boat"))).toEqual([true, false, false])
  })

  test("reports the text of the last answer, wherever it is in the history", () => {
    const open = historyOf(SET, STARTS)
    const message = (role: Message["role"], ...texts: readonly string[]): HistoryRecord => ({
      type: "conversation",
      message: {
        id: "m",
        role,
        parts: texts.map((text, index) => ({ id: `${index}`, type: text.startsWith("(") ? "reasoning" : "text", text })),
      } as Message,
    })
    const said = message("assistant", "Sa", "(thinking)", "me.")
    const textIn = (...history: readonly HistoryRecord[]): string | undefined => {
      const [finished] = goalDeliveries(history, "before_completion", 2_000, within).events ?? []
      return (finished as { readonly input?: { readonly finalText?: string } } | undefined)?.input?.finalText
    }
    expect(textIn(...open, said)).toBe("Same.")
    expect(textIn(said, ...open)).toBe("Same.")
    expect(textIn(...open, said, message("user", "And?"))).toBe("Same.")
    expect(textIn(...open, said, open[0] as HistoryRecord)).toBe("Same.")
    expect(textIn(message("assistant", "First."), ...open, said)).toBe("Same.")
    expect(textIn(...open, message("user", "And?"))).toBe("")
  })

  test("is braked by answers that are the same, also where other records follow them", () => {
    const noted = wrapDriver(chatDriver(), {
      onLlmComplete: (next, ...given) => [...next(...given), { type: "append_events", events: [{ type: "protocol", event: { type: "note" } }] }],
    })
    const part = (type: "text" | "reasoning", text: string): OutputPart => ({ type, text })
    const answers = [
      [part("text", "Stuck.")],
      [part("reasoning", "Hm."), part("text", "Stuck.")],
      [part("reasoning", "Well."), part("text", "Stuck.")],
    ]
    const thread = new ThreadHost(
      {
        model: (calls) => ({ ok: true, response: { text: "Stuck.", parts: answers[calls % 3] as OutputPart[], usage: TEN, terminalReason: "stop" } }),
      },
      {
        inner: noted,
        policy: { maxIdleContinuations: 0, maxRepeatedAnswers: 3, maxContinuations: 9 },
        deliveries: { continueInTurn: true },
      },
    )
    thread.command({ type: "set", objective: "ship" })
    thread.turn("continuation")
    expect(thread.modelCalls).toBe(3)
  })
})

describe("heldRecord", () => {
  const waits = { at: 4_000, heldSince: 2_000, heldMs: 0 }

  test("moves the clock by what the turn waited for people", () => {
    const record = heldRecord(historyOf(SET, STARTS), "t1", waits, 5_000)
    const history = [...historyOf(SET, STARTS), ...(record === undefined ? [] : [record])]
    expect(readGoal(history, "t1")).toMatchObject({ heldMs: 3_000, state: { clock: { markedAt: 4_000 } } })
    expect(heldRecord(history, "t1", waits, 5_000)).toBeUndefined()
  })

  test("is none without an open turn, and where no time is charged", () => {
    expect(heldRecord(historyOf(SET), "t1", waits, 5_000)).toBeUndefined()
    const paused = historyOf(SET, STARTS, { type: "command", at: 1_000, turnId: "one", command: { type: "pause" } })
    expect(heldRecord(paused, "t1", waits, 5_000)).toBeUndefined()
    expect(heldRecord([], "t1", waits, 5_000)).toBeUndefined()
  })
})
