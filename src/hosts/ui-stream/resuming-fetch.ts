/** Options of {@link resumingFetch}. */
export interface ResumingFetchOptions {
  /** The address that continues a stream: it receives the request that began it. */
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
 * notice. For browsers and tests.
 *
 *     new DefaultChatTransport({ api: "/chat", fetch: resumingFetch({ resumeUrl: () => `/chat/${id}/stream` }) })
 */
export function resumingFetch(_options: ResumingFetchOptions): typeof fetch {
  throw new Error("not yet")
}
