import type { Host } from "../../../src/hosts/host.ts"
import { anthropic } from "../../../src/hosts/models/anthropic.ts"
import { gemini } from "../../../src/hosts/models/gemini.ts"
import type { HttpOptions } from "../../../src/hosts/models/http-model.ts"
import { openAiCompatible } from "../../../src/hosts/models/openai-compatible.ts"
import { openAiResponses } from "../../../src/hosts/models/openai-responses.ts"

/** How one provider writes an answer that says a text. Events are texts of the stream, with their closing empty line. */
export interface SpokenWire {
  readonly name: string
  readonly make: (options: HttpOptions & { readonly baseUrl: string }) => Pick<Host, "llmCall">
  /** Whether an event says that an answer begins. */
  readonly marksBeginning: boolean
  /** The events before the first text. `id` is the provider's id of the answer. */
  readonly begin: (id?: string) => string
  readonly text: (piece: string) => string
  /** The first half of a tool call. */
  readonly halfCall: string
  /** The events after the text: the finish reason and the usage. `text`: all of it. */
  readonly end: (text: string) => string
  /** A whole answer. */
  readonly whole: (text: string) => object
  /** An error in the stream that says that the provider has no capacity. */
  readonly overloaded: string
  /** The body of a refused request, for a status. */
  readonly refusal: (message: string) => object
  /** What the usage above is in our buckets. */
  readonly usage: object
  /** The part of it that the provider reports at the beginning. */
  readonly usageAtStart?: object
}

type Event = { readonly type: string } & Readonly<Record<string, unknown>>
const named = (event: Event): string => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
const plain = (event: object): string => `data: ${JSON.stringify(event)}\n\n`
const chunk = (delta: object, finish: string | null = null): string =>
  plain({ id: "chatcmpl-1", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })

const chat: SpokenWire = {
  name: "Chat Completions",
  marksBeginning: false,
  make: openAiCompatible,
  begin: () => chunk({ role: "assistant", content: "" }),
  text: (content) => chunk({ content }),
  halfCall: chunk({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "look", arguments: '{"at":' } }] }),
  end: () =>
    `${chunk({}, "stop")}${plain({ id: "chatcmpl-1", choices: [], usage: { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 } })}data: [DONE]\n\n`,
  whole: (content) => ({
    id: "chatcmpl-1",
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
    usage: { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 },
  }),
  overloaded: plain({ error: { message: "The server is overloaded.", type: "server_error", code: 503 } }),
  refusal: (message) => ({ error: { message, type: "server_error", code: null } }),
  usage: { inputTokens: 9, cachedInputTokens: 0, outputTokens: 4 },
}

const message = (text: string, status: string) => ({
  type: "message",
  id: "msg_1",
  role: "assistant",
  status,
  content: status === "completed" ? [{ type: "output_text", text, annotations: [], logprobs: [] }] : [],
})
const response = (status: string, output: readonly object[] = [], id = "resp_1") => ({ id, object: "response", status, output, error: null })
const RESPONSES_USAGE = {
  input_tokens: 9,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 4,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 13,
}

const responses: SpokenWire = {
  name: "Responses",
  marksBeginning: true,
  make: openAiResponses,
  begin: (id) =>
    named({ type: "response.created", response: response("in_progress", [], id) }) +
    named({ type: "response.output_item.added", output_index: 0, item: message("", "in_progress") }) +
    named({
      type: "response.content_part.added",
      output_index: 0,
      content_index: 0,
      item_id: "msg_1",
      part: { type: "output_text", text: "", annotations: [] },
    }),
  text: (delta) => named({ type: "response.output_text.delta", output_index: 0, content_index: 0, item_id: "msg_1", delta }),
  halfCall:
    named({
      type: "response.output_item.added",
      output_index: 1,
      item: { type: "function_call", id: "fc_1", call_id: "call_1", name: "look", arguments: "", status: "in_progress" },
    }) + named({ type: "response.function_call_arguments.delta", output_index: 1, item_id: "fc_1", delta: '{"at":' }),
  end: (text) =>
    named({ type: "response.output_item.done", output_index: 0, item: message(text, "completed") }) +
    named({ type: "response.completed", response: { ...response("completed", [message(text, "completed")]), usage: RESPONSES_USAGE } }),
  whole: (text) => ({ ...response("completed", [message(text, "completed")]), usage: RESPONSES_USAGE }),
  overloaded: named({ type: "error", code: "server_is_overloaded", message: "Our servers are currently overloaded.", param: null }),
  refusal: (text) => ({ error: { message: text, type: "server_error", param: null, code: null } }),
  usage: { inputTokens: 9, cachedInputTokens: 0, outputTokens: 4 },
}

const anthropicMessage = (content: readonly object[], id = "msg_1") => ({ id, type: "message", role: "assistant", model: "m", content })

const messages: SpokenWire = {
  name: "Messages",
  marksBeginning: true,
  make: anthropic,
  begin: (id) =>
    named({
      type: "message_start",
      message: { ...anthropicMessage([], id), stop_reason: null, usage: { input_tokens: 9, output_tokens: 1 } },
    }) +
    named({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }) +
    named({ type: "ping" }),
  text: (text) => named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
  halfCall:
    named({ type: "content_block_stop", index: 0 }) +
    named({ type: "content_block_start", index: 1, content_block: { type: "tool_use", id: "toolu_1", name: "look", input: {} } }) +
    named({ type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '{"at":' } }),
  end: () =>
    named({ type: "content_block_stop", index: 0 }) +
    named({ type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 4 } }) +
    named({ type: "message_stop" }),
  whole: (text) => ({
    ...anthropicMessage([{ type: "text", text }]),
    stop_reason: "end_turn",
    stop_sequence: null,
    usage: { input_tokens: 9, output_tokens: 4 },
  }),
  overloaded: named({ type: "error", error: { type: "overloaded_error", message: "Overloaded" }, request_id: "req_1" }),
  refusal: (text) => ({ type: "error", error: { type: "api_error", message: text }, request_id: "req_1" }),
  usage: { inputTokens: 9, cachedInputTokens: 0, outputTokens: 4 },
  usageAtStart: { inputTokens: 9, outputTokens: 1 },
}

const candidate = (parts: readonly object[], more: object = {}) => ({ candidates: [{ index: 0, content: { role: "model", parts }, ...more }] })
const GEMINI_USAGE = { usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 4, totalTokenCount: 13 } }

const google: SpokenWire = {
  name: "Gemini",
  marksBeginning: false,
  make: gemini,
  begin: () => plain({ ...candidate([]), responseId: "r1" }),
  text: (text) => plain({ ...candidate([{ text }]), responseId: "r1" }),
  // Calls come whole; a cut one is cut in its event.
  halfCall: `data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"look","args":{"at":`,
  end: () => plain({ ...candidate([{ text: "" }], { finishReason: "STOP" }), ...GEMINI_USAGE, responseId: "r1" }),
  whole: (text) => ({ ...candidate([{ text }], { finishReason: "STOP" }), ...GEMINI_USAGE, responseId: "r1" }),
  overloaded: plain({ error: { code: 503, message: "The model is overloaded.", status: "UNAVAILABLE" } }),
  refusal: (text) => ({ error: { code: 500, message: text, status: "INTERNAL" } }),
  usage: { inputTokens: 9, cachedInputTokens: 0, outputTokens: 4 },
}

export const SPOKEN_WIRES: readonly SpokenWire[] = [chat, responses, messages, google]

/** A stream that says a text in pieces. */
export function speech(wire: SpokenWire, ...pieces: readonly string[]): string {
  return wire.begin() + pieces.map((piece) => wire.text(piece)).join("") + wire.end(pieces.join(""))
}
