import { httpFailure } from "../wires/failure.ts"
import { sentToolNames } from "../wires/tool-names.ts"
import type { WireProjector } from "../wires/wire.ts"
import type { GeminiBody } from "./body.ts"
import { GEMINI, type GeminiWireOptions } from "./options.ts"
import { geminiRequest } from "./request.ts"
import { GeminiStream, geminiResponse } from "./stream.ts"

export type {
  GeminiBlob,
  GeminiBody,
  GeminiContent,
  GeminiFileData,
  GeminiFunctionCall,
  GeminiFunctionDeclaration,
  GeminiFunctionResponse,
  GeminiGenerationConfig,
  GeminiMedia,
  GeminiPart,
  GeminiThinkingConfig,
  GeminiThinkingLevel,
  GeminiTool,
  GeminiToolConfig,
} from "./body.ts"
export type { GeminiWireOptions } from "./options.ts"

/**
 * The wire of Google's Gemini API and of Vertex AI. The model is in the URL: a whole answer is posted to `models/<model>:generateContent`, a
 * streamed one to `models/<model>:streamGenerateContent?alt=sse`. The body is the same for both.
 * @see https://ai.google.dev/api/generate-content (2026-11)
 */
export function geminiWire(options: GeminiWireOptions = {}): WireProjector<GeminiBody> {
  return {
    api: GEMINI,
    encode: (request, encoding) => geminiRequest(request, { ...options, ...encoding }),
    toolNames: (request) => sentToolNames(request, "word"),
    decode: (body, decoding) => geminiResponse(body, decoding),
    stream: (decoding) => new GeminiStream(decoding),
    failure: httpFailure,
  }
}
