import * as fc from "fast-check"
import type { Json } from "../json.ts"
import type { ApprovalChoice, ApprovalScope, Ask, Decision, Verdict } from "../wire/approval.ts"
import type { CheckpointKind, ErrorEnvelope, Outcome, TurnEvent } from "../wire/event.ts"
import type { Block, Generation, LlmFailure, LlmMessage, LlmRequest, LlmResponse, OutputPart, TerminalReason, TokenUsage } from "../wire/llm.ts"
import type {
  AttachmentRef,
  CheckpointDelivery,
  DeliveredMessage,
  HistoryRecord,
  Message,
  Origin,
  Part,
  Producer,
  Prune,
  ReasoningReplay,
  ReplayMeta,
  ResponseMeta,
  ReturnPart,
  Role,
  TurnCause,
} from "../wire/message.ts"
import type { ExecResult, ExecutionSurfaceSynced, LlmComplete, Response } from "../wire/response.ts"
import type {
  CompletedToolCall,
  ExecResponse,
  FailureSource,
  ModelReturn,
  PendingToolCall,
  ToolControl,
  ToolFailure,
  ToolOutput,
  ToolSpec,
} from "../wire/tool.ts"

// fast-check arbitraries of the values on the wire. All are valid; many are odd: lone surrogates, keys named `__proto__`,
// empty and repeated ids, white space that JavaScript and Unicode define differently, texts longer than every limit, -0.

type Arbitrary<Value> = fc.Arbitrary<Value>
type Fields<Value> = { readonly [Key in keyof Value]: Arbitrary<Value[Key]> }

/** An object with all the required keys and any of the optional ones. */
export function object<Required extends object, Optional extends object = object>(
  required: Fields<Required>,
  optional?: Fields<Optional>,
): Arbitrary<Required & Partial<Optional>> {
  const model: { [key: string]: Arbitrary<unknown> } = { ...required, ...optional }
  return fc.record(model, { requiredKeys: Object.keys(required), noNullPrototype: true }) as Arbitrary<unknown> as Arbitrary<
    Required & Partial<Optional>
  >
}

/** A value with its tag. */
function tagged<Type extends string, Required extends object, Optional extends object = object>(
  type: Type,
  required: Fields<Required>,
  optional?: Fields<Optional>,
): Arbitrary<{ type: Type } & Required & Partial<Optional>> {
  return object<{ type: Type } & Required, Optional>({ type: fc.constant(type), ...required } as Fields<{ type: Type } & Required>, optional)
}

/** At most `most` items. */
export function few<Item>(item: Arbitrary<Item>, most = 2): Arbitrary<readonly Item[]> {
  return fc.array(item, { maxLength: most })
}

const yes = fc.constant(true as const)

const ODD_TEXTS = [
  "",
  " ",
  "\n\n",
  "\u0085",
  "\ufeff",
  "\u2028",
  "\u0000",
  "\ud800",
  "\udc00 and \ud83d",
  "😀 and 𝒳",
  "__proto__",
  "constructor",
  "null",
  '{"a":1}',
  "[1,2",
  "```js\nsubmit(1)\n```",
  " padded ",
]

/** A text longer than every length limit, with characters of two code units. */
const BIG_TEXT = `head ${"😀 big ".repeat(700)}tail`

export const text: Arbitrary<string> = fc.oneof(
  { withCrossShrink: true },
  { weight: 60, arbitrary: fc.string({ maxLength: 10 }) },
  { weight: 30, arbitrary: fc.constantFrom(...ODD_TEXTS) },
  { weight: 10, arbitrary: fc.string({ unit: "binary", maxLength: 5 }) },
  { weight: 1, arbitrary: fc.constant(BIG_TEXT) },
)

/** Ids from a small set, so that some are equal. */
export const id: Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("a", "b", "c", "d") },
  { weight: 1, arbitrary: fc.constantFrom("", " ", "__proto__", "m_0_call_3", "\ud800") },
)

export const count: Arbitrary<number> = fc.oneof(
  { weight: 8, arbitrary: fc.nat({ max: 200 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, Number.MAX_SAFE_INTEGER) },
)

/** Milliseconds since the epoch, some before it. */
export const timestamp: Arbitrary<number> = fc.integer({ min: -1_000, max: 2_000_000_000_000 })

export const attachmentRef: Arbitrary<AttachmentRef> = object(
  { id, mediaType: fc.constantFrom("image/png", "image/jpeg", "text/plain", "application/pdf"), byteLength: count },
  { width: count, height: count, label: text },
)

const jsonKey = fc.oneof(
  { weight: 4, arbitrary: text },
  { weight: 1, arbitrary: fc.constantFrom("__proto__", "toString", "$attachment", "$object", "0", "type") },
)

/** Free JSON, at most a few levels deep, including the forms that the machine interprets. */
export const json: Arbitrary<Json> = fc.letrec<{ value: Json; leaf: Json; list: Json; object: Json; attachment: Json }>((tie) => ({
  value: fc.oneof({ maxDepth: 2, depthSize: "small", withCrossShrink: true }, tie("leaf"), tie("list"), tie("object"), tie("attachment")),
  leaf: fc.oneof(fc.constantFrom(null, true, false, 0, -0, 1e21, 5e-324), text, fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true })),
  list: fc.array(tie("value"), { maxLength: 3 }),
  object: fc.array(fc.tuple(jsonKey, tie("value")), { maxLength: 3 }).map((entries) => Object.fromEntries(entries)),
  attachment: fc.oneof(
    attachmentRef.map((reference): Json => ({ $attachment: { ...reference } })),
    tie("value").map((value): Json => ({ $object: { $attachment: value } })),
  ),
})).value

export const role: Arbitrary<Role> = fc.constantFrom("user", "assistant", "system", "event")

export const origin: Arbitrary<Origin> = fc.oneof(
  tagged("plugin", { pluginId: text }, { transient: yes }),
  tagged("process", { processId: text, eventType: text, sequence: count }, { wakeId: text, causedBy: json }),
)

export const prune: Arbitrary<Prune> = fc.oneof(
  tagged("cleared", {}),
  tagged("deleted", { breadcrumb: text, archiveHash: text }),
  tagged("summarized", { summary: text, archiveHash: text }),
)

export const responseMeta: Arbitrary<ResponseMeta> = object({}, { id: text, status: text, phase: text })
export const replayMeta: Arbitrary<ReplayMeta> = object({}, { itemId: text, opaque: text })
export const reasoningReplay: Arbitrary<ReasoningReplay> = object(
  {},
  { itemId: text, encryptedContent: text, signature: text, redacted: yes, summary: few(text) },
)

/** The text of a tool call's arguments: mostly JSON. */
export const inputJson: Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: json.map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: text },
)

const toolCall = { callId: id, toolName: id, inputJson }
const opaque = { provider: text, kind: text, data: json }
const returnPart: Arbitrary<ReturnPart> = fc.oneof(tagged("text", { text }), tagged("attachment", { attachment: attachmentRef }))
const toolResult = { toolName: id, isError: yes, content: few(returnPart) }
const partOptions = { prune, providerMetadata: json }

export const part: Arbitrary<Part> = fc.oneof(
  { weight: 3, arbitrary: tagged("text", { id, text }, { ...partOptions, responseMeta }) },
  { weight: 1, arbitrary: object({ type: fc.constantFrom("code", "output", "error"), id, text }, partOptions) },
  { weight: 1, arbitrary: tagged("image", { id }, { ...partOptions, attachment: attachmentRef, text }) },
  { weight: 1, arbitrary: tagged("file", { id, attachment: attachmentRef }, partOptions) },
  { weight: 2, arbitrary: tagged("tool_call", { id, ...toolCall }, { ...partOptions, replay: replayMeta }) },
  { weight: 2, arbitrary: tagged("tool_result", { id, callId: id, text }, { ...partOptions, ...toolResult }) },
  { weight: 1, arbitrary: tagged("reasoning", { id, text }, { ...partOptions, replay: reasoningReplay }) },
  { weight: 1, arbitrary: tagged("opaque", { id, ...opaque }, { ...partOptions, text }) },
  { weight: 1, arbitrary: tagged("interrupted", { id, reason: fc.constantFrom("cancelled", "output_limit", "refusal", "empty") }, partOptions) },
)

export const producer: Arbitrary<Producer> = object(
  { provider: fc.constantFrom("a", "b"), api: fc.constantFrom("openai-chat", "x"), model: text },
  { responseId: text, responseModel: text },
)

export const message: Arbitrary<Message> = object({ id, role, parts: few(part, 3) }, { origin, producer })

/** Messages of a user, at least one. */
export const userMessages: Arbitrary<readonly Message[]> = fc.array(
  message.map(({ role, parts, ...rest }): Message => {
    const words = parts.filter(({ type }) => type !== "tool_call" && type !== "tool_result")
    return { ...rest, role: role === "assistant" ? "user" : role, parts: words }
  }),
  { minLength: 1, maxLength: 2 },
)

export const historyRecord: Arbitrary<HistoryRecord> = fc.oneof(tagged("conversation", { message }), tagged("protocol", { event: json }))

export const turnCause: Arbitrary<TurnCause> = object({ id, eventType: text, origin, text })

export const deliveredMessage: Arbitrary<DeliveredMessage> = object({ role, content: text }, { origin, parts: few(part) })

/** A host's delivery. About one in three is empty. */
export const delivery: Arbitrary<CheckpointDelivery> = fc.oneof(
  { weight: 1, arbitrary: fc.constant({}) },
  {
    weight: 3,
    arbitrary: object(
      {},
      {
        userMessages: few(message),
        messages: few(deliveredMessage),
        transientMessages: few(deliveredMessage),
        turnCauses: few(turnCause),
        events: few(json),
      },
    ),
  },
)

export const toolSpec: Arbitrary<ToolSpec> = object({ name: id, description: text, inputSchema: json }, { outputSchema: json })

const replayed = { providerMetadata: json }

export const block: Arbitrary<Block> = fc.oneof(
  tagged("text", { text }, { ...replayed, responseMeta, cacheBreakpoint: yes }),
  tagged("image", { attachmentIndex: count }, replayed),
  tagged("file", { attachmentIndex: count }, replayed),
  tagged("tool_call", toolCall, { ...replayed, replay: replayMeta }),
  tagged("tool_result", { callId: id, text }, { ...replayed, ...toolResult }),
  tagged("reasoning", { text }, { ...replayed, replay: reasoningReplay }),
  tagged("opaque", opaque, { ...replayed, text }),
)

export const llmMessage: Arbitrary<LlmMessage> = object({ role: fc.constantFrom("system", "user", "assistant"), blocks: few(block) }, { producer })

export const generation: Arbitrary<Generation> = object(
  {},
  {
    maxOutputTokens: count,
    temperature: fc.double({ min: 0, max: 2, noNaN: true }),
    topP: fc.double({ min: 0, max: 1, noNaN: true }),
    stopSequences: few(text),
    seed: fc.integer(),
    reasoningEffort: text,
    providerOptions: json,
  },
)

export const llmRequest: Arbitrary<LlmRequest> = object(
  {
    model: text,
    messages: few(llmMessage),
    attachments: few(attachmentRef, 1),
    tools: few(toolSpec, 1),
    toolChoice: fc.oneof(fc.constantFrom("auto", "none", "required"), object({ toolName: id })),
    generation,
  },
  {
    modelVariant: text,
    sessionId: text,
    parallelToolCalls: fc.constant(false as const),
    cache: fc.constantFrom("auto", "off"),
    outputSpec: fc.oneof(tagged("json_object", {}), tagged("json_schema", { name: text, schema: json, strict: fc.boolean() })),
  },
)

export const usage: Arbitrary<TokenUsage> = object(
  { inputTokens: count, cachedInputTokens: count, outputTokens: fc.oneof(count, fc.constant(0)), reasoningTokens: count },
  { cacheWriteTokens: count, estimated: yes },
)

/** Mostly reasons that let a turn continue. */
export const terminalReason: Arbitrary<TerminalReason> = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom("stop", "tool_use", "paused", "unknown") },
  {
    weight: 1,
    arbitrary: fc.constantFrom("output_limit", "output_limit", "context_overflow", "content_filter", "refusal", "provider_error", "cancelled"),
  },
)

export const outputPart: Arbitrary<OutputPart> = fc.oneof(
  { weight: 4, arbitrary: tagged("text", { text }, { ...replayed, responseMeta }) },
  { weight: 2, arbitrary: tagged("reasoning", { text }, { ...replayed, replay: reasoningReplay }) },
  { weight: 6, arbitrary: tagged("tool_call", toolCall, { ...replayed, replay: replayMeta }) },
  { weight: 1, arbitrary: tagged("opaque", opaque, { ...replayed, text }) },
)

export const llmResponse: Arbitrary<LlmResponse> = object(
  { text, parts: few(outputPart, 4), usage, terminalReason },
  {
    retriedUsage: usage,
    producer,
    durationMs: count,
    terminalDiagnostic: text,
    providerUsage: json,
    requestBody: text,
    httpSummary: text,
  },
)

export const llmFailure: Arbitrary<LlmFailure> = object(
  { message: text, retryable: fc.boolean(), terminalReason },
  {
    code: text,
    kind: fc.constantFrom("rate_limit", "usage_limit", "network", "other"),
    retryAt: timestamp,
    raw: text,
    requestBody: text,
    usage,
    retriedUsage: usage,
  },
)

export const pendingToolCall: Arbitrary<PendingToolCall> = object({ callId: id, toolName: id, args: json }, { replay: replayMeta })

export const failureSource: Arbitrary<FailureSource> = fc.constantFrom("runtime", "tool", "plugin", "policy", "cancellation")

export const toolFailure: Arbitrary<ToolFailure> = object(
  {
    class: fc.constantFrom("invalid_request", "unavailable", "permission_denied", "timeout", "execution", "external", "resource_limit", "internal"),
    code: text,
    message: text,
    source: failureSource,
    retry: fc.oneof(tagged("never", {}), tagged("safe", {}, { afterMs: count }), tagged("exhausted", { attempts: count })),
  },
  { raw: json },
)

export const toolControl: Arbitrary<ToolControl> = fc.oneof(
  tagged("switch_agent_frame", { frameId: text }, { initialNodes: few(json), task: text }),
  tagged("finish", { value: json }),
  tagged("fail", { failure: toolFailure }),
)

/** Tool outputs. One in eight controls the turn. */
export const toolOutput: Arbitrary<ToolOutput> = fc
  .tuple(
    fc.oneof(
      { weight: 4, arbitrary: object({ status: fc.constant("success"), value: json }) },
      { weight: 1, arbitrary: object({ status: fc.constant("failure"), failure: toolFailure }) },
      { weight: 1, arbitrary: object({ status: fc.constant("cancelled"), message: text, source: failureSource }, { raw: json }) },
    ) as Arbitrary<ToolOutput>,
    fc.option(toolControl, { freq: 8, nil: undefined }),
  )
  .map(([output, control]) => (control === undefined ? output : { ...output, control }))

export const modelReturn: Arbitrary<ModelReturn> = object({ parts: few(returnPart) })

export const completedToolCall: Arbitrary<CompletedToolCall> = object(
  { callId: id, toolName: id, args: json, output: toolOutput, durationMs: count },
  { modelReturn, replay: replayMeta, usage },
)

export const execResponse: Arbitrary<ExecResponse> = object(
  { observations: few(text), toolCalls: few(json, 1), images: few(json, 1), printedImages: few(attachmentRef, 1), durationMs: count },
  { error: text, terminalFinish: json, observationTruncation: few(json, 1) },
)

const failed = <Failure>(error: Arbitrary<Failure>): Arbitrary<{ ok: false; error: Failure }> => object({ ok: fc.constant(false as const), error })

export const surfaceResult: Arbitrary<ExecutionSurfaceSynced["result"]> = fc.oneof(
  { weight: 12, arbitrary: object({ ok: yes }, { update: object({ systemPrompt: text, tools: few(toolSpec) }) }) },
  { weight: 1, arbitrary: failed(text) },
)

export const llmResult: Arbitrary<LlmComplete["result"]> = fc.oneof(
  { weight: 12, arbitrary: object({ ok: yes, response: llmResponse }) },
  { weight: 1, arbitrary: object({ ok: fc.constant(false as const), error: llmFailure }, { partial: llmResponse }) },
)

export const execResult: Arbitrary<ExecResult["result"]> = fc.oneof(
  { weight: 4, arbitrary: object({ ok: yes, value: execResponse }) },
  { weight: 1, arbitrary: failed(text) },
)

const answer = { id: count }
const answeredAt = { at: timestamp }

/** A response of any kind, to any effect. */
/** What a person is asked about a held call. Some calls allow nothing. */
export const ask: Arbitrary<Ask> = object(
  {
    allow: fc.shuffledSubarray<ApprovalChoice>(["approve", "edit", "reject"]),
    scopes: fc.shuffledSubarray<ApprovalScope>(["call", "turn", "thread"]),
  },
  { summary: text, risk: fc.constantFrom("low", "medium", "high"), expiresAt: timestamp },
)

const approvalScope: Arbitrary<ApprovalScope> = fc.constantFrom("call", "turn", "thread")

/** What is decided about a held call. */
export const verdict: Arbitrary<Verdict> = fc.oneof(
  { weight: 3, arbitrary: object({ decision: fc.constant("approve" as const) }, { scope: approvalScope }) },
  { weight: 2, arbitrary: object({ decision: fc.constant("edit" as const), args: json }) },
  { weight: 2, arbitrary: object({ decision: fc.constant("reject" as const) }, { message: text, scope: approvalScope }) },
  { weight: 1, arbitrary: object({ decision: fc.constantFrom("expired", "cancelled") }) },
)

export const decision: Arbitrary<Decision> = fc
  .tuple(object({ requestId: id, digest: text }, { by: text, note: text }), verdict)
  .map(([facts, decided]) => ({ ...facts, ...decided }))

export const response: Arbitrary<Response> = fc.oneof(
  tagged("execution_surface_synced", { ...answer, result: surfaceResult }, answeredAt),
  tagged("llm_complete", { ...answer, result: llmResult }, { ...answeredAt, textStreamed: yes }),
  tagged("tool_results", { ...answer, results: few(completedToolCall) }, answeredAt),
  tagged("tool_decisions", { ...answer, decisions: few(decision) }, answeredAt),
  tagged("tool_pending", { ...answer, callId: id, token: text }, { ...answeredAt, note: text }),
  tagged("exec_result", { ...answer, result: execResult }, answeredAt),
  tagged("checkpoint_delivery", { ...answer, delivery }, answeredAt),
)

export const checkpointKind: Arbitrary<CheckpointKind> = fc.constantFrom("after_work", "before_completion")

const errorEnvelope: Arbitrary<ErrorEnvelope> = object({ kind: text, userMessage: text }, { code: text, terminalReason, raw: text })

export const outcome: Arbitrary<Outcome> = fc.oneof(
  tagged("finished", {
    finish: fc.oneof(
      tagged("assistant_message", { text }),
      tagged("submitted_value", { value: json }),
      tagged("tool_value", { toolName: id, value: json }),
    ),
  }),
  tagged("agent_frame_switch", { frameId: text }),
  tagged("stopped", {
    stop: fc.oneof(
      object(
        {
          type: fc.constantFrom(
            "cancelled",
            "incomplete",
            "invalid_input",
            "max_iterations",
            "max_tokens",
            "deadline",
            "tool_failure",
            "provider_error",
            "plugin_abort",
            "runtime_error",
          ),
        },
        { error: errorEnvelope },
      ),
      tagged("submitted_error", { value: json }, { error: errorEnvelope }),
      tagged(
        "tool_error",
        {
          toolName: id,
          value: fc.oneof(
            json,
            toolFailure,
            toolFailure.map((failure) => ({ ...failure, more: 1 }) as Json),
          ),
        },
        { error: errorEnvelope },
      ),
    ),
  }),
)
const toolCallEvent = { name: id, args: json }

/** Events that a driver or host may emit: not `turn_outcome` and `done`, which only the machine emits. */
const externalCall = { callId: id, name: id }

export const turnEvent: Arbitrary<TurnEvent> = fc.oneof(
  object({ type: fc.constantFrom("text_delta", "reasoning_delta"), content: text }),
  tagged("message", { text, kind: text }),
  tagged("tool_call_start", toolCallEvent, { callId: id }),
  tagged("tool_call", { ...toolCallEvent, output: toolOutput, durationMs: count }, { callId: id }),
  tagged("tool_progress", { callId: id, name: id }, { message: text, progress: fc.double({ noNaN: true, noDefaultInfinity: true }), total: count }),
  tagged("approval_requested", {
    held: object({ callId: id, toolName: id, args: json, requestId: id, index: count, digest: text, ask }, { replay: replayMeta }),
  }),
  tagged(
    "approval_decided",
    { ...externalCall, requestId: id, decision: fc.constantFrom("approve", "edit", "reject", "expired", "cancelled") },
    { args: json, by: text },
  ),
  tagged("tool_pending", { ...externalCall, token: text }, { note: text }),
  tagged("llm_request", { iteration: count, messageCount: count, tools: few(id) }),
  tagged("llm_response", { iteration: count, content: text, durationMs: count }),
  tagged("token_usage", { iteration: count, usage, cumulative: usage }),
  tagged("child_token_usage", { sessionId: text, source: text, model: text, iteration: count, usage, cumulative: usage }),
  tagged(
    "retry_status",
    { waitSeconds: fc.double({ min: 0, max: 1e6, noNaN: true }), attempt: count, maxAttempts: count, reason: text },
    { envelope: errorEnvelope },
  ),
  tagged("injected_turn_input_accepted", { inputs: few(json), checkpoint: checkpointKind }),
  tagged("injected_messages_committed", { messages: few(deliveredMessage), checkpoint: checkpointKind }),
  tagged("plugin_event", {
    pluginId: text,
    event: fc.oneof(tagged("status", { key: text, label: text }, { detail: text }), tagged("custom", { name: text, payload: json })),
  }),
  tagged("error", { message: text }, { envelope: errorEnvelope }),
)
