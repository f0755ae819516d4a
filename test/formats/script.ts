import { wireValidation } from "../../src/checks/validation.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import type { DriverAction } from "../../src/wire/action.ts"
import type { TurnStart } from "../../src/wire/config.ts"
import type { AnswerableEffect } from "../../src/wire/effect.ts"
import type { Block, LlmRequest, LlmResponse, OutputPart, TokenUsage } from "../../src/wire/llm.ts"
import type { AttachmentRef, Message, Part, Producer, ReturnPart } from "../../src/wire/message.ts"
import type { Response } from "../../src/wire/response.ts"
import type { CompletedToolCall, PendingToolCall, ToolFailure } from "../../src/wire/tool.ts"

/** A turn that uses every state, every effect, every record, and every kind of part with all its keys. The fixtures are made from it. */

const PRODUCER: Producer = { provider: "provider.example", api: "openai-chat", model: "large", responseId: "resp_1" }
const USAGE: TokenUsage = { inputTokens: 30, cachedInputTokens: 70, cacheWriteTokens: 20, outputTokens: 12, reasoningTokens: 5, estimated: true }
const PICTURE: AttachmentRef = { id: "a1", mediaType: "image/png", byteLength: 3, width: 1, height: 2, label: "A dot" }
const PAPER: AttachmentRef = { id: "a2", mediaType: "application/pdf", byteLength: 5 }
const META = { provider: { trace: [1, null, "x"] } }
const PROCESS = { type: "process", processId: "p", eventType: "ended", sequence: 2, wakeId: "w", causedBy: { id: 1 } } as const
const PLUGIN = { type: "plugin", pluginId: "clock", transient: true } as const
const TOOLS = [{ name: "look", description: "Looks.", inputSchema: { type: "object" }, outputSchema: { type: "string" } }]

const ANSWER_PARTS: readonly Part[] = [
  {
    id: "h2.p0",
    type: "reasoning",
    text: "I look.",
    replay: { itemId: "r", encryptedContent: "e", signature: "s", redacted: true, summary: ["look"] },
    providerMetadata: META,
  },
  { id: "h2.p1", type: "text", text: " Verbatim\n\n", responseMeta: { id: "t", status: "done", phase: "final" } },
  { id: "h2.p2", type: "tool_call", callId: "h", toolName: "look", inputJson: '{"at":', replay: { itemId: "i", opaque: "o" } },
  { id: "h2.p3", type: "opaque", provider: "provider.example", kind: "web_search_call", data: { q: ["x"] }, text: "[search]" },
  { id: "h2.p4", type: "interrupted", reason: "cancelled" },
]

const HISTORY: readonly Message[] = [
  {
    id: "h1",
    role: "user",
    origin: PROCESS,
    parts: [
      { id: "h1.p0", type: "text", text: "Look at this. 語 🦊" },
      { id: "h1.p1", type: "image", attachment: PICTURE },
      { id: "h1.p2", type: "image", text: "[no picture]" },
      { id: "h1.p3", type: "file", attachment: PAPER },
    ],
  },
  { id: "h2", role: "assistant", parts: ANSWER_PARTS, producer: PRODUCER },
  {
    id: "h3",
    role: "user",
    parts: [
      {
        id: "h3.p0",
        type: "tool_result",
        callId: "h",
        toolName: "look",
        text: "nothing\n",
        isError: true,
        content: [
          { type: "text", text: "nothing" },
          { type: "attachment", attachment: PICTURE },
        ],
      },
    ],
  },
  {
    id: "h4",
    role: "system",
    origin: PLUGIN,
    parts: [
      { id: "h4.p0", type: "code", text: "print(1)" },
      { id: "h4.p1", type: "output", text: "1", prune: { type: "cleared" } },
      { id: "h4.p2", type: "error", text: "late", prune: { type: "deleted", breadcrumb: "an error", archiveHash: "f00" } },
      { id: "h4.p3", type: "text", text: "long", prune: { type: "summarized", summary: "short", archiveHash: "f01" } },
    ],
  },
  { id: "h5", role: "event", parts: [{ id: "h5.p0", type: "text", text: "It ended." }] },
]

export const START: TurnStart = {
  messages: HISTORY,
  events: [
    ...HISTORY.map((message) => ({ type: "conversation" as const, message })),
    { type: "protocol", event: { type: "noted", value: [1, { a: null }] } },
  ],
  turnCauses: [{ id: "h5", eventType: "ended", origin: PROCESS, text: "It ended." }],
  iterationOffset: 3,
  surfaceChanged: true,
}

const BLOCKS: readonly Block[] = [
  { type: "text", text: "Look.", responseMeta: { id: "t" }, cacheBreakpoint: true, providerMetadata: META },
  { type: "image", attachmentIndex: 0 },
  { type: "file", attachmentIndex: 1 },
  { type: "reasoning", text: "I look.", replay: { signature: "s" } },
  { type: "tool_call", callId: "h", toolName: "look", inputJson: "{}", replay: { itemId: "i" } },
  { type: "tool_result", callId: "h", toolName: "look", text: "x", isError: true, content: [{ type: "attachment", attachment: PICTURE }] },
  { type: "opaque", provider: "provider.example", kind: "web_search_call", data: { q: ["x"] }, text: "[search]" },
]

const REQUEST: LlmRequest = {
  model: "large",
  modelVariant: "high",
  messages: [{ role: "user", blocks: BLOCKS, producer: PRODUCER }],
  attachments: [PICTURE, PAPER],
  tools: TOOLS,
  toolChoice: { toolName: "look" },
  parallelToolCalls: false,
  generation: {
    maxOutputTokens: 100,
    temperature: 0.5,
    topP: 0.9,
    stopSequences: ["END"],
    seed: 1,
    reasoningEffort: "low",
    providerOptions: { tier: "flex" },
  },
  cache: "auto",
  sessionId: "run",
  outputSpec: { type: "json_schema", name: "answer", schema: { type: "object" }, strict: true },
}

const SETTLED: CompletedToolCall = {
  callId: "b",
  toolName: "look",
  args: {},
  output: { status: "cancelled", message: "Not run.", source: "policy", raw: 1 },
  durationMs: 0,
}
const FAILURE: ToolFailure = {
  class: "execution",
  code: "broken",
  message: "It broke.",
  source: "tool",
  retry: { type: "safe", afterMs: 5 },
  raw: { status: 500 },
}

const say = (id: string): DriverAction => ({
  type: "append_events",
  events: [
    { type: "conversation", message: { id, role: "assistant", parts: [{ id: `${id}.p0`, type: "text", text: id }], producer: PRODUCER } },
    { type: "protocol", event: { type: "surface_change", contextReset: true, iteration: 3 } },
  ],
})
const show = (content: string): DriverAction => ({ type: "emit", event: { type: "text_delta", content } })
const call = (callId: string) => ({ callId, toolName: "look", args: { at: callId }, replay: { opaque: "o" } })

const ACTIONS: readonly (readonly DriverAction[])[] = [
  [say("first"), { type: "start_llm", request: REQUEST, driverState: { purpose: "look" } }],
  [show("Looking."), say("second"), { type: "start_tools", calls: [call("a"), call("b"), call("c")], settled: [SETTLED] }],
  [{ type: "start_exec", code: "look()", language: "js", driverState: { repairs: 1 } }],
  [{ type: "advance_iteration" }, { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }],
  [say("third"), { type: "start_llm", request: REQUEST }],
  [
    show("Done."),
    {
      type: "start_checkpoint",
      checkpoint: "before_completion",
      onEmpty: { type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: { seen: ["dot"] } } } },
    },
  ],
]

export const CONFIG: TurnConfig = {
  driver: scriptedDriver(
    ACTIONS.map((actions) => ({ actions })),
    { name: "recorded", version: 7 },
  ),
  projector: () => REQUEST,
  validation: wireValidation,
  model: "large",
  systemPrompt: "You look.",
  tools: TOOLS,
  syncExecutionSurface: true,
  emitLlmTrace: true,
}

const OUTPUT: readonly OutputPart[] = [
  { type: "reasoning", text: "I look.", replay: { signature: "s" }, providerMetadata: META },
  { type: "text", text: " Looking.", responseMeta: { id: "t" } },
  { type: "opaque", provider: "provider.example", kind: "web_search_call", data: [1] },
  { type: "tool_call", callId: "a", toolName: "look", inputJson: "{}", replay: { itemId: "i" }, providerMetadata: META },
]

export const ANSWER: LlmResponse = {
  text: " Looking.",
  parts: OUTPUT,
  usage: USAGE,
  retriedUsage: USAGE,
  producer: PRODUCER,
  durationMs: 12,
  terminalReason: "tool_use",
  terminalDiagnostic: "Calls.",
  providerUsage: { total: 112 },
  requestBody: "{}",
  httpSummary: "200 in 12 ms",
}

/** The answers to an effect of the turn, in order. */
export function answersTo(effect: AnswerableEffect): readonly Response[] {
  const { id } = effect
  const at = 1_800_000_000_000 + id
  switch (effect.type) {
    case "sync_execution_surface": {
      const update = { systemPrompt: "You look twice.", tools: TOOLS }
      return [{ type: "execution_surface_synced", id, at, result: id === 1 ? { ok: true } : { ok: true, update } }]
    }
    case "llm_call":
      return [{ type: "llm_complete", id, at, textStreamed: true, result: { ok: true, response: ANSWER } }]
    case "tool_calls":
      return effect.calls.map((pending, index) => ({ type: "tool_results", id, at: at + index, results: [resultOf(pending)] }))
    case "exec_code":
      return [
        {
          type: "exec_result",
          id,
          at,
          result: {
            ok: true,
            value: {
              observations: ["1"],
              toolCalls: [{ name: "look" }],
              images: [{ n: 1 }],
              printedImages: [PICTURE],
              error: "late",
              durationMs: 3,
              observationTruncation: [{ cut: 5 }],
            },
          },
        },
      ]
    case "checkpoint": {
      if (effect.checkpoint === "before_completion") return [{ type: "checkpoint_delivery", id, at, delivery: {} }]
      const delivery = {
        userMessages: [{ id: "u2", role: "user" as const, parts: [{ id: "u2.p0", type: "text" as const, text: "And now?" }] }],
        messages: [{ role: "system" as const, content: "A note.", origin: PLUGIN }],
        transientMessages: [{ role: "user" as const, content: "", parts: [{ id: "x", type: "text" as const, text: "For now." }] }],
        turnCauses: [{ id: "c2", eventType: "woke", origin: PLUGIN, text: "It woke." }],
        events: [{ type: "counted", value: 1 }],
      }
      return [{ type: "checkpoint_delivery", id, at, delivery }]
    }
  }
}

function resultOf(pending: PendingToolCall): CompletedToolCall {
  if (pending.callId === "c") return { ...pending, output: { status: "failure", failure: FAILURE }, durationMs: 4, usage: USAGE }
  const parts: readonly ReturnPart[] = [
    { type: "text", text: "a dot" },
    { type: "attachment", attachment: PICTURE },
  ]
  return { ...pending, output: { status: "success", value: { z: 1, a: [null] } }, durationMs: 4, modelReturn: { parts } }
}
