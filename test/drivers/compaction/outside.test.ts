import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { summarizeThrough } from "../../../src/drivers/compaction/outside.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { viewProjector } from "../../../src/projectors/view.ts"
import type { LlmCall } from "../../../src/schemas/effect.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { callsTools, completed, delivers, pollAll, respond, results, says, userMessage } from "../../machine/support.ts"
import { check, SLOW } from "../../properties/check.ts"
import { callIn, compactingConfig, failuresOf, isCompactionRequest, long, recordsOf, started, textOfMessage } from "./support.ts"

/** A turn at the checkpoint after so many batches, with results of so many tokens. */
function afterBatches(count: number, tokens = 100): TurnMachine {
  const machine = started(compactingConfig({ keepTailTokens: 0 }, { maxContextTokens: 10_000 }))
  pollAll(machine)
  for (let batch = 0; batch < count; batch += 1) {
    const id = 1 + 3 * batch
    respond(machine, callsTools(id, [`c${batch}`]))
    respond(machine, results(id + 1, completed(`c${batch}`, long(tokens))))
    if (batch < count - 1) respond(machine, delivers(id + 2))
  }
  return machine
}

/** A model that always gives one answer. */
function answering(text: string): Pick<Host, "llmCall"> & { readonly calls: LlmCall[] } {
  const calls: LlmCall[] = []
  return {
    calls,
    llmCall: async (effect) => {
      calls.push(effect)
      const usage = { inputTokens: 7, cachedInputTokens: 0, outputTokens: 3, reasoningTokens: 0 }
      return { text, parts: [{ type: "text", text }], usage, terminalReason: "stop" }
    },
  }
}

describe("summarizeThrough", () => {
  test("prepares a turn of one call, whose answer is delivered and replaces what it summarized", async () => {
    const machine = afterBatches(4)
    const summary = summarizeThrough(machine, { keepTailTokens: 150 })
    if (summary === undefined) throw new Error("Nothing to summarize.")
    // The tail has one batch.
    expect(summary.through).toBe(machine.messages[6]?.id)

    const { llmCall, calls } = answering("Three were looked at.")
    const cheap = new TurnMachine({ driver: chatDriver(), projector: viewProjector(chatProjector), model: "cheap" }, summary.start)
    const { outcome } = await runTurn(cheap, { llmCall })
    expect(outcome).toMatchObject({ type: "finished", finish: { text: "Three were looked at." } })
    const asked = calls[0]?.request
    expect(asked && isCompactionRequest(asked)).toBe(true)
    expect(asked?.messages.length).toBe(8)

    const { id } = machine.outstanding as { readonly id: number }
    const { request } = callIn(respond(machine, delivers(id, { events: [summary.delivery("Three were looked at.", cheap.usage)] })))
    expect(request.messages.map(textOfMessage)).toEqual([
      "Do the work.",
      expect.stringContaining("Three were looked at."),
      "call look",
      expect.stringContaining("xxx"),
    ])
    expect(recordsOf(machine.history)).toEqual([expect.objectContaining({ reason: "delivered", usage: cheap.usage })])
    // The call was counted where it was made.
    expect(machine.usage.inputTokens).toBe(40)
  })

  test("of a turn that was compacted begins with the view", async () => {
    const machine = afterBatches(4)
    const first = summarizeThrough(machine, { keepTailTokens: 0 })
    respond(machine, delivers(12, { events: [first?.delivery("First summary.") as never] }))
    respond(machine, callsTools(13, ["d"]))
    respond(machine, results(14, completed("d", long(3_000))))
    const second = summarizeThrough(machine, { keepTailTokens: 0 })
    // What the first one replaced is not summarized alone.
    expect(summarizeThrough(machine, { through: first?.through ?? "" })).toBeUndefined()
    expect(summarizeThrough(machine, { through: "u1" })).toBeUndefined()
    const { llmCall, calls } = answering("Second summary.")
    const cheap = new TurnMachine(
      { driver: chatDriver(), projector: viewProjector(chatProjector), model: "cheap" },
      second?.start ?? { messages: [userMessage("nothing")] },
    )
    await runTurn(cheap, { llmCall })
    expect(calls[0]?.request.messages.slice(0, 2).map(textOfMessage)).toEqual(["Do the work.", expect.stringContaining("First summary.")])
    const { request } = callIn(respond(machine, delivers(15, { events: [second?.delivery("Second summary.") as never] })))
    expect(request.messages.map(textOfMessage)).toEqual(["Do the work.", expect.stringContaining("Second summary.")])
  })

  test("goes through a message of choice, and not into a batch", () => {
    const machine = afterBatches(3)
    const [, , results1, call2] = machine.messages
    expect(summarizeThrough(machine, { through: results1?.id ?? "" })?.through).toBe(results1?.id)
    expect(summarizeThrough(machine, { through: call2?.id ?? "" })).toBeUndefined()
    expect(summarizeThrough(machine, { through: "no such message" })).toBeUndefined()
    expect(summarizeThrough(machine, { through: "u1" })?.through).toBe("u1")
  })

  test("has nothing to say about an empty transcript, or one that waits for its first answer", () => {
    expect(summarizeThrough({ messages: [], history: [] })).toBeUndefined()
    expect(summarizeThrough({ messages: [userMessage("Hello.")], history: [] })).toBeUndefined()
  })

  test("refuses options that it does not have", () => {
    expect(() => summarizeThrough(afterBatches(1), { keepTail: 1 } as never)).toThrow(/unknown option/)
    expect(() => summarizeThrough(afterBatches(1), { keepTailTokens: -1 })).toThrow(/keepTailTokens/)
  })
})

describe("a summary that is delivered late", () => {
  test("applies after more was said", () => {
    const machine = afterBatches(3)
    const summary = summarizeThrough(machine, { keepTailTokens: 0 })
    respond(machine, delivers(9, { userMessages: [userMessage("And quick.", "u2")] }))
    respond(machine, callsTools(10, ["d"]))
    respond(machine, results(11, completed("d", "small")))
    const { request } = callIn(respond(machine, delivers(12, { events: [summary?.delivery("So far.") as never] })))
    expect(request.messages.map(textOfMessage)).toEqual(["Do the work.", expect.stringContaining("So far."), "And quick.", "call look", "small"])
  })

  test("loses against a compaction in the foreground, and a record says so", () => {
    const machine = afterBatches(3, 2_800)
    const summary = summarizeThrough(machine, { keepTailTokens: 0 })
    expect(isCompactionRequest(callIn(respond(machine, delivers(9))).request)).toBe(true)
    respond(machine, says(10, "Foreground."))
    const { request } = callIn(respond(machine, delivers(11, { events: [summary?.delivery("Background.") as never] })))
    expect(JSON.stringify(request)).toContain("Foreground.")
    expect(JSON.stringify(request)).not.toContain("Background.")
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ reason: "delivered", problem: "base_mismatch" })])
    expect(recordsOf(machine.history).length).toBe(1)
  })

  test("loses also where it ends in the tail that the compaction left", () => {
    const machine = started(compactingConfig({ keepTailTokens: 1_000 }, { maxContextTokens: 10_200 }))
    pollAll(machine)
    let id = 1
    for (const [place, tokens] of [3_000, 4_900, 100, 100].entries()) {
      respond(machine, callsTools(id, [`c${id}`]))
      respond(machine, results(id + 1, completed(`c${id}`, long(tokens))))
      id += 2
      if (place === 3) break
      // At the threshold only in the end.
      respond(machine, delivers(id))
      id += 1
    }
    const through = machine.messages.at(-1)?.id ?? ""
    const summary = summarizeThrough(machine, { through })
    expect(isCompactionRequest(callIn(respond(machine, delivers(id))).request)).toBe(true)
    respond(machine, says(id + 1, "Foreground."))
    respond(machine, delivers(id + 2))
    respond(machine, callsTools(id + 3, ["more"]))
    respond(machine, results(id + 4, completed("more", long(100))))
    // Made from one batch less than the compaction saw.
    const event = {
      ...summary?.delivery("Background."),
      base: { messageId: machine.messages[6]?.id ?? "", count: 7 },
      through: machine.messages[6]?.id,
    }
    expect(recordsOf(machine.history)[0]).toMatchObject({ base: { count: 9 }, through: machine.messages[4]?.id })
    respond(machine, delivers(id + 5, { events: [event as never] }))
    expect(recordsOf(machine.history).length).toBe(1)
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ problem: "base_mismatch" })])
  })

  test("may summarize the tail of a compaction that was made of the same messages", () => {
    const machine = started(compactingConfig({ keepTailTokens: 1_000, minGain: 0 }, { maxContextTokens: 10_000 }))
    pollAll(machine)
    respond(machine, callsTools(1, ["c0"]))
    respond(machine, results(2, completed("c0", long(8_000))))
    respond(machine, delivers(3))
    respond(machine, says(4, ""))
    respond(machine, delivers(5))
    respond(machine, callsTools(6, ["c1"]))
    respond(machine, results(7, completed("c1", long(500))))
    respond(machine, delivers(8))
    respond(machine, says(9, "Foreground."))
    expect(recordsOf(machine.history)).toEqual([
      expect.objectContaining({ base: expect.objectContaining({ count: 5 }), through: machine.messages[2]?.id }),
    ])
    const summary = summarizeThrough(machine, { keepTailTokens: 0 })
    respond(machine, delivers(10, { events: [summary?.delivery("All.") as never] }))
    expect(recordsOf(machine.history).at(-1)).toMatchObject({ reason: "delivered", summary: "All.", through: machine.messages[4]?.id })
  })

  test("and twice in one delivery applies once", () => {
    const machine = afterBatches(3)
    const summary = summarizeThrough(machine, { keepTailTokens: 0 })
    const event = summary?.delivery("So far.") as never
    respond(machine, delivers(9, { events: [event, event] }))
    expect(recordsOf(machine.history).length).toBe(1)
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ problem: "base_mismatch" })])
  })

  test("applies exactly if nothing was compacted since, in any race", SLOW, () => {
    check(
      60,
      fc.property(
        fc.array(fc.constantFrom("small" as const, "large" as const, "user" as const), { maxLength: 8 }),
        fc.integer({ min: 1, max: 3 }),
        (steps, batches) => {
          const machine = afterBatches(batches, 1_000)
          const summary = summarizeThrough(machine, { keepTailTokens: 0 })
          if (summary === undefined) throw new Error("Nothing to summarize.")
          const idOf = (): number => (machine.outstanding as { readonly id: number }).id
          for (const step of steps) {
            const users = step === "user" ? { userMessages: [userMessage("More.", `u${idOf()}`)] } : {}
            respond(machine, delivers(idOf(), users))
            const { outstanding } = machine
            if (outstanding?.type !== "llm_call") throw new Error(`${outstanding?.type}`)
            if (outstanding.purpose === "compaction") {
              respond(machine, says(outstanding.id, "Foreground."))
              continue
            }
            respond(machine, callsTools(outstanding.id, ["x"]))
            respond(machine, results(idOf(), completed("x", long(step === "large" ? 3_000 : 10))))
          }
          const before = recordsOf(machine.history).length
          respond(machine, delivers(idOf(), { events: [summary.delivery("Background.")] }))
          const delivered = recordsOf(machine.history).filter(({ reason }) => reason === "delivered").length
          const refused = failuresOf(machine.history).filter(({ reason }) => reason === "delivered")
          // A summary of the smaller part of a long request may save too little.
          expect(delivered + refused.length).toBe(1)
          if (before > 0) expect(refused.map(({ problem }) => problem)).toEqual(["base_mismatch"])
          else if (refused.length > 0) expect(refused.map(({ problem }) => problem)).toEqual(["too_little_gain"])
        },
      ),
    )
  })
})
