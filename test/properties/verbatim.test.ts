import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { replay, resume } from "../../src/replay/replay.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import type { Response } from "../../src/schemas/response.ts"
import { journalValidation } from "../../src/schemas/validation.ts"
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
const metadata = fc.option(json, { nil: undefined })

const part: fc.Arbitrary<OutputPart> = fc.oneof(
  fc.record({ type: fc.constant("text" as const), text: said }),
  fc.record({ type: fc.constant("reasoning" as const), text: arbitrary.text, replay: fc.record({ signature: arbitrary.text }) }),
  fc.record({
    type: fc.constant("reasoning" as const),
    text: fc.constant(""),
    replay: fc.record({ redacted: fc.constant(true as const), encryptedContent: arbitrary.text }),
  }),
  fc.record({ type: fc.constant("opaque" as const), provider: arbitrary.text, kind: arbitrary.text, data: json }),
)

const call: fc.Arbitrary<OutputPart> = fc.record({
  type: fc.constant("tool_call" as const),
  callId: fc.constant(""),
  toolName: fc.constant("look"),
  inputJson: fc.oneof(
    fc.constantFrom("", "{", "[1]", '{"a": 1e2}', ' {"b":"\\u00e9"}'),
    fc.dictionary(fc.string(), arbitrary.json).map((value) => JSON.stringify(value)),
  ),
})

/** Thinking, texts, opaque items and calls in any order; the ids of calls are unique, as a provider's are. */
const parts = fc
  .array(fc.tuple(fc.oneof({ weight: 3, arbitrary: part }, { weight: 1, arbitrary: call }), metadata), { minLength: 1, maxLength: 8 })
  .filter((drawn) => drawn.some(([{ type }]) => type !== "reasoning"))
  .map((drawn) =>
    drawn.map(([item, providerMetadata], index): OutputPart => {
      const named = item.type === "tool_call" ? { ...item, callId: `call-${index}` } : item
      return providerMetadata === undefined ? named : { ...named, providerMetadata }
    }),
  )

function answerOf(given: readonly OutputPart[]): LlmResponse {
  const text = given.map((item) => (item.type === "text" ? item.text : "")).join("")
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  return { text, parts: given, usage, terminalReason: "stop", producer }
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
})
