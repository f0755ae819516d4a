/**
 * A client: follows a thread and prints its events. It stores what it shows, and its cursor, in a file, so that it can be closed and started again.
 *
 *     npx tsx client.ts http://127.0.0.1:4114 lisbon data/client.json
 */
import { pathToFileURL } from "node:url"
import type { Message } from "turn-machine"
import type { ThreadEvent } from "turn-machine/hosts/thread"
import { readScreen, type Screen, storeScreen } from "./screen.ts"

/**
 * Follows a thread, and reconnects with the cursor until the server says that the thread is closed. `onEvent` is called after the screen has the event.
 * A server that is not there is asked again.
 */
export async function follow(
  url: string,
  threadId: string,
  file: string,
  onEvent: (event: ThreadEvent, screen: Screen) => void = () => {},
): Promise<Screen> {
  let screen = readScreen(file)
  for (;;) {
    try {
      const headers: Record<string, string> = screen.cursor === undefined ? {} : { "last-event-id": screen.cursor }
      const response = await fetch(`${url}/threads/${threadId}/events`, { headers })
      if (!response.ok || response.body === null) throw new Error(`The server answers ${response.status}: ${await response.text()}`)
      for await (const { name, data } of serverEvents(response.body)) {
        if (name === "closed") return screen
        const event = JSON.parse(data) as ThreadEvent
        screen = changed(screen, event)
        if ("cursor" in event) storeScreen(file, screen)
        onEvent(event, screen)
      }
    } catch (error) {
      // A connection that fails is made again. What the server refuses, it refuses again.
      if (error instanceof Error && error.message.startsWith("The server answers 4")) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** The screen after an event. */
function changed(screen: Screen, event: ThreadEvent): Screen {
  const placed: Screen = "cursor" in event ? { ...screen, cursor: event.cursor } : screen
  switch (event.type) {
    case "input_queued":
      return { ...placed, queue: [...screen.queue, { id: event.inputId, text: textOf(event.message) }] }
    case "input_retracted":
      return { ...placed, queue: screen.queue.filter(({ id }) => id !== event.inputId) }
    case "message": {
      const { id, role } = event.message
      const queue = screen.queue.filter((input) => input.id !== id)
      return { ...placed, queue, transcript: [...screen.transcript, { id, role, text: textOf(event.message) }] }
    }
    // Text that was shown for a call is void when the call begins again, and replaced by the message when it ended.
    case "model_call_started":
    case "model_call_ended":
      return { ...placed, streamed: "" }
    case "text_delta":
      return { ...placed, streamed: screen.streamed + event.delta }
    default:
      return placed
  }
}

export function textOf({ parts }: Message): string {
  return parts.map((part) => (part.type === "tool_call" ? `[calls ${part.toolName}]` : "text" in part ? part.text : `[${part.type}]`)).join("")
}

/** Results of tools have the role of the user. */
function speaker({ role, parts }: Message): string {
  if (parts.some(({ type }) => type === "tool_result")) return "tool"
  return role === "assistant" ? "model" : role
}

/** Splits a stream of server-sent events. */
async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<{ readonly name: string; readonly data: string }> {
  const decoder = new TextDecoder()
  let rest = ""
  for await (const chunk of body) {
    const events = (rest + decoder.decode(chunk, { stream: true })).split("\n\n")
    rest = events.pop() ?? ""
    for (const event of events) {
      const field = (name: string) => event.split("\n").flatMap((line) => (line.startsWith(`${name}: `) ? [line.slice(name.length + 2)] : []))
      yield { name: field("event")[0] ?? "message", data: field("data").join("\n") }
    }
  }
}

/** Prints each event as a line, and streamed text as it comes. */
function printer(): (event: ThreadEvent) => void {
  let isStreaming = false
  return (event) => {
    if (event.type === "text_delta") {
      process.stdout.write(`${isStreaming ? "" : "client:   "}${event.delta}`)
      isStreaming = true
      return
    }
    const line = lineOf(event)
    if (isStreaming) process.stdout.write(" …\n")
    isStreaming = false
    if (line !== undefined) console.log(`client: ${line}`)
  }
}

function lineOf(event: ThreadEvent): string | undefined {
  switch (event.type) {
    case "input_queued":
      return `input ${event.inputId} waits${event.when === undefined ? "" : ` (${event.when})`}: ${textOf(event.message)}`
    case "input_retracted":
      return `input ${event.inputId} was taken back`
    case "turn_started":
      return `turn ${event.turnId} starts`
    case "turn_ended":
      return `turn ${event.turnId} ended: ${event.outcome.type}`
    case "message":
      return `${speaker(event.message)}: ${textOf(event.message)}`
    case "tool_call_started":
      return `tool ${event.toolName} starts`
    case "tool_call_ended":
      return `tool ${event.toolName} ended: ${event.status}`
    case "redirected":
      return "the turn was redirected"
    default:
      return undefined
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [, , url = "http://127.0.0.1:4114", threadId = "trip", file = "data/client.json"] = process.argv
  const { transcript, cursor } = readScreen(file)
  if (cursor !== undefined) console.log(`client: has ${transcript.length} messages, and continues after ${cursor}`)
  const screen = await follow(url, threadId, file, printer())
  console.log(`client: the thread is closed. I show ${screen.transcript.length} messages.`)
}
