import type { ThreadEvent } from "turn-machine/hosts/thread"
import { WebSocket } from "ws"

/** A client of one thread. The Worker may be restarted with another address. */
export class Client {
  readonly #threadId: string
  readonly #token: string
  readonly #url: () => string

  constructor(url: () => string, threadId: string, token: string) {
    this.#url = url
    this.#threadId = threadId
    this.#token = token
  }

  /** Calls a route of the thread. @throws {Error} the object refused it */
  async call(route: string, body?: object): Promise<unknown> {
    const { status, value } = await this.request(route, body)
    if (status !== 200) throw new Error(`${route}: ${status} ${JSON.stringify(value)}`)
    return value
  }

  async request(route: string, body?: object): Promise<{ readonly status: number; readonly value: unknown }> {
    const response = await fetch(this.#address(route), {
      headers: { authorization: `Bearer ${this.#token}` },
      ...(body !== undefined && { method: "POST", body: JSON.stringify(body) }),
    })
    return { status: response.status, value: await response.json() }
  }

  /** Calls a route until the Worker answers, as a client does whose input has a key. */
  async callUntilAnswered(route: string, body?: object): Promise<unknown> {
    for (;;) {
      try {
        const { status, value } = await this.request(route, body)
        if (status === 200) return value
        if (status < 500) throw new TypeError(`${route}: ${status} ${JSON.stringify(value)}`)
      } catch (error) {
        if (error instanceof TypeError && error.cause === undefined) throw error
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Follows the events, and reconnects after the last cursor, until `receive` returns true. `onConnect` is called before each connection. */
  async follow(how: "server-sent events" | "WebSocket", receive: (event: ThreadEvent) => boolean, onConnect = () => {}): Promise<void> {
    let cursor: string | undefined
    const see = (text: string): boolean => {
      const event = JSON.parse(text) as ThreadEvent
      if ("cursor" in event) cursor = event.cursor
      return receive(event)
    }
    for (;;) {
      onConnect()
      const isDone = await (how === "WebSocket" ? this.#overSocket(cursor, see) : this.#overStream(cursor, see)).catch((error: unknown) => {
        if (error instanceof Refused) throw error
        return false
      })
      if (isDone) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async #overStream(cursor: string | undefined, see: (text: string) => boolean): Promise<boolean> {
    const headers = { authorization: `Bearer ${this.#token}`, ...(cursor !== undefined && { "last-event-id": cursor }) }
    const response = await fetch(this.#address("events"), { headers })
    if (response.status !== 200)
      throw response.status < 500 ? new Refused(await response.text()) : new Error(`The Worker answered ${response.status}.`)
    const decoder = new TextDecoder()
    let rest = ""
    for await (const chunk of response.body as ReadableStream<Uint8Array>) {
      const events = (rest + decoder.decode(chunk, { stream: true })).split("\n\n")
      rest = events.pop() ?? ""
      for (const event of events) {
        const data = event.split("\n").find((line) => line.startsWith("data: "))
        // To leave the loop ends the request.
        if (data !== undefined && !event.startsWith("event: ") && see(data.slice(6))) return true
      }
    }
    return false
  }

  #overSocket(cursor: string | undefined, see: (text: string) => boolean): Promise<boolean> {
    const query = new URLSearchParams({ token: this.#token, ...(cursor !== undefined && { after: cursor }) })
    const socket = new WebSocket(`${this.#address("events").replace(/^http/, "ws")}?${query}`)
    return new Promise((resolve, reject) => {
      socket.on("message", (data) => {
        if (!see(String(data))) return
        socket.close()
        resolve(true)
      })
      socket.on("close", () => resolve(false))
      socket.on("unexpected-response", (_request, response) => reject(new Refused(`The Worker answered ${response.statusCode}.`)))
      socket.on("error", reject)
    })
  }

  #address(route: string): string {
    return `${this.#url()}/threads/${this.#threadId}/${route}`
  }
}

/** The Worker refuses the client, and would again. */
class Refused extends Error {}
