import type { LLMock } from "@copilotkit/aimock"
import { afterEach, beforeEach, expect, test, vi } from "vitest"
import { advise, claude } from "./advisor.ts"
import { startMock } from "./mock.ts"

let mock: LLMock
beforeEach(async () => {
  mock = await startMock()
})
afterEach(() => {
  vi.restoreAllMocks()
  return mock.stop()
})

const QUESTIONS = ["What do the wine and the bread cost?", "And both together?"]

test("the conversation looks up both prices at once, and continues in the next turn", async () => {
  const called: unknown[] = []
  const advice = await advise(claude("none", mock.url), QUESTIONS, (event) => {
    if (event.type === "tool_call") called.push(event.args)
  })
  expect(advice.map(({ text }) => text)).toEqual(["The wine costs 40 euros and the bread 2.", "Together they cost 42 euros."])
  expect(called).toEqual([{ article: "wine" }, { article: "bread" }])
})

test("signed reasoning goes back with each request, and the beginning is marked for the cache", async () => {
  const fetching = vi.spyOn(globalThis, "fetch")
  await advise(claude("none", mock.url), QUESTIONS)
  const bodies = fetching.mock.calls.map(
    ([, init]) => JSON.parse(String(init?.body)) as { readonly system: unknown; readonly messages: readonly object[] },
  )
  expect(bodies).toHaveLength(3)
  const thought = { type: "thinking", thinking: "I need both prices.", signature: "EqQBCkgIBhABGAIiQA==" }
  for (const { messages } of bodies.slice(1))
    expect(messages[1]).toMatchObject({ role: "assistant", content: [thought, { name: "price" }, { name: "price" }] })
  expect(bodies[2]?.system).toMatchObject([{ cache_control: { type: "ephemeral" } }])
})

test("a turn that fails says why", async () => {
  mock.nextRequestError(401, { type: "authentication_error", message: "invalid x-api-key" })
  const [first] = await advise(claude("none", mock.url), QUESTIONS.slice(0, 1))
  expect(first?.text).toContain("invalid x-api-key")
})

test("what a turn cost is known", async () => {
  const [first, second] = await advise(claude("none", mock.url), QUESTIONS)
  // At $5 and $25 per million tokens: 880 and 85 tokens, then 520 and 20.
  expect(first?.dollars).toBeCloseTo(0.006525, 10)
  expect(second?.dollars).toBeCloseTo(0.0031, 10)
})
