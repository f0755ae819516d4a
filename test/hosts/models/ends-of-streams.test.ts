import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { call, delta, refused, type Step, send, serve, streamed, USAGE } from "./support.ts"

const LISBON = delta({ content: "Lisbon." })
const STOP = delta({}, "stop")
/** Heartbeats for at least `seconds`. */
const heartbeats = (seconds: number): readonly Step[] => Array.from({ length: 100 * seconds }, (_, index) => (index % 2 === 0 ? 20 : ": ping\n\n"))

describe("after the finish reason an answer is complete", () => {
  test("also if the endpoint neither ends the stream nor sends anything", async () => {
    const server = await serve(streamed([LISBON, STOP], "hang"))
    const { response } = await call(server.url, { usageWaitMs: 50 })
    expect(response).toMatchObject({ text: "Lisbon.", terminalReason: "stop", httpSummary: "attempt 1" })
  })

  test.each<[string, object]>([
    ["the wait for the usage", { usageWaitMs: 60 }],
    ["the time without a byte", { idleTimeoutMs: 300 }],
    ["the time for the whole answer", { timeoutMs: 2_000, idleTimeoutMs: 100_000, usageWaitMs: 100_000 }],
  ])("heartbeats do not extend %s", async (_what, options) => {
    const server = await serve(streamed([LISBON, STOP, ...heartbeats(60)], "hang"))
    const start = performance.now()
    expect((await call(server.url, options)).response).toMatchObject({ text: "Lisbon.", terminalReason: "stop" })
    expect(performance.now() - start).toBeLessThan(50_000)
    expect(server.requests).toHaveLength(1)
  })

  test("the usage is waited for", async () => {
    const server = await serve(streamed([LISBON, STOP, 60, USAGE], "hang"))
    const start = performance.now()
    const { response } = await call(server.url, { usageWaitMs: 100_000, idleTimeoutMs: 100_000 })
    expect(response).toMatchObject({ text: "Lisbon.", usage: { inputTokens: 9, outputTokens: 4 } })
    // With the usage there is nothing more to wait for.
    expect(performance.now() - start).toBeLessThan(50_000)
  })

  test("a filter may still act", async () => {
    const server = await serve(streamed([LISBON, STOP, 30, { choices: [{ index: 0, finish_reason: "content_filter", content_filter_results: {} }] }]))
    expect((await call(server.url)).response).toMatchObject({ text: "Lisbon.", terminalReason: "content_filter" })
  })

  test("unless it grows after that: then only silence ends it", async () => {
    const early = (content: string) => ({ ...delta({ content }, "stop"), usage: { prompt_tokens: 9, completion_tokens: 4 } })
    const slow: readonly Step[] = [early("Lis"), 100, early("bon"), 2_500, early(" it"), 2_500, early(" is.")]
    const server = await serve(streamed(slow))
    expect((await call(server.url, { usageWaitMs: 2_000 })).response).toMatchObject({ text: "Lisbon it is.", terminalReason: "stop" })
  })

  test("before it, heartbeats keep a slow answer alive, and silence ends it", async () => {
    const server = await serve(streamed([...heartbeats(3), LISBON, STOP]), streamed([LISBON, 30_000, STOP]))
    expect((await call(server.url, { idleTimeoutMs: 2_000 })).response.text).toBe("Lisbon.")
    const { failure, error } = await refused(server.url, { idleTimeoutMs: 2_000 })
    expect(failure.code).toBe("idle_timeout")
    expect(error.partial).toMatchObject({ text: "Lisbon.", terminalReason: "provider_error" })
  })
})

describe("a finish reason in each chunk", () => {
  const role = (finish: string) => delta({ role: "assistant", content: "" }, finish)
  const thinking = (finish: string) => delta({ reasoning_content: "Hm." }, finish)
  test.each<[string, readonly Step[]]>([
    ["that is no reason yet, with a pause before the text", [role("null"), 500, delta({ content: "Porto" }, "null"), STOP]],
    ["that is a reason, with a pause before the text", [role("stop"), 500, delta({ content: "Porto" }, "stop"), STOP]],
    ["that is a reason, with a pause after the reasoning", [role("stop"), thinking("stop"), 500, delta({ content: "Porto" }, "stop"), STOP]],
  ])("%s", async (_what, steps) => {
    const server = await serve(streamed(steps))
    const { response } = await call(server.url, { usageWaitMs: 100 })
    expect(response).toMatchObject({ text: "Porto", terminalReason: "stop" })
  })

  test("an empty answer that ends with a reason alone is not waited for longer", async () => {
    const server = await serve(streamed([role("null"), STOP], "hang"))
    const start = performance.now()
    expect((await call(server.url, { usageWaitMs: 50 })).response).toMatchObject({ text: "", terminalReason: "stop" })
    expect(performance.now() - start).toBeLessThan(50_000)
  })
})

describe("what follows the finish reason", () => {
  test.each<[string, Step]>([
    ["[DONE] as JSON", 'data: "[DONE]"\n\n'],
    ["a word", "data: bye\n\n"],
    ["half an object", 'data: {"id":\n\n'],
    ["a list", "data: []\n\n"],
    ["an error", { error: { message: "Billing failed.", code: 502 } }],
    ["an event of an error", "event: error\ndata: Gateway closed\n\n"],
  ])("%s does not throw the answer away", async (_what, last) => {
    for (const end of ["end", "destroy", "hang"] as const) {
      const server = await serve(streamed([LISBON, STOP, last, 20], end))
      const { response } = await call(server.url, { maxRetries: 0, usageWaitMs: 60 })
      expect(response).toMatchObject({ text: "Lisbon.", terminalReason: "stop" })
    }
  })

  test("[DONE] as JSON ends the stream", async () => {
    const server = await serve(streamed([LISBON, STOP, 'data: "[DONE]"\n\n'], "hang"))
    const start = performance.now()
    expect((await call(server.url, { usageWaitMs: 100_000, idleTimeoutMs: 100_000 })).response.text).toBe("Lisbon.")
    expect(performance.now() - start).toBeLessThan(50_000)
  })
})

test("an event of an error may have a text instead of JSON", async () => {
  const server = await serve(streamed(["event: error\ndata: Too many requests, try again in 7s\n\n"]), streamed([LISBON, STOP]))
  const { events, response, waits } = await call(server.url)
  expect(response.text).toBe("Lisbon.")
  expect(Math.round((waits[0] ?? 0) / 1_000)).toBe(7)
  expect(events[0]).toMatchObject({ type: "retry_status", reason: "The endpoint reported an error: Too many requests, try again in 7s." })
})

describe("[DONE] without a finish reason", () => {
  test("is a truncated answer", async () => {
    const server = await serve(streamed([LISBON, "data: [DONE]\n\n"]))
    expect((await refused(server.url)).failure.code).toBe("stream_truncated")
  })

  test("is a complete answer with `doneWithoutReason`, but the end of the stream alone is not", async () => {
    const server = await serve(streamed([LISBON, "data: [DONE]\n\n"], "hang"), streamed([LISBON]))
    expect((await call(server.url, { doneWithoutReason: "complete" })).response).toMatchObject({ text: "Lisbon.", terminalReason: "stop" })
    expect((await refused(server.url, { doneWithoutReason: "complete" })).failure.code).toBe("stream_truncated")
  })
})

const TWO = [delta({ content: "Oslo" }), delta({ content: " it is." }), STOP, USAGE]

describe("events that are not as they should be", () => {
  const line = (chunk: object): string => `data: ${JSON.stringify(chunk)}`
  test.each<[string, string]>([
    ["one newline between events", `${TWO.map(line).join("\n")}\ndata: [DONE]\n\n`],
    ["one newline between events, and none at the end", TWO.map(line).join("\n")],
    ["one CRLF between events", `${TWO.map(line).join("\r\n")}\r\ndata: [DONE]\r\n`],
    [
      "one newline between some events",
      `${line(TWO[0] ?? {})}\n${line(TWO[1] ?? {})}\n\n${line(TWO[2] ?? {})}\n${line(TWO[3] ?? {})}\n\ndata: [DONE]\n\n`,
    ],
    ["one newline, and a half event at the end", `${TWO.map(line).join("\n")}\ndata: {"choi`],
    ["one newline and blank lines of data", `${TWO.map(line).join("\ndata:\n")}\n\n`],
    ["JSON over several lines of data", TWO.map((chunk) => `${JSON.stringify(chunk, undefined, 1).replace(/^/gm, "data: ")}\n\n`).join("")],
    ["CR alone", `${TWO.map(line).join("\r\r")}\r\rdata: [DONE]\r\r`],
  ])("%s", async (_what, text) => {
    const server = await serve(send(200, text))
    const { events, response } = await call(server.url)
    expect(response).toMatchObject({ text: "Oslo it is.", usage: { inputTokens: 9, outputTokens: 4 } })
    expect(events).toEqual(["Oslo", " it is."].map((content) => ({ type: "text_delta", content })))
  })

  test("what cannot be read among joined events is malformed", async () => {
    const server = await serve(send(200, `${line(LISBON)}\ndata: oops\n${line(STOP)}\n\n`))
    const { error, failure } = await refused(server.url)
    expect(failure).toMatchObject({ code: "malformed_response", raw: "oops" })
    expect(error.partial?.text).toBe("Lisbon.")
  })

  test("events with one newline between them count if the endpoint then falls silent", async () => {
    const server = await serve(streamed([`${TWO.map(line).join("\n")}\n`], "hang"))
    expect((await call(server.url, { idleTimeoutMs: 300 })).response.text).toBe("Oslo it is.")
  })
})

const WHOLE = { id: "c", choices: [{ index: 0, message: { role: "assistant", content: "Oslo it is." }, finish_reason: "stop" }] }
const ERROR = { error: { message: "All keys are used up.", code: 429 } }
const STREAM = `${TWO.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("")}data: [DONE]\n\n`

describe("bodies under the wrong content type", () => {
  const types = ["text/event-stream", "application/json", "text/plain", "text/html; charset=utf-8", ""]
  const bodies: readonly (readonly [string, string])[] = [
    ["a whole answer", JSON.stringify(WHOLE)],
    ["a whole answer with white space around it", `\n\n ${JSON.stringify(WHOLE, undefined, 2)}\n`],
    ["a stream", STREAM],
    ["a whole answer after comments", `: waiting\n\n: waiting\n\n${JSON.stringify(WHOLE)}`],
    ["a stream that begins with a comment", `: PROCESSING\n\n${STREAM}`],
    ["a stream that begins with an event name", `event: message\n${STREAM}`],
  ]
  test.each(bodies.flatMap(([what, body]) => types.map((type) => [what, type, body] as const)))("%s as %j", async (_what, type, body) => {
    const server = await serve(send(200, body, type === "" ? {} : { "content-type": type }))
    expect((await call(server.url)).response.text).toBe("Oslo it is.")
  })

  test.each(types)("an error as %j is the server's message", async (type) => {
    const server = await serve(send(200, JSON.stringify(ERROR), type === "" ? {} : { "content-type": type }))
    const { failure } = await refused(server.url, { maxRetries: 0 })
    expect(failure).toMatchObject({ message: "The endpoint reported an error: All keys are used up.", kind: "rate_limit", retryable: true })
  })

  test.each<[string, string, string]>([
    ["nothing", "", "stream_truncated"],
    ["heartbeats alone", ": ping\n\n: ping\n\n", "stream_truncated"],
    ["an event without data", "event: ping\n\n", "stream_truncated"],
    ["a page", "<html><title>Hi</title></html>", "malformed_response"],
    ["a text", "Internal error", "malformed_response"],
    ["half an answer", '{"choices":[{"mess', "stream_truncated"],
  ])("%s under the content type of a stream", async (_what, body, code) => {
    const server = await serve(send(200, body))
    expect((await refused(server.url, { maxRetries: 0 })).failure.code).toBe(code)
  })

  test("a stream is shown as it arrives, whatever its content type", async () => {
    const server = await serve(streamed([LISBON, 10_000], "hang", "application/json"))
    const controller = new AbortController()
    const { error, events } = await refused(server.url, { signal: controller.signal, onEvent: () => controller.abort() })
    expect(events).toEqual([{ type: "text_delta", content: "Lisbon." }])
    expect(error.partial?.text).toBe("Lisbon.")
  })
})

test("an answer is the same however its bytes arrive", async () => {
  const chunks = [
    delta({ reasoning_content: "Hm 🗼." }),
    delta({ content: "Grüße" }),
    delta({ tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: '{"x":"東' } }] }),
    delta({ tool_calls: [{ index: 0, function: { arguments: '京"}' } }] }),
    delta({}, "tool_calls"),
    USAGE,
  ]
  const bytes = new TextEncoder().encode(
    `: hi\r\n\r\n${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`).join("")}data: [DONE]\r\n\r\n`,
  )
  const read = async (cuts: readonly number[], type: string) => {
    const ends = [...[...cuts].sort((a, b) => a - b), bytes.length]
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const [index, end] of ends.entries()) controller.enqueue(bytes.slice(ends[index - 1] ?? 0, end))
        controller.close()
      },
    })
    const { events, response } = await call("http://h", { fetch: async () => new Response(body, { headers: { "content-type": type } }) })
    const shown = events.flatMap((event) => ("content" in event ? [event.content] : []))
    return { response, shown }
  }
  const expected = await read([], "text/event-stream")
  expect(expected.response.parts).toHaveLength(3)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: bytes.length })), fc.constantFrom("text/event-stream", "text/plain"), async (cuts, type) => {
      expect(await read(cuts, type)).toEqual(expected)
    }),
    { numRuns: 200 },
  )
})
