import { useChat } from "@ai-sdk/react"
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses } from "ai"
import { useCallback, useEffect, useMemo, useRef, useState } from "react"
import { resumingFetch } from "turn-machine/hosts/ui-stream"
import { withoutRetracted } from "turn-machine/projectors/ui-stream"
import type { ChatSummary } from "../chats.ts"
import { ApiError, api, type ChatMessage, type ChatState, type DataParts, messageOf, textOf } from "./api.ts"

/** A chat as the page shows it. */
export interface Conversation {
  readonly messages: readonly ChatMessage[]
  /** Messages that no turn has received yet. */
  readonly queued: readonly ChatMessage[]
  readonly isBusy: boolean
  /** What happens besides text, such as what a tool does. */
  readonly activity: string | undefined
  readonly error: string | undefined
  send(text: string): void
  stop(): Promise<void>
  decide(approvalId: string, approved: boolean): void
}

/**
 * The chat of a page: `useChat`, which sends and streams, and the state on the server, which counts. Where the server has recorded something that this page
 * has not streamed (another tab wrote, the connection was lost, the server was started again), the page reads the state, and streams what runs.
 * `onUnsent` receives a text that was not stored.
 */
export function useConversation(id: string, initial: ChatState, summary: ChatSummary | undefined, onUnsent: (text: string) => void): Conversation {
  const [activity, setActivity] = useState<string>()
  const [queued, setQueued] = useState<readonly ChatMessage[]>(initial.queued)
  const [failure, setFailure] = useState<string>()
  const transport = useMemo(() => chatTransport(id), [id])
  const chat = useChat<ChatMessage>({
    id,
    messages: initial.messages,
    transport,
    generateId: () => crypto.randomUUID(),
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    experimental_throttle: 50,
    onData(part) {
      const shown = activityOf(part)
      if (shown !== undefined) setActivity(shown)
    },
    onFinish: () => setActivity(undefined),
  })
  const { status, setMessages, resumeStream, messages } = chat
  const isStreaming = status === "submitted" || status === "streaming"

  // The state of the server.
  const loaded = useRef(initial.status === "running" ? "" : initial.version)
  const [isSyncing, setSyncing] = useState(false)
  const version = summary?.version ?? ""
  useEffect(() => {
    const isKnown = version === loaded.current || (version === "" && loaded.current !== "")
    if (isStreaming || isSyncing || isKnown) return
    setSyncing(true)
    const sync = async () => {
      const state = await api.state(id)
      loaded.current = state.version
      setMessages(state.messages)
      setQueued(state.queued)
      setFailure(undefined)
      if (state.status === "running") await resumeStream()
    }
    sync()
      .catch(async (error: Error) => {
        // That the server cannot be reached, the page says already.
        if (error instanceof ApiError) setFailure(error.message)
        await new Promise((resolve) => setTimeout(resolve, 1_000))
      })
      .finally(() => setSyncing(false))
  }, [id, isStreaming, isSyncing, version, setMessages, resumeStream])

  const isBusy = isStreaming || summary?.status === "running"
  const { sendMessage, error } = chat
  const send = useCallback(
    (text: string) => {
      setFailure(undefined)
      // An idle chat begins a turn, whose stream `useChat` reads. A running turn receives the message, and so does one that waits for a decision.
      if (!isBusy && summary?.status !== "waiting") return void sendMessage({ text })
      const message: ChatMessage = { id: crypto.randomUUID(), role: "user", parts: [{ type: "text", text }] }
      setQueued((known) => [...known, message])
      api.say(id, { id: message.id, text }).catch((error: Error) => {
        setQueued((known) => known.filter((each) => each.id !== message.id))
        setFailure(messageOf(error.message))
        onUnsent(text)
      })
    },
    [id, isBusy, summary?.status, sendMessage, onUnsent],
  )

  // A message that was refused is not lost.
  useEffect(() => {
    if (status !== "error") return
    setMessages((known) => {
      const last = known.at(-1)
      if (last?.role !== "user") return known
      onUnsent(textOf(last.parts))
      return known.slice(0, -1)
    })
  }, [status, setMessages, onUnsent])

  const stop = useCallback(async () => {
    try {
      const { returned } = await api.stop(id)
      setQueued([])
      if (returned.length > 0) onUnsent(returned.join("\n\n"))
    } catch (error) {
      setFailure(error instanceof ApiError ? error.message : "The server does not answer.")
    }
  }, [id, onUnsent])

  const { addToolApprovalResponse } = chat
  const decide = useCallback(
    (approvalId: string, approved: boolean) => void addToolApprovalResponse({ id: approvalId, approved }),
    [addToolApprovalResponse],
  )

  const shown = useMemo(() => messages.map((message) => withoutRetracted(message)), [messages])
  const received = useMemo(
    () => new Set(shown.flatMap(({ id, parts }) => [id, ...parts.flatMap((part) => (part.type === "data-user-message" ? [part.data.id] : []))])),
    [shown],
  )
  return {
    messages: shown,
    queued: queued.filter((message) => !received.has(message.id)),
    isBusy,
    activity: isBusy ? activity : undefined,
    error: failure ?? (status === "error" && error !== undefined ? messageOf(error.message) : undefined),
    send,
    stop,
    decide,
  }
}

/** What a part says that is shown while it lasts. */
function activityOf({ type, data }: { readonly type: string; readonly data: unknown }): string | undefined {
  if (type === "data-tool-progress") return (data as DataParts["tool-progress"]).message
  if (type !== "data-retry") return undefined
  const { reason, waitSeconds } = data as DataParts["retry"]
  return `${reason} Again in ${waitSeconds} s`
}

/** Sends only what is new: the server has the rest. A stream that breaks off is continued. */
function chatTransport(id: string): DefaultChatTransport<ChatMessage> {
  return new DefaultChatTransport<ChatMessage>({
    api: `/api/chats/${id}/messages`,
    fetch: resumingFetch({ resumeUrl: () => `/api/chats/${id}/stream`, maxAttempts: 8 }),
    prepareSendMessagesRequest: ({ messages, trigger, messageId }) => {
      const message = messages.find((each) => each.id === messageId) ?? messages.at(-1)
      return { body: { id, message, trigger, messageId } }
    },
    prepareReconnectToStreamRequest: () => ({ api: `/api/chats/${id}/stream` }),
  })
}
