import { type ReactNode, useCallback, useEffect, useRef, useState } from "react"
import { createRoot } from "react-dom/client"
import { api } from "./api.ts"
import { ChatView } from "./chat-view.tsx"
import { Composer } from "./composer.tsx"
import { ChatIcon } from "./icons.tsx"
import { Sidebar } from "./sidebar.tsx"
import { useChats } from "./use-chats.ts"

/** The chat of the address: `/chats/ID`. */
function idOfPath(): string | undefined {
  return /^\/chats\/([\w-]+)$/.exec(location.pathname)?.[1]
}

function App(): ReactNode {
  const { chats, isConnected } = useChats()
  const [id, setId] = useState(idOfPath)
  const [first, setFirst] = useState<{ readonly id: string; readonly text: string }>()
  const [isListOpen, setListOpen] = useState(false)
  const [model, setModel] = useState("")
  const opener = useRef<HTMLButtonElement>(null)
  const summary = chats?.find((chat) => chat.id === id)

  useEffect(() => {
    const moved = () => setId(idOfPath())
    addEventListener("popstate", moved)
    return () => removeEventListener("popstate", moved)
  }, [])
  useEffect(() => {
    api.list().then(
      (list) => setModel(list.model),
      () => {},
    )
  }, [])
  const title = summary?.title ?? ""
  useEffect(() => {
    document.title = title === "" ? "Chat" : `${title} – Chat`
  }, [title])

  const open = useCallback((next: string | undefined) => {
    history.pushState(null, "", next === undefined ? "/" : `/chats/${next}`)
    setId(next)
    setListOpen(false)
  }, [])
  const begin = useCallback(
    async (text: string) => {
      const chat = await api.create()
      setFirst({ id: chat.id, text })
      open(chat.id)
    },
    [open],
  )
  const closeList = useCallback(() => setListOpen(false), [])
  // What was opened by the button returns to it. Until the list is closed, the button cannot have the focus.
  const wasOpen = useRef(false)
  useEffect(() => {
    if (wasOpen.current && !isListOpen) opener.current?.focus()
    wasOpen.current = isListOpen
  }, [isListOpen])

  return (
    <div className="page">
      <Sidebar chats={chats} current={id} isOpen={isListOpen} onOpen={open} onClose={closeList} />
      <main inert={isListOpen}>
        <header className="top">
          <button
            ref={opener}
            type="button"
            className="icon opener"
            aria-label="Show the chats"
            aria-expanded={isListOpen}
            onClick={() => setListOpen(true)}
          >
            <ChatIcon />
          </button>
          <h1>{title === "" ? "New chat" : title}</h1>
          <span className="model">{model}</span>
        </header>
        {!isConnected && (
          <p className="notice" role="status">
            The server does not answer. Connecting again …
          </p>
        )}
        {id === undefined ? (
          <NewChat onSend={begin} />
        ) : (
          <ChatView
            key={id}
            id={id}
            summary={summary}
            isListed={chats?.some((chat) => chat.id === id)}
            first={first?.id === id ? first.text : undefined}
          />
        )}
      </main>
    </div>
  )
}

const IDEAS = ["Save a note: water the plants.", "Which notes do I have?", "Count to 50."]

function NewChat({ onSend }: { readonly onSend: (text: string) => Promise<void> }): ReactNode {
  const [error, setError] = useState<string>()
  const [draft, setDraft] = useState("")
  const send = (text: string) => {
    setDraft("")
    onSend(text).catch(() => {
      setDraft(text)
      setError("The server does not answer.")
    })
  }
  return (
    <>
      <div className="empty">
        <h2>What can I do for you?</h2>
        <p>I can keep notes, and ask before I change one. You can close this page while I work.</p>
        <div className="ideas">
          {IDEAS.map((idea) => (
            <button key={idea} type="button" onClick={() => send(idea)}>
              {idea}
            </button>
          ))}
        </div>
        {error !== undefined && (
          <p className="failure" role="alert">
            {error}
          </p>
        )}
      </div>
      <Composer draft={draft} setDraft={setDraft} onSend={send} />
    </>
  )
}

const root = document.getElementById("app")
if (root !== null) createRoot(root).render(<App />)
