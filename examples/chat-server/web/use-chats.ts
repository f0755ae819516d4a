import { useEffect, useState } from "react"
import type { ChatChange, ChatSummary } from "../chats.ts"

/** The list of chats as the server has it, always current. `undefined`: it was not read yet. */
export interface LiveChats {
  readonly chats: readonly ChatSummary[] | undefined
  readonly isConnected: boolean
}

/** Follows the list while the page is visible: a browser has few connections for one server. */
export function useChats(): LiveChats {
  const [chats, setChats] = useState<readonly ChatSummary[]>()
  const [isConnected, setConnected] = useState(true)
  useEffect(() => {
    let source: EventSource | undefined
    const connect = () => {
      source?.close()
      source = undefined
      if (document.visibilityState === "hidden") return
      source = new EventSource("/api/changes")
      source.onopen = () => setConnected(true)
      // The browser connects again, unless the server refused.
      source.onerror = () => {
        setConnected(false)
        if (source?.readyState === EventSource.CLOSED) setTimeout(connect, 2_000)
      }
      source.addEventListener("chats", ({ data }) => setChats(JSON.parse(data) as ChatSummary[]))
      source.addEventListener("change", ({ data }) => setChats((known) => changed(known ?? [], JSON.parse(data) as ChatChange)))
    }
    connect()
    document.addEventListener("visibilitychange", connect)
    return () => {
      document.removeEventListener("visibilitychange", connect)
      source?.close()
    }
  }, [])
  return { chats, isConnected }
}

function changed(chats: readonly ChatSummary[], change: ChatChange): readonly ChatSummary[] {
  const id = change.type === "chat" ? change.chat.id : change.id
  const others = chats.filter((chat) => chat.id !== id)
  return change.type === "deleted" ? others : [change.chat, ...others].toSorted((a, b) => b.updatedAt - a.updatedAt)
}
