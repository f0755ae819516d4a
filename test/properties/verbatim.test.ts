import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { journalValidation } from "../../src/checks/records.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { replay, resume } from "../../src/replay/replay.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import type { Response } from "../../src/schemas/response.ts"
import * as arbitrary from "../../src/testing/arbitraries.ts"
import { isBlank } from "../../src/text.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { completed, configOf, delivers, pollAll, userMessage } from "../machine/support.ts"
import { check, SLOW } from "./check.ts"

// A random answer goes the whole way: through the driver into the transcript, through a checkpoint and a journal, and out again in the
// next request. It must come out part by part as it went in.

const producer = { provider: "api.example", api: "wire", model: "m" }

const said = arbitrary.text.filter((text) => !isBlank(text))
/** As it is in JSON text, which has no negative zero. */
const json = arbitrary.json.map((value) => JSON.parse(JSON.stringify(value)) as typeof value)
const metadata = fc.option(json, { nil: undefined, freq: 1 })

const thought: fc.Arbitrary<OutputPart> = fc.oneof(
  fc.record({ type: fc.constant("reasoning" as const), text: said }),
  fc.record({ type: fc.constant("reasoning" as const), text: arbitrary.text, replay: fc.record({ signature: arbitrary.text }) }),
  fc.record({
    type: fc.constant("reasoning" as const),
    text: fc.constant(""),
    replay: fc.record({ redacted: fc.constant(true as const), encryptedContent: arbitrary.text }),
  }),
  fc.record({ type: fc.constant("reasoning" as const), text: fc.constant(""), providerMetadata: json }),
)

const part: fc.Arbitrary<OutputPart> = fc.oneof(
  fc.record({ type: fc.constant("text" as const), text: said }),
  // A provider may sign an empty text.
  fc.record({ type: fc.constant("text" as const), text: fc.constantFrom("", " \n"), providerMetadata: json }),
  fc.record({ type: fc.constant("opaque" as const), provider: arbitrary.text, kind: arbitrary.text, data: json }),
  { weight: 2, arbitrary: thought },
)

const plainCall = {
  type: fc.constant("tool_call" as const),
  callId: fc.constant(""),
  toolName: fc.constant("look"),
  inputJson: fc.oneof(
    fc.constantFrom("", "{", "[1]", '{"a": 1e2}', ' {"b":"\\u00e9"}'),
    fc.dictionary(fc.string(), arbitrary.json).map((value) => JSON.stringify(value)),
  ),
}
const call: fc.Arbitrary<OutputPart> = fc.oneof(fc.record(plainCall), fc.record({ ...plainCall, replay: arbitrary.replayMeta }))

/** Thinking alone, or thinking, texts, opaque items and calls in any order; the ids of calls are unique, as a provider's are. */
const parts = fc
  .oneof(
    { weight: 1, arbitrary: fc.array(fc.tuple(thought, metadata), { minLength: 1, maxLength: 3 }) },
    {
      weight: 4,
      arbitrary: fc.array(fc.tuple(fc.oneof({ weight: 3, arbitrary: part }, { weight: 1, arbitrary: call }), metadata), {
        minLength: 1,
        maxLength: 8,
      }),
    },
  )
  .map((drawn) =>
    drawn.map(([item, providerMetadata], index): OutputPart => {
      const named = item.type === "tool_call" ? { ...item, callId: `call-${index}` } : item
      return providerMetadata === undefined ? named : { ...named, providerMetadata }
    }),
  )

function answerOf(given: readonly OutputPart[]): LlmResponse {
  const text = given.map((item) => (item.type === "text" ? item.text : "")).join("")
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  // An answer that says nothing ends its turn, unless it is only paused.
  const isSilent = isBlank(text) && given.every(({ type }) => type === "reasoning" || type === "text")
  return { text, parts: given, usage, terminalReason: isSilent ? "paused" : "stop", producer }
}

/** Continues a turn after its first answer to its next model request. */
function nextRequest(machine: TurnMachine): { readonly request: LlmRequest; readonly responses: readonly Response[] } {
  const responses: Response[] = []
  for (;;) {
    pollAll(machine)
    const { outstanding } = machine
    if (outstanding?.type === "llm_call") return { request: JSON.parse(JSON.stringify(outstanding.request)) as LlmRequest, responses }
    if (outstanding === undefined) throw new Error(`The turn ended: ${JSON.stringify(machine.outcome)}`)
    const { id } = outstanding
    const response: Response =
      outstanding.type === "tool_calls"
        ? { type: "tool_results", id, results: outstanding.calls.map(({ callId }) => completed(callId)) }
        : delivers(id, { userMessages: machine.iteration === 0 && outstanding.type === "checkpoint" ? [userMessage("more", "u2")] : [] })
    responses.push(response)
    machine.handle(response)
  }
}

describe("an answer", () => {
  test("comes out of transcript, checkpoint, journal and request part by part as it went in", SLOW, () => {
    const config = configOf({ driver: chatDriver(), projector: chatProjector, tools: [{ name: "look", description: "", inputSchema: {} }] })
    const start = { messages: [userMessage("hello")] }
    check(
      300,
      fc.property(parts, (given) => {
        const machine = new TurnMachine(config, start)
        pollAll(machine)
        const { recorder, line } = Recorder.begin(config, start, "t")
        const answer: Response = { type: "llm_complete", id: 1, result: { ok: true, response: answerOf(given) } }
        let text = line + recorder.response(machine, machine.check(answer))
        machine.handle(answer)

        const stored = machine.messages[1]
        expect(stored?.producer).toEqual(producer)
        expect(stored?.parts.map(({ id: _, ...rest }) => rest)).toEqual(given)

        const restored = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
        expect(restored.messages[1]).toEqual(stored)
        text += recorder.snapshot(machine)
        const journal = readJournal(text, journalValidation)
        expect(replay(journal, config).messages[1]).toEqual(stored)
        const resumed = resume(journal, config)
        expect(resumed.messages[1]).toEqual(stored)

        for (const each of [machine, restored, resumed]) {
          const sent = nextRequest(each).request.messages.find(({ role }) => role === "assistant")
          expect(sent?.producer).toEqual(producer)
          expect(sent?.blocks).toEqual(given)
        }
      }),
    )
  })

  test("that is cut off comes out of the next turn's request without its calls, and with a note", SLOW, () => {
    const config = configOf({ driver: chatDriver(), projector: chatProjector })
    const cuts = fc.constantFrom("output_limit", "content_filter", "refusal", "context_overflow", "provider_error", "cancelled", "empty")
    check(
      300,
      fc.property(parts, cuts, (given, cut) => {
        const isSilent = answerOf(given).terminalReason === "paused"
        fc.pre(cut !== "empty" || isSilent)
        const machine = new TurnMachine(config, { messages: [userMessage("hello")] })
        pollAll(machine)
        const terminalReason = cut === "empty" ? "stop" : cut
        machine.handle({ type: "llm_complete", id: 1, result: { ok: true, response: { ...answerOf(given), terminalReason } } })
        expect(machine.outcome).toMatchObject({ type: "stopped" })

        const kept = given.filter(({ type }) => type !== "tool_call")
        const [stored, ...others] = machine.messages.slice(1)
        expect(others).toEqual([])
        if (kept.length === 0) return void expect(stored).toBeUndefined()
        expect(stored?.producer).toEqual(producer)
        expect(stored?.parts.map(({ id: _, ...rest }) => rest)).toEqual([...kept, { type: "interrupted", reason: cut }])

        const next = new TurnMachine(config, { messages: [...machine.messages, userMessage("and?", "u2")] })
        const sent = nextRequest(next).request.messages.find(({ role }) => role === "assistant")
        expect(sent?.blocks).toEqual([...kept, { type: "text", text: expect.stringMatching(/^\[The answer (?:was cut off|ended) here: .*\]$/) }])
      }),
    )
  })
})
