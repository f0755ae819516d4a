import { httpFailure } from "../wires/failure.ts"
import { sentToolNames } from "../wires/tool-names.ts"
import type { WireProjector } from "../wires/wire.ts"
import { responsesResponse } from "./answer.ts"
import type { OpenAiResponsesBody } from "./body.ts"
import { OPENAI_RESPONSES, type OpenAiResponsesWireOptions } from "./options.ts"
import { responsesRequest } from "./request.ts"
import { OpenAiResponsesStream } from "./stream.ts"

export type {
  OpenAiResponsesBody,
  ResponsesCall,
  ResponsesContent,
  ResponsesFormat,
  ResponsesInputMessage,
  ResponsesItem,
  ResponsesOpaque,
  ResponsesOutputContent,
  ResponsesOutputMessage,
  ResponsesPhase,
  ResponsesReasoning,
  ResponsesResult,
  ResponsesStatus,
  ResponsesTool,
} from "./body.ts"
export type { OpenAiResponsesWireOptions } from "./options.ts"

/**
 * The wire of OpenAI's Responses, posted to `/responses`. Stateless: nothing is stored at the provider, and the encrypted reasoning of a
 * model goes back to it. It reads also what servers with the same format deviate in: Azure, Copilot, OpenRouter, vLLM.
 * @see https://platform.openai.com/docs/api-reference/responses (2026-11)
 */
export function openAiResponsesWire(options: OpenAiResponsesWireOptions = {}): WireProjector<OpenAiResponsesBody> {
  return {
    api: OPENAI_RESPONSES,
    encode: (request, encoding) => responsesRequest(request, { ...options, ...encoding }),
    toolNames: (request) => sentToolNames(request),
    decode: (body, decoding) => responsesResponse(body, decoding),
    stream: (decoding) => new OpenAiResponsesStream(decoding),
    failure: httpFailure,
  }
}
