import * as z from "zod"
import { Count, Json, type Readonlys } from "./json.ts"
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

/** One piece of a message as a provider gets it. `attachmentIndex` points into the request's `attachments`. */
export const Block = z.discriminatedUnion("type", [
  z.object({ ...textBlock, cacheBreakpoint: z.literal(true).exactOptional() }),
  z.object({ type: z.literal("image"), attachmentIndex: Count }),
  toolCallBlock,
  z.object({ type: z.literal("tool_result"), callId: z.string(), toolName: z.string().exactOptional(), text: z.string() }),
  reasoningBlock,
])
export type Block = Readonlys<z.infer<typeof Block>>

/** One message of a request. Tool results stand under `user`. */
export const LlmMessage = z.object({ role: z.enum(["system", "user", "assistant"]), blocks: z.array(Block) })
export type LlmMessage = Readonlys<z.infer<typeof LlmMessage>>

/** Limits of what is generated. Absent: the provider's own. */
export const Generation = z.object({ maxOutputTokens: Count.exactOptional() })
export type Generation = Readonlys<z.infer<typeof Generation>>

/** One model call, in no provider's own format. */
export const LlmRequest = z.object({
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
})
export type LlmRequest = Readonlys<z.infer<typeof LlmRequest>>

/**
 * Tokens, in buckets that do not overlap but for `reasoningTokens`.
 * `inputTokens`: prompt tokens that were not read from the provider's cache; `cachedInputTokens`: those that were;
 * `outputTokens`: every generated token; `reasoningTokens`: the part of `outputTokens` spent on reasoning.
 */
export const TokenUsage = z.object({ inputTokens: Count, cachedInputTokens: Count, outputTokens: Count, reasoningTokens: Count })
export type TokenUsage = Readonlys<z.infer<typeof TokenUsage>>

/** Why a model stopped. `unknown`: the provider gave none, or one that is not known. */
export const TerminalReason = z.enum([
  "stop",
  "tool_use",
  "output_limit",
  "context_overflow",
  "content_filter",
  "provider_error",
  "cancelled",
  "unknown",
])
export type TerminalReason = z.infer<typeof TerminalReason>

/** One piece of a model's answer. */
export const OutputPart = z.discriminatedUnion("type", [z.object(textBlock), reasoningBlock, toolCallBlock])
export type OutputPart = Readonlys<z.infer<typeof OutputPart>>

/** A model's answer. `parts` is what it said, in order; `text` the same as one text. */
export const LlmResponse = z.object({
  text: z.string(),
  parts: z.array(OutputPart),
  usage: TokenUsage,
  terminalReason: TerminalReason,
  terminalDiagnostic: z.string().exactOptional(),
  providerUsage: Json.exactOptional(),
  requestBody: z.string().exactOptional(),
  httpSummary: z.string().exactOptional(),
})
export type LlmResponse = Readonlys<z.infer<typeof LlmResponse>>

/** Why a model call gave no answer. */
export const LlmFailure = z.object({
  message: z.string(),
  retryable: z.boolean(),
  code: z.string().exactOptional(),
  raw: z.string().exactOptional(),
  terminalReason: TerminalReason,
  requestBody: z.string().exactOptional(),
  /** What the call used all the same, where the host knows; counted like the usage of an answer. */
  usage: TokenUsage.exactOptional(),
})
export type LlmFailure = Readonlys<z.infer<typeof LlmFailure>>
