import { LLMock } from "@copilotkit/aimock"

/** A server on loopback that answers as Anthropic does, so that this example needs no key. */
export async function startMock(): Promise<LLMock> {
  const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent" })
  const prices = ["wine", "bread"].map((article, index) => ({ name: "price", arguments: JSON.stringify({ article }), id: `toolu_${index}` }))
  mock.on(
    { userMessage: "wine", hasToolResult: false },
    {
      reasoning: "I need both prices.",
      reasoningSignature: "EqQBCkgIBhABGAIiQA==",
      toolCalls: prices,
      usage: { input_tokens: 400, output_tokens: 60 },
    },
  )
  mock.on({ userMessage: "both" }, { content: "Together they cost 42 euros.", usage: { input_tokens: 520, output_tokens: 20 } })
  mock.on(
    { userMessage: "wine", hasToolResult: true },
    { content: "The wine costs 40 euros and the bread 2.", usage: { input_tokens: 480, output_tokens: 25 } },
  )
  await mock.start()
  return mock
}
