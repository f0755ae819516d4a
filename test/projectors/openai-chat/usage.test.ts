import { expect, test } from "vitest"
import { chatAnswer, chatStream } from "../../support/openai-chat.ts"
import { answer, NO_USAGE } from "./support.ts"

const usage = (figures: unknown) => answer(chatAnswer({ choices: [{ message: { content: "Hi" }, finish_reason: "stop" }], usage: figures })).usage

test.each([
  ["nothing", undefined],
  ["null", null],
  ["a text", "many"],
  ["figures that are not numbers", { prompt_tokens: "12", completion_tokens: null }],
  [
    "NaN and negative numbers",
    { prompt_tokens: Number.NaN, completion_tokens: -3, prompt_tokens_details: { cached_tokens: Number.POSITIVE_INFINITY } },
  ],
  ["details that are not objects", { prompt_tokens_details: 7, completion_tokens_details: [] }],
])("%s counts as 0", (_what, figures) => {
  expect(usage(figures)).toEqual(NO_USAGE)
})

test("cached tokens above the prompt's are counted in addition to it", () => {
  expect(usage({ prompt_tokens: 10, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 1000 } })).toEqual({
    inputTokens: 10,
    cachedInputTokens: 1000,
    outputTokens: 5,
    reasoningTokens: 0,
  })
})

test("xAI counts reasoning in addition to the completion, as its total shows", () => {
  expect(
    usage({
      prompt_tokens: 10120,
      completion_tokens: 1499,
      total_tokens: 14428,
      prompt_tokens_details: { cached_tokens: 128 },
      completion_tokens_details: { reasoning_tokens: 2809 },
    }),
  ).toEqual({ inputTokens: 9992, cachedInputTokens: 128, outputTokens: 4308, reasoningTokens: 2809 })
  expect(usage({ prompt_tokens: 12, completion_tokens: 2, completion_tokens_details: { reasoning_tokens: 317 } })).toMatchObject({
    outputTokens: 319,
    reasoningTokens: 317,
  })
  const details = { completion_tokens_details: { reasoning_tokens: 20 } }
  expect(usage({ prompt_tokens: 100, completion_tokens: 50, total_tokens: 170, ...details })).toMatchObject({
    outputTokens: 70,
    reasoningTokens: 20,
  })
  expect(usage({ prompt_tokens: 100, completion_tokens: 50, total_tokens: 150, ...details })).toMatchObject({
    outputTokens: 50,
    reasoningTokens: 20,
  })
})

test("DeepSeek and Moonshot use other names for cached tokens", () => {
  expect(usage({ prompt_tokens: 100, prompt_cache_hit_tokens: 64, completion_tokens: 1 })).toMatchObject({ inputTokens: 36, cachedInputTokens: 64 })
  expect(usage({ prompt_tokens: 100, cached_tokens: 60, completion_tokens: 1 })).toMatchObject({ inputTokens: 40, cachedInputTokens: 60 })
})

test("figures that are not JSON are not passed on", () => {
  const read = chatAnswer(JSON.parse('{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1e999}}'))
  expect(answer(read)).not.toHaveProperty("providerUsage")
  expect(answer(read).usage).toEqual(NO_USAGE)
})

test.each([
  ["OpenRouter", { prompt_tokens: 194, prompt_tokens_details: { cached_tokens: 50, cache_write_tokens: 100 } }, 144, 50, 100],
  ["LiteLLM", { prompt_tokens: 194, prompt_tokens_details: { cached_tokens: 0, cache_creation_tokens: 100 } }, 194, 0, 100],
  ["LiteLLM, at the top", { prompt_tokens: 194, cache_read_input_tokens: 50, cache_creation_input_tokens: 100 }, 144, 50, 100],
  ["DashScope", { prompt_tokens: 194, prompt_tokens_details: { cached_tokens: 20, cache_creation_input_tokens: 100 } }, 174, 20, 100],
  ["none written", { prompt_tokens: 194, prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 } }, 194, 0, 0],
  [
    "counted in addition to the prompt",
    { prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 1000, cache_write_tokens: 100 } },
    110,
    1000,
    100,
  ],
])("tokens written to the cache are a part of the input tokens: %s", (_what, figures, inputTokens, cachedInputTokens, cacheWriteTokens) => {
  expect(usage(figures)).toMatchObject({ inputTokens, cachedInputTokens, cacheWriteTokens })
})

test("tokens written to the cache are absent where they are unknown", () => {
  expect(usage({ prompt_tokens: 194, prompt_tokens_details: { cached_tokens: 50, cache_write_tokens: null } })).not.toHaveProperty("cacheWriteTokens")
})

test("the names of other APIs of the same providers are read", () => {
  const details = { input_tokens_details: { cached_tokens: 3 }, output_tokens_details: { reasoning_tokens: 2 } }
  expect(usage({ input_tokens: 11, output_tokens: 7, ...details })).toEqual({
    inputTokens: 8,
    cachedInputTokens: 3,
    outputTokens: 7,
    reasoningTokens: 2,
  })
  // Anthropic's count leaves out cached tokens, read and written.
  expect(usage({ input_tokens: 11, output_tokens: 7, cache_read_input_tokens: 5, cache_creation_input_tokens: 4 })).toEqual({
    inputTokens: 15,
    cachedInputTokens: 5,
    cacheWriteTokens: 4,
    outputTokens: 7,
    reasoningTokens: 0,
  })
})

test("Groq's count in its own key is read", () => {
  const stream = chatStream()
  stream.push({
    choices: [{ delta: { content: "x" }, finish_reason: "stop" }],
    x_groq: { id: "r", usage: { prompt_tokens: 8, completion_tokens: 3 } },
  })
  expect(answer(stream.finish()).usage).toMatchObject({ inputTokens: 8, outputTokens: 3 })
})

test("a last count of zeros does not overwrite an earlier one", () => {
  const stream = chatStream()
  const counts = [
    { prompt_tokens: 4, completion_tokens: 1 },
    { prompt_tokens: 4, completion_tokens: 6 },
    { prompt_tokens: 0, completion_tokens: 0 },
  ]
  for (const one of counts) stream.push({ choices: [{ delta: { content: "x" }, finish_reason: "stop" }], usage: one })
  stream.push({ choices: [], usage: null })
  expect(answer(stream.finish())).toMatchObject({ usage: { inputTokens: 4, outputTokens: 6 }, providerUsage: counts[1] })
})
