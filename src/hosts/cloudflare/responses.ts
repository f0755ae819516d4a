import { JournalError, ProtocolError, SchemaError, TurnError } from "../../errors.ts"
import { ThreadCursorError } from "../../replay/thread-cursor.ts"
import type { ThreadEvent } from "../../wire/thread-event.ts"
import { JournalStoreError } from "../journal/store.ts"
import { ThreadError } from "../thread/thread-error.ts"
import { sleep } from "../timers.ts"
import { TurnObjectError, type TurnObjectErrorCode } from "./turn-object-error.ts"

/** An error as JSON: what a `TurnObject` answers with. */
export interface TurnObjectFailure {
  /** The code of a {@link TurnError}; `internal_error` for any other error, whose message is not sent. */
  readonly code: string
  readonly message: string
}

const STATUS: { readonly [code in TurnObjectErrorCode]: number } = {
  bad_request: 400,
  unknown_route: 404,
  method_not_allowed: 405,
  request_too_large: 413,
}

/** In how many seconds a request is worth repeating that failed because of the storage. */
const RETRY_AFTER_SECONDS = 5

/** After how many milliseconds without an event a comment is sent, by which a connection that is gone is noticed. */
const COMMENT_EVERY_MS = 20_000

/** `{ error: { code, message } }` with a fitting status. */
export function errorResponse(error: unknown): Response {
  const status = statusOf(error)
  return Response.json({ error: failureOf(error) }, { status, ...(status === 503 && { headers: { "retry-after": String(RETRY_AFTER_SECONDS) } }) })
}

/** What clients are sent of an error. */
export function failureOf(error: unknown): TurnObjectFailure {
  if (error instanceof TurnError) return { code: error.code, message: error.message }
  return { code: "internal_error", message: "The object failed. Its log has the error." }
}

function statusOf(error: unknown): number {
  if (error instanceof TurnObjectError) return STATUS[error.code]
  if (error instanceof SchemaError || error instanceof ThreadCursorError) return 400
  if (error instanceof ThreadError) return error.code === "invalid_input" ? 400 : 409
  if (error instanceof ProtocolError) return 409
  if (error instanceof JournalStoreError) return error.code === "unavailable" || error.code === "closed" || error.code === "fenced" ? 503 : 409
  if (error instanceof JournalError) return 500
  return 500
}

/** Sends events as server-sent events; the id of each is its cursor. Ends with the event `closed` when they end, or `error` when they fail. */
export function eventStream(events: AsyncGenerator<ThreadEvent, void, undefined>, stop: AbortController): Response {
  const encoder = new TextEncoder()
  let next: Promise<IteratorResult<ThreadEvent, void>> | undefined
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        next ??= events.next()
        const result = await inTime(next)
        if (result === undefined) {
          controller.enqueue(encoder.encode(": still here\n\n"))
          return
        }
        next = undefined
        if (result.done !== true) {
          controller.enqueue(encoder.encode(eventText(result.value)))
          return
        }
        controller.enqueue(encoder.encode("event: closed\ndata: {}\n\n"))
      } catch (error) {
        controller.enqueue(encoder.encode(`event: error\ndata: ${JSON.stringify(failureOf(error))}\n\n`))
      }
      stop.abort()
      controller.close()
    },
    async cancel() {
      stop.abort()
      next?.catch(() => {})
      await events.return()
    },
  })
  return new Response(body, { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } })
}

function eventText(event: ThreadEvent): string {
  return `${"cursor" in event ? `id: ${event.cursor}\n` : ""}data: ${JSON.stringify(event)}\n\n`
}

/** The next event; `undefined` if it does not come for a while. */
async function inTime<Result>(next: Promise<Result>): Promise<Result | undefined> {
  const quiet = new AbortController()
  try {
    return await Promise.race([next, sleep(COMMENT_EVERY_MS, quiet.signal).then(() => undefined)])
  } finally {
    quiet.abort()
  }
}
