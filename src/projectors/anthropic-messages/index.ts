import { httpFailure } from "../wires/failure.ts"
import { sentToolNames } from "../wires/tool-names.ts"
import type { WireProjector } from "../wires/wire.ts"
import type { AnthropicBody } from "./body.ts"
import { ANTHROPIC_MESSAGES } from "./messages.ts"
import { type AnthropicWireOptions, anthropicRequest } from "./request.ts"
import { AnthropicStream, anthropicResponse } from "./stream.ts"

export type {
  AnthropicBlock,
  AnthropicBody,
  AnthropicCacheable,
  AnthropicCacheControl,
  AnthropicDocument,
  AnthropicImage,
  AnthropicImageType,
  AnthropicMessage,
  AnthropicOutputConfig,
  AnthropicReasoning,
  AnthropicRedactedReasoning,
  AnthropicResultContent,
  AnthropicText,
  AnthropicThinking,
  AnthropicTool,
  AnthropicToolChoice,
  AnthropicToolResult,
  AnthropicToolUse,
} from "./body.ts"
export type { AnthropicWireOptions } from "./request.ts"

/**
 * The wire of Anthropic's Messages API, posted to `/v1/messages`, also at compatible endpoints. It wants the header `anthropic-version`.
 * @see https://platform.claude.com/docs/en/api/messages (2026-11)
 */
export function anthropicMessagesWire(options: AnthropicWireOptions = {}): WireProjector<AnthropicBody> {
  return {
    api: ANTHROPIC_MESSAGES,
    encode: (request, encoding) => anthropicRequest(request, { ...options, ...encoding }),
    toolNames: (request) => sentToolNames(request),
    decode: (body, decoding) => anthropicResponse(body, decoding),
    stream: (decoding) => new AnthropicStream(decoding),
    failure: httpFailure,
  }
}
