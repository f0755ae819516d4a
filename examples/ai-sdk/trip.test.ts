import type { LLMock } from "@copilotkit/aimock"
import { afterEach, beforeEach, expect, test } from "vitest"
import { startMock } from "./mock.ts"
import { models } from "./models.ts"
import { planTrip } from "./trip.ts"

let mock: LLMock
beforeEach(async () => {
  mock = await startMock()
})
afterEach(() => mock.stop())

test("the turn ends with a trip, after an answer that did not have its form", async () => {
  const { producers, trip } = await planTrip(models(`${mock.url}/v1`, "none"), "Plan a trip to Oslo.")
  expect(trip).toEqual({ city: "Oslo", celsius: 4, pack: ["a coat"], day: new Date("2026-12-01") })
  expect(producers).toEqual(Array.from({ length: 3 }, () => "anthropic.messages claude-sonnet-4-5"))
})

test("another provider answers where the first one is overloaded", async () => {
  mock.nextRequestError(529, { type: "overloaded_error", message: "Overloaded" })
  const reasons: string[] = []
  const { producers, trip } = await planTrip(models(`${mock.url}/v1`, "none"), "Plan a trip to Oslo.", (event) => {
    if (event.type === "retry_status") reasons.push(event.reason)
  })
  expect(trip?.city).toBe("Oslo")
  expect(producers[0]).toBe("spare.chat small")
  expect(producers.slice(1)).toEqual(["anthropic.messages claude-sonnet-4-5", "anthropic.messages claude-sonnet-4-5"])
  expect(reasons).toEqual(["The endpoint answered 529: Overloaded. Another model answers."])
})

test("a turn whose models all refuse says why", async () => {
  for (let request = 0; request < 2; request += 1) mock.nextRequestError(401, { type: "authentication_error", message: "Bad key." })
  const { outcome } = await planTrip(models(`${mock.url}/v1`, "none"), "Plan a trip to Oslo.")
  expect(outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error", error: { failureKind: "auth" } } })
})
