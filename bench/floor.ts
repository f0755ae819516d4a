import type { Effect } from "../src/schemas/effect.ts"
import type { LlmMessage, LlmRequest, TokenUsage } from "../src/schemas/llm.ts"
import type { Message, Part } from "../src/schemas/message.ts"
import type { Response } from "../src/schemas/response.ts"
import { CONFIG, START } from "./script.ts"

/**
 * The baseline: the same turn in a bare hand-written reducer. It emits the same effects for the same responses, as plain
 * values. It validates nothing, calls no driver, and cannot save, resume or refuse anything. It mutates its lists and returns
 * them without copies, which a machine with immutable states cannot do.
 */
export interface BareState {
  readonly waitsFor: "llm_complete" | "tool_results" | "checkpoint_delivery" | "nothing"
  readonly completing: boolean
  readonly messages: Message[]
  readonly rendered: LlmMessage[]
  readonly usage: TokenUsage
  readonly iteration: number
  readonly nextEffectId: number
  readonly nextMessageNumber: number
  readonly at: number
}

export interface BareStep {
  readonly state: BareState
  readonly effects: readonly Effect[]
}

export function begin(): BareStep {
  const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const rendered: LlmMessage[] = [
    { role: "system", blocks: [{ type: "text", text: CONFIG.systemPrompt }] },
    { role: "user", blocks: [{ type: "text", text: "Read all files." }] },
  ]
  const messages = [...START.messages]
  return callModel({ waitsFor: "nothing", completing: false, messages, rendered, usage, iteration: 0, nextEffectId: 1, nextMessageNumber: 1, at: 0 })
}

export function reduce(state: BareState, response: Response): BareStep {
  if (response.type !== state.waitsFor) return { state, effects: [] }
  const at = response.at ?? state.at
  switch (response.type) {
    case "llm_complete":
      return response.result.ok ? completeModelCall({ ...state, at }, response.result.response) : { state, effects: [] }
    case "tool_results":
      return collectResults({ ...state, at }, response)
    default:
      if (!state.completing) return callModel({ ...state, at })
      return { state: { ...state, at, waitsFor: "nothing" }, effects: [{ type: "emit", event: { type: "done" } }] }
  }
}

type LlmAnswer = Extract<Extract<Response, { type: "llm_complete" }>["result"], { ok: true }>["response"]

function completeModelCall(state: BareState, { parts, usage }: LlmAnswer): BareStep {
  const { iteration, nextEffectId, nextMessageNumber } = state
  const cumulative: TokenUsage = {
    inputTokens: state.usage.inputTokens + usage.inputTokens,
    cachedInputTokens: state.usage.cachedInputTokens + usage.cachedInputTokens,
    outputTokens: state.usage.outputTokens + usage.outputTokens,
    reasoningTokens: state.usage.reasoningTokens + usage.reasoningTokens,
  }
  const counted: BareState = { ...state, usage: cumulative, nextEffectId: nextEffectId + 1, nextMessageNumber: nextMessageNumber + 1 }
  const usageEvent: Effect = { type: "emit", event: { type: "token_usage", iteration, usage, cumulative } }
  const id = `m_0_assistant_${nextMessageNumber}`
  const [part] = parts
  if (part?.type !== "tool_call") {
    const text = part?.text ?? ""
    const appended = append(
      counted,
      { id, role: "assistant", parts: [{ id: `${id}.p0`, type: "text", text }] },
      { role: "assistant", blocks: [{ type: "text", text }] },
    )
    return {
      state: { ...counted, waitsFor: "checkpoint_delivery", completing: true },
      effects: [
        usageEvent,
        { type: "emit", event: { type: "text_delta", content: text } },
        { type: "emit", event: { type: "llm_response", iteration, content: text, durationMs: 0 } },
        appended,
        { type: "checkpoint", id: nextEffectId, checkpoint: "before_completion" },
      ],
    }
  }
  const { callId, toolName, inputJson } = part
  const appended = append(
    counted,
    { id, role: "assistant", parts: [{ id: `${id}.p0`, type: "tool_call", callId, toolName, inputJson }] },
    { role: "assistant", blocks: [{ type: "tool_call", callId, toolName, inputJson }] },
  )
  return {
    state: { ...counted, waitsFor: "tool_results" },
    effects: [
      usageEvent,
      { type: "emit", event: { type: "llm_response", iteration, content: "", durationMs: 0 } },
      appended,
      { type: "tool_calls", id: nextEffectId, calls: [{ callId, toolName, args: JSON.parse(inputJson) }] },
    ],
  }
}

function collectResults(state: BareState, { results }: Extract<Response, { type: "tool_results" }>): BareStep {
  const { nextEffectId, nextMessageNumber } = state
  const id = `m_0_tools_${nextMessageNumber}`
  const events = results.map(
    ({ callId, toolName: name, args, output, durationMs }): Effect => ({
      type: "emit",
      event: { type: "tool_call", callId, name, args, output, durationMs },
    }),
  )
  const parts = results.map(({ callId, toolName, output }, index) => {
    const text = output.status === "success" ? String(output.value) : ""
    return { id: `${id}.p${index}`, type: "tool_result", callId, toolName, text } satisfies Part
  })
  const counted: BareState = {
    ...state,
    waitsFor: "checkpoint_delivery",
    iteration: state.iteration + 1,
    nextEffectId: nextEffectId + 1,
    nextMessageNumber: nextMessageNumber + 1,
  }
  const blocks = parts.map(({ callId, toolName, text }) => ({ type: "tool_result", callId, toolName, text }) as const)
  const appended = append(counted, { id, role: "user", parts }, { role: "user", blocks })
  return { state: counted, effects: [...events, appended, { type: "checkpoint", id: nextEffectId, checkpoint: "after_work" }] }
}

function append({ messages, rendered, iteration }: BareState, message: Message, llmMessage: LlmMessage): Effect {
  messages.push(message)
  rendered.push(llmMessage)
  return { type: "progress", messages, eventDelta: [{ type: "conversation", message }], recordsFrom: messages.length - 1, iteration }
}

function callModel(state: BareState): BareStep {
  const { model, tools, generation } = CONFIG
  const { iteration, messages, rendered, nextEffectId } = state
  const request: LlmRequest = { model, messages: rendered, attachments: [], tools, toolChoice: "auto", generation }
  return {
    state: { ...state, waitsFor: "llm_complete", nextEffectId: nextEffectId + 1 },
    effects: [
      { type: "emit", event: { type: "llm_request", iteration, messageCount: messages.length, tools: tools.map((tool) => tool.name) } },
      { type: "llm_call", id: nextEffectId, request },
    ],
  }
}
