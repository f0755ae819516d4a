import * as z from "zod"
import type * as wire from "../wire/llm.ts"
import { Count, exact, Json, type Schema, type Tagged, Timestamp } from "./json.ts"
import { AttachmentRef, opaqueContent, Producer, ReasoningReplay, ReplayMeta, ResponseMeta, ReturnPart } from "./message.ts"
import { ToolSpec } from "./tool.ts"
import { TokenUsage, tokenUsage } from "./usage.ts"

export { TokenUsage } from "./usage.ts"

const replayed = { providerMetadata: Json.exactOptional() }

const textBlock = { ...replayed, type: z.literal("text"), text: z.string(), responseMeta: ResponseMeta.exactOptional() }
const reasoningBlock = z.object({ ...replayed, type: z.literal("reasoning"), text: z.string(), replay: ReasoningReplay.exactOptional() })
const toolCallBlock = z.object({
  ...replayed,
  type: z.literal("tool_call"),
  callId: z.string(),
  toolName: z.string(),
  inputJson: z.string(),
  replay: ReplayMeta.exactOptional(),
})

const opaqueBlock = z.object({ ...replayed, ...opaqueContent })

/** One piece of a message in a request. */
export type Block = wire.Block
export const Block: Tagged<Block> = exact(
  z.discriminatedUnion("type", [
    z.object({ ...textBlock, cacheBreakpoint: z.literal(true).exactOptional() }),
    z.object({ ...replayed, type: z.literal("image"), attachmentIndex: Count }),
    z.object({ ...replayed, type: z.literal("file"), attachmentIndex: Count }),
    toolCallBlock,
    z.object({
      ...replayed,
      type: z.literal("tool_result"),
      callId: z.string(),
      toolName: z.string().exactOptional(),
      text: z.string(),
      isError: z.literal(true).exactOptional(),
      content: z.array(ReturnPart).exactOptional(),
    }),
    reasoningBlock,
    opaqueBlock,
  ]),
)

/** One message of a request. Tool results are blocks of a `user` message. */
export type LlmMessage = wire.LlmMessage
export const LlmMessage: Tagged<LlmMessage> = exact(
  z.object({ role: z.enum(["system", "user", "assistant"]), blocks: z.array(Block), producer: Producer.exactOptional() }),
)

/** From 0 to 1. */
const Share = z.number().check(z.gte(0), z.lte(1))

/** The settings of {@link Generation}, for schemas that also accept `undefined`. */
export const generation: {
  readonly maxOutputTokens: z.ZodInt
  readonly temperature: z.ZodNumber
  readonly topP: z.ZodNumber
  readonly stopSequences: z.ZodArray<z.ZodString>
  readonly seed: z.ZodInt
  readonly reasoningEffort: z.ZodString
  readonly providerOptions: typeof Json
} = {
  maxOutputTokens: Count,
  temperature: z.number().check(z.nonnegative()),
  topP: Share,
  stopSequences: z.array(z.string()),
  seed: z.int(),
  reasoningEffort: z.string(),
  providerOptions: Json,
}

/** How the model generates. */
export type Generation = wire.Generation
export const Generation: Tagged<Generation> = exact(
  z.object({
    maxOutputTokens: generation.maxOutputTokens.exactOptional(),
    temperature: generation.temperature.exactOptional(),
    topP: generation.topP.exactOptional(),
    stopSequences: generation.stopSequences.exactOptional(),
    seed: generation.seed.exactOptional(),
    reasoningEffort: generation.reasoningEffort.exactOptional(),
    providerOptions: generation.providerOptions.exactOptional(),
  }),
)

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
    parallelToolCalls: z.literal(false).exactOptional(),
    generation: Generation,
    cache: z.enum(["auto", "off"]).exactOptional(),
    sessionId: z.string().exactOptional(),
    outputSpec: z
      .discriminatedUnion("type", [
        z.object({ type: z.literal("json_object") }),
        z.object({ type: z.literal("json_schema"), name: z.string(), schema: Json, strict: z.boolean() }),
      ])
      .exactOptional(),
  }),
)

/** Why a model stopped. `unknown`: the provider gave no reason, or one that is not listed here. */
export type TerminalReason = wire.TerminalReason
export const TerminalReason: Schema<TerminalReason> = exact(
  z.enum(["stop", "tool_use", "paused", "output_limit", "context_overflow", "content_filter", "refusal", "provider_error", "cancelled", "unknown"]),
)

/** One piece of a model's answer. */
export type OutputPart = wire.OutputPart
export const OutputPart: Tagged<OutputPart> = exact(z.discriminatedUnion("type", [z.object(textBlock), reasoningBlock, toolCallBlock, opaqueBlock]))

const NO_USAGE_GIVEN =
  "The response has no usage; pass { inputTokens, cachedInputTokens, outputTokens, reasoningTokens }, or zeros where the provider reports none"

/** A model's answer. */
export type LlmResponse = wire.LlmResponse
export const LlmResponse: Tagged<LlmResponse> = exact(
  z.object({
    text: z.string(),
    parts: z.array(OutputPart),
    usage: z.object(tokenUsage, { error: ({ input }) => (input === undefined ? NO_USAGE_GIVEN : undefined) }),
    retriedUsage: TokenUsage.exactOptional(),
    producer: Producer.exactOptional(),
    durationMs: Count.exactOptional(),
    terminalReason: TerminalReason,
    terminalDiagnostic: z.string().exactOptional(),
    providerUsage: Json.exactOptional(),
    requestBody: z.string().exactOptional(),
    httpSummary: z.string().exactOptional(),
  }),
)

/** The kind of a failure, the same for every provider. */
export type LlmFailureKind = wire.LlmFailureKind
export const LlmFailureKind: Schema<LlmFailureKind> = exact(
  z.enum(["rate_limit", "usage_limit", "overloaded", "auth", "invalid_request", "context_overflow", "network", "timeout", "cancelled", "other"]),
)

/** Why a model call failed. */
export type LlmFailure = wire.LlmFailure
export const LlmFailure: Tagged<LlmFailure> = exact(
  z.object({
    message: z.string(),
    retryable: z.boolean(),
    code: z.string().exactOptional(),
    kind: LlmFailureKind.exactOptional(),
    retryAt: Timestamp.exactOptional(),
    raw: z.string().exactOptional(),
    terminalReason: TerminalReason,
    requestBody: z.string().exactOptional(),
    usage: TokenUsage.exactOptional(),
    retriedUsage: TokenUsage.exactOptional(),
  }),
)
