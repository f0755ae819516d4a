import { describe, expect, test } from "vitest"
import type { CompactingDriverOptions } from "../../../src/drivers/compaction/settings.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { viewProjector } from "../../../src/projectors/view.ts"
import { wrapProjector } from "../../../src/projectors/wrap-projector.ts"
import type { Effect } from "../../../src/schemas/effect.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { answer, callsTools, completed, delivers, pollAll, respond, results, says, userMessage } from "../../machine/support.ts"
import { callIn, compactingConfig, fails, failuresOf, isCompactionRequest, long, overflows, recordsOf, started, textOfMessage } from "./support.ts"

/** A turn after one batch whose result has so many tokens, at the effects that follow the checkpoint. */
function afterBatch(
  tokens: number,
  options: CompactingDriverOptions = {},
  changes: Partial<TurnConfig> = {},
): { machine: TurnMachine; effects: readonly Effect[] } {
  const machine = started(compactingConfig({ keepTailTokens: 0, ...options }, changes))
  pollAll(machine)
  respond(machine, callsTools(1, ["a"]))
  respond(machine, results(2, completed("a", long(tokens))))
  return { machine, effects: respond(machine, delivers(3)) }
}

describe("at the threshold", () => {
  test("a model call with one more message asks for a summary, and nothing of the answer enters the transcript", () => {
    const { machine, effects } = afterBatch(900)
    const { request } = callIn(effects)
    expect(isCompactionRequest(request)).toBe(true)
    expect(request.tools.map(({ name }) => name)).toEqual(["look"])
    const before = machine.messages
    const after = respond(machine, says(4, "Summary: a was looked at."))
    expect(machine.messages).toEqual(before)
    expect(after.map(({ type }) => type)).toEqual(
      ["token_usage", "message", "progress", "checkpoint"].map((type, index) => (index < 2 ? "emit" : type)),
    )
    expect(recordsOf(machine.history)).toEqual([
      {
        type: "compaction",
        contextReset: true,
        id: expect.stringContaining("compaction"),
        reason: "threshold",
        through: before.at(-1)?.id,
        base: { messageId: before.at(-1)?.id, count: 3 },
        summary: "Summary: a was looked at.",
        keptUserMessages: ["u1"],
        tokensBefore: expect.any(Number),
        tokensAfter: expect.any(Number),
        usage: { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 },
      },
    ])
    expect(machine.usage.inputTokens).toBe(20)
  })

  test("the summary may be text, also where the request demands a tool call or JSON", () => {
    const outputSpec = { type: "json_object" } as const
    for (const toolChoice of ["required", { toolName: "look" }, "none", "auto"] as const) {
      const demanding = wrapProjector(chatProjector, { request: () => ({ toolChoice, outputSpec }) })
      const { effects } = afterBatch(900, {}, { projector: viewProjector(demanding) })
      const { request } = callIn(effects)
      expect(isCompactionRequest(request)).toBe(true)
      expect(request.toolChoice).toBe(toolChoice === "none" ? "none" : "auto")
      expect(request).not.toHaveProperty("outputSpec")
    }
  })

  test("the next request shows the user's message and the summary, within the same iteration", () => {
    const { machine } = afterBatch(900)
    const { iteration } = machine
    respond(machine, says(4, "Summary: a was looked at."))
    const { request } = callIn(respond(machine, delivers(5)))
    expect(machine.iteration).toBe(iteration)
    expect(request.messages.map(({ role }) => role)).toEqual(["user", "user"])
    expect(textOfMessage(request.messages[0] as never)).toBe("Do the work.")
    expect(textOfMessage(request.messages[1] as never)).toContain("Summary: a was looked at.")
  })

  test("below it, the effects are those of the inner driver", () => {
    const { machine, effects } = afterBatch(500)
    expect(isCompactionRequest(callIn(effects).request)).toBe(false)
    expect(machine.history.every(({ type }) => type === "conversation")).toBe(true)
  })

  test("the usage that a provider reports counts if the estimate is too low", () => {
    const machine = started(compactingConfig({ keepTailTokens: 0, minGain: 0 }))
    pollAll(machine)
    respond(machine, callsTools(1, ["a"], { usage: { inputTokens: 700, cachedInputTokens: 100, outputTokens: 10, reasoningTokens: 0 } }))
    respond(machine, results(2, completed("a", long(300))))
    expect(isCompactionRequest(callIn(respond(machine, delivers(3))).request)).toBe(true)
  })

  test("nothing is compacted twice, whatever asks for it, until something more was said", () => {
    let asked = 0
    const due = (): "threshold" => {
      asked += 1
      return "threshold"
    }
    const { machine, effects } = afterBatch(900, { due, minGain: 0, keepTailTokens: 50 })
    expect(isCompactionRequest(callIn(effects).request)).toBe(true)
    respond(machine, says(4, "Summary."))
    expect(isCompactionRequest(callIn(respond(machine, delivers(5))).request)).toBe(false)
    expect(asked).toBeGreaterThan(1)
    expect(failuresOf(machine.history).filter(({ count }) => count > 1)).toEqual([])
  })

  test("the room for the answer counts", () => {
    const { effects } = afterBatch(600, {}, { generation: { maxOutputTokens: 400 } })
    expect(isCompactionRequest(callIn(effects).request)).toBe(true)
  })

  test("without a window nothing is compacted", () => {
    const { effects } = afterBatch(5_000, {}, { maxContextTokens: undefined })
    expect(isCompactionRequest(callIn(effects).request)).toBe(false)
  })

  test("input that the model has not answered is in the tail", () => {
    const machine = started(compactingConfig({ keepTailTokens: 0 }))
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(900))))
    respond(machine, delivers(3, { userMessages: [userMessage("And be quick.", "u2")] }))
    respond(machine, says(4, "Summary."))
    const { request } = callIn(respond(machine, delivers(5)))
    expect(request.messages.map(textOfMessage)).toEqual(["Do the work.", expect.stringContaining("Summary."), "And be quick."])
  })

  test("the tail begins at a batch, and reasoning from before the record is not in it", () => {
    const machine = started(compactingConfig({ keepTailTokens: 100 }))
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(800))))
    respond(machine, delivers(3))
    respond(machine, says(4, "First."))
    respond(machine, delivers(5))
    const thought = { type: "reasoning", text: "Hm.", replay: { signature: "s" } } as const
    const call = { type: "tool_call", toolName: "look", inputJson: "{}" } as const
    respond(machine, answer(6, [{ ...call, callId: "b" }], { terminalReason: "tool_use" }))
    respond(machine, results(7, completed("b", long(750))))
    respond(machine, delivers(8))
    respond(machine, says(9, ""))
    respond(machine, delivers(10))
    respond(machine, answer(11, [thought, { ...call, callId: "c" }], { terminalReason: "tool_use" }))
    respond(machine, results(12, completed("c", long(20))))
    const asked = callIn(respond(machine, delivers(13)))
    expect(isCompactionRequest(asked.request)).toBe(true)
    respond(machine, says(14, "Second."))
    const { request } = callIn(respond(machine, delivers(15)))
    expect(request.messages.map(({ role, blocks }) => [role, ...blocks.map(({ type }) => type)])).toEqual([
      ["user", "text"],
      ["user", "text"],
      ["assistant", "tool_call"],
      ["user", "tool_result"],
    ])
    expect(JSON.stringify(request)).not.toContain("Hm.")
    expect(JSON.stringify(machine.messages)).toContain("Hm.")
  })
})

describe("a failed compaction", () => {
  test.each([
    ["a tool call", callsTools(4, ["b"]), "tool_call"],
    ["nothing", says(4, " "), "empty_answer"],
    ["a failure", fails(4), "call_failed"],
    ["an answer that was cut off", says(4, "Summ", { terminalReason: "output_limit" }), "cut_off"],
    ["an answer for which the window has no room", says(4, "Summ", { terminalReason: "context_overflow" }), "overflow"],
    ["an answer that is too long", says(4, long(900)), "summary_too_long"],
  ])("%s: the context stays, and the iteration continues", (_what, response, problem) => {
    const { machine } = afterBatch(900)
    const before = machine.messages
    respond(machine, response)
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ problem, reason: "threshold", count: 3 })])
    const { request } = callIn(respond(machine, delivers(5)))
    expect(isCompactionRequest(request)).toBe(false)
    expect(machine.messages).toEqual(before)
    expect(request.messages.length).toBe(3)
  })

  test("after maxFailures it rests until the next input", () => {
    const { machine } = afterBatch(900, { maxFailures: 2 })
    let id = 4
    const kinds: boolean[] = []
    for (let round = 0; round < 4; round += 1) {
      respond(machine, says(id, ""))
      let effects = respond(machine, delivers(id + 1))
      if (isCompactionRequest(callIn(effects).request)) throw new Error("Tried twice for one request.")
      id += 2
      respond(machine, callsTools(id, [`r${round}`]))
      respond(machine, results(id + 1, completed(`r${round}`, "ok")))
      effects = respond(machine, delivers(id + 2))
      kinds.push(isCompactionRequest(callIn(effects).request))
      id += 3
      if (kinds.at(-1) !== true) break
    }
    expect(kinds).toEqual([true, false])
    respond(machine, callsTools(id, ["last"]))
    respond(machine, results(id + 1, completed("last", "ok")))
    const effects = respond(machine, delivers(id + 2, { userMessages: [userMessage("Try again.", "u2")] }))
    expect(isCompactionRequest(callIn(effects).request)).toBe(true)
  })
})

describe("an overflow", () => {
  test.each([
    ["as a failure", overflows(1)],
    ["as an answer", says(1, "", { terminalReason: "context_overflow" })],
  ])("%s: the call is made again after a compaction", (_how, _response) => {
    const machine = started(compactingConfig({ keepTailTokens: 0 }, { maxContextTokens: undefined }))
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(900))))
    respond(machine, delivers(3))
    const response = { ..._response, id: 4 }
    respond(machine, response)
    const { request } = callIn(respond(machine, delivers(5)))
    expect(isCompactionRequest(request)).toBe(true)
    // The request that did not fit is made shorter.
    expect(JSON.stringify(request).length).toBeLessThan(4 * 900)
    respond(machine, says(6, "Summary."))
    expect(recordsOf(machine.history)).toEqual([expect.objectContaining({ reason: "overflow" })])
    const again = callIn(respond(machine, delivers(7)))
    expect(isCompactionRequest(again.request)).toBe(false)
    expect(again.request.messages.length).toBe(2)
    const effects = respond(machine, overflows(8))
    expect(effects.at(-1)).toMatchObject({
      type: "done",
      outcome: { type: "stopped", stop: { type: "provider_error", error: { code: "context_exhausted", terminalReason: "context_overflow" } } },
    })
  })

  test("what the model said before it stays in the transcript", () => {
    const machine = started(compactingConfig({}, { maxContextTokens: undefined }))
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(900))))
    respond(machine, delivers(3))
    respond(machine, says(4, "So far", { terminalReason: "context_overflow" }))
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ text: "So far" }, { type: "interrupted", reason: "context_overflow" }])
    expect(machine.done).toBe(false)
  })

  test("the compaction may overflow too: it is tried with shorter requests, then the turn ends", () => {
    const machine = started(compactingConfig({ maxFailures: 3 }, { maxContextTokens: undefined }))
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(9_000))))
    respond(machine, delivers(3))
    let effects = respond(machine, overflows(4))
    const sizes: number[] = []
    for (let id = 5; !machine.done; id += 2) {
      effects = respond(machine, delivers(id))
      sizes.push(JSON.stringify(callIn(effects).request).length)
      effects = respond(machine, overflows(id + 1))
    }
    expect(sizes.length).toBe(3)
    expect(effects.at(-1)).toMatchObject({ outcome: { stop: { error: { code: "context_exhausted" } } } })
  })

  test("a first message that does not fit ends the turn without a summary", () => {
    const machine = started(compactingConfig(), long(2_000))
    pollAll(machine)
    respond(machine, overflows(1))
    const effects = respond(machine, delivers(2))
    expect(effects.at(-1)).toMatchObject({ outcome: { stop: { error: { code: "context_exhausted" } } } })
    expect(failuresOf(machine.history).map(({ reason, problem }) => [reason, problem])).toEqual([
      ["threshold", "nothing_to_compact"],
      ["overflow", "nothing_to_compact"],
    ])
  })

  test("a later turn asks the model again, such as one with a larger window", () => {
    const config = compactingConfig({}, { maxContextTokens: undefined })
    const machine = started(config, long(2_000))
    pollAll(machine)
    respond(machine, overflows(1))
    respond(machine, delivers(2))
    expect(machine.done).toBe(true)
    const messages = [...machine.messages, userMessage("Try again.", "u2")]
    const next = new TurnMachine(config, { messages, events: machine.history, iterationOffset: 1 })
    expect(isCompactionRequest(callIn(pollAll(next)).request)).toBe(false)
  })

  test("a failure of the provider in its compaction ends the turn as any failure", () => {
    const machine = started(compactingConfig({}, { maxContextTokens: undefined }))
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(900))))
    respond(machine, delivers(3))
    respond(machine, overflows(4))
    respond(machine, delivers(5))
    expect(respond(machine, fails(6)).at(-1)).toMatchObject({ outcome: { stop: { type: "provider_error", error: { failureKind: "overloaded" } } } })
  })

  test("a new input is recovered from again", () => {
    const machine = started(compactingConfig({ keepTailTokens: 0 }, { maxContextTokens: undefined }))
    pollAll(machine)
    let id = 1
    const recovered: boolean[] = []
    for (const name of ["a", "b"]) {
      respond(machine, callsTools(id, [name]))
      respond(machine, results(id + 1, completed(name, long(900))))
      respond(machine, delivers(id + 2, { userMessages: [userMessage("More.", `u-${name}`)] }))
      // The second time the size of the first overflow is known, so that the context is compacted before.
      id += 3
      const { state } = machine.turn.position
      if (state.type !== "waiting_llm") throw new Error(state.type)
      if (!isCompactionRequest(state.outstanding.request)) {
        respond(machine, overflows(id))
        respond(machine, delivers(id + 1))
        id += 2
      }
      respond(machine, says(id, `Summary ${name}.`))
      respond(machine, delivers(id + 1))
      id += 2
      recovered.push(!machine.done)
    }
    expect(recovered).toEqual([true, true])
    expect(recordsOf(machine.history).map(({ reason }) => reason)).toEqual(["overflow", "threshold"])
  })
})

describe("a cancelled compaction", () => {
  test("by a redirection takes no iteration: the turn's own call has not begun", () => {
    const { machine } = afterBatch(900, {}, { maxIterations: 2 })
    for (const id of ["u2", "u3", "u4"]) {
      machine.command({ type: "redirect", messages: [userMessage("Something else.", id)] })
      expect(isCompactionRequest(callIn(pollAll(machine)).request)).toBe(true)
    }
    respond(machine, says(machine.outstanding?.id ?? 0, "Summary."))
    const { request } = callIn(respond(machine, delivers(machine.outstanding?.id ?? 0)))
    expect(request.messages.map(textOfMessage)).toContain("Something else.")
  })

  test("ends the turn, counts its usage, and stores nothing of the summary", () => {
    const { machine } = afterBatch(900)
    const before = machine.messages
    machine.cancel("Stop.", {
      text: "Summ",
      parts: [{ type: "text", text: "Summ" }],
      usage: { inputTokens: 5, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
      terminalReason: "stop",
    })
    pollAll(machine)
    expect(machine.outcome).toMatchObject({ stop: { type: "cancelled" } })
    expect(machine.messages).toEqual(before)
    expect(recordsOf(machine.history)).toEqual([])
    expect(failuresOf(machine.history)).toEqual([])
  })
})

describe("a delivered summary", () => {
  const deliveredTo = (machine: TurnMachine, change: object = {}) => {
    const [first, , third] = machine.messages
    return {
      type: "compaction_delivered",
      base: { messageId: third?.id ?? first?.id ?? "", count: 3 },
      through: third?.id ?? "",
      summary: "From outside.",
      ...change,
    }
  }

  function atCheckpoint(): TurnMachine {
    const machine = started(compactingConfig({ keepTailTokens: 0 }))
    pollAll(machine)
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(500))))
    return machine
  }

  test("is used if the transcript begins with its base", () => {
    const machine = atCheckpoint()
    const { request } = callIn(respond(machine, delivers(3, { events: [deliveredTo(machine)] })))
    expect(request.messages.map(textOfMessage)).toEqual(["Do the work.", expect.stringContaining("From outside.")])
    expect(recordsOf(machine.history)).toEqual([expect.objectContaining({ reason: "delivered" })])
  })

  test.each([
    ["another base", { base: { messageId: "other", count: 3 } }],
    ["a base past the end", { base: { messageId: "u1", count: 9 } }],
    ["an unknown end", { through: "other" }],
    ["an end within a batch", {}],
    ["no summary", { summary: "" }],
    ["a summary that is not a text", { summary: 7 }],
    ["a summary that is a list", { summary: ["From outside."] }],
    ["a base of another shape", { base: 7 }],
    ["no base", { base: null }],
    ["a base without an id, past the end", { base: { count: 9 } }],
    ["a count that is not a number", { base: { messageId: "m_0_tools_2", count: "3" } }],
  ])("is not used with %s, and a record says so", (what, change) => {
    const machine = atCheckpoint()
    const through = what === "an end within a batch" ? { through: machine.messages[1]?.id } : change
    const { request } = callIn(respond(machine, delivers(3, { events: [deliveredTo(machine, through) as never] })))
    expect(request.messages.length).toBe(3)
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ reason: "delivered", problem: "base_mismatch" })])
  })

  test("has a base that is known by its id", () => expect(atCheckpoint().messages[2]?.id).toBe("m_0_tools_2"))

  test("is not used if it ends after its base, or saves too little", () => {
    const machine = atCheckpoint()
    const [first, second] = machine.messages
    const events = [
      deliveredTo(machine, { base: { messageId: second?.id, count: 2 } }),
      deliveredTo(machine, { through: first?.id }),
      deliveredTo(machine, { base: { messageId: first?.id, count: 1 }, through: first?.id }),
    ]
    respond(machine, delivers(3, { events: events as never }))
    expect(recordsOf(machine.history)).toEqual([])
    expect(failuresOf(machine.history).map(({ reason, problem }) => [reason, problem])).toEqual([
      ["delivered", "base_mismatch"],
      ["delivered", "too_little_gain"],
      ["delivered", "too_little_gain"],
    ])
  })

  test("is not used after a compaction that it does not know", () => {
    const machine = atCheckpoint()
    const event = deliveredTo(machine)
    respond(machine, delivers(3, { events: [event] }))
    respond(machine, callsTools(4, ["b"]))
    respond(machine, results(5, completed("b", long(400))))
    respond(machine, delivers(6, { events: [{ ...event, base: { messageId: "u1", count: 1 }, through: "u1" }] }))
    expect(recordsOf(machine.history).length).toBe(1)
    expect(failuresOf(machine.history)).toEqual([expect.objectContaining({ problem: "base_mismatch" })])
  })
})
