import { expect, test } from "vitest"
import { argumentsAreObjects, call, calls, chatServer, chunk, END, finishedWith, refuses, says, turnWith, whole } from "./support.ts"

// What servers sent, and what was meant by it.

/** A piece of a call in a stream. */
const piece = (index: number, text: string, more: { readonly id?: string; readonly name?: string } = {}) => ({
  tool_calls: [
    {
      index,
      ...(more.id !== undefined && { id: more.id }),
      type: "function",
      function: { ...(more.name !== undefined && { name: more.name }), arguments: text },
    },
  ],
})

// https://github.com/maximhq/bifrost/issues/6784
test("after a finish reason the answer is complete, whatever the server sends after it", async () => {
  const pings = Array.from({ length: 600 }, () => [100, ": ping\n\n"]).flat()
  const server = await chatServer([{ events: [chunk({ content: "Lisbon." }), chunk({}, "stop"), ...pings], staysOpen: true }])
  const started = Date.now()
  const { outcome } = await turnWith(server, { client: { idleTimeoutMs: 5_000, timeoutMs: 100_000, maxRetries: 0 } })
  expect(outcome).toEqual(finishedWith("Lisbon."))
  expect(server.bodies).toHaveLength(1)
  expect(Date.now() - started).toBeLessThan(50_000)
})

// https://github.com/anomalyco/opencode/issues/27365
test.each([
  ["one newline", "\n"],
  ["a carriage return and a newline", "\r\n"],
])("events that are separated by %s are read one by one", async (_, separator) => {
  const lines = [chunk({ content: "Oslo" }), chunk({ content: " it is." }), chunk({}, "stop")].map(
    (event) => `data: ${JSON.stringify(event)}${separator}`,
  )
  const server = await chatServer([{ events: [...lines, END] }])
  const { outcome } = await turnWith(server, { client: { maxRetries: 0 } })
  expect(outcome).toEqual(finishedWith("Oslo it is."))
})

// https://github.com/vllm-project/vllm/issues/10395
test.each([
  ["without a name", {}],
  ["with the same name", { name: "move" }],
])("arguments that come whole once more, %s, are a repetition", async (_, more) => {
  const events = [
    chunk(piece(0, '{"x":', { id: "k1", name: "move" })),
    chunk(piece(0, '4,"y":9}')),
    chunk(piece(0, '{"x":4,"y":9}', more)),
    chunk({}, "tool_calls"),
    END,
  ]
  const server = await chatServer([{ events }, says("Done.")], argumentsAreObjects)
  const { outcome, ran } = await turnWith(server, { tools: ["move"] })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(ran).toEqual([{ name: "move", args: { x: 4, y: 9 } }])
})

// https://github.com/can1357/oh-my-pi/issues/2055
test("two calls with one id and two indexes are two calls", async () => {
  const events = ["Turin", "Bergen"].map((city, index) =>
    chunk(piece(index, JSON.stringify({ city }), { id: "functions.weather:7", name: "weather" })),
  )
  const server = await chatServer([{ events: [...events, chunk({}, "tool_calls"), END] }, says("Done.")], argumentsAreObjects)
  const { outcome, ran, sent } = await turnWith(server, { tools: ["weather"] })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(ran.map(({ args }) => args)).toEqual([{ city: "Turin" }, { city: "Bergen" }])
  expect(sent.flatMap((message) => (message.role === "tool" ? [message.content] : []))).toEqual(['{"city":"Turin"}', '{"city":"Bergen"}'])
})

// https://github.com/vllm-project/vllm/issues/58228
test("a call whose arguments were cut off does not run, whatever the finish reason says", async () => {
  const events = [chunk(piece(0, '{"where":"age > 9', { id: "k1", name: "delete_rows" })), chunk({}, "tool_calls"), END]
  const server = await chatServer([{ events }, says("Done.")], argumentsAreObjects)
  const { outcome, ran, sent } = await turnWith(server, { tools: ["delete_rows"] })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(ran).toEqual([])
  expect(sent.at(-1)).toMatchObject({ role: "tool", content: expect.stringContaining("JSON") })
})

// https://github.com/1jehuang/jcode/issues/225
test.each(["null", "", " \n"])("the arguments %j are an empty object", async (text) => {
  const server = await chatServer([calls(call("clock", text)), says("Done.")], argumentsAreObjects)
  const { outcome, ran } = await turnWith(server, { tools: ["clock"] })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(ran).toEqual([{ name: "clock", args: {} }])
})

// https://github.com/HKUDS/nanobot/issues/1481
test("calls in the second choice count if the first has none", async () => {
  const choices = [
    { index: 0, finish_reason: "tool_calls", message: { role: "assistant", content: "I look." } },
    { index: 1, finish_reason: "tool_calls", message: { role: "assistant", tool_calls: [call("list", '{"dir":"src"}')] } },
  ]
  const server = await chatServer([{ json: { choices } }, says("Done.")])
  const { outcome, ran, sent } = await turnWith(server, { tools: ["list"], client: { stream: false } })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(ran).toEqual([{ name: "list", args: { dir: "src" } }])
  expect(sent[2]).toMatchObject({ role: "assistant", content: "I look." })
})

// https://github.com/snailyp/gemini-balance/issues/347
test("an error under the content type of a stream is the server's message", async () => {
  const server = await chatServer([
    { headers: { "content-type": "text/event-stream" }, json: { error: { message: "All keys are used up.", code: 429 } } },
  ])
  const { error, outcome } = await turnWith(server, { client: { maxRetries: 0 } })
  expect(outcome).toMatchObject({ type: "stopped" })
  expect(error?.message).toContain("All keys are used up.")
})

// https://github.com/NousResearch/hermes-agent/issues/83869
test.each(["function_call_filter: MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL"])(
  "silence after a result with the finish reason %j is not a success",
  async (reason) => {
    const server = await chatServer([calls(call("look")), whole({ content: "" }, reason)])
    const { error, outcome } = await turnWith(server, { tools: ["look"] })
    expect(outcome).toMatchObject({ type: "stopped" })
    expect(error?.message).toContain("MALFORMED_FUNCTION_CALL")
  },
)

// https://github.com/janhq/jan/issues/8712
test("reasoning alone is an empty answer", async () => {
  const server = await chatServer([{ events: [chunk({ reasoning_content: "It must be Lisbon." }), chunk({}, "stop"), END] }])
  const { error, outcome } = await turnWith(server)
  expect(outcome).toMatchObject({ type: "stopped" })
  expect(error?.envelope?.code).toBe("empty_response")
})

// https://github.com/vercel/ai/issues/4220
test("a content filter stops the turn, for the prompt and after the answer's end", async () => {
  const filtered = { message: "The response was filtered.", type: null, param: "prompt", code: "content_filter", status: 400 }
  const prompt = await chatServer([{ status: 400, json: { error: filtered } }])
  expect((await turnWith(prompt)).error?.envelope?.terminalReason).toBe("content_filter")
  expect(prompt.bodies).toHaveLength(1)

  const late = await chatServer([
    {
      events: [
        { choices: [], prompt_filter_results: [{ prompt_index: 0 }] },
        chunk({ content: "Hi" }),
        chunk({}, "stop"),
        { choices: [{ index: 0, finish_reason: "content_filter", content_filter_results: {} }] },
        END,
      ],
    },
  ])
  expect((await turnWith(late)).error?.envelope?.terminalReason).toBe("content_filter")
})

// https://github.com/earendil-works/pi/issues/2626
test("Ollama's words for a full context window are an overflow", async () => {
  const message = "prompt too long; exceeded max context length by 918 tokens"
  const server = await chatServer([{ status: 400, json: { error: { message, type: "invalid_request_error" } } }])
  const { error } = await turnWith(server)
  expect(error?.envelope?.terminalReason).toBe("context_overflow")
  expect(server.bodies).toHaveLength(1)
})

// https://github.com/pydantic/pydantic-ai/issues/2759
test("a call that Groq could not read is asked for again", async () => {
  const error = {
    message: "Failed to call a function. See 'failed_generation'.",
    type: "invalid_request_error",
    code: "tool_use_failed",
    failed_generation: "<function=look{}</function>",
  }
  const server = await chatServer([{ status: 400, json: { error } }, says("Done.")])
  expect((await turnWith(server, { tools: ["look"] })).outcome).toEqual(finishedWith("Done."))
})

// https://github.com/github/copilot-sdk/issues/1081
test("an endpoint that never sends a finish reason is read by an option; without it the answer counts as cut off", async () => {
  const reply = { events: [{ choices: [{ index: 0, delta: { content: "Porto." } }] }, END] }
  const complete = await chatServer([reply])
  expect((await turnWith(complete, { client: { maxRetries: 0, doneWithoutReason: "complete" } })).outcome).toEqual(finishedWith("Porto."))
  const truncated = await chatServer([reply])
  expect((await turnWith(truncated, { client: { maxRetries: 0 } })).error?.envelope?.code).toBe("stream_truncated")
})

test.each<[string, readonly object[]]>([
  [
    "an empty object first",
    [
      { index: 0, ...call("save", "{}") },
      { index: 0, function: { arguments: '{"path":"a.txt"}' } },
    ],
  ],
  [
    "an empty object first, with id and name again",
    [
      { index: 0, ...call("save", "{}") },
      { index: 0, ...call("save", '{"path":"a.txt"}') },
    ],
  ],
  [
    "an index that is a text",
    [
      { index: "0", ...call("save", '{"path":') },
      { index: "0", function: { arguments: '"a.txt"}' } },
    ],
  ],
])("a call that comes with %s runs once, with the arguments that the model wrote", async (_what, pieces) => {
  const events = [...pieces.map((piece) => chunk({ tool_calls: [piece] })), chunk({}, "tool_calls"), END]
  const { outcome, ran } = await turnWith(await chatServer([{ events }, says("Saved.")]), { tools: ["save"] })
  expect(ran).toEqual([{ name: "save", args: { path: "a.txt" } }])
  expect(outcome).toEqual(finishedWith("Saved."))
})

test("an account that is used up is not asked again and again", async () => {
  const server = await chatServer([refuses(429, { message: "Your project has exceeded its monthly spending cap.", status: "RESOURCE_EXHAUSTED" })])
  const { error } = await turnWith(server)
  expect(error?.message).toContain("monthly spending cap")
  expect(server.bodies).toHaveLength(1)
})
