import { describe, expect, test } from "vitest"
import * as z from "zod"
import * as schemas from "../../src/schemas/index.ts"
import { type Edit, plain, remove, set } from "../machine/support.ts"

/** Full examples of every shape of the wire, written from its description. `optional`: the keys that may be left out, as JSON pointers. */
interface Example {
  readonly schema: z.ZodType
  readonly value: unknown
  readonly optional?: readonly string[]
  /** The optional keys may also be `undefined`: a person writes this value by hand. */
  readonly mayBeUndefined?: boolean
}

const usage = { inputTokens: 1, cachedInputTokens: 2, cacheWriteTokens: 1, outputTokens: 3, reasoningTokens: 1, estimated: true }
const attachment = { id: "att-1", mediaType: "image/png", byteLength: 3, width: 4, height: 5, label: "tiny" }
const origin = { type: "process", processId: "p", eventType: "tick", sequence: 7, wakeId: "w", causedBy: { a: [1] } }
const message = { id: "m1", role: "user", parts: [{ id: "m1.p0", type: "text", text: "hello", providerMetadata: { a: 1 } }], origin }
const producer = { provider: "api.example", api: "openai-chat", model: "m", responseId: "r", responseModel: "m-1" }
const request = {
  model: "m",
  modelVariant: "fast",
  messages: [{ role: "system", blocks: [{ type: "text", text: "t" }] }],
  attachments: [attachment],
  tools: [{ name: "look", description: "d", inputSchema: { type: "object" }, outputSchema: true }],
  toolChoice: "auto",
  parallelToolCalls: false,
  generation: {
    maxOutputTokens: 5,
    temperature: 0.5,
    topP: 0.9,
    stopSequences: ["END"],
    seed: 7,
    reasoningEffort: "low",
    providerOptions: { top_k: 3 },
  },
  cache: "off",
  sessionId: "s",
  outputSpec: { type: "json_schema", name: "n", schema: { a: 1 }, strict: true },
}
const response = {
  text: "hi",
  parts: [
    { type: "text", text: "hi", responseMeta: { id: "r", status: "done", phase: "final" } },
    { type: "reasoning", text: "hm", replay: { itemId: "i", encryptedContent: "e", signature: "s", redacted: true, summary: ["x"] } },
    { type: "tool_call", callId: "c", toolName: "t", inputJson: "{}", replay: { itemId: "i", opaque: "o" }, providerMetadata: [1] },
    { type: "opaque", provider: "p", kind: "k", data: { a: [null] }, text: "t" },
  ],
  usage,
  retriedUsage: usage,
  producer,
  durationMs: 5,
  terminalReason: "stop",
  terminalDiagnostic: "d",
  providerUsage: { raw: 1 },
  requestBody: "b",
  httpSummary: "200",
}
const llmFailure = {
  message: "no",
  retryable: true,
  code: "c",
  kind: "rate_limit",
  retryAt: 5,
  retriedUsage: usage,
  raw: "r",
  terminalReason: "provider_error",
  requestBody: "b",
  usage,
}
const failure = { class: "timeout", code: "c", message: "m", source: "tool", retry: { type: "safe", afterMs: 5 }, raw: [1] }
const pendingCall = { callId: "c", toolName: "t", args: { a: [null] }, replay: { itemId: "i", opaque: "o" } }
const completedCall = {
  callId: "c",
  toolName: "t",
  args: {},
  output: { status: "success", value: 1, control: { type: "finish", value: null } },
  modelReturn: {
    parts: [
      { type: "text", text: "t" },
      { type: "attachment", attachment },
    ],
  },
  durationMs: 5,
  replay: { itemId: "i", opaque: "o" },
  usage,
  edited: true,
}
const ask = { summary: "Pays 5", risk: "high", allow: ["approve", "edit", "reject"], scopes: ["call", "turn", "thread"], expiresAt: 9 }
const heldCall = { ...pendingCall, requestId: "2:c", index: 2, digest: "d", ask }
const externalCall = { ...pendingCall, token: "job-1", note: "n" }
const decided = { requestId: "2:c", digest: "d", by: "anna", note: "n" }
const decidedCall = { requestId: "2:c", decision: "edit", args: { a: 2 }, by: "anna" }
const grantKey = { toolName: "t", toolDigest: "d" }
const execResponse = {
  observations: ["1"],
  toolCalls: [{}],
  images: [null],
  printedImages: [attachment],
  error: "e",
  durationMs: 1,
  terminalFinish: 42,
  observationTruncation: [1],
}
const delivered = { role: "system", content: "c", origin, parts: [{ id: "", type: "text", text: "t" }] }
const turnCause = { id: "e1", eventType: "mail", origin, text: "you have mail" }
const delivery = { userMessages: [message], messages: [delivered], transientMessages: [delivered], turnCauses: [turnCause], events: [{ mine: 1 }] }
const envelope = { kind: "k", code: "c", terminalReason: "unknown", failureKind: "rate_limit", retryAt: 5, userMessage: "u", raw: "r" }
const finished = { type: "finished", finish: { type: "assistant_message", text: "t" } }
const tool = { name: "look", description: "d", inputSchema: { type: "object" }, outputSchema: true }
const config = {
  model: "m",
  modelVariant: "v",
  sessionId: "s",
  runSessionId: "r",
  systemPrompt: "p",
  tools: [tool],
  maxContextTokens: 1,
  maxResultTokens: 1,
  maxIterations: 2,
  generation: {},
  parallelToolCalls: false,
  cache: "auto",
  syncExecutionSurface: false,
  emitLlmTrace: false,
}

const savedTurn = {
  format: "turn-machine/checkpoint",
  version: 2,
  driver: { name: "chat", version: 1 },
  state: {
    type: "waiting_tools",
    outstanding: { type: "tool_calls", id: 2, calls: [pendingCall, pendingCall] },
    results: [completedCall, null],
    settled: [{ index: 1, result: completedCall }],
    decided: [decidedCall],
    pending: [externalCall],
  },
  unpolled: [
    { type: "emit", event: { type: "done" } },
    { type: "progress", messageCount: 1, eventsFrom: 0, eventsTo: 1, iteration: 0 },
    { type: "outstanding" },
    { type: "cancel_llm", id: 1 },
    { type: "done", outcome: finished, messageCount: 1, eventsFrom: 1, eventsTo: 1, iteration: 0 },
  ],
  messages: [message],
  events: [
    { type: "message", index: 0 },
    { type: "protocol", event: 1 },
  ],
  turnCauses: [turnCause],
  reportedEvents: 1,
  iteration: 0,
  iterationOffset: 0,
  startLength: 1,
  surfaceChanged: true,
  usage,
  nextEffectId: 3,
  nextMessageNumber: 4,
  syncedIteration: 0,
  turnLimitScheduled: false,
  systemPrompt: "p",
  tools: [tool],
  heldSince: 4,
  heldMs: 7,
  at: 5,
}

const threadPlace = { cursor: "0123abcd-101010101010", at: 5 }
const ofTurn = { ...threadPlace, turnId: "t.1" }
const ofCall = { ...ofTurn, callId: "c", toolName: "t" }
const durableThreadEvents: readonly Omit<Example, "schema">[] = [
  { value: { type: "input_queued", ...threadPlace, inputId: "m1", message, key: "k", when: "turn_end" }, optional: ["/at", "/key", "/when"] },
  { value: { type: "input_retracted", ...threadPlace, inputId: "m1", by: "interrupt" }, optional: ["/by"] },
  { value: { type: "input_reordered", ...threadPlace, inputId: "m1", before: "m2" }, optional: ["/before"] },
  { value: { type: "turn_started", ...ofTurn, origin: "continuation" } },
  { value: { type: "turn_ended", ...ofTurn, outcome: finished, usage }, optional: ["/usage"] },
  { value: { type: "message", ...ofTurn, message }, optional: ["/turnId"] },
  {
    value: {
      type: "model_call_ended",
      ...ofTurn,
      effectId: 2,
      terminalReason: "stop",
      usage,
      error: { message: "m", code: "c", kind: "overloaded" },
    },
    optional: ["/usage", "/error", "/error/code", "/error/kind"],
  },
  { value: { type: "tool_call_started", ...ofCall, effectId: 2, args: { a: 1 } } },
  {
    value: { type: "tool_call_ended", ...ofCall, status: "success", output: { status: "success", value: 1 }, durationMs: 3 },
    optional: ["/callId", "/output", "/durationMs"],
  },
  { value: { type: "approval_requested", ...ofTurn, held: heldCall } },
  { value: { type: "approval_decided", ...ofCall, requestId: "2:c", decision: "edit", args: [1], by: "anna" }, optional: ["/args", "/by"] },
  { value: { type: "tool_call_pending", ...ofCall, token: "job-1", note: "n" }, optional: ["/note"] },
  { value: { type: "code_started", ...ofTurn, effectId: 2, code: "1 + 1", language: "js" }, optional: ["/language"] },
  {
    value: {
      ...{ type: "code_ended", ...ofTurn, effectId: 2, error: "e" },
      result: { observations: ["2"], toolCalls: [], images: [], printedImages: [], durationMs: 1 },
    },
    optional: ["/result", "/error"],
  },
  { value: { type: "redirected", ...ofTurn } },
  { value: { type: "goal_updated", ...ofTurn, cause: "command", goal: null }, optional: ["/turnId"] },
  { value: { type: "notice", ...ofTurn, kind: "compaction", text: "t", event: { type: "compaction" } }, optional: ["/turnId", "/text", "/event"] },
  { value: { type: "error", ...ofTurn, message: "m", envelope: { kind: "driver", userMessage: "m" } }, optional: ["/envelope"] },
]
const liveThreadEvents: readonly Omit<Example, "schema">[] = [
  { value: { type: "model_call_started", turnId: "t.1", effectId: 2 } },
  { value: { type: "text_delta", turnId: "t.1", effectId: 2, delta: "d" } },
  { value: { type: "reasoning_delta", turnId: "t.1", effectId: 2, delta: "d" } },
  {
    value: { type: "tool_progress", turnId: "t.1", callId: "c", toolName: "t", message: "m", progress: 1, total: 2 },
    optional: ["/message", "/progress", "/total"],
  },
  { value: { type: "retry", turnId: "t.1", effectId: 2, waitSeconds: 1.5, attempt: 1, maxAttempts: 3, reason: "r" } },
  { value: { type: "plugin_event", turnId: "t.1", pluginId: "p", event: { type: "custom", name: "n", payload: 1 } } },
]

const EXAMPLES: { readonly [name: string]: readonly Example[] } = {
  Role: ["user", "assistant", "system", "event"].map((value) => ({ schema: schemas.Role, value })),
  Origin: [
    { schema: schemas.Origin, value: { type: "plugin", pluginId: "p", transient: true }, optional: ["/transient"] },
    { schema: schemas.Origin, value: origin, optional: ["/wakeId"] },
  ],
  Prune: [
    { schema: schemas.Prune, value: { type: "cleared" } },
    { schema: schemas.Prune, value: { type: "deleted", breadcrumb: "b", archiveHash: "h" } },
    { schema: schemas.Prune, value: { type: "summarized", summary: "s", archiveHash: "h" } },
  ],
  AttachmentRef: [{ schema: schemas.AttachmentRef, value: attachment, optional: ["/width", "/height", "/label"] }],
  ResponseMeta: [{ schema: schemas.ResponseMeta, value: { id: "i", status: "s", phase: "p" }, optional: ["/id", "/status", "/phase"] }],
  ReplayMeta: [{ schema: schemas.ReplayMeta, value: { itemId: "i", opaque: "o" }, optional: ["/itemId", "/opaque"] }],
  ReasoningReplay: [
    {
      schema: schemas.ReasoningReplay,
      value: { itemId: "i", encryptedContent: "e", signature: "s", redacted: true, summary: ["a"] },
      optional: ["/itemId", "/encryptedContent", "/signature", "/redacted", "/summary"],
    },
  ],
  Part: [
    {
      schema: schemas.Part,
      value: { id: "p", type: "text", text: "t", prune: { type: "cleared" }, responseMeta: { id: "r" } },
      optional: ["/prune", "/responseMeta"],
    },
    ...["code", "output", "error"].map((type) => ({
      schema: schemas.Part,
      value: { id: "p", type, text: "t", prune: { type: "cleared" } },
      optional: ["/prune"],
    })),
    { schema: schemas.Part, value: { id: "p", type: "image", attachment, text: "t" }, optional: ["/attachment", "/text"] },
    {
      schema: schemas.Part,
      value: { id: "p", type: "tool_call", callId: "", toolName: "", inputJson: "{", replay: { opaque: "o" } },
      optional: ["/replay"],
    },
    { schema: schemas.Part, value: { id: "p", type: "file", attachment, providerMetadata: 1 }, optional: ["/providerMetadata"] },
    {
      schema: schemas.Part,
      value: { id: "p", type: "tool_result", callId: "c", toolName: "t", text: "", isError: true, content: [{ type: "attachment", attachment }] },
      optional: ["/toolName", "/isError", "/content"],
    },
    { schema: schemas.Part, value: { id: "p", type: "opaque", provider: "p", kind: "k", data: null, text: "t" }, optional: ["/text"] },
    { schema: schemas.Part, value: { id: "p", type: "interrupted", reason: "cancelled" } },
    { schema: schemas.Part, value: { id: "p", type: "reasoning", text: "", replay: { redacted: true } }, optional: ["/replay"] },
  ],
  Message: [
    {
      schema: schemas.Message,
      value: { ...message, producer },
      optional: ["/origin", "/producer", "/producer/responseId", "/producer/responseModel"],
    },
  ],
  SurfaceChange: [{ schema: schemas.SurfaceChange, value: { type: "surface_change", contextReset: true, iteration: 2 } }],
  HistoryRecord: [
    { schema: schemas.HistoryRecord, value: { type: "conversation", message } },
    { schema: schemas.HistoryRecord, value: { type: "protocol", event: null } },
  ],
  TurnCause: [{ schema: schemas.TurnCause, value: turnCause }],
  DeliveredMessage: [{ schema: schemas.DeliveredMessage, value: delivered, optional: ["/origin", "/parts"] }],
  CheckpointDelivery: [
    { schema: schemas.CheckpointDelivery, value: delivery, optional: ["/userMessages", "/messages", "/transientMessages", "/turnCauses", "/events"] },
    { schema: schemas.CheckpointDelivery, value: {} },
  ],
  Block: [
    {
      schema: schemas.Block,
      value: { type: "text", text: "t", responseMeta: {}, cacheBreakpoint: true },
      optional: ["/responseMeta", "/cacheBreakpoint"],
    },
    { schema: schemas.Block, value: { type: "image", attachmentIndex: 0 } },
    { schema: schemas.Block, value: { type: "tool_call", callId: "c", toolName: "t", inputJson: "{}", replay: {} }, optional: ["/replay"] },
    { schema: schemas.Block, value: { type: "file", attachmentIndex: 0, providerMetadata: 1 }, optional: ["/providerMetadata"] },
    {
      schema: schemas.Block,
      value: { type: "tool_result", callId: "c", toolName: "t", text: "r", isError: true, content: [{ type: "text", text: "r" }] },
      optional: ["/toolName", "/isError", "/content"],
    },
    { schema: schemas.Block, value: { type: "opaque", provider: "p", kind: "k", data: [1], text: "t" }, optional: ["/text"] },
    { schema: schemas.Block, value: { type: "reasoning", text: "t", replay: {} }, optional: ["/replay"] },
  ],
  LlmMessage: [{ schema: schemas.LlmMessage, value: { role: "assistant", blocks: [], producer }, optional: ["/producer"] }],
  Generation: [
    {
      schema: schemas.Generation,
      value: request.generation,
      optional: ["/maxOutputTokens", "/temperature", "/topP", "/stopSequences", "/seed", "/reasoningEffort", "/providerOptions"],
    },
  ],
  LlmRequest: [
    {
      schema: schemas.LlmRequest,
      value: request,
      optional: [
        "/modelVariant",
        "/sessionId",
        "/outputSpec",
        "/generation/maxOutputTokens",
        "/tools/0/outputSchema",
        "/parallelToolCalls",
        "/cache",
      ],
    },
    { schema: schemas.LlmRequest, value: { ...request, toolChoice: { toolName: "look" }, outputSpec: { type: "json_object" } } },
    { schema: schemas.LlmRequest, value: { ...request, toolChoice: "required" } },
  ],
  TokenUsage: [{ schema: schemas.TokenUsage, value: usage, optional: ["/cacheWriteTokens", "/estimated"] }],
  TerminalReason: [
    "stop",
    "tool_use",
    "paused",
    "output_limit",
    "context_overflow",
    "content_filter",
    "refusal",
    "provider_error",
    "cancelled",
    "unknown",
  ].map((value) => ({
    schema: schemas.TerminalReason,
    value,
  })),
  OutputPart: response.parts.map((value) => ({
    schema: schemas.OutputPart,
    value,
    optional: [value.type === "text" ? "/responseMeta" : value.type === "opaque" ? "/text" : "/replay"],
  })),
  LlmResponse: [
    {
      schema: schemas.LlmResponse,
      value: response,
      optional: [
        "/retriedUsage",
        "/producer",
        "/durationMs",
        "/terminalDiagnostic",
        "/requestBody",
        "/httpSummary",
        "/parts/0/responseMeta",
        "/parts/1/replay",
        "/parts/2/replay",
        "/parts/1/replay/redacted",
      ],
    },
  ],
  LlmFailure: [
    { schema: schemas.LlmFailure, value: llmFailure, optional: ["/code", "/raw", "/requestBody", "/usage", "/kind", "/retryAt", "/retriedUsage"] },
  ],
  LlmFailureKind: ["rate_limit", "usage_limit", "other"].map((value) => ({ schema: schemas.LlmFailureKind, value })),
  Producer: [{ schema: schemas.Producer, value: producer, optional: ["/responseId", "/responseModel"] }],
  ReturnPart: [
    { schema: schemas.ReturnPart, value: { type: "text", text: "t" } },
    { schema: schemas.ReturnPart, value: { type: "attachment", attachment } },
  ],
  ToolSpec: [{ schema: schemas.ToolSpec, value: tool }],
  PendingToolCall: [{ schema: schemas.PendingToolCall, value: pendingCall, optional: ["/replay"] }],
  FailureSource: ["runtime", "tool", "plugin", "policy", "cancellation"].map((value) => ({ schema: schemas.FailureSource, value })),
  ToolFailure: [
    { schema: schemas.ToolFailure, value: failure, optional: ["/retry/afterMs"] },
    { schema: schemas.ToolFailure, value: { ...failure, retry: { type: "never" } } },
    { schema: schemas.ToolFailure, value: { ...failure, retry: { type: "exhausted", attempts: 3 } } },
  ],
  ToolControl: [
    {
      schema: schemas.ToolControl,
      value: { type: "switch_agent_frame", frameId: "f", initialNodes: [1], task: "t" },
      optional: ["/initialNodes", "/task"],
    },
    { schema: schemas.ToolControl, value: { type: "finish", value: null } },
    { schema: schemas.ToolControl, value: { type: "fail", failure } },
  ],
  ToolOutput: [
    { schema: schemas.ToolOutput, value: completedCall.output, optional: ["/control"] },
    { schema: schemas.ToolOutput, value: { status: "failure", failure, control: { type: "fail", failure } }, optional: ["/control"] },
    { schema: schemas.ToolOutput, value: { status: "cancelled", message: "m", source: "policy", raw: {} } },
  ],
  ModelReturn: [{ schema: schemas.ModelReturn, value: completedCall.modelReturn }],
  CompletedToolCall: [
    { schema: schemas.CompletedToolCall, value: completedCall, optional: ["/modelReturn", "/replay", "/usage", "/output/control", "/edited"] },
  ],
  ExecResponse: [{ schema: schemas.ExecResponse, value: execResponse, optional: ["/error", "/observationTruncation"] }],
  Response: [
    {
      schema: schemas.Response,
      value: { type: "execution_surface_synced", id: 1, at: 5, result: { ok: true, update: { systemPrompt: "p", tools: [tool] } } },
      optional: ["/at", "/result/update"],
    },
    { schema: schemas.Response, value: { type: "execution_surface_synced", id: 1, result: { ok: false, error: "e" } } },
    {
      schema: schemas.Response,
      value: { type: "llm_complete", id: 1, at: 5, textStreamed: true, result: { ok: true, response } },
      optional: ["/at", "/textStreamed", "/result/response/httpSummary"],
    },
    { schema: schemas.Response, value: { type: "llm_complete", id: 1, result: { ok: false, error: llmFailure } }, optional: ["/result/error/raw"] },
    {
      schema: schemas.Response,
      value: { type: "tool_results", id: 1, at: 5, results: [completedCall] },
      optional: ["/at", "/results/0/modelReturn"],
    },
    {
      schema: schemas.Response,
      value: { type: "tool_decisions", id: 1, at: 5, decisions: [{ ...decided, decision: "approve" }] },
      optional: ["/at", "/decisions/0/by"],
    },
    {
      schema: schemas.Response,
      value: { type: "tool_pending", id: 1, at: 5, callId: "c", token: "job-1", note: "n" },
      optional: ["/at", "/note"],
    },
    {
      schema: schemas.Response,
      value: { type: "exec_result", id: 1, at: 5, result: { ok: true, value: execResponse } },
      optional: ["/at", "/result/value/error"],
    },
    { schema: schemas.Response, value: { type: "exec_result", id: 1, result: { ok: false, error: "e" } } },
    { schema: schemas.Response, value: { type: "checkpoint_delivery", id: 1, at: 5, delivery }, optional: ["/at", "/delivery/events"] },
  ],
  ErrorEnvelope: [{ schema: schemas.ErrorEnvelope, value: envelope, optional: ["/failureKind", "/retryAt", "/code", "/terminalReason", "/raw"] }],
  CheckpointKind: ["after_work", "before_completion"].map((value) => ({ schema: schemas.CheckpointKind, value })),
  Outcome: [
    finished,
    { type: "finished", finish: { type: "submitted_value", value: [1] } },
    { type: "finished", finish: { type: "tool_value", toolName: "t", value: null } },
    { type: "agent_frame_switch", frameId: "f" },
    ...["cancelled", "incomplete", "invalid_input", "max_iterations", "tool_failure", "provider_error", "plugin_abort", "runtime_error"].map(
      (type) => ({
        type: "stopped",
        stop: { type },
      }),
    ),
    { type: "stopped", stop: { type: "submitted_error", value: "v" } },
    { type: "stopped", stop: { type: "tool_error", toolName: "t", value: failure } },
    // Free JSON: also where it looks like a failure and holds more.
    { type: "stopped", stop: { type: "tool_error", toolName: "t", value: { ...failure, extra: { kept: true } } } },
  ].map((value) => ({ schema: schemas.Outcome, value })),
  TurnEvent: [
    { schema: schemas.TurnEvent, value: { type: "text_delta", content: "" } },
    { schema: schemas.TurnEvent, value: { type: "approval_requested", held: heldCall } },
    {
      schema: schemas.TurnEvent,
      value: { type: "approval_decided", requestId: "2:c", callId: "c", name: "t", decision: "edit", args: [1], by: "anna" },
      optional: ["/args", "/by"],
    },
    { schema: schemas.TurnEvent, value: { type: "tool_pending", callId: "c", name: "t", token: "job-1", note: "n" }, optional: ["/note"] },
    { schema: schemas.TurnEvent, value: { type: "reasoning_delta", content: "c" } },
    { schema: schemas.TurnEvent, value: { type: "message", text: "t", kind: "k" } },
    { schema: schemas.TurnEvent, value: { type: "tool_call_start", callId: "c", name: "n", args: {} }, optional: ["/callId"] },
    {
      schema: schemas.TurnEvent,
      value: { type: "tool_call", callId: "c", name: "n", args: {}, output: completedCall.output, durationMs: 1 },
      optional: ["/callId"],
    },
    { schema: schemas.TurnEvent, value: { type: "llm_request", iteration: 0, messageCount: 1, tools: ["a"] } },
    { schema: schemas.TurnEvent, value: { type: "llm_response", iteration: 0, content: "c", durationMs: 0 } },
    { schema: schemas.TurnEvent, value: { type: "token_usage", iteration: 0, usage, cumulative: usage } },
    {
      schema: schemas.TurnEvent,
      value: { type: "child_token_usage", sessionId: "s", source: "s", model: "m", iteration: 0, usage, cumulative: usage },
    },
    {
      schema: schemas.TurnEvent,
      value: { type: "retry_status", waitSeconds: 1.5, attempt: 1, maxAttempts: 3, reason: "r", envelope },
      optional: ["/envelope", "/envelope/raw", "/envelope/failureKind", "/envelope/retryAt"],
    },
    { schema: schemas.TurnEvent, value: { type: "injected_turn_input_accepted", inputs: [1], checkpoint: "after_work" } },
    { schema: schemas.TurnEvent, value: { type: "injected_messages_committed", messages: [delivered], checkpoint: "before_completion" } },
    {
      schema: schemas.TurnEvent,
      value: { type: "plugin_event", pluginId: "p", event: { type: "status", key: "k", label: "l", detail: "d" } },
      optional: ["/event/detail"],
    },
    { schema: schemas.TurnEvent, value: { type: "plugin_event", pluginId: "p", event: { type: "custom", name: "n", payload: 1 } } },
    { schema: schemas.TurnEvent, value: { type: "turn_outcome", outcome: finished } },
    { schema: schemas.TurnEvent, value: { type: "done" } },
    { schema: schemas.TurnEvent, value: { type: "error", message: "m", envelope }, optional: ["/envelope"] },
  ],
  PluginEvent: [
    { schema: schemas.PluginEvent, value: { type: "status", key: "k", label: "l", detail: "d" }, optional: ["/detail"] },
    { schema: schemas.PluginEvent, value: { type: "custom", name: "n", payload: [1] } },
  ],
  DurableThreadEvent: durableThreadEvents.map((example) => ({ schema: schemas.DurableThreadEvent, ...example })),
  LiveThreadEvent: liveThreadEvents.map((example) => ({ schema: schemas.LiveThreadEvent, ...example })),
  ThreadEvent: [...durableThreadEvents, ...liveThreadEvents].map((example) => ({ schema: schemas.ThreadEvent, ...example })),
  LogEvent: [
    {
      schema: schemas.LogEvent,
      value: {
        type: "llm_debug",
        sessionId: "s",
        iteration: 0,
        usage,
        providerUsage: 1,
        requestBody: "b",
        responseText: "t",
        responseParts: [
          { type: "text", text: "t" },
          { type: "reasoning", id: "i", summary: [], text: "t", hasEncrypted: true, redacted: false },
          { type: "tool_call", callId: "c", toolName: "t", inputJson: "{}", id: "i", hasOpaque: true },
        ],
      },
      optional: ["/requestBody", "/responseParts", "/responseParts/1/id", "/responseParts/1/summary", "/responseParts/2/id"],
    },
    {
      schema: schemas.LogEvent,
      value: { type: "llm_error", sessionId: "s", iteration: 0, ...llmFailure },
      optional: ["/code", "/raw", "/requestBody"],
    },
  ],
  ApprovalScope: ["call", "turn", "thread"].map((value) => ({ schema: schemas.ApprovalScope, value })),
  Ask: [{ schema: schemas.Ask, value: ask, optional: ["/summary", "/risk", "/expiresAt"] }],
  HoldCall: [{ schema: schemas.HoldCall, value: { callId: "c", digest: "d", ask }, optional: ["/ask/risk"] }],
  HeldCall: [{ schema: schemas.HeldCall, value: heldCall, optional: ["/replay", "/ask/summary"] }],
  ExternalCall: [{ schema: schemas.ExternalCall, value: externalCall, optional: ["/replay", "/note"] }],
  Decision: [
    { schema: schemas.Decision, value: { ...decided, decision: "approve", scope: "turn" }, optional: ["/by", "/note", "/scope"] },
    { schema: schemas.Decision, value: { ...decided, decision: "edit", args: [null] }, optional: ["/by", "/note"] },
    {
      schema: schemas.Decision,
      value: { ...decided, decision: "reject", message: "m", scope: "thread" },
      optional: ["/by", "/note", "/message", "/scope"],
    },
    { schema: schemas.Decision, value: { ...decided, decision: "expired" }, optional: ["/by", "/note"] },
    { schema: schemas.Decision, value: { ...decided, decision: "cancelled" }, optional: ["/by", "/note"] },
  ],
  DecidedCall: [
    { schema: schemas.DecidedCall, value: decidedCall, optional: ["/args", "/by"] },
    ...["approve", "reject", "expired", "cancelled"].map((decision) => ({ schema: schemas.DecidedCall, value: { requestId: "2:c", decision } })),
  ],
  ApprovalRecord: [
    {
      schema: schemas.ApprovalRecord,
      value: {
        ...{ ...decided, type: "approval", callId: "c", toolName: "t", decision: "edit", args: { a: 2 } },
        ...{ scope: "turn", byGrant: true, message: "m", at: 5 },
      },
      optional: ["/args", "/scope", "/byGrant", "/by", "/note", "/message", "/at"],
    },
  ],
  ApprovalGrant: [
    {
      schema: schemas.ApprovalGrant,
      value: { type: "approval_grant", key: grantKey, effect: "deny", scope: "turn", turn: 3, by: "anna", at: 5 },
      optional: ["/turn", "/by", "/at"],
    },
    { schema: schemas.ApprovalGrant, value: { type: "approval_grant", key: grantKey, effect: "allow", scope: "thread" } },
  ],
  ApprovalGrantRevoked: [
    {
      schema: schemas.ApprovalGrantRevoked,
      value: { type: "approval_grant_revoked", key: grantKey, by: "anna", at: 5 },
      optional: ["/by", "/at"],
    },
  ],
  CompactionReason: ["threshold", "overflow", "manual", "delivered"].map((value) => ({ schema: schemas.CompactionReason, value })),
  CompactionRecord: [
    {
      schema: schemas.CompactionRecord,
      value: {
        type: "compaction",
        contextReset: true,
        id: "m_0_compaction_3",
        reason: "threshold",
        through: "m2",
        base: { messageId: "m3", count: 3 },
        summary: "It began.",
        restated: "The goal.",
        keptUserMessages: ["m1"],
        tokensBefore: 100,
        tokensAfter: 10,
        usage,
      },
      optional: ["/restated", "/usage"],
    },
  ],
  CompactionNeeded: [{ schema: schemas.CompactionNeeded, value: { type: "compaction_needed", reason: "overflow", tokens: 9, count: 3 } }],
  CompactionFailed: [
    {
      schema: schemas.CompactionFailed,
      value: { type: "compaction_failed", id: "c", reason: "threshold", problem: "empty_answer", message: "No text.", count: 3 },
    },
  ],
  CompactionRequested: [{ schema: schemas.CompactionRequested, value: { type: "compaction_requested" } }],
  CompactionDelivered: [
    {
      schema: schemas.CompactionDelivered,
      value: { type: "compaction_delivered", base: { messageId: "m3", count: 3 }, through: "m2", summary: "It began.", usage },
      optional: ["/usage"],
    },
  ],
  OnEmpty: [
    { schema: schemas.OnEmpty, value: { type: "prepare_iteration" } },
    { schema: schemas.OnEmpty, value: { type: "finish", outcome: finished } },
  ],
  DriverAction: [
    { schema: schemas.DriverAction, value: { type: "emit", event: { type: "done" } } },
    { schema: schemas.DriverAction, value: { type: "append_events", events: [{ type: "protocol", event: {} }] } },
    { schema: schemas.DriverAction, value: { type: "start_llm", request, driverState: { a: 1 } } },
    { schema: schemas.DriverAction, value: { type: "start_tools", calls: [pendingCall], settled: [completedCall] }, optional: ["/settled"] },
    {
      schema: schemas.DriverAction,
      value: { type: "start_tools", calls: [pendingCall], held: [{ callId: "c", digest: "d", ask }] },
      optional: ["/held", "/held/0/ask/expiresAt"],
    },
    { schema: schemas.DriverAction, value: { type: "release_calls", requestIds: ["2:c"], by: "anna" }, optional: ["/by"] },
    { schema: schemas.DriverAction, value: { type: "settle_calls", results: [completedCall], by: "anna" }, optional: ["/by"] },
    { schema: schemas.DriverAction, value: { type: "start_exec", code: "c", language: "js", driverState: null }, optional: ["/language"] },
    { schema: schemas.DriverAction, value: { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } } },
    { schema: schemas.DriverAction, value: { type: "advance_iteration" } },
    { schema: schemas.DriverAction, value: { type: "schedule_turn_limit_final", message } },
    { schema: schemas.DriverAction, value: { type: "finish", outcome: finished } },
  ],
  Effect: [
    { schema: schemas.Effect, value: { type: "sync_execution_surface", id: 1, updateMachineConfig: true } },
    { schema: schemas.Effect, value: { type: "llm_call", id: 1, request } },
    { schema: schemas.Effect, value: { type: "cancel_llm", id: 1 } },
    {
      schema: schemas.Effect,
      value: { type: "tool_calls", id: 1, calls: [pendingCall], held: [heldCall], pending: [externalCall] },
      optional: ["/held", "/pending", "/held/0/replay", "/pending/0/note"],
    },
    { schema: schemas.Effect, value: { type: "tool_calls_released", id: 1, calls: [pendingCall] } },
    { schema: schemas.Effect, value: { type: "exec_code", id: 1, code: "c", language: "js" }, optional: ["/language"] },
    { schema: schemas.Effect, value: { type: "checkpoint", id: 1, checkpoint: "after_work" } },
    {
      schema: schemas.Effect,
      value: { type: "progress", messages: [message], eventDelta: [{ type: "protocol", event: 1 }], recordsFrom: 3, iteration: 0 },
    },
    { schema: schemas.Effect, value: { type: "done", outcome: finished, messages: [], eventDelta: [], recordsFrom: 0, iteration: 0, usage } },
    { schema: schemas.Effect, value: { type: "emit", event: { type: "done" } } },
    { schema: schemas.Effect, value: { type: "log", event: { type: "llm_error", sessionId: "s", iteration: 0, ...llmFailure } } },
  ],
  TurnConfigData: [
    {
      schema: schemas.TurnConfigData,
      value: config,
      optional: [
        "/modelVariant",
        "/sessionId",
        "/runSessionId",
        "/systemPrompt",
        "/tools",
        "/maxContextTokens",
        "/maxResultTokens",
        "/maxIterations",
        "/generation",
        "/parallelToolCalls",
        "/cache",
        "/syncExecutionSurface",
        "/emitLlmTrace",
      ],
      mayBeUndefined: true,
    },
  ],
  TurnStart: [
    {
      schema: schemas.TurnStart,
      value: { messages: [message], events: [{ type: "protocol", event: 1 }], turnCauses: [turnCause], iterationOffset: 3, surfaceChanged: true },
      optional: ["/events", "/turnCauses", "/iterationOffset", "/surfaceChanged"],
    },
  ],
  TurnCheckpoint: [
    {
      schema: schemas.TurnCheckpoint,
      value: savedTurn,
      optional: [
        "/syncedIteration",
        "/at",
        "/surfaceChanged",
        "/state/results/0/modelReturn",
        "/state/settled",
        "/state/decided",
        "/state/pending",
        "/heldSince",
        "/heldMs",
      ],
    },
  ],
  JournalRecord: [
    {
      schema: schemas.JournalRecord,
      value: {
        type: "header",
        format: "turn-machine/journal",
        version: 2,
        turnId: "t1",
        driver: { name: "chat", version: 1 },
        config: { model: "digest" },
        start: { messages: [message] },
        surface: { systemPrompt: "p", tools: [{ name: "t", description: "d", inputSchema: {} }] },
        at: 5,
        dropped: 3,
        forkedFrom: { turnId: "t0", record: 2 },
      },
      optional: ["/at", "/dropped", "/forkedFrom"],
    },
    { schema: schemas.JournalRecord, value: { type: "opened", at: 6 }, optional: ["/at"] },
    {
      schema: schemas.JournalRecord,
      value: { type: "traced", trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", at: 6 },
      optional: ["/at"],
    },
    { schema: schemas.JournalRecord, value: { type: "call_started", effectId: 2, callId: "c", at: 6 }, optional: ["/at"] },
    {
      schema: schemas.JournalRecord,
      value: { type: "child_granted", effectId: 2, callId: "c", name: "n", lease: 7, at: 6 },
      optional: ["/at", "/name"],
    },
    { schema: schemas.JournalRecord, value: { type: "llm_complete", id: 1, result: { ok: true, response } } },
    {
      schema: schemas.JournalRecord,
      value: { type: "interruption", effectId: 1, interruption: { type: "cancel", reason: "r", partial: response } },
      optional: ["/effectId", "/interruption/reason", "/interruption/partial"],
    },
    { schema: schemas.JournalRecord, value: { type: "interruption", interruption: { type: "fail", event: { type: "done" } } } },
    { schema: schemas.JournalRecord, value: { type: "interruption", interruption: { type: "finish", outcome: finished } } },
    { schema: schemas.JournalRecord, value: { type: "interruption", interruption: { type: "apply", actions: [{ type: "advance_iteration" }] } } },
    { schema: schemas.JournalRecord, value: { type: "snapshot", checkpoint: savedTurn } },
    { schema: schemas.JournalRecord, value: { type: "effect", effect: { type: "llm_call", id: 1, request } } },
    { schema: schemas.JournalRecord, value: { type: "end", outcome: finished } },
  ],
}

/** Exported schemas that are one option of a union above, and are covered there. */
const COVERED_BY_UNIONS = [
  "AnswerableEffect",
  "CancelLlm",
  "Checkpoint",
  "CheckpointDelivered",
  "Done",
  "Emit",
  "ExecCode",
  "ExecResult",
  "ExecutionSurfaceSynced",
  "JournalEffect",
  "JournalEnd",
  "JournalHeader",
  "JournalInterruption",
  "JournalSnapshot",
  "LlmCall",
  "LlmComplete",
  "Log",
  "Progress",
  "SyncExecutionSurface",
  "ToolCalls",
  "ToolCallsReleased",
  "ToolDecisions",
  "ToolPending",
  "ToolResults",
]
/** In json.test.ts, checklist.test.ts and goal.test.ts. */
const COVERED_ELSEWHERE = [
  "Count",
  "Json",
  "Timestamp",
  "ChecklistCommand",
  "ChecklistGoal",
  "ChecklistItem",
  "ChecklistPolicy",
  "ChecklistState",
  "Evaluation",
  "Evidence",
  "EvidenceTranscript",
  "Finding",
  "Goal",
  "GoalCause",
  "GoalCheck",
  "GoalCheckMemory",
  "GoalCheckResult",
  "GoalCommand",
  "GoalContract",
  "GoalEvent",
  "GoalInput",
  "GoalMemory",
  "GoalMetricName",
  "GoalMode",
  "GoalOutput",
  "GoalPolicyData",
  "GoalRefusal",
  "GoalState",
  "GoalStatus",
  "GoalToolName",
  "GoalTurn",
  "GoalWait",
  "ItemRuling",
  "ItemStatus",
  "JudgeCheckpoint",
  "JudgeReason",
  "JudgeState",
  "JudgedTurn",
  "Judgement",
  "PauseReason",
  "TurnOrigin",
]

const EXPORTED = Object.entries(schemas).flatMap(([name, value]): readonly [string, z.ZodType][] =>
  value instanceof z.ZodType ? [[name, value]] : [],
)

test("every exported schema has an example", () => {
  const named = new Set([...Object.keys(EXAMPLES), ...COVERED_BY_UNIONS, ...COVERED_ELSEWHERE])
  expect(EXPORTED.map(([name]) => name).filter((name) => !named.has(name))).toEqual([])
  expect(EXPORTED.length).toBeGreaterThan(50)
})

test.each(EXPORTED)("%s can be written as JSON Schema", (_, schema) => {
  const jsonSchema = z.toJSONSchema(schema)
  expect(jsonSchema.$schema).toBe("https://json-schema.org/draft/2020-12/schema")
  expect(plain(jsonSchema)).toEqual(jsonSchema)
})

describe.each(Object.entries(EXAMPLES))("%s", (_, examples) => {
  test.each(examples.map((example, index) => [index, example] as const))(
    "example %d is accepted and comes out unchanged",
    (_index, { schema, value }) => {
      expect(schema.parse(value)).toEqual(value)
    },
  )

  const optionals = examples.flatMap((example) => (example.optional ?? []).map((pointer) => ({ ...example, pointer })))
  if (optionals.length > 0) {
    test.each(optionals)("$pointer may be left out", ({ schema, value, pointer }) => {
      const without = edited(value, remove(pointer))
      expect(schema.parse(without)).toEqual(without)
    })

    test.each(optionals)("$pointer may not be null, nor undefined", ({ schema, value, pointer, mayBeUndefined = false }) => {
      if (mayBeUndefined) expect(schema.safeParse(edited(value, set(pointer, undefined))).success).toBe(true)
      for (const nothing of mayBeUndefined ? [null] : [null, undefined]) {
        const broken = edited(value, set(pointer, nothing))
        // Free JSON has no null to refuse, only an undefined.
        const free = /\/(?:args|event|outputSchema|providerMetadata|providerOptions)$/.test(pointer)
        if (free && nothing === null) continue
        const result = schema.safeParse(broken)
        expect(result.success).toBe(false)
        expect(result.error?.issues.map((issue) => `/${issue.path.join("/")}`)).toContain(pointer)
      }
    })
  }

  const objects = examples.filter(({ value }) => typeof value === "object")
  if (objects.length > 0) {
    test.each(objects)("unknown keys are left out of $value", ({ schema, value }) => {
      expect(schema.parse({ ...(value as object), aKeyOfTheFuture: { deep: 1 } })).toEqual(value)
    })
  }
})

test("required keys are required", () => {
  for (const [name, [example]] of Object.entries(EXAMPLES)) {
    if (example === undefined || typeof example.value !== "object") continue
    const optional = new Set([...(example.optional ?? []), "/causedBy", "/outputSchema", "/raw", "/providerUsage", "/terminalFinish"])
    for (const key of Object.keys(example.value as object)) {
      if (optional.has(`/${key}`)) continue
      const without = edited(example.value, remove(`/${key}`))
      expect(example.schema.safeParse(without).success, `${name} without ${key}`).toBe(false)
    }
  }
})

function edited(value: unknown, edit: Edit): unknown {
  const copy = structuredClone(value) as object
  edit(copy)
  return copy
}
