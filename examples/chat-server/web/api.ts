import type { UIMessage } from "ai"
import type { ChatSummary } from "../chats.ts"

/** Facts about an answer: see `UiMessageMetadata` of turn-machine. */
export interface Metadata {
  readonly outcome?: string
  readonly usage?: { readonly inputTokens: number; readonly outputTokens: number }
  readonly costMicros?: number
}

/** The parts that are not the AI SDK's own. */
export type DataParts = {
  approval: { readonly requestId: string; readonly summary?: string; readonly risk?: string; readonly decision?: string }
  "user-message": { readonly id: string; readonly parts: readonly { readonly type: string; readonly text?: string }[] }
  interrupted: { readonly reason?: string }
  retry: { readonly attempt: number; readonly waitSeconds: number; readonly reason: string }
  "tool-progress": { readonly toolCallId: string; readonly message?: string }
}

export type ChatMessage = UIMessage<Metadata, DataParts>
export type Part = ChatMessage["parts"][number]

export interface ChatState {
  readonly status: ChatSummary["status"]
  readonly version: string
  readonly messages: ChatMessage[]
  readonly queued: ChatMessage[]
}

/** The server refuses. The message is for the user. */
export class ApiError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

async function ask<Answer>(method: string, path: string, body?: object): Promise<Answer> {
  const init = body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }
  const response = await fetch(`/api/chats${path}`, { method, ...init })
  const text = await response.text()
  if (!response.ok) throw new ApiError(response.status, messageOf(text))
  return (text === "" ? undefined : JSON.parse(text)) as Answer
}

export const api = {
  create: () => ask<ChatSummary>("POST", ""),
  list: () => ask<{ readonly model: string }>("GET", ""),
  remove: (id: string) => ask<void>("DELETE", `/${id}`),
  state: (id: string) => ask<ChatState>("GET", `/${encodeURIComponent(id)}`),
  say: (id: string, message: { readonly id: string; readonly text: string }) => ask<object>("POST", `/${id}/inputs`, message),
  stop: (id: string) => ask<{ readonly returned: readonly string[] }>("POST", `/${id}/stop`),
}

/** The message of an answer in JSON, or a text. */
export function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { readonly message?: unknown }
    return typeof message === "string" ? message : text
  } catch {
    return text === "Failed to fetch" || text === "network error" ? "The server does not answer." : text
  }
}

/** The text that a person reads in a message. */
export function textOf(parts: readonly { readonly type: string; readonly text?: string }[]): string {
  return parts.flatMap(({ type, text }) => (type === "text" && text !== undefined ? [text] : [])).join("\n\n")
}
