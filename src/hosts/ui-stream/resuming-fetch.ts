import { SseLines } from "./sse-lines.ts"

/** Options of {@link resumingFetch}. */
export interface ResumingFetchOptions {
  /** The address that continues a stream. It receives the request that began it. */
  readonly resumeUrl: (request: Request) => string
  /** Default: the global `fetch`. */
  readonly fetch?: typeof fetch
  /** How often in a row it connects again without receiving anything. Default 5. */
  readonly maxAttempts?: number
  /** The wait before the first of these, in milliseconds; it doubles each time, up to 10 s. Default 500. */
  readonly delayMs?: number
}

/**
 * Makes a `fetch` for the transport of `useChat` that connects again where a stream breaks off, and continues it after the last cursor: the page does not
 * notice. Any other response is passed on. For browsers and tests.
 *
 *     new DefaultChatTransport({ api: "/chat", fetch: resumingFetch({ resumeUrl: () => `/chat/${id}/stream` }) })
 *
 * It gives up when the server refuses to continue, or after `maxAttempts`: the body then fails with the last error.
 */
export function resumingFetch({ resumeUrl, fetch: send = fetch, maxAttempts = 5, delayMs = 500 }: ResumingFetchOptions): typeof fetch {
  return async (input, init) => {
    const base = typeof location === "undefined" ? undefined : location.href
    // A Request of a relative address needs the page's own.
    const request = new Request(typeof input === "string" ? new URL(input, base) : input, init)
    const began = request.clone()
    const response = await send(request)
    if (!response.ok || response.body === null || response.headers.get("x-vercel-ai-ui-message-stream") === null) return response
    const { signal } = began
    const connect = (cursor: string): Promise<Response> => {
      const headers = new Headers(began.headers)
      for (const name of ["content-type", "content-length"]) headers.delete(name)
      headers.set("last-event-id", cursor)
      return send(new Request(new URL(resumeUrl(began), base ?? began.url), { headers, credentials: began.credentials, signal }))
    }
    const body = continuedBody(response.body, connect, { maxAttempts, delayMs, signal })
    return new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers })
  }
}

/** How a stream connects again. */
interface Patience {
  readonly maxAttempts: number
  readonly delayMs: number
  readonly signal: AbortSignal
}

function continuedBody(
  first: ReadableStream<Uint8Array>,
  connect: (cursor: string) => Promise<Response>,
  { maxAttempts, delayMs, signal }: Patience,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let reader = first.getReader()
  let lines = new SseLines()
  let cursor = ""
  let attempts = 0
  /** Connects again. Returns false if there is nothing more. */
  const reconnect = async (broken: unknown): Promise<boolean> => {
    let cause = broken
    for (; ; attempts += 1) {
      if (signal.aborted) throw signal.reason
      if (cursor === "" || attempts >= maxAttempts) throw cause ?? new TypeError("The stream ended before its last chunk.")
      await new Promise((resolve) => setTimeout(resolve, Math.min(delayMs * 2 ** attempts, 10_000)))
      try {
        const response = await connect(cursor)
        if (response.status === 204) return false
        if (response.ok && response.body !== null) {
          attempts += 1
          reader = response.body.getReader()
          lines = new SseLines()
          return true
        }
        await response.body?.cancel()
        // What is refused once is refused again; a server that is busy or starts is not.
        if (response.status < 500 && response.status !== 429) attempts = maxAttempts
        cause = new TypeError(`The stream cannot be continued: the server answered with ${response.status}.`)
      } catch (error) {
        cause = error
      }
    }
  }
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const read = await reader.read().catch((error: unknown) => ({ done: true as const, value: undefined, error }))
          // Only whole events are passed on: the rest of a broken one comes again.
          const events = read.done ? [] : lines.push(read.value)
          for (const { id, text, data } of events) {
            if (id !== undefined) cursor = id
            attempts = 0
            controller.enqueue(encoder.encode(text))
            if (data !== "[DONE]") continue
            controller.close()
            await reader.cancel().catch(() => {})
            return
          }
          if (events.length > 0) return
          if (!read.done) continue
          if (signal.aborted) throw signal.reason
          if (await reconnect("error" in read ? read.error : undefined)) continue
          controller.enqueue(encoder.encode("data: [DONE]\n\n"))
          controller.close()
          return
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
}
