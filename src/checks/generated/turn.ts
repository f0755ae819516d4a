// Generated from src/schemas by scripts/generate-checks.ts. Change the schemas, and run "npm run checks".
/** What a turn machine takes from outside. */
import {
  above,
  atLeast,
  atMost,
  type Check,
  count,
  either,
  enter,
  type Fields,
  flag,
  int,
  json,
  type Key,
  leave,
  list,
  literal,
  nullable,
  number,
  oneOf,
  optional,
  type Reading,
  type Tags,
  tagged,
  text,
} from "../reading.ts"

export function toolSpec(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    name: text(from["name"], at, "name"),
    description: text(from["description"], at, "description"),
    inputSchema: json(from["inputSchema"], at, "inputSchema"),
  }
  if ("outputSchema" in from) to["outputSchema"] = json(from["outputSchema"], at, "outputSchema")
  return leave(from, to, at)
}

function executionSurfaceSyncedResultOkTrueUpdate(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { systemPrompt: text(from["systemPrompt"], at, "systemPrompt"), tools: list(from["tools"], at, "tools", toolSpec) }
  return leave(from, to, at)
}

function executionSurfaceSyncedResultOkTrue(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { ok: literal(from["ok"], at, "ok", true) }
  if ("update" in from) to["update"] = executionSurfaceSyncedResultOkTrueUpdate(from["update"], at, "update")
  return leave(from, to, at)
}

function executionSurfaceSyncedResultOkFalse(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { ok: literal(from["ok"], at, "ok", false), error: text(from["error"], at, "error") }
  return leave(from, to, at)
}

const EXECUTION_SURFACE_SYNCED_RESULT: Tags = new Map<unknown, Check>([
  [true, executionSurfaceSyncedResultOkTrue],
  [false, executionSurfaceSyncedResultOkFalse],
])

function executionSurfaceSyncedResult(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "ok", EXECUTION_SURFACE_SYNCED_RESULT)
}

function executionSurfaceSynced(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "execution_surface_synced"), id: count(from["id"], at, "id") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  to["result"] = executionSurfaceSyncedResult(from["result"], at, "result")
  return leave(from, to, at)
}

function responseMeta(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("id" in from) to["id"] = text(from["id"], at, "id")
  if ("status" in from) to["status"] = text(from["status"], at, "status")
  if ("phase" in from) to["phase"] = text(from["phase"], at, "phase")
  return leave(from, to, at)
}

function outputPartText(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "text")
  to["text"] = text(from["text"], at, "text")
  if ("responseMeta" in from) to["responseMeta"] = responseMeta(from["responseMeta"], at, "responseMeta")
  return leave(from, to, at)
}

function reasoningReplay(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("itemId" in from) to["itemId"] = text(from["itemId"], at, "itemId")
  if ("encryptedContent" in from) to["encryptedContent"] = text(from["encryptedContent"], at, "encryptedContent")
  if ("signature" in from) to["signature"] = text(from["signature"], at, "signature")
  if ("redacted" in from) to["redacted"] = literal(from["redacted"], at, "redacted", true)
  if ("summary" in from) to["summary"] = list(from["summary"], at, "summary", text)
  return leave(from, to, at)
}

function outputPartReasoning(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "reasoning")
  to["text"] = text(from["text"], at, "text")
  if ("replay" in from) to["replay"] = reasoningReplay(from["replay"], at, "replay")
  return leave(from, to, at)
}

function replayMeta(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("itemId" in from) to["itemId"] = text(from["itemId"], at, "itemId")
  if ("opaque" in from) to["opaque"] = text(from["opaque"], at, "opaque")
  return leave(from, to, at)
}

function outputPartToolCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "tool_call")
  to["callId"] = text(from["callId"], at, "callId")
  to["toolName"] = text(from["toolName"], at, "toolName")
  to["inputJson"] = text(from["inputJson"], at, "inputJson")
  if ("replay" in from) to["replay"] = replayMeta(from["replay"], at, "replay")
  return leave(from, to, at)
}

function outputPartOpaque(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "opaque")
  to["provider"] = text(from["provider"], at, "provider")
  to["kind"] = text(from["kind"], at, "kind")
  to["data"] = json(from["data"], at, "data")
  if ("text" in from) to["text"] = text(from["text"], at, "text")
  return leave(from, to, at)
}

const OUTPUT_PART: Tags = new Map<unknown, Check>([
  ["text", outputPartText],
  ["reasoning", outputPartReasoning],
  ["tool_call", outputPartToolCall],
  ["opaque", outputPartOpaque],
])

function outputPart(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", OUTPUT_PART)
}

function llmResponseUsage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(
    value,
    at,
    key,
    "The response has no usage; pass { inputTokens, cachedInputTokens, outputTokens, reasoningTokens }, or zeros where the provider reports none",
  )
  if (from === undefined) return undefined
  const to: Fields = {
    inputTokens: count(from["inputTokens"], at, "inputTokens"),
    cachedInputTokens: count(from["cachedInputTokens"], at, "cachedInputTokens"),
  }
  if ("cacheWriteTokens" in from) to["cacheWriteTokens"] = count(from["cacheWriteTokens"], at, "cacheWriteTokens")
  to["outputTokens"] = count(from["outputTokens"], at, "outputTokens")
  to["reasoningTokens"] = count(from["reasoningTokens"], at, "reasoningTokens")
  if ("estimated" in from) to["estimated"] = literal(from["estimated"], at, "estimated", true)
  return leave(from, to, at)
}

export function tokenUsage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    inputTokens: count(from["inputTokens"], at, "inputTokens"),
    cachedInputTokens: count(from["cachedInputTokens"], at, "cachedInputTokens"),
  }
  if ("cacheWriteTokens" in from) to["cacheWriteTokens"] = count(from["cacheWriteTokens"], at, "cacheWriteTokens")
  to["outputTokens"] = count(from["outputTokens"], at, "outputTokens")
  to["reasoningTokens"] = count(from["reasoningTokens"], at, "reasoningTokens")
  if ("estimated" in from) to["estimated"] = literal(from["estimated"], at, "estimated", true)
  return leave(from, to, at)
}

function producer(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { provider: text(from["provider"], at, "provider"), api: text(from["api"], at, "api"), model: text(from["model"], at, "model") }
  if ("responseId" in from) to["responseId"] = text(from["responseId"], at, "responseId")
  if ("responseModel" in from) to["responseModel"] = text(from["responseModel"], at, "responseModel")
  return leave(from, to, at)
}

const TERMINAL_REASON_VALUES: readonly string[] = [
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
]

export function llmResponse(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    text: text(from["text"], at, "text"),
    parts: list(from["parts"], at, "parts", outputPart),
    usage: llmResponseUsage(from["usage"], at, "usage"),
  }
  if ("retriedUsage" in from) to["retriedUsage"] = tokenUsage(from["retriedUsage"], at, "retriedUsage")
  if ("producer" in from) to["producer"] = producer(from["producer"], at, "producer")
  if ("durationMs" in from) to["durationMs"] = count(from["durationMs"], at, "durationMs")
  to["terminalReason"] = oneOf(from["terminalReason"], at, "terminalReason", TERMINAL_REASON_VALUES)
  if ("terminalDiagnostic" in from) to["terminalDiagnostic"] = text(from["terminalDiagnostic"], at, "terminalDiagnostic")
  if ("providerUsage" in from) to["providerUsage"] = json(from["providerUsage"], at, "providerUsage")
  if ("requestBody" in from) to["requestBody"] = text(from["requestBody"], at, "requestBody")
  if ("httpSummary" in from) to["httpSummary"] = text(from["httpSummary"], at, "httpSummary")
  return leave(from, to, at)
}

function llmCompleteResultOkTrue(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { ok: literal(from["ok"], at, "ok", true), response: llmResponse(from["response"], at, "response") }
  return leave(from, to, at)
}

const LLM_FAILURE_KIND_VALUES: readonly string[] = [
  "rate_limit",
  "usage_limit",
  "overloaded",
  "auth",
  "invalid_request",
  "context_overflow",
  "network",
  "timeout",
  "cancelled",
  "other",
]

function llmFailure(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { message: text(from["message"], at, "message"), retryable: flag(from["retryable"], at, "retryable") }
  if ("code" in from) to["code"] = text(from["code"], at, "code")
  if ("kind" in from) to["kind"] = oneOf(from["kind"], at, "kind", LLM_FAILURE_KIND_VALUES)
  if ("retryAt" in from) to["retryAt"] = int(from["retryAt"], at, "retryAt")
  if ("raw" in from) to["raw"] = text(from["raw"], at, "raw")
  to["terminalReason"] = oneOf(from["terminalReason"], at, "terminalReason", TERMINAL_REASON_VALUES)
  if ("requestBody" in from) to["requestBody"] = text(from["requestBody"], at, "requestBody")
  if ("usage" in from) to["usage"] = tokenUsage(from["usage"], at, "usage")
  if ("retriedUsage" in from) to["retriedUsage"] = tokenUsage(from["retriedUsage"], at, "retriedUsage")
  return leave(from, to, at)
}

function llmCompleteResultOkFalse(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { ok: literal(from["ok"], at, "ok", false), error: llmFailure(from["error"], at, "error") }
  if ("partial" in from) to["partial"] = llmResponse(from["partial"], at, "partial")
  return leave(from, to, at)
}

const LLM_COMPLETE_RESULT: Tags = new Map<unknown, Check>([
  [true, llmCompleteResultOkTrue],
  [false, llmCompleteResultOkFalse],
])

function llmCompleteResult(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "ok", LLM_COMPLETE_RESULT)
}

function llmComplete(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "llm_complete"), id: count(from["id"], at, "id") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  if ("purpose" in from) to["purpose"] = text(from["purpose"], at, "purpose")
  if ("textStreamed" in from) to["textStreamed"] = literal(from["textStreamed"], at, "textStreamed", true)
  to["result"] = llmCompleteResult(from["result"], at, "result")
  return leave(from, to, at)
}

function toolControlSwitchAgentFrame(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "switch_agent_frame"), frameId: text(from["frameId"], at, "frameId") }
  if ("initialNodes" in from) to["initialNodes"] = list(from["initialNodes"], at, "initialNodes", json)
  if ("task" in from) to["task"] = text(from["task"], at, "task")
  return leave(from, to, at)
}

function toolControlFinish(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "finish"), value: json(from["value"], at, "value") }
  return leave(from, to, at)
}

const TOOL_FAILURE_CLASS_VALUES: readonly string[] = [
  "invalid_request",
  "unavailable",
  "permission_denied",
  "timeout",
  "execution",
  "external",
  "resource_limit",
  "internal",
]

const FAILURE_SOURCE_VALUES: readonly string[] = ["runtime", "tool", "plugin", "policy", "cancellation"]

function toolFailureRetryNever(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "never") }
  return leave(from, to, at)
}

function toolFailureRetrySafe(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "safe") }
  if ("afterMs" in from) to["afterMs"] = count(from["afterMs"], at, "afterMs")
  return leave(from, to, at)
}

function toolFailureRetryExhausted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "exhausted"), attempts: count(from["attempts"], at, "attempts") }
  return leave(from, to, at)
}

const TOOL_FAILURE_RETRY: Tags = new Map<unknown, Check>([
  ["never", toolFailureRetryNever],
  ["safe", toolFailureRetrySafe],
  ["exhausted", toolFailureRetryExhausted],
])

function toolFailureRetry(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", TOOL_FAILURE_RETRY)
}

function toolFailure(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    class: oneOf(from["class"], at, "class", TOOL_FAILURE_CLASS_VALUES),
    code: text(from["code"], at, "code"),
    message: text(from["message"], at, "message"),
    source: oneOf(from["source"], at, "source", FAILURE_SOURCE_VALUES),
    retry: toolFailureRetry(from["retry"], at, "retry"),
  }
  if ("raw" in from) to["raw"] = json(from["raw"], at, "raw")
  return leave(from, to, at)
}

function toolControlFail(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "fail"), failure: toolFailure(from["failure"], at, "failure") }
  return leave(from, to, at)
}

const TOOL_CONTROL: Tags = new Map<unknown, Check>([
  ["switch_agent_frame", toolControlSwitchAgentFrame],
  ["finish", toolControlFinish],
  ["fail", toolControlFail],
])

function toolControl(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", TOOL_CONTROL)
}

function toolOutputSuccess(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("control" in from) to["control"] = toolControl(from["control"], at, "control")
  to["status"] = literal(from["status"], at, "status", "success")
  to["value"] = json(from["value"], at, "value")
  return leave(from, to, at)
}

function toolOutputFailure(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("control" in from) to["control"] = toolControl(from["control"], at, "control")
  to["status"] = literal(from["status"], at, "status", "failure")
  to["failure"] = toolFailure(from["failure"], at, "failure")
  return leave(from, to, at)
}

function toolOutputCancelled(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("control" in from) to["control"] = toolControl(from["control"], at, "control")
  to["status"] = literal(from["status"], at, "status", "cancelled")
  to["message"] = text(from["message"], at, "message")
  to["source"] = oneOf(from["source"], at, "source", FAILURE_SOURCE_VALUES)
  if ("raw" in from) to["raw"] = json(from["raw"], at, "raw")
  return leave(from, to, at)
}

const TOOL_OUTPUT: Tags = new Map<unknown, Check>([
  ["success", toolOutputSuccess],
  ["failure", toolOutputFailure],
  ["cancelled", toolOutputCancelled],
])

function toolOutput(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "status", TOOL_OUTPUT)
}

function returnPartText(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "text"), text: text(from["text"], at, "text") }
  return leave(from, to, at)
}

function attachmentRef(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    id: text(from["id"], at, "id"),
    mediaType: text(from["mediaType"], at, "mediaType"),
    byteLength: count(from["byteLength"], at, "byteLength"),
  }
  if ("width" in from) to["width"] = count(from["width"], at, "width")
  if ("height" in from) to["height"] = count(from["height"], at, "height")
  if ("label" in from) to["label"] = text(from["label"], at, "label")
  return leave(from, to, at)
}

function returnPartAttachment(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "attachment"), attachment: attachmentRef(from["attachment"], at, "attachment") }
  return leave(from, to, at)
}

const RETURN_PART: Tags = new Map<unknown, Check>([
  ["text", returnPartText],
  ["attachment", returnPartAttachment],
])

function returnPart(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", RETURN_PART)
}

function modelReturn(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { parts: list(from["parts"], at, "parts", returnPart) }
  return leave(from, to, at)
}

function completedToolCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    callId: text(from["callId"], at, "callId"),
    toolName: text(from["toolName"], at, "toolName"),
    args: json(from["args"], at, "args"),
    output: toolOutput(from["output"], at, "output"),
  }
  if ("modelReturn" in from) to["modelReturn"] = modelReturn(from["modelReturn"], at, "modelReturn")
  if ("edited" in from) to["edited"] = literal(from["edited"], at, "edited", true)
  to["durationMs"] = count(from["durationMs"], at, "durationMs")
  if ("replay" in from) to["replay"] = replayMeta(from["replay"], at, "replay")
  if ("usage" in from) to["usage"] = tokenUsage(from["usage"], at, "usage")
  return leave(from, to, at)
}

function toolResults(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "tool_results"), id: count(from["id"], at, "id") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  to["results"] = list(from["results"], at, "results", completedToolCall)
  return leave(from, to, at)
}

const APPROVAL_SCOPE_VALUES: readonly string[] = ["call", "turn", "thread"]

function decisionApprove(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { requestId: text(from["requestId"], at, "requestId"), digest: text(from["digest"], at, "digest") }
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  if ("note" in from) to["note"] = text(from["note"], at, "note")
  to["decision"] = literal(from["decision"], at, "decision", "approve")
  if ("scope" in from) to["scope"] = oneOf(from["scope"], at, "scope", APPROVAL_SCOPE_VALUES)
  return leave(from, to, at)
}

function decisionEdit(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { requestId: text(from["requestId"], at, "requestId"), digest: text(from["digest"], at, "digest") }
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  if ("note" in from) to["note"] = text(from["note"], at, "note")
  to["decision"] = literal(from["decision"], at, "decision", "edit")
  to["args"] = json(from["args"], at, "args")
  return leave(from, to, at)
}

function decisionReject(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { requestId: text(from["requestId"], at, "requestId"), digest: text(from["digest"], at, "digest") }
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  if ("note" in from) to["note"] = text(from["note"], at, "note")
  to["decision"] = literal(from["decision"], at, "decision", "reject")
  if ("message" in from) to["message"] = text(from["message"], at, "message")
  if ("scope" in from) to["scope"] = oneOf(from["scope"], at, "scope", APPROVAL_SCOPE_VALUES)
  return leave(from, to, at)
}

function decisionExpired(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { requestId: text(from["requestId"], at, "requestId"), digest: text(from["digest"], at, "digest") }
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  if ("note" in from) to["note"] = text(from["note"], at, "note")
  to["decision"] = literal(from["decision"], at, "decision", "expired")
  return leave(from, to, at)
}

function decisionCancelled(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { requestId: text(from["requestId"], at, "requestId"), digest: text(from["digest"], at, "digest") }
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  if ("note" in from) to["note"] = text(from["note"], at, "note")
  to["decision"] = literal(from["decision"], at, "decision", "cancelled")
  return leave(from, to, at)
}

const DECISION: Tags = new Map<unknown, Check>([
  ["approve", decisionApprove],
  ["edit", decisionEdit],
  ["reject", decisionReject],
  ["expired", decisionExpired],
  ["cancelled", decisionCancelled],
])

export function decision(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "decision", DECISION)
}

function toolDecisions(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "tool_decisions"), id: count(from["id"], at, "id") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  to["decisions"] = list(from["decisions"], at, "decisions", decision)
  return leave(from, to, at)
}

function toolPending(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "tool_pending"), id: count(from["id"], at, "id") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  to["callId"] = text(from["callId"], at, "callId")
  to["token"] = text(from["token"], at, "token")
  if ("note" in from) to["note"] = text(from["note"], at, "note")
  return leave(from, to, at)
}

function execResponse(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    observations: list(from["observations"], at, "observations", text),
    toolCalls: list(from["toolCalls"], at, "toolCalls", json),
    images: list(from["images"], at, "images", json),
    printedImages: list(from["printedImages"], at, "printedImages", attachmentRef),
  }
  if ("error" in from) to["error"] = text(from["error"], at, "error")
  to["durationMs"] = count(from["durationMs"], at, "durationMs")
  if ("terminalFinish" in from) to["terminalFinish"] = json(from["terminalFinish"], at, "terminalFinish")
  if ("observationTruncation" in from) to["observationTruncation"] = list(from["observationTruncation"], at, "observationTruncation", json)
  return leave(from, to, at)
}

function execResultResultOkTrue(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { ok: literal(from["ok"], at, "ok", true), value: execResponse(from["value"], at, "value") }
  return leave(from, to, at)
}

function execResultResultOkFalse(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { ok: literal(from["ok"], at, "ok", false), error: text(from["error"], at, "error") }
  return leave(from, to, at)
}

const EXEC_RESULT_RESULT: Tags = new Map<unknown, Check>([
  [true, execResultResultOkTrue],
  [false, execResultResultOkFalse],
])

function execResultResult(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "ok", EXEC_RESULT_RESULT)
}

function execResult(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "exec_result"), id: count(from["id"], at, "id") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  to["result"] = execResultResult(from["result"], at, "result")
  return leave(from, to, at)
}

const ROLE_VALUES: readonly string[] = ["user", "assistant", "system", "event"]

function pruneCleared(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "cleared") }
  return leave(from, to, at)
}

function pruneDeleted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "deleted"),
    breadcrumb: text(from["breadcrumb"], at, "breadcrumb"),
    archiveHash: text(from["archiveHash"], at, "archiveHash"),
  }
  return leave(from, to, at)
}

function pruneSummarized(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "summarized"),
    summary: text(from["summary"], at, "summary"),
    archiveHash: text(from["archiveHash"], at, "archiveHash"),
  }
  return leave(from, to, at)
}

const PRUNE: Tags = new Map<unknown, Check>([
  ["cleared", pruneCleared],
  ["deleted", pruneDeleted],
  ["summarized", pruneSummarized],
])

function prune(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", PRUNE)
}

function partText(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "text")
  to["text"] = text(from["text"], at, "text")
  if ("responseMeta" in from) to["responseMeta"] = responseMeta(from["responseMeta"], at, "responseMeta")
  return leave(from, to, at)
}

const PART_CODE_TYPE_VALUES: readonly string[] = ["code", "output", "error"]

function partCode(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = oneOf(from["type"], at, "type", PART_CODE_TYPE_VALUES)
  to["text"] = text(from["text"], at, "text")
  return leave(from, to, at)
}

function partImage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "image")
  if ("attachment" in from) to["attachment"] = attachmentRef(from["attachment"], at, "attachment")
  if ("text" in from) to["text"] = text(from["text"], at, "text")
  return leave(from, to, at)
}

function partFile(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "file")
  to["attachment"] = attachmentRef(from["attachment"], at, "attachment")
  return leave(from, to, at)
}

function partToolCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "tool_call")
  to["callId"] = text(from["callId"], at, "callId")
  to["toolName"] = text(from["toolName"], at, "toolName")
  to["inputJson"] = text(from["inputJson"], at, "inputJson")
  if ("replay" in from) to["replay"] = replayMeta(from["replay"], at, "replay")
  return leave(from, to, at)
}

function partToolResult(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "tool_result")
  to["callId"] = text(from["callId"], at, "callId")
  if ("toolName" in from) to["toolName"] = text(from["toolName"], at, "toolName")
  to["text"] = text(from["text"], at, "text")
  if ("isError" in from) to["isError"] = literal(from["isError"], at, "isError", true)
  if ("content" in from) to["content"] = list(from["content"], at, "content", returnPart)
  return leave(from, to, at)
}

function partReasoning(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "reasoning")
  to["text"] = text(from["text"], at, "text")
  if ("replay" in from) to["replay"] = reasoningReplay(from["replay"], at, "replay")
  return leave(from, to, at)
}

function partOpaque(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "opaque")
  to["provider"] = text(from["provider"], at, "provider")
  to["kind"] = text(from["kind"], at, "kind")
  to["data"] = json(from["data"], at, "data")
  if ("text" in from) to["text"] = text(from["text"], at, "text")
  return leave(from, to, at)
}

const PART_INTERRUPTED_REASON_VALUES: readonly string[] = [
  "cancelled",
  "output_limit",
  "context_overflow",
  "content_filter",
  "refusal",
  "empty",
  "provider_error",
]

function partInterrupted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id") }
  if ("prune" in from) to["prune"] = prune(from["prune"], at, "prune")
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "interrupted")
  to["reason"] = oneOf(from["reason"], at, "reason", PART_INTERRUPTED_REASON_VALUES)
  return leave(from, to, at)
}

const PART: Tags = new Map<unknown, Check>([
  ["text", partText],
  ["code", partCode],
  ["output", partCode],
  ["error", partCode],
  ["image", partImage],
  ["file", partFile],
  ["tool_call", partToolCall],
  ["tool_result", partToolResult],
  ["reasoning", partReasoning],
  ["opaque", partOpaque],
  ["interrupted", partInterrupted],
])

function part(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", PART)
}

function originPlugin(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "plugin"), pluginId: text(from["pluginId"], at, "pluginId") }
  if ("transient" in from) to["transient"] = literal(from["transient"], at, "transient", true)
  return leave(from, to, at)
}

function originProcess(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "process"),
    processId: text(from["processId"], at, "processId"),
    eventType: text(from["eventType"], at, "eventType"),
    sequence: count(from["sequence"], at, "sequence"),
  }
  if ("wakeId" in from) to["wakeId"] = text(from["wakeId"], at, "wakeId")
  if ("causedBy" in from) to["causedBy"] = json(from["causedBy"], at, "causedBy")
  return leave(from, to, at)
}

const ORIGIN: Tags = new Map<unknown, Check>([
  ["plugin", originPlugin],
  ["process", originProcess],
])

function origin(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", ORIGIN)
}

export function message(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    id: text(from["id"], at, "id"),
    role: oneOf(from["role"], at, "role", ROLE_VALUES),
    parts: list(from["parts"], at, "parts", part),
  }
  if ("origin" in from) to["origin"] = origin(from["origin"], at, "origin")
  if ("producer" in from) to["producer"] = producer(from["producer"], at, "producer")
  return leave(from, to, at)
}

function deliveredMessage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { role: oneOf(from["role"], at, "role", ROLE_VALUES), content: text(from["content"], at, "content") }
  if ("origin" in from) to["origin"] = origin(from["origin"], at, "origin")
  if ("parts" in from) to["parts"] = list(from["parts"], at, "parts", part)
  return leave(from, to, at)
}

function turnCause(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    id: text(from["id"], at, "id"),
    eventType: text(from["eventType"], at, "eventType"),
    origin: origin(from["origin"], at, "origin"),
    text: text(from["text"], at, "text"),
  }
  return leave(from, to, at)
}

function checkpointDelivery(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("userMessages" in from) to["userMessages"] = list(from["userMessages"], at, "userMessages", message)
  if ("messages" in from) to["messages"] = list(from["messages"], at, "messages", deliveredMessage)
  if ("transientMessages" in from) to["transientMessages"] = list(from["transientMessages"], at, "transientMessages", deliveredMessage)
  if ("turnCauses" in from) to["turnCauses"] = list(from["turnCauses"], at, "turnCauses", turnCause)
  if ("events" in from) to["events"] = list(from["events"], at, "events", json)
  return leave(from, to, at)
}

function checkpointDelivered(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "checkpoint_delivery"), id: count(from["id"], at, "id") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  to["delivery"] = checkpointDelivery(from["delivery"], at, "delivery")
  return leave(from, to, at)
}

const RESPONSE: Tags = new Map<unknown, Check>([
  ["execution_surface_synced", executionSurfaceSynced],
  ["llm_complete", llmComplete],
  ["tool_results", toolResults],
  ["tool_decisions", toolDecisions],
  ["tool_pending", toolPending],
  ["exec_result", execResult],
  ["checkpoint_delivery", checkpointDelivered],
])

export function response(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", RESPONSE)
}

const TURN_EVENT_TEXT_DELTA_TYPE_VALUES: readonly string[] = ["text_delta", "reasoning_delta"]

function turnEventTextDelta(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: oneOf(from["type"], at, "type", TURN_EVENT_TEXT_DELTA_TYPE_VALUES), content: text(from["content"], at, "content") }
  return leave(from, to, at)
}

function turnEventMessage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "message"),
    text: text(from["text"], at, "text"),
    kind: text(from["kind"], at, "kind"),
  }
  return leave(from, to, at)
}

function turnEventToolCallStart(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "tool_call_start") }
  if ("callId" in from) to["callId"] = text(from["callId"], at, "callId")
  to["name"] = text(from["name"], at, "name")
  to["args"] = json(from["args"], at, "args")
  return leave(from, to, at)
}

function turnEventToolCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "tool_call") }
  if ("callId" in from) to["callId"] = text(from["callId"], at, "callId")
  to["name"] = text(from["name"], at, "name")
  to["args"] = json(from["args"], at, "args")
  to["output"] = toolOutput(from["output"], at, "output")
  to["durationMs"] = count(from["durationMs"], at, "durationMs")
  return leave(from, to, at)
}

function turnEventToolProgress(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "tool_progress"),
    callId: text(from["callId"], at, "callId"),
    name: text(from["name"], at, "name"),
  }
  if ("message" in from) to["message"] = text(from["message"], at, "message")
  if ("progress" in from) to["progress"] = number(from["progress"], at, "progress")
  if ("total" in from) to["total"] = number(from["total"], at, "total")
  return leave(from, to, at)
}

const ASK_RISK_VALUES: readonly string[] = ["low", "medium", "high"]

const ASK_ALLOW_ITEM_VALUES: readonly string[] = ["approve", "edit", "reject"]

function askAllowItem(value: unknown, at: Reading, key: Key): unknown {
  return oneOf(value, at, key, ASK_ALLOW_ITEM_VALUES)
}

function approvalScope(value: unknown, at: Reading, key: Key): unknown {
  return oneOf(value, at, key, APPROVAL_SCOPE_VALUES)
}

function ask(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("summary" in from) to["summary"] = text(from["summary"], at, "summary")
  if ("risk" in from) to["risk"] = oneOf(from["risk"], at, "risk", ASK_RISK_VALUES)
  to["allow"] = list(from["allow"], at, "allow", askAllowItem)
  to["scopes"] = list(from["scopes"], at, "scopes", approvalScope)
  if ("expiresAt" in from) to["expiresAt"] = int(from["expiresAt"], at, "expiresAt")
  return leave(from, to, at)
}

function heldCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    callId: text(from["callId"], at, "callId"),
    toolName: text(from["toolName"], at, "toolName"),
    args: json(from["args"], at, "args"),
  }
  if ("replay" in from) to["replay"] = replayMeta(from["replay"], at, "replay")
  to["requestId"] = text(from["requestId"], at, "requestId")
  to["index"] = count(from["index"], at, "index")
  to["digest"] = text(from["digest"], at, "digest")
  to["ask"] = ask(from["ask"], at, "ask")
  return leave(from, to, at)
}

function turnEventApprovalRequested(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "approval_requested"), held: heldCall(from["held"], at, "held") }
  return leave(from, to, at)
}

const VERDICT_NAME_VALUES: readonly string[] = ["approve", "edit", "reject", "expired", "cancelled"]

function turnEventApprovalDecided(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "approval_decided"),
    requestId: text(from["requestId"], at, "requestId"),
    callId: text(from["callId"], at, "callId"),
    name: text(from["name"], at, "name"),
    decision: oneOf(from["decision"], at, "decision", VERDICT_NAME_VALUES),
  }
  if ("args" in from) to["args"] = json(from["args"], at, "args")
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  return leave(from, to, at)
}

function turnEventToolPending(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "tool_pending"),
    callId: text(from["callId"], at, "callId"),
    name: text(from["name"], at, "name"),
    token: text(from["token"], at, "token"),
  }
  if ("note" in from) to["note"] = text(from["note"], at, "note")
  return leave(from, to, at)
}

function turnEventLlmRequest(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "llm_request"),
    iteration: count(from["iteration"], at, "iteration"),
    messageCount: count(from["messageCount"], at, "messageCount"),
    tools: list(from["tools"], at, "tools", text),
  }
  if ("purpose" in from) to["purpose"] = text(from["purpose"], at, "purpose")
  return leave(from, to, at)
}

function turnEventLlmResponse(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "llm_response"),
    iteration: count(from["iteration"], at, "iteration"),
    content: text(from["content"], at, "content"),
    durationMs: count(from["durationMs"], at, "durationMs"),
  }
  return leave(from, to, at)
}

function turnEventTokenUsage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "token_usage"),
    iteration: count(from["iteration"], at, "iteration"),
    usage: tokenUsage(from["usage"], at, "usage"),
    cumulative: tokenUsage(from["cumulative"], at, "cumulative"),
  }
  return leave(from, to, at)
}

function turnEventChildTokenUsage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "child_token_usage"),
    sessionId: text(from["sessionId"], at, "sessionId"),
    source: text(from["source"], at, "source"),
    model: text(from["model"], at, "model"),
    iteration: count(from["iteration"], at, "iteration"),
    usage: tokenUsage(from["usage"], at, "usage"),
    cumulative: tokenUsage(from["cumulative"], at, "cumulative"),
  }
  return leave(from, to, at)
}

function errorEnvelope(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { kind: text(from["kind"], at, "kind") }
  if ("code" in from) to["code"] = text(from["code"], at, "code")
  if ("terminalReason" in from) to["terminalReason"] = oneOf(from["terminalReason"], at, "terminalReason", TERMINAL_REASON_VALUES)
  if ("failureKind" in from) to["failureKind"] = oneOf(from["failureKind"], at, "failureKind", LLM_FAILURE_KIND_VALUES)
  if ("retryAt" in from) to["retryAt"] = int(from["retryAt"], at, "retryAt")
  to["userMessage"] = text(from["userMessage"], at, "userMessage")
  if ("raw" in from) to["raw"] = text(from["raw"], at, "raw")
  return leave(from, to, at)
}

function turnEventRetryStatus(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "retry_status"),
    waitSeconds: atLeast(number(from["waitSeconds"], at, "waitSeconds"), at, "waitSeconds", 0),
    attempt: count(from["attempt"], at, "attempt"),
    maxAttempts: count(from["maxAttempts"], at, "maxAttempts"),
    reason: text(from["reason"], at, "reason"),
  }
  if ("envelope" in from) to["envelope"] = errorEnvelope(from["envelope"], at, "envelope")
  return leave(from, to, at)
}

const CHECKPOINT_KIND_VALUES: readonly string[] = ["after_work", "before_completion"]

function turnEventInjectedTurnInputAccepted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "injected_turn_input_accepted"),
    inputs: list(from["inputs"], at, "inputs", json),
    checkpoint: oneOf(from["checkpoint"], at, "checkpoint", CHECKPOINT_KIND_VALUES),
  }
  return leave(from, to, at)
}

function turnEventInjectedMessagesCommitted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "injected_messages_committed"),
    messages: list(from["messages"], at, "messages", deliveredMessage),
    checkpoint: oneOf(from["checkpoint"], at, "checkpoint", CHECKPOINT_KIND_VALUES),
  }
  return leave(from, to, at)
}

function pluginEventStatus(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "status"), key: text(from["key"], at, "key"), label: text(from["label"], at, "label") }
  if ("detail" in from) to["detail"] = text(from["detail"], at, "detail")
  return leave(from, to, at)
}

function pluginEventCustom(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "custom"),
    name: text(from["name"], at, "name"),
    payload: json(from["payload"], at, "payload"),
  }
  return leave(from, to, at)
}

const PLUGIN_EVENT: Tags = new Map<unknown, Check>([
  ["status", pluginEventStatus],
  ["custom", pluginEventCustom],
])

function pluginEvent(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", PLUGIN_EVENT)
}

function turnEventPluginEvent(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "plugin_event"),
    pluginId: text(from["pluginId"], at, "pluginId"),
    event: pluginEvent(from["event"], at, "event"),
  }
  return leave(from, to, at)
}

function outcomeFinishedFinishAssistantMessage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "assistant_message"), text: text(from["text"], at, "text") }
  return leave(from, to, at)
}

function outcomeFinishedFinishSubmittedValue(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "submitted_value"), value: json(from["value"], at, "value") }
  return leave(from, to, at)
}

function outcomeFinishedFinishToolValue(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "tool_value"),
    toolName: text(from["toolName"], at, "toolName"),
    value: json(from["value"], at, "value"),
  }
  return leave(from, to, at)
}

const OUTCOME_FINISHED_FINISH: Tags = new Map<unknown, Check>([
  ["assistant_message", outcomeFinishedFinishAssistantMessage],
  ["submitted_value", outcomeFinishedFinishSubmittedValue],
  ["tool_value", outcomeFinishedFinishToolValue],
])

function outcomeFinishedFinish(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", OUTCOME_FINISHED_FINISH)
}

function outcomeFinished(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "finished"), finish: outcomeFinishedFinish(from["finish"], at, "finish") }
  return leave(from, to, at)
}

function outcomeAgentFrameSwitch(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "agent_frame_switch"), frameId: text(from["frameId"], at, "frameId") }
  return leave(from, to, at)
}

const OUTCOME_STOPPED_STOP_CANCELLED_TYPE_VALUES: readonly string[] = [
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
]

function outcomeStoppedStopCancelled(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: oneOf(from["type"], at, "type", OUTCOME_STOPPED_STOP_CANCELLED_TYPE_VALUES) }
  if ("error" in from) to["error"] = errorEnvelope(from["error"], at, "error")
  return leave(from, to, at)
}

function outcomeStoppedStopSubmittedError(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "submitted_error"), value: json(from["value"], at, "value") }
  if ("error" in from) to["error"] = errorEnvelope(from["error"], at, "error")
  return leave(from, to, at)
}

function outcomeStoppedStopToolError(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "tool_error"),
    toolName: text(from["toolName"], at, "toolName"),
    value: either(from["value"], at, "value", [json, toolFailure]),
  }
  if ("error" in from) to["error"] = errorEnvelope(from["error"], at, "error")
  return leave(from, to, at)
}

const OUTCOME_STOPPED_STOP: Tags = new Map<unknown, Check>([
  ["cancelled", outcomeStoppedStopCancelled],
  ["incomplete", outcomeStoppedStopCancelled],
  ["invalid_input", outcomeStoppedStopCancelled],
  ["max_iterations", outcomeStoppedStopCancelled],
  ["max_tokens", outcomeStoppedStopCancelled],
  ["deadline", outcomeStoppedStopCancelled],
  ["tool_failure", outcomeStoppedStopCancelled],
  ["provider_error", outcomeStoppedStopCancelled],
  ["plugin_abort", outcomeStoppedStopCancelled],
  ["runtime_error", outcomeStoppedStopCancelled],
  ["submitted_error", outcomeStoppedStopSubmittedError],
  ["tool_error", outcomeStoppedStopToolError],
])

function outcomeStoppedStop(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", OUTCOME_STOPPED_STOP)
}

function outcomeStopped(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "stopped"), stop: outcomeStoppedStop(from["stop"], at, "stop") }
  return leave(from, to, at)
}

const OUTCOME: Tags = new Map<unknown, Check>([
  ["finished", outcomeFinished],
  ["agent_frame_switch", outcomeAgentFrameSwitch],
  ["stopped", outcomeStopped],
])

export function outcome(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", OUTCOME)
}

function turnEventTurnOutcome(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "turn_outcome"), outcome: outcome(from["outcome"], at, "outcome") }
  return leave(from, to, at)
}

function turnEventDone(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "done") }
  return leave(from, to, at)
}

function turnEventError(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "error"), message: text(from["message"], at, "message") }
  if ("envelope" in from) to["envelope"] = errorEnvelope(from["envelope"], at, "envelope")
  return leave(from, to, at)
}

const TURN_EVENT: Tags = new Map<unknown, Check>([
  ["text_delta", turnEventTextDelta],
  ["reasoning_delta", turnEventTextDelta],
  ["message", turnEventMessage],
  ["tool_call_start", turnEventToolCallStart],
  ["tool_call", turnEventToolCall],
  ["tool_progress", turnEventToolProgress],
  ["approval_requested", turnEventApprovalRequested],
  ["approval_decided", turnEventApprovalDecided],
  ["tool_pending", turnEventToolPending],
  ["llm_request", turnEventLlmRequest],
  ["llm_response", turnEventLlmResponse],
  ["token_usage", turnEventTokenUsage],
  ["child_token_usage", turnEventChildTokenUsage],
  ["retry_status", turnEventRetryStatus],
  ["injected_turn_input_accepted", turnEventInjectedTurnInputAccepted],
  ["injected_messages_committed", turnEventInjectedMessagesCommitted],
  ["plugin_event", turnEventPluginEvent],
  ["turn_outcome", turnEventTurnOutcome],
  ["done", turnEventDone],
  ["error", turnEventError],
])

export function turnEvent(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", TURN_EVENT)
}

function driverActionEmit(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "emit"), event: turnEvent(from["event"], at, "event") }
  return leave(from, to, at)
}

function historyRecordConversation(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "conversation"), message: message(from["message"], at, "message") }
  return leave(from, to, at)
}

function historyRecordProtocol(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "protocol"), event: json(from["event"], at, "event") }
  return leave(from, to, at)
}

const HISTORY_RECORD: Tags = new Map<unknown, Check>([
  ["conversation", historyRecordConversation],
  ["protocol", historyRecordProtocol],
])

export function historyRecord(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", HISTORY_RECORD)
}

function driverActionAppendEvents(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "append_events"), events: list(from["events"], at, "events", historyRecord) }
  return leave(from, to, at)
}

const LLM_MESSAGE_ROLE_VALUES: readonly string[] = ["system", "user", "assistant"]

function blockText(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "text")
  to["text"] = text(from["text"], at, "text")
  if ("responseMeta" in from) to["responseMeta"] = responseMeta(from["responseMeta"], at, "responseMeta")
  if ("cacheBreakpoint" in from) to["cacheBreakpoint"] = literal(from["cacheBreakpoint"], at, "cacheBreakpoint", true)
  return leave(from, to, at)
}

function blockImage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "image")
  to["attachmentIndex"] = count(from["attachmentIndex"], at, "attachmentIndex")
  return leave(from, to, at)
}

function blockFile(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "file")
  to["attachmentIndex"] = count(from["attachmentIndex"], at, "attachmentIndex")
  return leave(from, to, at)
}

function blockToolResult(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("providerMetadata" in from) to["providerMetadata"] = json(from["providerMetadata"], at, "providerMetadata")
  to["type"] = literal(from["type"], at, "type", "tool_result")
  to["callId"] = text(from["callId"], at, "callId")
  if ("toolName" in from) to["toolName"] = text(from["toolName"], at, "toolName")
  to["text"] = text(from["text"], at, "text")
  if ("isError" in from) to["isError"] = literal(from["isError"], at, "isError", true)
  if ("content" in from) to["content"] = list(from["content"], at, "content", returnPart)
  return leave(from, to, at)
}

const BLOCK: Tags = new Map<unknown, Check>([
  ["text", blockText],
  ["image", blockImage],
  ["file", blockFile],
  ["tool_call", outputPartToolCall],
  ["tool_result", blockToolResult],
  ["reasoning", outputPartReasoning],
  ["opaque", outputPartOpaque],
])

function block(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", BLOCK)
}

export function llmMessage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { role: oneOf(from["role"], at, "role", LLM_MESSAGE_ROLE_VALUES), blocks: list(from["blocks"], at, "blocks", block) }
  if ("producer" in from) to["producer"] = producer(from["producer"], at, "producer")
  return leave(from, to, at)
}

const LLM_REQUEST_TOOL_CHOICE1_VALUES: readonly string[] = ["auto", "none", "required"]

function llmRequestToolChoice1(value: unknown, at: Reading, key: Key): unknown {
  return oneOf(value, at, key, LLM_REQUEST_TOOL_CHOICE1_VALUES)
}

function llmRequestToolChoice2(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { toolName: text(from["toolName"], at, "toolName") }
  return leave(from, to, at)
}

function generation(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("maxOutputTokens" in from) to["maxOutputTokens"] = count(from["maxOutputTokens"], at, "maxOutputTokens")
  if ("temperature" in from) to["temperature"] = atLeast(number(from["temperature"], at, "temperature"), at, "temperature", 0)
  if ("topP" in from) to["topP"] = atMost(atLeast(number(from["topP"], at, "topP"), at, "topP", 0), at, "topP", 1)
  if ("stopSequences" in from) to["stopSequences"] = list(from["stopSequences"], at, "stopSequences", text)
  if ("seed" in from) to["seed"] = int(from["seed"], at, "seed")
  if ("reasoningEffort" in from) to["reasoningEffort"] = text(from["reasoningEffort"], at, "reasoningEffort")
  if ("providerOptions" in from) to["providerOptions"] = json(from["providerOptions"], at, "providerOptions")
  return leave(from, to, at)
}

const LLM_REQUEST_CACHE_VALUES: readonly string[] = ["auto", "off"]

function llmRequestOutputSpecJsonObject(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "json_object") }
  return leave(from, to, at)
}

function llmRequestOutputSpecJsonSchema(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "json_schema"),
    name: text(from["name"], at, "name"),
    schema: json(from["schema"], at, "schema"),
    strict: flag(from["strict"], at, "strict"),
  }
  return leave(from, to, at)
}

const LLM_REQUEST_OUTPUT_SPEC: Tags = new Map<unknown, Check>([
  ["json_object", llmRequestOutputSpecJsonObject],
  ["json_schema", llmRequestOutputSpecJsonSchema],
])

function llmRequestOutputSpec(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", LLM_REQUEST_OUTPUT_SPEC)
}

function llmRequest(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { model: text(from["model"], at, "model") }
  if ("modelVariant" in from) to["modelVariant"] = text(from["modelVariant"], at, "modelVariant")
  to["messages"] = list(from["messages"], at, "messages", llmMessage)
  to["attachments"] = list(from["attachments"], at, "attachments", attachmentRef)
  to["tools"] = list(from["tools"], at, "tools", toolSpec)
  to["toolChoice"] = either(from["toolChoice"], at, "toolChoice", [llmRequestToolChoice1, llmRequestToolChoice2])
  if ("parallelToolCalls" in from) to["parallelToolCalls"] = literal(from["parallelToolCalls"], at, "parallelToolCalls", false)
  to["generation"] = generation(from["generation"], at, "generation")
  if ("cache" in from) to["cache"] = oneOf(from["cache"], at, "cache", LLM_REQUEST_CACHE_VALUES)
  if ("sessionId" in from) to["sessionId"] = text(from["sessionId"], at, "sessionId")
  if ("outputSpec" in from) to["outputSpec"] = llmRequestOutputSpec(from["outputSpec"], at, "outputSpec")
  return leave(from, to, at)
}

function driverActionStartLlm(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "start_llm"), request: llmRequest(from["request"], at, "request") }
  if ("purpose" in from) to["purpose"] = text(from["purpose"], at, "purpose")
  if ("driverState" in from) to["driverState"] = json(from["driverState"], at, "driverState")
  return leave(from, to, at)
}

function pendingToolCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    callId: text(from["callId"], at, "callId"),
    toolName: text(from["toolName"], at, "toolName"),
    args: json(from["args"], at, "args"),
  }
  if ("replay" in from) to["replay"] = replayMeta(from["replay"], at, "replay")
  return leave(from, to, at)
}

function holdCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { callId: text(from["callId"], at, "callId"), digest: text(from["digest"], at, "digest"), ask: ask(from["ask"], at, "ask") }
  return leave(from, to, at)
}

function driverActionStartTools(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "start_tools"), calls: list(from["calls"], at, "calls", pendingToolCall) }
  if ("settled" in from) to["settled"] = list(from["settled"], at, "settled", completedToolCall)
  if ("held" in from) to["held"] = list(from["held"], at, "held", holdCall)
  return leave(from, to, at)
}

function driverActionReleaseCalls(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "release_calls"), requestIds: list(from["requestIds"], at, "requestIds", text) }
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  return leave(from, to, at)
}

function driverActionSettleCalls(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "settle_calls"), results: list(from["results"], at, "results", completedToolCall) }
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  return leave(from, to, at)
}

function driverActionStartExec(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "start_exec"), code: text(from["code"], at, "code") }
  if ("language" in from) to["language"] = text(from["language"], at, "language")
  to["driverState"] = json(from["driverState"], at, "driverState")
  return leave(from, to, at)
}

function onEmptyPrepareIteration(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "prepare_iteration") }
  return leave(from, to, at)
}

function onEmptyFinish(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "finish"), outcome: outcome(from["outcome"], at, "outcome") }
  return leave(from, to, at)
}

const ON_EMPTY: Tags = new Map<unknown, Check>([
  ["prepare_iteration", onEmptyPrepareIteration],
  ["finish", onEmptyFinish],
])

function onEmpty(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", ON_EMPTY)
}

function driverActionStartCheckpoint(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "start_checkpoint"),
    checkpoint: oneOf(from["checkpoint"], at, "checkpoint", CHECKPOINT_KIND_VALUES),
    onEmpty: onEmpty(from["onEmpty"], at, "onEmpty"),
  }
  return leave(from, to, at)
}

function driverActionAdvanceIteration(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "advance_iteration") }
  return leave(from, to, at)
}

function driverActionScheduleTurnLimitFinal(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "schedule_turn_limit_final"), message: message(from["message"], at, "message") }
  return leave(from, to, at)
}

function driverActionFinish(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "finish"), outcome: outcome(from["outcome"], at, "outcome") }
  return leave(from, to, at)
}

const DRIVER_ACTION: Tags = new Map<unknown, Check>([
  ["emit", driverActionEmit],
  ["append_events", driverActionAppendEvents],
  ["start_llm", driverActionStartLlm],
  ["start_tools", driverActionStartTools],
  ["release_calls", driverActionReleaseCalls],
  ["settle_calls", driverActionSettleCalls],
  ["start_exec", driverActionStartExec],
  ["start_checkpoint", driverActionStartCheckpoint],
  ["advance_iteration", driverActionAdvanceIteration],
  ["schedule_turn_limit_final", driverActionScheduleTurnLimitFinal],
  ["finish", driverActionFinish],
])

export function driverAction(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", DRIVER_ACTION)
}

export function driverActions(value: unknown, at: Reading, key: Key): unknown {
  return list(value, at, key, driverAction)
}

export function turnStart(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { messages: list(from["messages"], at, "messages", message) }
  if ("events" in from) to["events"] = list(from["events"], at, "events", historyRecord)
  if ("turnCauses" in from) to["turnCauses"] = list(from["turnCauses"], at, "turnCauses", turnCause)
  if ("iterationOffset" in from) to["iterationOffset"] = count(from["iterationOffset"], at, "iterationOffset")
  if ("deadlineAt" in from) to["deadlineAt"] = int(from["deadlineAt"], at, "deadlineAt")
  if ("surfaceChanged" in from) to["surfaceChanged"] = literal(from["surfaceChanged"], at, "surfaceChanged", true)
  return leave(from, to, at)
}

function turnConfigDataToolsValue(value: unknown, at: Reading, key: Key): unknown {
  return list(value, at, key, toolSpec)
}

function turnConfigDataMaxResultTokensValue(value: unknown, at: Reading, key: Key): unknown {
  return above(int(value, at, key), at, key, 0)
}

function turnConfigDataGenerationValueTemperatureValue(value: unknown, at: Reading, key: Key): unknown {
  return atLeast(number(value, at, key), at, key, 0)
}

function turnConfigDataGenerationValueTopPValue(value: unknown, at: Reading, key: Key): unknown {
  return atMost(atLeast(number(value, at, key), at, key, 0), at, key, 1)
}

function turnConfigDataGenerationValueStopSequencesValue(value: unknown, at: Reading, key: Key): unknown {
  return list(value, at, key, text)
}

function turnConfigDataGenerationValue(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {}
  if ("maxOutputTokens" in from) to["maxOutputTokens"] = optional(from["maxOutputTokens"], at, "maxOutputTokens", count)
  if ("temperature" in from) to["temperature"] = optional(from["temperature"], at, "temperature", turnConfigDataGenerationValueTemperatureValue)
  if ("topP" in from) to["topP"] = optional(from["topP"], at, "topP", turnConfigDataGenerationValueTopPValue)
  if ("stopSequences" in from)
    to["stopSequences"] = optional(from["stopSequences"], at, "stopSequences", turnConfigDataGenerationValueStopSequencesValue)
  if ("seed" in from) to["seed"] = optional(from["seed"], at, "seed", int)
  if ("reasoningEffort" in from) to["reasoningEffort"] = optional(from["reasoningEffort"], at, "reasoningEffort", text)
  if ("providerOptions" in from) to["providerOptions"] = optional(from["providerOptions"], at, "providerOptions", json)
  return leave(from, to, at)
}

function turnConfigDataParallelToolCallsValue(value: unknown, at: Reading, key: Key): unknown {
  return literal(value, at, key, false)
}

function turnConfigDataCacheValue(value: unknown, at: Reading, key: Key): unknown {
  return oneOf(value, at, key, LLM_REQUEST_CACHE_VALUES)
}

export function turnConfigData(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { model: text(from["model"], at, "model", "the config needs `model`, the name of the model at its provider") }
  if ("modelVariant" in from) to["modelVariant"] = optional(from["modelVariant"], at, "modelVariant", text)
  if ("sessionId" in from) to["sessionId"] = optional(from["sessionId"], at, "sessionId", text)
  if ("runSessionId" in from) to["runSessionId"] = optional(from["runSessionId"], at, "runSessionId", text)
  if ("systemPrompt" in from) to["systemPrompt"] = optional(from["systemPrompt"], at, "systemPrompt", text)
  if ("tools" in from) to["tools"] = optional(from["tools"], at, "tools", turnConfigDataToolsValue)
  if ("maxContextTokens" in from) to["maxContextTokens"] = optional(from["maxContextTokens"], at, "maxContextTokens", count)
  if ("maxResultTokens" in from) to["maxResultTokens"] = optional(from["maxResultTokens"], at, "maxResultTokens", turnConfigDataMaxResultTokensValue)
  if ("maxIterations" in from) to["maxIterations"] = optional(from["maxIterations"], at, "maxIterations", count)
  if ("maxTokens" in from) to["maxTokens"] = optional(from["maxTokens"], at, "maxTokens", count)
  if ("generation" in from) to["generation"] = optional(from["generation"], at, "generation", turnConfigDataGenerationValue)
  if ("parallelToolCalls" in from)
    to["parallelToolCalls"] = optional(from["parallelToolCalls"], at, "parallelToolCalls", turnConfigDataParallelToolCallsValue)
  if ("cache" in from) to["cache"] = optional(from["cache"], at, "cache", turnConfigDataCacheValue)
  if ("syncExecutionSurface" in from) to["syncExecutionSurface"] = optional(from["syncExecutionSurface"], at, "syncExecutionSurface", flag)
  if ("emitLlmTrace" in from) to["emitLlmTrace"] = optional(from["emitLlmTrace"], at, "emitLlmTrace", flag)
  return leave(from, to, at)
}

function turnCheckpointDriver(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { name: text(from["name"], at, "name"), version: count(from["version"], at, "version") }
  return leave(from, to, at)
}

const TURN_CHECKPOINT_STATE_PREPARING_TYPE_VALUES: readonly string[] = ["preparing", "prepare_iteration"]

function turnCheckpointStatePreparing(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: oneOf(from["type"], at, "type", TURN_CHECKPOINT_STATE_PREPARING_TYPE_VALUES) }
  return leave(from, to, at)
}

function syncExecutionSurface(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "sync_execution_surface"),
    id: count(from["id"], at, "id"),
    updateMachineConfig: flag(from["updateMachineConfig"], at, "updateMachineConfig"),
  }
  return leave(from, to, at)
}

function turnCheckpointStateWaitingExecutionSurface(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "waiting_execution_surface"),
    outstanding: syncExecutionSurface(from["outstanding"], at, "outstanding"),
  }
  return leave(from, to, at)
}

export function llmCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "llm_call"),
    id: count(from["id"], at, "id"),
    request: llmRequest(from["request"], at, "request"),
  }
  if ("purpose" in from) to["purpose"] = text(from["purpose"], at, "purpose")
  return leave(from, to, at)
}

function turnCheckpointStateWaitingLlm(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "waiting_llm"), outstanding: llmCall(from["outstanding"], at, "outstanding") }
  if ("driverState" in from) to["driverState"] = json(from["driverState"], at, "driverState")
  return leave(from, to, at)
}

function externalCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    callId: text(from["callId"], at, "callId"),
    toolName: text(from["toolName"], at, "toolName"),
    args: json(from["args"], at, "args"),
  }
  if ("replay" in from) to["replay"] = replayMeta(from["replay"], at, "replay")
  to["token"] = text(from["token"], at, "token")
  if ("note" in from) to["note"] = text(from["note"], at, "note")
  return leave(from, to, at)
}

function toolCalls(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "tool_calls"),
    id: count(from["id"], at, "id"),
    calls: list(from["calls"], at, "calls", pendingToolCall),
  }
  if ("held" in from) to["held"] = list(from["held"], at, "held", heldCall)
  if ("pending" in from) to["pending"] = list(from["pending"], at, "pending", externalCall)
  return leave(from, to, at)
}

function turnCheckpointStateWaitingToolsResultsItem(value: unknown, at: Reading, key: Key): unknown {
  return nullable(value, at, key, completedToolCall)
}

function turnCheckpointStateWaitingToolsSettledItem(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { index: count(from["index"], at, "index"), result: completedToolCall(from["result"], at, "result") }
  return leave(from, to, at)
}

function decidedCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { requestId: text(from["requestId"], at, "requestId"), decision: oneOf(from["decision"], at, "decision", VERDICT_NAME_VALUES) }
  if ("args" in from) to["args"] = json(from["args"], at, "args")
  if ("by" in from) to["by"] = text(from["by"], at, "by")
  return leave(from, to, at)
}

function turnCheckpointStateWaitingTools(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "waiting_tools"),
    outstanding: toolCalls(from["outstanding"], at, "outstanding"),
    results: list(from["results"], at, "results", turnCheckpointStateWaitingToolsResultsItem),
  }
  if ("settled" in from) to["settled"] = list(from["settled"], at, "settled", turnCheckpointStateWaitingToolsSettledItem)
  if ("decided" in from) to["decided"] = list(from["decided"], at, "decided", decidedCall)
  if ("pending" in from) to["pending"] = list(from["pending"], at, "pending", externalCall)
  return leave(from, to, at)
}

function execCode(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "exec_code"), id: count(from["id"], at, "id"), code: text(from["code"], at, "code") }
  if ("language" in from) to["language"] = text(from["language"], at, "language")
  return leave(from, to, at)
}

function turnCheckpointStateWaitingExec(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "waiting_exec"),
    outstanding: execCode(from["outstanding"], at, "outstanding"),
    driverState: json(from["driverState"], at, "driverState"),
  }
  return leave(from, to, at)
}

function checkpoint(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "checkpoint"),
    id: count(from["id"], at, "id"),
    checkpoint: oneOf(from["checkpoint"], at, "checkpoint", CHECKPOINT_KIND_VALUES),
  }
  return leave(from, to, at)
}

function turnCheckpointStateWaitingCheckpoint(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "waiting_checkpoint"),
    outstanding: checkpoint(from["outstanding"], at, "outstanding"),
    onEmpty: onEmpty(from["onEmpty"], at, "onEmpty"),
  }
  return leave(from, to, at)
}

function turnCheckpointStateFinished(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "finished"), outcome: outcome(from["outcome"], at, "outcome") }
  return leave(from, to, at)
}

const TURN_CHECKPOINT_STATE: Tags = new Map<unknown, Check>([
  ["preparing", turnCheckpointStatePreparing],
  ["prepare_iteration", turnCheckpointStatePreparing],
  ["waiting_execution_surface", turnCheckpointStateWaitingExecutionSurface],
  ["waiting_llm", turnCheckpointStateWaitingLlm],
  ["waiting_tools", turnCheckpointStateWaitingTools],
  ["waiting_exec", turnCheckpointStateWaitingExec],
  ["waiting_checkpoint", turnCheckpointStateWaitingCheckpoint],
  ["finished", turnCheckpointStateFinished],
])

function turnCheckpointState(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", TURN_CHECKPOINT_STATE)
}

const ANSWERABLE_EFFECT: Tags = new Map<unknown, Check>([
  ["sync_execution_surface", syncExecutionSurface],
  ["llm_call", llmCall],
  ["tool_calls", toolCalls],
  ["exec_code", execCode],
  ["checkpoint", checkpoint],
])

export function answerableEffect(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", ANSWERABLE_EFFECT)
}

function cancelLlm(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "cancel_llm"), id: count(from["id"], at, "id") }
  return leave(from, to, at)
}

function emit(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "emit"), event: turnEvent(from["event"], at, "event") }
  return leave(from, to, at)
}

function logEventLlmDebugResponsePartsItemText(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "text"), text: text(from["text"], at, "text") }
  return leave(from, to, at)
}

function logEventLlmDebugResponsePartsItemReasoning(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "reasoning") }
  if ("id" in from) to["id"] = text(from["id"], at, "id")
  if ("summary" in from) to["summary"] = list(from["summary"], at, "summary", text)
  to["text"] = text(from["text"], at, "text")
  to["hasEncrypted"] = flag(from["hasEncrypted"], at, "hasEncrypted")
  to["redacted"] = flag(from["redacted"], at, "redacted")
  return leave(from, to, at)
}

function logEventLlmDebugResponsePartsItemToolCall(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "tool_call"),
    callId: text(from["callId"], at, "callId"),
    toolName: text(from["toolName"], at, "toolName"),
    inputJson: text(from["inputJson"], at, "inputJson"),
  }
  if ("id" in from) to["id"] = text(from["id"], at, "id")
  to["hasOpaque"] = flag(from["hasOpaque"], at, "hasOpaque")
  return leave(from, to, at)
}

function logEventLlmDebugResponsePartsItemOpaque(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "opaque"),
    provider: text(from["provider"], at, "provider"),
    kind: text(from["kind"], at, "kind"),
  }
  return leave(from, to, at)
}

const LOG_EVENT_LLM_DEBUG_RESPONSE_PARTS_ITEM: Tags = new Map<unknown, Check>([
  ["text", logEventLlmDebugResponsePartsItemText],
  ["reasoning", logEventLlmDebugResponsePartsItemReasoning],
  ["tool_call", logEventLlmDebugResponsePartsItemToolCall],
  ["opaque", logEventLlmDebugResponsePartsItemOpaque],
])

function logEventLlmDebugResponsePartsItem(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", LOG_EVENT_LLM_DEBUG_RESPONSE_PARTS_ITEM)
}

function logEventLlmDebug(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "llm_debug"),
    sessionId: text(from["sessionId"], at, "sessionId"),
    iteration: count(from["iteration"], at, "iteration"),
    usage: tokenUsage(from["usage"], at, "usage"),
  }
  if ("providerUsage" in from) to["providerUsage"] = json(from["providerUsage"], at, "providerUsage")
  if ("requestBody" in from) to["requestBody"] = text(from["requestBody"], at, "requestBody")
  to["responseText"] = text(from["responseText"], at, "responseText")
  if ("responseParts" in from) to["responseParts"] = list(from["responseParts"], at, "responseParts", logEventLlmDebugResponsePartsItem)
  return leave(from, to, at)
}

function logEventLlmError(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "llm_error"),
    sessionId: text(from["sessionId"], at, "sessionId"),
    iteration: count(from["iteration"], at, "iteration"),
    message: text(from["message"], at, "message"),
    retryable: flag(from["retryable"], at, "retryable"),
  }
  if ("code" in from) to["code"] = text(from["code"], at, "code")
  if ("raw" in from) to["raw"] = text(from["raw"], at, "raw")
  to["terminalReason"] = oneOf(from["terminalReason"], at, "terminalReason", TERMINAL_REASON_VALUES)
  if ("requestBody" in from) to["requestBody"] = text(from["requestBody"], at, "requestBody")
  if ("kind" in from) to["kind"] = oneOf(from["kind"], at, "kind", LLM_FAILURE_KIND_VALUES)
  if ("retryAt" in from) to["retryAt"] = int(from["retryAt"], at, "retryAt")
  if ("usage" in from) to["usage"] = tokenUsage(from["usage"], at, "usage")
  if ("retriedUsage" in from) to["retriedUsage"] = tokenUsage(from["retriedUsage"], at, "retriedUsage")
  return leave(from, to, at)
}

const LOG_EVENT: Tags = new Map<unknown, Check>([
  ["llm_debug", logEventLlmDebug],
  ["llm_error", logEventLlmError],
])

function logEvent(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", LOG_EVENT)
}

function log(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "log"), event: logEvent(from["event"], at, "event") }
  return leave(from, to, at)
}

function turnCheckpointUnpolledItemOutstanding(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "outstanding") }
  return leave(from, to, at)
}

function turnCheckpointUnpolledItemProgress(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "progress"),
    messageCount: count(from["messageCount"], at, "messageCount"),
    eventsFrom: count(from["eventsFrom"], at, "eventsFrom"),
    eventsTo: count(from["eventsTo"], at, "eventsTo"),
    iteration: count(from["iteration"], at, "iteration"),
  }
  return leave(from, to, at)
}

function turnCheckpointUnpolledItemDone(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "done"),
    outcome: outcome(from["outcome"], at, "outcome"),
    messageCount: count(from["messageCount"], at, "messageCount"),
    eventsFrom: count(from["eventsFrom"], at, "eventsFrom"),
    eventsTo: count(from["eventsTo"], at, "eventsTo"),
    iteration: count(from["iteration"], at, "iteration"),
  }
  return leave(from, to, at)
}

const TURN_CHECKPOINT_UNPOLLED_ITEM: Tags = new Map<unknown, Check>([
  ["sync_execution_surface", answerableEffect],
  ["llm_call", answerableEffect],
  ["tool_calls", answerableEffect],
  ["exec_code", answerableEffect],
  ["checkpoint", answerableEffect],
  ["cancel_llm", cancelLlm],
  ["emit", emit],
  ["log", log],
  ["outstanding", turnCheckpointUnpolledItemOutstanding],
  ["progress", turnCheckpointUnpolledItemProgress],
  ["done", turnCheckpointUnpolledItemDone],
])

function turnCheckpointUnpolledItem(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", TURN_CHECKPOINT_UNPOLLED_ITEM)
}

function turnCheckpointEventsItemMessage(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "message"), index: count(from["index"], at, "index") }
  return leave(from, to, at)
}

const TURN_CHECKPOINT_EVENTS_ITEM: Tags = new Map<unknown, Check>([
  ["conversation", historyRecord],
  ["protocol", historyRecord],
  ["message", turnCheckpointEventsItemMessage],
])

function turnCheckpointEventsItem(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", TURN_CHECKPOINT_EVENTS_ITEM)
}

export function turnCheckpoint(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    format: literal(from["format"], at, "format", "turn-machine/checkpoint"),
    version: literal(from["version"], at, "version", 2),
    driver: turnCheckpointDriver(from["driver"], at, "driver"),
    state: turnCheckpointState(from["state"], at, "state"),
    unpolled: list(from["unpolled"], at, "unpolled", turnCheckpointUnpolledItem),
    messages: list(from["messages"], at, "messages", message),
    events: list(from["events"], at, "events", turnCheckpointEventsItem),
    turnCauses: list(from["turnCauses"], at, "turnCauses", turnCause),
    reportedEvents: count(from["reportedEvents"], at, "reportedEvents"),
    iteration: count(from["iteration"], at, "iteration"),
    iterationOffset: count(from["iterationOffset"], at, "iterationOffset"),
    startLength: count(from["startLength"], at, "startLength"),
  }
  if ("deadlineAt" in from) to["deadlineAt"] = int(from["deadlineAt"], at, "deadlineAt")
  if ("surfaceChanged" in from) to["surfaceChanged"] = literal(from["surfaceChanged"], at, "surfaceChanged", true)
  to["usage"] = tokenUsage(from["usage"], at, "usage")
  to["nextEffectId"] = count(from["nextEffectId"], at, "nextEffectId")
  to["nextMessageNumber"] = count(from["nextMessageNumber"], at, "nextMessageNumber")
  if ("syncedIteration" in from) to["syncedIteration"] = count(from["syncedIteration"], at, "syncedIteration")
  to["turnLimitScheduled"] = flag(from["turnLimitScheduled"], at, "turnLimitScheduled")
  if ("heldSince" in from) to["heldSince"] = int(from["heldSince"], at, "heldSince")
  if ("heldMs" in from) to["heldMs"] = count(from["heldMs"], at, "heldMs")
  to["systemPrompt"] = text(from["systemPrompt"], at, "systemPrompt")
  to["tools"] = list(from["tools"], at, "tools", toolSpec)
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  return leave(from, to, at)
}
