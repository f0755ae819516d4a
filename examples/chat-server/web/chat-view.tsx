import { type ReactNode, useCallback, useEffect, useRef, useState } from "react"
import type { ChatSummary } from "../chats.ts"
import { ApiError, api, type ChatMessage, type ChatState } from "./api.ts"
import { Composer } from "./composer.tsx"
import { DownIcon } from "./icons.tsx"
import { MessageView, UserText } from "./message.tsx"
import { useConversation } from "./use-conversation.ts"

interface ChatViewProps {
  readonly id: string
  readonly summary: ChatSummary | undefined
  /** Whether the list has the chat; `undefined`: it was not read yet. */
  readonly isListed: boolean | undefined
  /** What the user said on the page of a new chat. */
  readonly first: string | undefined
}

/** Loads a chat, and shows it. */
export function ChatView(props: ChatViewProps): ReactNode {
  const { id, isListed } = props
  const [state, setState] = useState<ChatState>()
  const [error, setError] = useState<string>()
  const [attempt, setAttempt] = useState(0)
  // biome-ignore lint/correctness/useExhaustiveDependencies: each attempt loads
  useEffect(() => {
    let isShown = true
    let timer: ReturnType<typeof setTimeout> | undefined
    api.state(id).then(
      (loaded) => isShown && setState(loaded),
      (failure: Error) => {
        if (!isShown) return
        if (failure instanceof ApiError) setError(failure.message)
        else timer = setTimeout(() => setAttempt((number) => number + 1), 1_000)
      },
    )
    return () => {
      isShown = false
      clearTimeout(timer)
    }
  }, [id, attempt])
  const gone = error ?? (state !== undefined && isListed === false ? "This chat was deleted." : undefined)
  if (gone !== undefined)
    return (
      <div className="empty">
        <p role="alert">{gone}</p>
      </div>
    )
  if (state === undefined) return <div className="empty" aria-busy="true" />
  return <OpenChat {...props} initial={state} />
}

function OpenChat({ id, summary, first, initial }: ChatViewProps & { readonly initial: ChatState }): ReactNode {
  const [draft, setDraft] = useState("")
  const field = useRef<HTMLTextAreaElement>(null)
  const onUnsent = useCallback((text: string) => setDraft((known) => (known.trim() === "" ? text : `${text}\n\n${known}`)), [])
  const { messages, queued, isBusy, activity, error, send, stop, decide } = useConversation(id, initial, summary, onUnsent)

  const isFirstSent = useRef(false)
  useEffect(() => {
    if (first === undefined || isFirstSent.current || initial.messages.length > 0) return
    isFirstSent.current = true
    send(first)
  }, [first, initial, send])

  const asked = messages.at(-1)?.parts.filter((part) => "state" in part && part.state === "approval-requested").length ?? 0
  const isWaiting = !isBusy && asked > 0
  // The button that was pressed goes away, and the keyboard would be nowhere.
  const decideAndReturn = useCallback(
    (approvalId: string, approved: boolean) => {
      decide(approvalId, approved)
      field.current?.focus({ preventScroll: true })
    },
    [decide],
  )
  const { end, isAtEnd, toEnd } = useEnd(messages, queued)
  const whileBusy = (
    <>
      The model reads what you write at its next step.<span className="keys"> Escape stops it.</span>
    </>
  )
  const hint = isWaiting ? "Approve or deny above, or write what to do instead." : isBusy ? whileBusy : undefined
  return (
    <>
      <div className="messages" ref={end}>
        <div className="column">
          {messages.map((message, index) => (
            <MessageView key={message.id} message={message} isOpen={isBusy && index === messages.length - 1} decide={decideAndReturn} />
          ))}
          {queued.map(({ id, parts }) => (
            <UserText key={id} text={parts.map((part) => (part.type === "text" ? part.text : "")).join("")} note="waits for the model" />
          ))}
          {isBusy && (
            <p className="activity">
              <span className="dots" aria-hidden="true" /> {activity}
            </p>
          )}
          {error !== undefined && (
            <p className="failure" role="alert">
              {error}
            </p>
          )}
        </div>
      </div>
      <p className="unseen" role="status">
        {isBusy
          ? "The model works."
          : isWaiting
            ? `The model asks for ${asked === 1 ? "a decision" : `${asked} decisions`}.`
            : messages.length > 0 && error === undefined
              ? "The answer is complete."
              : ""}
      </p>
      <div className="bottom">
        {!isAtEnd && (
          <button type="button" className="round down" aria-label="To the latest message" onClick={toEnd}>
            <DownIcon />
          </button>
        )}
        <Composer
          field={field}
          draft={draft}
          setDraft={setDraft}
          onSend={send}
          onStop={isBusy || isWaiting ? () => void stop() : undefined}
          hint={hint}
        />
      </div>
    </>
  )
}

/** Keeps the end in view while the user does not scroll away from it. */
function useEnd(messages: readonly ChatMessage[], queued: readonly ChatMessage[]) {
  const end = useRef<HTMLDivElement>(null)
  const follows = useRef(true)
  const [isAtEnd, setAtEnd] = useState(true)
  useEffect(() => {
    const list = end.current
    if (list === null) return
    const scrolled = () => {
      follows.current = list.scrollHeight - list.scrollTop - list.clientHeight < 80
      setAtEnd(follows.current)
    }
    list.addEventListener("scroll", scrolled, { passive: true })
    return () => list.removeEventListener("scroll", scrolled)
  }, [])
  const toEnd = useCallback(() => {
    follows.current = true
    end.current?.scrollTo({ top: end.current.scrollHeight })
  }, [])
  // biome-ignore lint/correctness/useExhaustiveDependencies: each change may move the end
  useEffect(() => {
    if (follows.current) toEnd()
  }, [messages, queued, toEnd])
  return { end, isAtEnd, toEnd }
}
