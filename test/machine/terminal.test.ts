import { describe, expect, test } from "vitest"
import { debugLog, errorEvent, errorLog, failureActions, failWith, shownActions, stopped, terminalActions } from "../../src/machine/terminal.ts"
import type { LlmResponse, TerminalReason } from "../../src/schemas/llm.ts"

const USAGE = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
const cutOff: LlmResponse = { text: "half a sen", parts: [{ type: "text", text: "half a sen" }], usage: USAGE, terminalReason: "output_limit" }

describe("answers that end the turn", () => {
  test.each([
    ["output_limit", "incomplete"],
    ["context_overflow", "provider_error"],
    ["content_filter", "provider_error"],
    ["refusal", "provider_error"],
    ["provider_error", "provider_error"],
    ["cancelled", "cancelled"],
  ] as const)("%s stops as %s, and says so", (terminalReason, stop) => {
    const message = `Model call ended: ${terminalReason}.`
    const envelope = { kind: "llm_provider", code: terminalReason, terminalReason, userMessage: message }
    expect(terminalActions({ ...cutOff, terminalReason })).toEqual([
      { type: "emit", event: { type: "error", message, envelope } },
      { type: "finish", outcome: { type: "stopped", stop: { type: stop, error: envelope } } },
    ])
  })

  test.each(["stop", "tool_use", "paused", "unknown"] as const)("%s is left to the driver", (terminalReason: TerminalReason) => {
    expect(terminalActions({ ...cutOff, terminalReason })).toBeUndefined()
  })

  test("a streamed text is not emitted again, and an empty one never is", () => {
    const shown = { type: "emit", event: { type: "llm_response", iteration: 3, content: "half a sen", durationMs: 0 } }
    expect(shownActions(cutOff, false, 3)).toEqual([{ type: "emit", event: { type: "text_delta", content: "half a sen" } }, shown])
    expect(shownActions(cutOff, true, 3)).toEqual([shown])
    expect(shownActions({ ...cutOff, text: "", durationMs: 7 }, false, 0)).toMatchObject([{ event: { type: "llm_response", durationMs: 7 } }])
  })

  test("the provider's own diagnostic wins over our sentence", () => {
    const actions = terminalActions({ ...cutOff, terminalDiagnostic: "max_tokens reached" })
    expect(actions?.[0]).toMatchObject({ event: { message: "max_tokens reached", envelope: { userMessage: "max_tokens reached" } } })
  })
})

describe("failed model calls", () => {
  test("stop the turn as provider_error, with the known facts", () => {
    expect(failureActions({ message: "overloaded", retryable: true, code: "529", raw: "  body \u0085", terminalReason: "provider_error" })).toEqual([
      {
        type: "emit",
        event: {
          type: "error",
          message: "LLM error: overloaded",
          envelope: { kind: "llm_provider", code: "529", terminalReason: "provider_error", userMessage: "LLM error: overloaded", raw: "body" },
        },
      },
      {
        type: "finish",
        outcome: {
          type: "stopped",
          // What the provider sent is in the event; an outcome is stored more than once.
          stop: {
            type: "provider_error",
            error: { kind: "llm_provider", code: "529", terminalReason: "provider_error", userMessage: "LLM error: overloaded" },
          },
        },
      },
    ])
  })

  test("name the kind of the failure, and when the call may succeed", () => {
    const [event] = failureActions({ message: "no", retryable: true, terminalReason: "provider_error", kind: "usage_limit", retryAt: 5 })
    expect(event).toMatchObject({ event: { envelope: { failureKind: "usage_limit", retryAt: 5 } } })
  })

  test("absent facts are left out", () => {
    const [event] = failureActions({ message: "no", retryable: false, terminalReason: "unknown" })
    expect(event).toEqual({
      type: "emit",
      event: { type: "error", message: "LLM error: no", envelope: { kind: "llm_provider", terminalReason: "unknown", userMessage: "LLM error: no" } },
    })
  })
})

describe("error events", () => {
  test("raw data is trimmed, then cut to 4,000 code points with both ends kept", () => {
    const event = errorEvent("m", { kind: "k", raw: `  ${"a".repeat(2000)}${"😀".repeat(100)}${"z".repeat(2000)}\n` })
    expect(event).toEqual({
      type: "error",
      message: "m",
      envelope: { kind: "k", userMessage: "m", raw: `${"a".repeat(2000)}\n\n... (100 chars omitted) ...\n\n${"z".repeat(2000)}` },
    })
  })

  test("raw data of exactly 4,000 code points is whole", () => {
    const raw = "😀".repeat(4000)
    expect(errorEvent("m", { kind: "k", raw })).toMatchObject({ envelope: { raw } })
  })

  test("failWith gives the reason and stops as runtime_error", () => {
    const event = errorEvent("m", { kind: "k" })
    expect(failWith(event)).toEqual([
      { type: "emit", event },
      { type: "finish", outcome: { type: "stopped", stop: { type: "runtime_error", error: { kind: "k", userMessage: "m" } } } },
    ])
  })

  test("stopped is an outcome", () => {
    expect(stopped("plugin_abort")).toEqual({ type: "stopped", stop: { type: "plugin_abort" } })
  })
})

describe("log entries", () => {
  test("a digest of an answer, without the provider's opaque data", () => {
    const response: LlmResponse = {
      text: "all",
      parts: [
        { type: "text", text: "" },
        { type: "text", text: "shown", responseMeta: { id: "r" } },
        { type: "reasoning", text: "why" },
        { type: "reasoning", text: "hm", replay: { itemId: "rs_1", encryptedContent: "SECRET", summary: ["s"] } },
        { type: "reasoning", text: "", replay: { signature: "SECRET", redacted: true } },
        { type: "tool_call", callId: "c", toolName: "t", inputJson: "{}", replay: { itemId: "fc_1", opaque: "SECRET" } },
        { type: "tool_call", callId: "d", toolName: "t", inputJson: "{" },
        { type: "opaque", provider: "openai", kind: "web_search_call", data: "SECRET" },
      ],
      usage: USAGE,
      terminalReason: "stop",
      providerUsage: { total: 2 },
      requestBody: "{}",
      httpSummary: "200",
    }
    const entry = debugLog("s", 4, response)
    expect(entry).toEqual({
      type: "llm_debug",
      sessionId: "s",
      iteration: 4,
      usage: USAGE,
      providerUsage: { total: 2 },
      requestBody: "{}",
      responseText: "all",
      responseParts: [
        { type: "text", text: "shown" },
        { type: "reasoning", text: "why", hasEncrypted: false, redacted: false },
        { type: "reasoning", id: "rs_1", summary: ["s"], text: "hm", hasEncrypted: true, redacted: false },
        { type: "reasoning", summary: [], text: "", hasEncrypted: true, redacted: true },
        { type: "tool_call", callId: "c", toolName: "t", inputJson: "{}", id: "fc_1", hasOpaque: true },
        { type: "tool_call", callId: "d", toolName: "t", inputJson: "{", hasOpaque: false },
        { type: "opaque", provider: "openai", kind: "web_search_call" },
      ],
    })
    expect(JSON.stringify(entry)).not.toContain("SECRET")
  })

  test("without a part to tell, the key is left out", () => {
    expect(debugLog("s", 0, { text: "", parts: [{ type: "text", text: "" }], usage: USAGE, terminalReason: "stop" })).toEqual({
      type: "llm_debug",
      sessionId: "s",
      iteration: 0,
      usage: USAGE,
      responseText: "",
    })
  })

  test("a failed call is logged whole", () => {
    const failure = { message: "no", retryable: true, code: "c", raw: " r ", terminalReason: "unknown" as const, requestBody: "b" }
    expect(errorLog("s", 1, failure)).toEqual({
      type: "llm_error",
      sessionId: "s",
      iteration: 1,
      message: "no",
      retryable: true,
      code: "c",
      raw: " r ",
      terminalReason: "unknown",
      requestBody: "b",
    })
  })
})
