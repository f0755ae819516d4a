import * as z from "zod"
import type * as wire from "../wire/llm.ts"
import { Count, exact, Json, type Schema, type Tagged } from "./json.ts"
import { AttachmentRef, ReasoningReplay, ReplayMeta, ResponseMeta } from "./message.ts"
import { ToolSpec } from "./tool.ts"

const textBlock = { type: z.literal("text"), text: z.string(), responseMeta: ResponseMeta.exactOptional() }
const reasoningBlock = z.object({ type: z.literal("reasoning"), text: z.string(), replay: ReasoningReplay.exactOptional() })
const toolCallBlock = z.object({
  type: z.literal("tool_call"),
  callId: z.string(),
  toolName: z.string(),
  inputJson: z.string(),
  replay: ReplayMeta.exactOptional(),
})

/** One piece of a message in a request. */
export type Block = wire.Block
export const Block: Tagged<Block> = exact(
  z.discriminatedUnion("type", [
    z.object({ ...textBlock, cacheBreakpoint: z.literal(true).exactOptional() }),
    z.object({ type: z.literal("image"), attachmentIndex: Count }),
    toolCallBlock,
    z.object({ type: z.literal("tool_result"), callId: z.string(), toolName: z.string().exactOptional(), text: z.string() }),
    reasoningBlock,
  ]),
)

/** One message of a request. Tool results are blocks of a `user` message. */
export type LlmMessage = wire.LlmMessage
export const LlmMessage: Tagged<LlmMessage> = exact(z.object({ role: z.enum(["system", "user", "assistant"]), blocks: z.array(Block) }))

/** Limits of what the model generates. */
export type Generation = wire.Generation
export const Generation: Tagged<Generation> = exact(z.object({ maxOutputTokens: Count.exactOptional() }))

/** One model call, in no provider's own format. */
export type LlmRequest = wire.LlmRequest
export const LlmRequest: Tagged<LlmRequest> = exact(
  z.object({
    model: z.string(),
    modelVariant: z.string().exactOptional(),
    messages: z.array(LlmMessage),
    attachments: z.array(AttachmentRef),
    tools: z.array(ToolSpec),
    toolChoice: z.union([z.enum(["auto", "none", "required"]), z.object({ toolName: z.string() })]),
    generation: Generation,
    sessionId: z.string().exactOptional(),
    outputSpec: z
      .discriminatedUnion("type", [
        z.object({ type: z.literal("json_object") }),
        z.object({ type: z.literal("json_schema"), name: z.string(), schema: Json, strict: z.boolean() }),
      ])
      .exactOptional(),
  }),
)

const tokenUsage = { inputTokens: Count, cachedInputTokens: Count, outputTokens: Count, reasoningTokens: Count }

/** Tokens, in buckets that do not overlap, except that `reasoningTokens` are part of `outputTokens`. */
export type TokenUsage = wire.TokenUsage
export const TokenUsage: Tagged<TokenUsage> = exact(z.object(tokenUsage))

/** Why a model stopped. `unknown`: the provider gave no reason, or one that is not listed here. */
export type TerminalReason = wire.TerminalReason
export const TerminalReason: Schema<TerminalReason> = exact(
  z.enum(["stop", "tool_use", "output_limit", "context_overflow", "content_filter", "provider_error", "cancelled", "unknown"]),
)

/** One piece of a model's answer. */
export type OutputPart = wire.OutputPart
export const OutputPart: Tagged<OutputPart> = exact(z.discriminatedUnion("type", [z.object(textBlock), reasoningBlock, toolCallBlock]))

const NO_USAGE_GIVEN =
  "The response has no usage; pass { inputTokens, cachedInputTokens, outputTokens, reasoningTokens }, or zeros where the provider reports none"

/** A model's answer. */
export type LlmResponse = wire.LlmResponse
export const LlmResponse: Tagged<LlmResponse> = exact(
  z.object({
    text: z.string(),
    parts: z.array(OutputPart),
    usage: z.object(tokenUsage, { error: ({ input }) => (input === undefined ? NO_USAGE_GIVEN : undefined) }),
    terminalReason: TerminalReason,
    terminalDiagnostic: z.string().exactOptional(),
    providerUsage: Json.exactOptional(),
    requestBody: z.string().exactOptional(),
    httpSummary: z.string().exactOptional(),
  }),
)

/** Why a model call failed. */
export type LlmFailure = wire.LlmFailure
export const LlmFailure: Tagged<LlmFailure> = exact(
  z.object({
    message: z.string(),
    retryable: z.boolean(),
    code: z.string().exactOptional(),
    raw: z.string().exactOptional(),
    terminalReason: TerminalReason,
    requestBody: z.string().exactOptional(),
    usage: TokenUsage.exactOptional(),
  }),
)
