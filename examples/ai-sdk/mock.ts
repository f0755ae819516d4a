import { LLMock } from "@copilotkit/aimock"

/** A server on loopback that speaks the wire formats of both providers, so that this example needs no key. */
export async function startMock(): Promise<LLMock> {
  const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent" })
  const look = {
    reasoning: "I need the weather.",
    reasoningSignature: "EqQB",
    toolCalls: [{ name: "weather", arguments: '{"city":"Oslo"}', id: "call_1" }],
  }
  mock.on({ userMessage: "does not have the form" }, { content: '{"city":"Oslo","celsius":4,"pack":["a coat"],"day":"2026-12-01"}' })
  mock.on({ userMessage: "trip", hasToolResult: false }, look)
  mock.on({ userMessage: "trip", hasToolResult: true }, { content: '{"city":"Oslo","celsius":4,"pack":"a coat","day":"2026-12-01"}' })
  await mock.start()
  return mock
}
