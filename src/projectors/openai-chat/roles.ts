import { joinTexts } from "../wires/join-texts.ts"
import type { OpenAiContentPart, OpenAiMessage } from "./body.ts"

/** Rules of some chat templates about the order of roles. They combine. */
export interface OpenAiRoleOptions {
  /**
   * Puts a short message of the assistant between a tool's result and a user's message. Mistral refuses a user's message there.
   * @see https://github.com/NousResearch/hermes-agent/issues/20154 (2026-11)
   */
  readonly bridgeUserAfterTool?: boolean
  /**
   * Only the first message may be a system message; later ones are sent as the user's. Qwen's templates refuse others.
   * @see https://github.com/vllm-project/vllm/issues/41114 (2026-11)
   */
  readonly systemOnlyFirst?: boolean
  /**
   * User and assistant take turns, and the user begins. System messages are sent as the user's, and neighbours of one role become one
   * message. A call with its results does not count as a turn; a user's message after them is bridged. Gemma's and Mistral's templates
   * have this rule.
   * @see https://github.com/vllm-project/vllm/pull/17149 (2026-11)
   */
  readonly alternate?: boolean
}

type AssistantMessage = Extract<OpenAiMessage, { role: "assistant" }>
type UserMessage = Extract<OpenAiMessage, { role: "user" }>

const BRIDGE: OpenAiMessage = { role: "assistant", content: "I have the results." }
const BEGINNING: OpenAiMessage = { role: "user", content: "[The conversation begins with an answer.]" }

/** Orders the roles of messages by the rules of an endpoint. */
export function orderRoles(messages: readonly OpenAiMessage[], options: OpenAiRoleOptions): readonly OpenAiMessage[] {
  const { alternate = false, bridgeUserAfterTool = false, systemOnlyFirst = false } = options
  let ordered = messages
  if (alternate || systemOnlyFirst) ordered = ordered.map((message, index) => (index === 0 && !alternate ? message : asUser(message)))
  if (alternate) ordered = mergeNeighbours(ordered)
  return alternate || bridgeUserAfterTool ? bridge(ordered) : ordered
}

function asUser(message: OpenAiMessage): OpenAiMessage {
  return message.role === "system" || message.role === "developer" ? { role: "user", content: message.content } : message
}

function bridge(messages: readonly OpenAiMessage[]): readonly OpenAiMessage[] {
  return messages.flatMap((message, index) => (message.role === "user" && messages[index - 1]?.role === "tool" ? [BRIDGE, message] : [message]))
}

function mergeNeighbours(messages: readonly OpenAiMessage[]): readonly OpenAiMessage[] {
  const merged: OpenAiMessage[] = []
  if (messages[0] !== undefined && messages[0].role !== "user") merged.push(BEGINNING)
  for (const message of messages) {
    const last = merged.at(-1)
    if (last?.role === "user" && message.role === "user") merged[merged.length - 1] = mergeUser(last, message)
    else if (last?.role === "assistant" && message.role === "assistant") merged[merged.length - 1] = mergeAssistant(last, message)
    else merged.push(message)
  }
  return merged
}

function mergeUser(before: UserMessage, after: UserMessage): UserMessage {
  const [first, second] = [before.content, after.content]
  if (typeof first === "string" && typeof second === "string") return { role: "user", content: joinTexts(first, second) }
  return { role: "user", content: [...partsOf(first), ...partsOf(second)] }
}

function partsOf(content: UserMessage["content"]): readonly OpenAiContentPart[] {
  return typeof content === "string" ? [{ type: "text", text: content }] : content
}

function mergeAssistant(before: AssistantMessage, after: AssistantMessage): AssistantMessage {
  const calls = [...(before.tool_calls ?? []), ...(after.tool_calls ?? [])]
  const content = joinTexts(before.content ?? "", after.content ?? "")
  return {
    ...mergeExtras(before, after),
    ...joined("reasoning_content", before, after),
    ...joined("reasoning", before, after),
    role: "assistant",
    content: content === "" && calls.length > 0 ? null : content,
    ...(calls.length > 0 && { tool_calls: calls }),
  }
}

function joined(field: "reasoning_content" | "reasoning", before: AssistantMessage, after: AssistantMessage): Partial<AssistantMessage> {
  if (before[field] === undefined && after[field] === undefined) return {}
  return { [field]: joinTexts(before[field] ?? "", after[field] ?? "") }
}

/** Merges two objects. Lists under one key are joined, as in OpenRouter's `reasoning_details`; else the later value counts. */
export function mergeExtras<Extras extends object>(before: Extras, after: Extras): Extras {
  const merged = new Map<string, unknown>(Object.entries(before))
  for (const [key, value] of Object.entries(after)) {
    const earlier = merged.get(key)
    merged.set(key, Array.isArray(earlier) && Array.isArray(value) ? [...(earlier as readonly unknown[]), ...(value as readonly unknown[])] : value)
  }
  return Object.fromEntries(merged) as Extras
}
