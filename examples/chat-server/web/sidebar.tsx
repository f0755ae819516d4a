import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react"
import type { ChatSummary } from "../chats.ts"
import { api } from "./api.ts"
import { CloseIcon, DeleteIcon, NewIcon } from "./icons.tsx"

interface SidebarProps {
  readonly chats: readonly ChatSummary[] | undefined
  readonly current: string | undefined
  /** On a narrow page, the list covers the chat while it is open. */
  readonly isOpen: boolean
  readonly onOpen: (id: string | undefined) => void
  readonly onClose: () => void
}

export function Sidebar({ chats, current, isOpen, onOpen, onClose }: SidebarProps): ReactNode {
  const [leaving, setLeaving] = useState<ChatSummary>()
  const close = useRef<HTMLButtonElement>(null)
  useEffect(() => {
    if (isOpen) close.current?.focus()
  }, [isOpen])
  const onKeyDown = ({ key }: KeyboardEvent) => {
    if (key === "Escape" && isOpen && leaving === undefined) onClose()
  }
  const remove = ({ id }: ChatSummary) => {
    setLeaving(undefined)
    api.remove(id).catch(() => {})
    if (id === current) onOpen(undefined)
  }
  return (
    <>
      {/* biome-ignore lint/a11y/noStaticElementInteractions lint/a11y/useKeyWithClickEvents: Escape and a button close it, too */}
      {isOpen && <div className="cover" onClick={onClose} />}
      <nav className={isOpen ? "chats open" : "chats"} aria-label="Chats" onKeyDown={onKeyDown}>
        <div className="head">
          <button type="button" className="new" onClick={() => onOpen(undefined)}>
            <NewIcon /> New chat
          </button>
          <button ref={close} type="button" className="icon closer" aria-label="Hide the chats" onClick={onClose}>
            <CloseIcon />
          </button>
        </div>
        {chats?.length === 0 && <p className="none">Your chats will be here.</p>}
        <ul>
          {chats?.map((chat) => (
            <li key={chat.id} className={chat.id === current ? "current" : ""}>
              <a
                href={`/chats/${chat.id}`}
                aria-current={chat.id === current ? "page" : undefined}
                onClick={(event) => {
                  if (event.metaKey || event.ctrlKey || event.shiftKey) return
                  event.preventDefault()
                  onOpen(chat.id)
                }}
              >
                <span className="name">{nameOf(chat)}</span>
                {chat.status !== "idle" && <Status chat={chat} />}
              </a>
              <button type="button" className="icon" aria-label={`Delete ${nameOf(chat)}`} onClick={() => setLeaving(chat)}>
                <DeleteIcon />
              </button>
            </li>
          ))}
        </ul>
      </nav>
      {leaving !== undefined && <DeleteDialog chat={leaving} onDelete={() => remove(leaving)} onCancel={() => setLeaving(undefined)} />}
    </>
  )
}

function Status({ chat: { status } }: { readonly chat: ChatSummary }): ReactNode {
  return <span className={`status ${status}`}>{status === "running" ? "works" : "asks you"}</span>
}

function DeleteDialog({
  chat,
  onDelete,
  onCancel,
}: {
  readonly chat: ChatSummary
  readonly onDelete: () => void
  readonly onCancel: () => void
}): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} onClose={onCancel} aria-labelledby="delete-title">
      <h2 id="delete-title">Delete this chat?</h2>
      <p>“{nameOf(chat)}” cannot be brought back. Its notes stay.</p>
      <div className="buttons">
        <button type="button" onClick={onCancel}>
          Keep
        </button>
        <button type="button" className="danger" onClick={onDelete}>
          Delete
        </button>
      </div>
    </dialog>
  )
}

function nameOf({ title }: ChatSummary): string {
  return title === "" ? "New chat" : title
}
