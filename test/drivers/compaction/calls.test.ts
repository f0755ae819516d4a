import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { compactingDriver } from "../../../src/drivers/compaction/driver.ts"
import { isGain } from "../../../src/drivers/compaction/plan.ts"
import { type CompactingDriverOptions, type CompactionFacts, settingsOf } from "../../../src/drivers/compaction/settings.ts"
import { wrapDriver } from "../../../src/drivers/wrap-driver.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { ProtocolDriver, WaitingLlm } from "../../../src/machine/driver.ts"
import { estimateTokens } from "../../../src/machine/usage-estimate.ts"
import type { DriverAction } from "../../../src/schemas/action.ts"
import type { Effect } from "../../../src/schemas/effect.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { LlmRequest } from "../../../src/schemas/llm.ts"
import type { HistoryRecord, Message } from "../../../src/schemas/message.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { answer, callsTools, completed, delivers, pollAll, respond, results, says, userMessage } from "../../machine/support.ts"
import { callIn, compactingConfig, fails, failuresOf, isCompactionRequest, long, overflows, recordsOf, textOfMessage } from "./support.ts"

const record = (event: Json): HistoryRecord => ({ type: "protocol", event })
const recorded = (machine: TurnMachine): readonly unknown[] =>
  machine.history.flatMap((entry) => (entry.type === "protocol" ? [(entry.event as { readonly type?: unknown }).type] : []))

/** An answer of so many tokens before the user's last message. */
function start(tokens = 500): { readonly messages: readonly Message[] } {
  const said: Message = { id: "a1", role: "assistant", parts: [{ id: "a1.p0", type: "text", text: long(tokens) }] }
  return { messages: [userMessage("Do the work."), said, userMessage("And more.", "u2")] }
}

/** A turn that begins with a compaction. */
function compacting(inner: ProtocolDriver, options: CompactingDriverOptions = {}, changes: Partial<TurnConfig> = {}) {
  const driver = compactingDriver(inner, { due: () => "threshold", keepTailTokens: 0, ...options })
  const machine = new TurnMachine(compactingConfig({}, { driver, ...changes }), start())
  return { machine, effects: pollAll(machine) }
}

describe("a driver inside", () => {
  const STATE = { step: 7 }
  /** A driver with a state of its own, and what it was asked. */
  function stateful(onLlmCutOff?: ProtocolDriver["onLlmCutOff"]): {
    readonly driver: ProtocolDriver
    readonly asked: [string, Omit<WaitingLlm, "outstanding">][]
  } {
    const asked: [string, Omit<WaitingLlm, "outstanding">][] = []
    const note = (callback: string, { driverState, failed }: WaitingLlm): void =>
      void asked.push([callback, { ...(driverState !== undefined && { driverState }), ...(failed && { failed }) }])
    const driver = wrapDriver(chatDriver(), {
      prepareIteration: (next, context) => [
        { type: "append_events", events: [record({ type: "prepared" })] },
        ...next(context).map((action): DriverAction => (action.type === "start_llm" ? { ...action, driverState: STATE } : action)),
      ],
      onLlmCutOff: (_next, context, waiting, response) => {
        note("onLlmCutOff", waiting)
        return onLlmCutOff?.(context, waiting, response)
      },
      onLlmFailed: (_next, _context, waiting) => void note("onLlmFailed", waiting),
    })
    return { driver, asked }
  }

  test("accounts for a compaction with its own state, and stores no message of it", () => {
    const { driver, asked } = stateful(() => [
      { type: "emit", event: { type: "message", text: "Not shown.", kind: "note" } },
      { type: "append_events", events: [record({ type: "accounted" }), { type: "conversation", message: userMessage("Not stored.", "x") }] },
      { type: "append_events", events: [{ type: "conversation", message: userMessage("Nor this.", "y") }] },
      { type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: "Nor this." } } },
    ])
    const { machine } = compacting(driver)
    const effects = respond(machine, says(1, "Summary."))
    expect(asked).toEqual([["onLlmCutOff", { driverState: STATE }]])
    expect(JSON.stringify([effects, machine.messages])).not.toMatch(/Not shown|Not stored|Nor this/)
    respond(machine, delivers(2))
    // Prepared before the compaction, and anew after it.
    expect(recorded(machine)).toEqual(["prepared", "accounted", "compaction", "prepared"])
  })

  test("that accounts for nothing, or has no state, is not needed", () => {
    const { onLlmCutOff: _cutOff, onLlmFailed: _failed, ...least } = chatDriver()
    const { machine } = compacting(least)
    respond(machine, says(1, "Summary."))
    expect(recorded(machine)).toEqual(["compaction"])
    const cut = compacting(least).machine
    respond(cut, says(1, "Summ", { terminalReason: "output_limit" }))
    expect(failuresOf(cut.history).map(({ problem, message }) => [problem, message])).toEqual([["cut_off", "The answer ended early: output_limit."]])
  })

  test("learns that a compaction failed in mid-answer, which counts as one failure", () => {
    const { driver, asked } = stateful(() => [{ type: "append_events", events: [record({ type: "accounted" })] }])
    const { machine } = compacting(driver)
    const partial = {
      text: "Summ",
      parts: [{ type: "text", text: "Summ" }],
      usage: { inputTokens: 5, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
    } as const
    const { result, ...response } = fails(1)
    respond(machine, { ...response, result: { ...result, partial: { ...partial, terminalReason: "provider_error" } } as typeof result })
    expect(asked).toEqual([["onLlmCutOff", { driverState: STATE, failed: true }]])
    expect(recorded(machine)).toEqual(["prepared", "accounted", "compaction_failed"])
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ problem: "call_failed", message: "Bad gateway." })])
  })

  test("decides how a turn ends whose compaction was cancelled", () => {
    const { driver, asked } = stateful()
    const { machine } = compacting(driver)
    const effects = respond(machine, fails(1, { kind: "cancelled", terminalReason: "cancelled" }))
    expect(asked).toEqual([["onLlmFailed", { driverState: STATE }]])
    expect(effects.at(-1)?.type).toBe("done")
    expect(failuresOf(machine.history)).toEqual([])
  })

  test("that starts no model call starts it still", () => {
    const ends = wrapDriver(chatDriver(), {
      prepareIteration: () => [{ type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: "No need." } } }],
    })
    expect(compacting(ends).effects.at(-1)).toMatchObject({ type: "done", outcome: { finish: { text: "No need." } } })
  })

  test("prepares once where nothing is to be compacted", () => {
    const { driver } = stateful()
    // More than half of 500 tokens would have to go.
    const { machine, effects } = compacting(driver, { minGain: 0.99 })
    expect(isCompactionRequest(callIn(effects).request)).toBe(false)
    expect(recorded(machine)).toEqual(["prepared", "compaction_failed"])
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ reason: "threshold", problem: "too_little_gain", count: 3 })])
  })

  test("may limit the answer: the instruction takes its part of that", () => {
    const limited = (maxOutputTokens: number, changes: Partial<TurnConfig> = {}): LlmRequest => {
      const driver = wrapDriver(chatDriver(), {
        prepareIteration: (next, context) =>
          next(context).map((action): DriverAction => {
            if (action.type !== "start_llm") return action
            return { ...action, request: { ...action.request, generation: { ...action.request.generation, temperature: 0.5, maxOutputTokens } } }
          }),
      })
      return callIn(compacting(driver, {}, changes).effects).request
    }
    const request = limited(3_000)
    // 4 tokens, and one for every 4 bytes, counted twice as for any budget.
    const instruction = 4 + Math.ceil(Buffer.byteLength(textOfMessage(request.messages.at(-1) as never)) / 4)
    expect(request.generation).toEqual({ temperature: 0.5, maxOutputTokens: 3_000 - 2 * instruction })
    expect(limited(10).generation.maxOutputTokens).toBe(1)
    // The config's own limit is not a budget.
    expect(limited(3_000, { generation: { maxOutputTokens: 3_000 } }).generation.maxOutputTokens).toBe(3_000)
  })
})

describe("what a provider says", () => {
  const WINDOW = { maxContextTokens: undefined }

  /** A turn of ten answers of 1,000 tokens, whose model call is outstanding. */
  function large(options: CompactingDriverOptions = {}, changes: Partial<TurnConfig> = WINDOW): TurnMachine {
    const messages = Array.from({ length: 10 }, (_, index): Message[] => [
      userMessage("Go on.", `u${index}`),
      { id: `a${index}`, role: "assistant", parts: [{ id: `a${index}.p0`, type: "text", text: long(1_000) }] },
    ]).flat()
    const machine = new TurnMachine(compactingConfig(options, changes), { messages: [...messages, userMessage("Last.", "last")] })
    pollAll(machine)
    return machine
  }

  test.each([
    ["by its kind", { kind: "context_overflow" }],
    ["by its reason", { terminalReason: "context_overflow" }],
  ] as const)("an overflow is known %s, of a call of the turn and of a compaction", (_how, error) => {
    const machine = large()
    respond(machine, fails(1, error))
    expect(isCompactionRequest(callIn(respond(machine, delivers(2))).request)).toBe(true)
    respond(machine, fails(3, error))
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ reason: "overflow", problem: "overflow", message: "Bad gateway." })])
    expect(isCompactionRequest(callIn(respond(machine, delivers(4))).request)).toBe(true)
  })

  test("an overflow after half of an answer is recorded once", () => {
    const machine = large()
    const { result, ...response } = overflows(1)
    const partial = {
      text: "So",
      parts: [{ type: "text", text: "So" }],
      usage: { inputTokens: 5, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
    } as const
    respond(machine, { ...response, result: { ...result, partial: { ...partial, terminalReason: "context_overflow" } } as typeof result })
    expect(recorded(machine)).toEqual(["compaction_needed"])
  })

  test("an answer that ends early for another reason asks for no compaction", () => {
    const machine = large()
    const effects = respond(machine, says(1, "So far", { terminalReason: "output_limit" }))
    expect(effects.at(-1)).toMatchObject({ type: "done", outcome: { stop: { type: "incomplete" } } })
    expect(recorded(machine)).toEqual([])
  })

  test("each request of a compaction that did not fit is followed by a shorter one", () => {
    const machine = large({ maxFailures: 4 })
    const { state } = machine.turn.position
    if (state.type !== "waiting_llm") throw new Error(state.type)
    const refused = estimateTokens(state.outstanding.request)
    let effects: readonly Effect[] = respond(machine, overflows(1))
    const sizes: number[] = []
    const isCut: boolean[] = []
    for (let id = 2; sizes.length < 4; id += 2) {
      effects = respond(machine, delivers(id))
      sizes.push(estimateTokens(callIn(effects).request))
      isCut.push(JSON.stringify(callIn(effects).request).includes("chars omitted"))
      effects = respond(machine, overflows(id + 1))
    }
    for (const [attempt, share] of [0.85, 0.51, 0.306].entries()) {
      // One text that is cut saves about 740 tokens.
      expect(sizes[attempt]).toBeLessThanOrEqual(refused * share)
      expect(sizes[attempt]).toBeGreaterThan(refused * share - 1_000)
    }
    // First the older part is tried, then all of it in short.
    expect(isCut).toEqual([false, true, true, true])
    expect(effects.at(-1)).toMatchObject({ type: "done", outcome: { stop: { error: { code: "context_exhausted" } } } })
  })

  test("an answer without a summary does not make the next request of a compaction shorter than the part that was tried", () => {
    const machine = large({ maxFailures: 4 })
    respond(machine, overflows(1))
    const first = callIn(respond(machine, delivers(2))).request
    respond(machine, says(3, ""))
    const second = callIn(respond(machine, delivers(4))).request
    respond(machine, says(5, ""))
    const third = callIn(respond(machine, delivers(6))).request
    expect(estimateTokens(second)).toBeGreaterThan(estimateTokens(first) - 1_000)
    expect(third).toEqual(second)
  })

  test("the tail is as short as it can be after an overflow", () => {
    const machine = large({ keepTailTokens: 1_200 })
    respond(machine, overflows(1))
    respond(machine, delivers(2))
    respond(machine, overflows(3))
    respond(machine, delivers(4))
    respond(machine, says(5, "Summary."))
    expect(recordsOf(machine.history)).toEqual([expect.objectContaining({ reason: "overflow", through: "a9" })])
  })

  test("a window that is smaller than the configured one is believed", () => {
    const machine = large({ keepTailTokens: 0 }, { maxContextTokens: 1_000_000 })
    respond(machine, overflows(1))
    respond(machine, delivers(2))
    respond(machine, says(3, "Summary."))
    respond(machine, delivers(4))
    respond(machine, callsTools(5, ["a"]))
    respond(machine, results(6, completed("a", long(9_000))))
    // More than 80 % of the 10,000 tokens that did not fit.
    expect(isCompactionRequest(callIn(respond(machine, delivers(7))).request)).toBe(true)
  })

  test.each([
    // Of a window of 1,000; what was read from a cache counts, too.
    [{ inputTokens: 700, cachedInputTokens: 50, outputTokens: 49 }, []],
    [{ inputTokens: 700, cachedInputTokens: 50, outputTokens: 50 }, ["compaction_needed"]],
  ])("usage of %o records %o", (usage, expected) => {
    const machine = new TurnMachine(compactingConfig(), { messages: [userMessage("Do the work.")] })
    pollAll(machine)
    respond(machine, callsTools(1, ["a"], { usage: { ...usage, reasoningTokens: 0 } }))
    expect(recorded(machine)).toEqual(expected)
    const need = { type: "compaction_needed", reason: "threshold", tokens: 800, count: 1 }
    if (expected.length > 0) expect(machine.history).toContainEqual(record(need))
    respond(machine, results(2, completed("a", "ok")))
    respond(machine, delivers(3))
    if (expected.length === 0) return
    // Nothing can be gained from a short transcript, and the need is not recorded twice.
    respond(machine, callsTools(4, ["b"], { usage: { ...usage, reasoningTokens: 0 } }))
    expect(recorded(machine).filter((type) => type === "compaction_needed").length).toBe(1)
  })

  test("a summary may come in pieces, with reasoning, and not with a call", () => {
    const text = (piece: string) => ({ type: "text", text: piece }) as const
    const pieces = compacting(chatDriver()).machine
    respond(pieces, answer(1, [{ type: "reasoning", text: "Hm." }, text(" Sum"), text("mary.\n")]))
    expect(recordsOf(pieces.history)).toEqual([expect.objectContaining({ summary: "Summary." })])
    const called = compacting(chatDriver()).machine
    respond(called, answer(1, [text("Summary."), { type: "tool_call", callId: "c", toolName: "look", inputJson: "{}" }], { text: "Summary." }))
    expect(failuresOf(called.history)).toEqual([expect.objectContaining({ problem: "tool_call" })])
  })
})

describe("a conversation that does not fit into the request of its compaction", () => {
  /** A turn after batches whose results have so many tokens, in a window of 10,000. The effects are those after the last one. */
  function atLast(tokens: readonly number[], options: CompactingDriverOptions = {}): { machine: TurnMachine; request: LlmRequest } {
    const driver = compactingDriver(chatDriver(), { keepTailTokens: 0, ...options })
    // Nothing is due until the last batch, which comes with a message.
    const machine = new TurnMachine(compactingConfig({}, { driver, maxContextTokens: 10_000 }), { messages: [userMessage("Do the work.")] })
    let effects: readonly Effect[] = pollAll(machine)
    for (const [index, size] of tokens.entries()) {
      const id = 1 + 3 * index
      respond(machine, callsTools(id, [`c${index}`]))
      respond(machine, results(id + 1, completed(`c${index}`, long(size, String(index)))))
      effects = respond(machine, delivers(id + 2))
    }
    return { machine, request: callIn(effects).request }
  }
  const shown = ({ messages }: LlmRequest): readonly string[] => messages.map((message) => textOfMessage(message).slice(0, 12))

  test("has its older part summarized, and the newest batches stay", () => {
    // 9,000 and the instruction are more than 8,750: the window without the summary.
    const { machine, request } = atLast([3_000, 3_000, 3_000])
    expect(shown(request)).toEqual(["Do the work.", "call look", "000000000000", "call look", "111111111111", "<compaction>"])
    expect(JSON.stringify(request)).not.toContain("omitted")
    respond(machine, says(10, "Summary."))
    expect(recordsOf(machine.history)).toEqual([
      expect.objectContaining({ through: machine.messages[4]?.id, base: { messageId: machine.messages[6]?.id, count: 7 } }),
    ])
    const next = callIn(respond(machine, delivers(11))).request
    expect(shown(next)).toEqual(["Do the work.", expect.stringContaining("The earlier"), "call look", "222222222222"])
  })

  test("is summarized with its tail as long as it must be", () => {
    // Without the last batch the request still has 8,600 tokens and the instruction.
    const { request } = atLast([600, 4_000, 3_000, 1_000, 500], {
      due: (_context, { requestTokens }) => (requestTokens > 9_000 ? "threshold" : undefined),
    })
    expect(shown(request)).toEqual([
      "Do the work.",
      "call look",
      "000000000000",
      "call look",
      "111111111111",
      "call look",
      "222222222222",
      "<compaction>",
    ])
  })

  test("is shortened where every tail that is short enough leaves too much", () => {
    const { machine, request } = atLast([500, 8_900, 100], {
      due: (_context, { requestTokens }) => (requestTokens > 9_500 ? "threshold" : undefined),
    })
    expect(shown(request).slice(-1)).toEqual(["<compaction>"])
    expect(request.messages.length).toBe(8)
    expect(JSON.stringify(request)).toContain("omitted")
    respond(machine, says(10, "Summary."))
    expect(recordsOf(machine.history)).toEqual([expect.objectContaining({ through: machine.messages[6]?.id })])
  })

  test("is shortened where a longer tail would reach the threshold again", () => {
    // 7,000 and a summary of 1,250 are more than 8,000.
    const { request } = atLast([5_000, 7_000])
    expect(request.messages.length).toBe(6)
    expect(JSON.stringify(request)).toContain("omitted")
  })

  test("has its older part summarized also after a compaction that failed", () => {
    const { machine } = atLast([3_000, 3_000, 3_000])
    respond(machine, says(10, ""))
    respond(machine, delivers(11))
    respond(machine, callsTools(12, ["c3"]))
    respond(machine, results(13, completed("c3", "ok")))
    const { request } = callIn(respond(machine, delivers(14)))
    expect(isCompactionRequest(request)).toBe(true)
    expect(JSON.stringify(request)).not.toContain("omitted")
  })

  test("is shortened where a longer tail would save too little", () => {
    // With the last batch as the tail, 3,000 and a summary of 1,250 are left of 9,000.
    const { request } = atLast([3_000, 3_000, 3_000], { minGain: 0.6 })
    expect(JSON.stringify(request)).toContain("omitted")
    expect(request.messages.length).toBe(8)
  })
})

describe("facts that `due` may go by", () => {
  test.each([
    // A fifth stays free, or the room for the answer; that is at most half.
    [1_000, undefined, 800],
    [1_000, 150, 800],
    [1_000, 400, 600],
    [1_000, 900, 500],
    [1_001, undefined, 800],
    [undefined, undefined, undefined],
    [0, undefined, undefined],
  ])("in a window of %s with %s for the answer the threshold is %s", (maxContextTokens, maxOutputTokens, thresholdTokens) => {
    const seen: CompactionFacts[] = []
    const due = (_context: unknown, facts: CompactionFacts): undefined => void seen.push(facts)
    const generation = maxOutputTokens === undefined ? {} : { generation: { maxOutputTokens } }
    compacting(chatDriver(), { due }, { maxContextTokens, ...generation })
    // 7 tokens for the first message, 504 for the answer, 7 for the last message (9 bytes), and 11 for the tool.
    expect(seen).toEqual([expect.objectContaining({ requestTokens: 529, thresholdTokens })])
  })

  test.each([
    // 80 % of 662 is 529.
    [661, true],
    [662, true],
    [663, false],
  ])("without it, a request of 529 tokens in a window of %i is compacted: %s", (maxContextTokens, isDue) => {
    const { effects } = compacting(chatDriver(), { due: undefined as never }, { maxContextTokens })
    expect(isCompactionRequest(callIn(effects).request)).toBe(isDue)
  })

  test("where the window is unknown, what stays is as the options say, and the request is whole", () => {
    const attachment = { id: "i", mediaType: "image/png", byteLength: 9 }
    const { messages } = start()
    const pictured: Message = { ...userMessage("Look.", "u0"), parts: [{ id: "u0.p0", type: "image", attachment }] }
    const driver = compactingDriver(chatDriver(), { due: () => "manual", keepTailTokens: 0, keepUserTokens: 10 })
    const machine = new TurnMachine(compactingConfig({}, { driver, maxContextTokens: undefined }), { messages: [pictured, ...messages] })
    const { request } = callIn(pollAll(machine))
    expect(request.attachments).toEqual([attachment])
    respond(machine, says(1, "Summary."))
    expect(recordsOf(machine.history)).toEqual([expect.objectContaining({ through: "a1", keptUserMessages: ["u1"] })])
  })

  test("it may ask as a host does", () => {
    const { machine } = compacting(chatDriver(), { due: () => "manual" })
    respond(machine, says(1, "Summary."))
    expect(recordsOf(machine.history)).toEqual([expect.objectContaining({ reason: "manual" })])
  })

  test("a host asks by an event, also where it is not due, and once", () => {
    const driver = compactingDriver(chatDriver(), { keepTailTokens: 0 })
    const machine = new TurnMachine(compactingConfig({}, { driver, maxContextTokens: 1_000_000 }), { messages: [userMessage("Do the work.")] })
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(500))))
    expect(isCompactionRequest(callIn(respond(machine, delivers(3, { events: [{ type: "compaction_requested" }] }))).request)).toBe(true)
    respond(machine, fails(4))
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ reason: "manual" })])
    expect(isCompactionRequest(callIn(respond(machine, delivers(5))).request)).toBe(false)
  })
})

describe("a new turn", () => {
  // As the turn before left it: three messages, and a new one of the user.
  const { messages } = start()
  const before = [...messages.slice(0, 2), { ...(messages[1] as Message), id: "a2" }]
  const begun = (events: readonly HistoryRecord[], changes: Partial<TurnConfig>): { machine: TurnMachine; effects: readonly Effect[] } => {
    const machine = new TurnMachine(compactingConfig({ keepTailTokens: 0 }, changes), { messages: [...before, userMessage("Again.", "u3")], events })
    return { machine, effects: pollAll(machine) }
  }

  test("compacts although the last one failed too often", () => {
    const failed = ["f", "g", "h"].map((id) =>
      record({ type: "compaction_failed", id, reason: "threshold", problem: "call_failed", message: "", count: 3 }),
    )
    expect(isCompactionRequest(callIn(begun(failed, { maxContextTokens: 1_000 }).effects).request)).toBe(true)
  })

  test("recovers from an overflow although the last one did", () => {
    const overflow = record({ type: "compaction_needed", reason: "overflow", tokens: 100_000, count: 3 })
    const compacted = record({
      type: "compaction",
      contextReset: true,
      id: "c",
      reason: "overflow",
      through: "u1",
      base: { messageId: "a2", count: 3 },
      summary: "s",
      keptUserMessages: [],
      tokensBefore: 2,
      tokensAfter: 1,
    })
    const { machine } = begun([overflow, compacted], { maxContextTokens: undefined })
    respond(machine, overflows(1))
    expect(machine.done).toBe(false)
    expect(isCompactionRequest(callIn(respond(machine, delivers(2))).request)).toBe(true)
  })
})

describe("the size after a compaction", () => {
  test.each([
    ["with a message of the user, and the last one", {}],
    ["with what is restated", { restate: () => "The objective stays: ship it." }],
    ["with a tail whose reasoning is left out", { keepTailTokens: 1_000 }],
  ])("is that of the next request: %s", (_what, options) => {
    const thought: Message = {
      id: "a0",
      role: "assistant",
      parts: [
        { id: "a0.p0", type: "reasoning", text: long(20) },
        { id: "a0.p1", type: "text", text: "So." },
      ],
    }
    const driver = compactingDriver(chatDriver(), { due: () => "threshold", keepTailTokens: 0, minGain: 0, ...options })
    const { messages } = start(900)
    const [first, second, last] = messages as [Message, Message, Message]
    const machine = new TurnMachine(compactingConfig({}, { driver, maxContextTokens: 2_000 }), { messages: [first, second, thought, last] })
    pollAll(machine)
    respond(machine, says(1, "Summary."))
    const next = callIn(respond(machine, delivers(2))).request
    const [{ tokensBefore, tokensAfter, restated }] = recordsOf(machine.history) as [ReturnType<typeof recordsOf>[number]]
    // The tool has 11, the messages 7, 904, 25 and 7.
    expect(tokensBefore).toBe(954)
    expect(tokensAfter).toBe(estimateTokens(next))
    expect(JSON.stringify(next.messages).includes("ship it")).toBe(restated !== undefined)
    expect(restated).toBe("restate" in options ? options.restate() : undefined)
  })

  test.each([
    // Any gain after an overflow, otherwise 30 %.
    ["overflow", 99, true],
    ["overflow", 100, false],
    ["threshold", 70, true],
    ["threshold", 71, false],
    ["manual", 71, false],
    ["delivered", 71, false],
  ] as const)("for the reason %s, %i tokens of 100 are a gain: %s", (reason, tokensAfter, expected) => {
    expect(isGain(settingsOf({}), reason, 100, tokensAfter)).toBe(expected)
  })
})
