import { expect, test } from "vitest"
import { type Posted, StrictResponses } from "./strict-responses.ts"

const user = { role: "user", content: "Look." }
const tools = [{ type: "function", name: "look", description: "", parameters: { type: "object", properties: {} }, strict: false }]
const base = { model: "m", store: false, tools }

type Items = readonly Record<string, unknown>[]

/** The items of an answer, as a request may send them back. */
function said(posted: Posted): Items {
  const { output } = ("response" in posted ? posted.response : {}) as { output: Items }
  return output.map((item) => {
    const { status, ...rest } = item
    return item["type"] === "message" || item["type"] === "web_search_call" ? { ...rest, status } : rest
  })
}

function begin() {
  const endpoint = new StrictResponses([{ reasoning: "Hm.", text: "I look.", calls: [{ name: "look", reasoning: "So." }] }, "Done."])
  const items = said(endpoint.post({ ...base, input: [user] }))
  const call = items.at(-1)?.["call_id"]
  return { endpoint, items, result: { type: "function_call_output", call_id: call, output: "A shop." } }
}

test("an answer goes back as it was", () => {
  const { endpoint, items, result } = begin()
  expect(endpoint.post({ ...base, input: [user, ...items, result] })).toMatchObject({ status: 200 })
  expect(endpoint.refusals).toEqual([])
})

test("what was changed, left out or added is refused", () => {
  const { endpoint, items, result } = begin()
  const [first = {}, text = {}, second = {}, call = {}] = items
  const post = (...input: Items): string => {
    const posted = endpoint.post({ ...base, input })
    return "error" in posted ? (posted.error["error"] as { message: string }).message : "accepted"
  }
  expect(post(user, text, second, call, result)).toMatch(/without its required 'reasoning' item/)
  expect(post(user, first, second, call, result)).toMatch(/without its required following item/)
  expect(post(user, first, text, second, result)).toMatch(/No tool call found|following item/)
  expect(post(user, first, text, second, call)).toMatch(/No tool output found/)
  expect(post(user, { ...first, encrypted_content: "x" }, text, second, call, result)).toMatch(/could not be verified/)
  expect(post(user, { ...first, id: "rs_x" }, text, second, call, result)).toMatch(/did not match/)
  expect(post(user, { ...first, summary: [] }, text, second, call, result)).toMatch(/summary/)
  expect(post(user, { type: "reasoning", id: "rs_1", summary: [] }, text)).toMatch(/not found/)
  expect(post({ ...user, content: "Other." }, ...items, result)).toMatch(/bound to another conversation/)
  expect(post(user, ...items, result, { type: "function_call_output", call_id: "x", output: "" })).toMatch(/No tool call found/)
  expect(post(user, first, text, second, { ...call, name: "a b" }, result)).toMatch(/name/)
  expect(post(user, ...items, result, { ...user, extra: 1 })).toMatch(/Unknown parameter/)
  expect(post(user, ...items, result)).toBe("accepted")
  // Ids may be left out.
  const { id: _id, ...anonymous } = first
  expect(post(user, anonymous, { role: "assistant", content: "I look." }, second, call, result)).toBe("accepted")
  expect(endpoint.refusals.length).toBe(12)
})
