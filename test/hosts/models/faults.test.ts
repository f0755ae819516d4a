import { once } from "node:events"
import { createGzip, gzipSync } from "node:zlib"
import { describe, expect, test } from "vitest"
import { LlmCallError } from "../../../src/hosts/host.ts"
import type { HttpOptions } from "../../../src/hosts/models/http-model.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import { SPOKEN_WIRES, type SpokenWire, speech } from "./providers.ts"
import { type Handler, HI, send, serve, streamed } from "./support.ts"

const SSE = { "content-type": "text/event-stream" }
const JSON_TYPE = { "content-type": "application/json" }
/** Longer than any test waits on a loaded machine. */
const NEVER_MS = 120_000
/** A time that a test waits for to pass. */
const SHORT_MS = 400

interface Asked extends Partial<HttpOptions> {
  readonly signal?: AbortSignal
  readonly onEvent?: (event: TurnEvent) => unknown
}

function ask(wire: SpokenWire, baseUrl: string, { signal = new AbortController().signal, onEvent, ...options }: Asked = {}) {
  const events: TurnEvent[] = []
  const model = wire.make({ baseUrl, random: () => 0, sleep: async () => {}, idleTimeoutMs: NEVER_MS, timeoutMs: NEVER_MS, ...options })
  const emit = (event: TurnEvent): void => {
    events.push(event)
    onEvent?.(event)
  }
  const answer = model.llmCall({ type: "llm_call", id: 1, request: HI }, { effectId: 1, idempotencyKey: undefined, signal, emit })
  return { answer, shown: () => events.flatMap((event) => (event.type === "text_delta" ? [event.content] : [])).join(""), events }
}

async function refused(wire: SpokenWire, baseUrl: string, options: Asked = {}) {
  const { answer, ...rest } = ask(wire, baseUrl, options)
  const error: unknown = await answer.catch((thrown: unknown) => thrown)
  if (!(error instanceof LlmCallError)) throw new Error(`Not refused: ${JSON.stringify(error)}`)
  return { ...rest, failure: error.failure, partial: error.partial }
}

/** Never answers. */
const silence: Handler = () => {}

describe.each(SPOKEN_WIRES)("$name", (wire) => {
  const hello = speech(wire, "Hel", "lo.")

  describe("a whole answer comes of", () => {
    const gzipped: Handler = (response) => void response.writeHead(200, { ...SSE, "content-encoding": "gzip" }).end(gzipSync(hello))
    const slow: Handler = async (response) => {
      response.writeHead(200, SSE)
      for (const byte of Buffer.from(hello)) {
        response.write(Buffer.of(byte))
        await new Promise(setImmediate)
      }
      response.end()
    }
    /** Compressed, and flushed event by event. */
    const flushed: Handler = async (response) => {
      response.writeHead(200, { ...SSE, "content-encoding": "gzip" })
      const gzip = createGzip()
      gzip.pipe(response)
      for (const event of hello.split(/(?<=\n\n)/)) {
        gzip.write(event)
        await new Promise<void>((resolve) => gzip.flush(resolve))
      }
      gzip.end()
    }
    test.each<[string, Handler]>([
      ["a stream", send(200, hello)],
      ["a stream with the line ends of another system", send(200, hello.replaceAll("\n", "\r\n"))],
      ["a stream byte by byte", slow],
      ["a compressed stream", gzipped],
      ["a stream that is compressed event by event", flushed],
      ["a stream under the content type of JSON", send(200, hello, JSON_TYPE)],
      ["a stream without a content type", send(200, hello, {})],
      ["a stream whose connection stays open", streamed([hello], "hang")],
      ["a stream whose connection breaks after it", streamed([hello, 50], "destroy")],
      ["JSON", send(200, JSON.stringify(wire.whole("Hello.")), JSON_TYPE)],
      ["JSON under the content type of a stream", send(200, JSON.stringify(wire.whole("Hello.")))],
      ["JSON in several lines", send(200, JSON.stringify(wire.whole("Hello."), null, 2), JSON_TYPE)],
    ])("%s", async (_what, handler) => {
      const server = await serve(handler)
      const { answer, shown } = ask(wire, server.url)
      const response = await answer
      expect(response).toMatchObject({ text: "Hello.", terminalReason: "stop", usage: wire.usage, httpSummary: "attempt 1" })
      expect(["", "Hello."]).toContain(shown())
      expect(server.requests).toHaveLength(1)
    })

    test("a line of several megabytes, cut anywhere", async () => {
      const long = "word ".repeat(500_000)
      const body = Buffer.from(speech(wire, long))
      const server = await serve(async (response) => {
        response.writeHead(200, SSE)
        for (let at = 0; at < body.length; at += 65_521) if (!response.write(body.subarray(at, at + 65_521))) await once(response, "drain")
        response.end()
      })
      expect((await ask(wire, server.url).answer).text).toBe(long)
    })
  })

  describe("the next attempt gives the answer after", () => {
    const begun = wire.begin()
    test.each<[string, Handler]>([
      ["no connection", (response) => void response.destroy()],
      ["an empty answer", send(200, "")],
      ["a stream that ends before its text", send(200, begun)],
      ["a connection that breaks before its text", streamed([begun, 50], "destroy")],
      ["an error in the stream", send(200, begun + wire.overloaded)],
      ["an error as the whole stream", send(200, wire.overloaded)],
      ["status 429", send(429, JSON.stringify(wire.refusal("Slow down.")), { ...JSON_TYPE, "retry-after": "2" })],
      ["status 500", send(500, JSON.stringify(wire.refusal("Oh.")), JSON_TYPE)],
      ["status 529", send(529, JSON.stringify(wire.refusal("Overloaded.")), JSON_TYPE)],
      ["a page of a gateway", send(502, "<html><title>Bad gateway</title></html>", { "content-type": "text/html" })],
    ])("%s", async (_what, handler) => {
      const server = await serve(handler, send(200, hello))
      const { answer, events, shown } = ask(wire, server.url)
      expect(await answer).toMatchObject({ text: "Hello.", httpSummary: "attempt 2", usage: wire.usage })
      expect(events.filter(({ type }) => type === "retry_status")).toHaveLength(1)
      expect(shown()).toBe("Hello.")
    })

    test("silence before the first byte, between two bytes, and for the whole time", async () => {
      const server = await serve(silence, streamed([begun], "hang"), streamed([begun], "hang"), send(200, hello))
      const failures: (string | undefined)[] = []
      const onEvent = (event: TurnEvent): void => {
        if (event.type === "retry_status") failures.push(event.envelope?.code)
      }
      const limits = { firstByteTimeoutMs: SHORT_MS, idleTimeoutMs: 4 * SHORT_MS }
      expect(await ask(wire, server.url, { ...limits, onEvent }).answer).toMatchObject({ text: "Hello." })
      expect(failures).toEqual(["first_byte_timeout", "idle_timeout", "idle_timeout"])
    })
  })

  describe("what was said is in the failure, and is not asked for again, after", () => {
    const said = wire.begin() + wire.text("Hel")
    test.each<[string, string, Handler, Partial<HttpOptions>]>([
      ["the end of the stream", "stream_truncated", send(200, said), {}],
      ["the end of the stream in the middle of an event", "stream_truncated", send(200, said + wire.text("lo.").slice(0, -20)), {}],
      ["the end of the stream in a call", "stream_truncated", send(200, said + wire.halfCall), {}],
      ["a lost connection", "stream_truncated", streamed([said, 50], "destroy"), {}],
      ["silence", "idle_timeout", streamed([said], "hang"), { idleTimeoutMs: SHORT_MS }],
      ["the end of the time", "timeout", streamed([said], "hang"), { timeoutMs: 3 * SHORT_MS }],
      ["too many bytes", "response_too_large", send(200, speech(wire, "Hel", "x".repeat(200_000))), { maxBodyBytes: 50_000 }],
    ])("%s", async (_what, code, handler, options) => {
      const server = await serve(handler)
      const { failure, partial, shown } = await refused(wire, server.url, options)
      expect(failure.code).toBe(code)
      expect(partial?.text).toBe("Hel")
      expect(partial?.parts.filter(({ type }) => type === "tool_call")).toEqual([])
      expect(shown()).toBe("Hel")
      expect(server.requests).toHaveLength(1)
      if (wire.usageAtStart !== undefined) expect(partial?.usage).toMatchObject(wire.usageAtStart)
    })

    test.runIf(wire.marksBeginning)("another answer in the same stream, which is not joined to it", async () => {
      const other = wire.begin("other") + wire.text("lo.") + wire.end("lo.")
      const server = await serve(send(200, said + other))
      const { failure, partial, shown } = await refused(wire, server.url)
      expect(failure).toMatchObject({ code: "malformed_response", retryable: false })
      expect(partial?.text).toBe("Hel")
      expect(shown()).toBe("Hel")
    })

    test("an error of the provider", async () => {
      const server = await serve(send(200, said + wire.overloaded))
      const { failure, partial } = await refused(wire, server.url)
      expect(failure).toMatchObject({ kind: "overloaded", terminalReason: "provider_error" })
      expect(partial?.text).toBe("Hel")
      expect(server.requests).toHaveLength(1)
    })
  })

  test("an answer that is cut off anywhere and then ends as if it were whole may be asked for again", async () => {
    const bodies = [hello.slice(0, hello.indexOf("Hel")), JSON.stringify(wire.whole('Hello. "é" \\ \u0007'))]
    for (const whole of bodies) {
      for (let length = 1; length < whole.length; length += 1) {
        const fetching: typeof fetch = async () => new Response(whole.slice(0, length))
        const { failure } = await refused(wire, "http://127.0.0.1:9/v1", { fetch: fetching, maxRetries: 0 })
        expect([length, failure.code, failure.retryable]).toEqual([length, expect.stringMatching(/^(?:stream_truncated|malformed_response)$/), true])
      }
    }
  })

  describe("the call fails at once for", () => {
    const page = "<!doctype html><html><title>Welcome</title></html>"
    test.each<[string, string, Handler]>([
      ["a page", "malformed_response", send(200, page, { "content-type": "text/html" })],
      ["a page as a stream", "malformed_response", send(200, page)],
      ["a text", "malformed_response", send(200, "It works!", { "content-type": "text/plain" })],
      ["JSON that is no answer", "malformed_response", send(200, "[1, 2]", JSON_TYPE)],
      ["a redirection", "redirected", send(307, "", { location: "https://elsewhere.example/v1?key=secret" })],
      ["an endless page", "response_too_large", endless("<p>", "text/html")],
      ["an endless line", "response_too_large", endless("data: ", "text/event-stream")],
    ])("%s", async (_what, code, handler) => {
      const server = await serve(handler)
      const { failure } = await refused(wire, server.url, { maxBodyBytes: 100_000 })
      expect(failure).toMatchObject({ code, retryable: false })
      expect(failure.message).not.toContain("secret")
      expect(server.requests).toHaveLength(1)
    })

    test("a key that the provider refuses, which is not in the failure", async () => {
      const key = "key-0123456789"
      const server = await serve(send(401, JSON.stringify(wire.refusal(`Incorrect API key provided: ${key}.`)), JSON_TYPE))
      const { failure } = await refused(wire, server.url, { apiKey: key })
      expect(failure).toMatchObject({ kind: "auth", retryable: false })
      expect(JSON.stringify(failure)).not.toContain(key)
      expect(JSON.stringify(server.requests[0]?.headers)).toContain(key)
    })
  })

  describe("an abort ends the call at once", () => {
    test("before the headers", async () => {
      const controller = new AbortController()
      const server = await serve(() => controller.abort())
      const { failure, partial } = await refused(wire, server.url, { signal: controller.signal })
      expect(failure).toMatchObject({ kind: "cancelled", retryable: false })
      expect(partial).toBeUndefined()
    })

    test("before the text", async () => {
      const controller = new AbortController()
      const server = await serve(streamed([wire.begin()], "hang"))
      const fetching: typeof fetch = async (...request) => {
        const response = await fetch(...request)
        setTimeout(() => controller.abort(), SHORT_MS)
        return response
      }
      const { failure, partial } = await refused(wire, server.url, { signal: controller.signal, fetch: fetching })
      expect(failure).toMatchObject({ kind: "cancelled" })
      expect(partial?.text ?? "").toBe("")
      if (wire.usageAtStart !== undefined) expect(partial?.usage ?? failure.usage).toMatchObject(wire.usageAtStart)
    })

    test("in the middle of the text, which is returned with its usage", async () => {
      const controller = new AbortController()
      const server = await serve(streamed([wire.begin() + wire.text("Hel") + wire.halfCall], "hang"))
      const onEvent = (event: TurnEvent): void => {
        if (event.type === "text_delta") controller.abort()
      }
      const { failure, partial, shown } = await refused(wire, server.url, { signal: controller.signal, onEvent })
      expect(failure).toMatchObject({ kind: "cancelled", terminalReason: "cancelled" })
      expect(partial).toMatchObject({ text: "Hel", parts: [{ type: "text", text: "Hel" }] })
      if (wire.usageAtStart !== undefined) expect(partial?.usage).toMatchObject(wire.usageAtStart)
      expect(shown()).toBe("Hel")
    })

    test("during the wait for the next attempt", async () => {
      const controller = new AbortController()
      const server = await serve(send(500, JSON.stringify(wire.refusal("Oh.")), JSON_TYPE))
      const onEvent = ({ type }: TurnEvent): void => {
        if (type === "retry_status") controller.abort()
      }
      const sleep = (): Promise<void> => new Promise(() => {})
      expect((await refused(wire, server.url, { signal: controller.signal, onEvent, sleep })).failure).toMatchObject({ kind: "cancelled" })
      expect(server.requests).toHaveLength(1)
    })
  })
})

/** A body that never ends. */
function endless(start: string, type: string): Handler {
  return (response) => {
    response.writeHead(200, { "content-type": type })
    response.write(start)
    const more = (): void => {
      while (!response.destroyed && response.write("x".repeat(16_384)));
      if (!response.destroyed) response.once("drain", more)
    }
    more()
  }
}
