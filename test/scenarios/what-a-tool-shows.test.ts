import { expect, test } from "vitest"
import { expectTurn } from "../../src/testing/index.ts"
import { callsTools, completed, configOf, delivers, plain, results, says, userMessage, withOutput } from "../machine/support.ts"

test("pictures, values, failures and silence of tools all reach the model, one result for each call", () => {
  const picture = { id: "att-1", mediaType: "image/png", byteLength: 3 }
  const failure = { class: "timeout", code: "slow", message: "took too long", source: "tool", retry: { type: "safe", afterMs: 50 } } as const
  const turn = expectTurn(configOf(), { messages: [userMessage("Take a picture.")] }, [
    { type: "poll" },
    { type: "respond", response: callsTools(1, ["shot", "list", "slow", "quiet"]) },
    { type: "poll" },
    { type: "respond", response: results(2, completed("quiet", ""), withOutput("slow", { status: "failure", failure })) },
    { type: "poll" },
    { type: "respond", response: results(2, completed("list", { b: [1], a: null }), completed("shot", { taken: { $attachment: picture } })) },
    { type: "poll" },
    { type: "respond", response: delivers(3) },
    { type: "poll" },
    { type: "respond", response: says(4, "A fine picture.") },
    { type: "poll" },
    { type: "respond", response: delivers(5) },
    { type: "poll" },
  ])
  const request = turn.effects.flatMap((effect) => (effect.type === "llm_call" ? [plain(effect.request)] : [])).at(-1)
  const content = [
    { type: "text", text: '{"taken":' },
    { type: "attachment", attachment: picture },
    { type: "text", text: "}" },
  ]
  expect(request?.attachments).toEqual([picture])
  expect(request?.messages.at(-1)).toEqual({
    role: "user",
    blocks: [
      { type: "tool_result", callId: "shot", toolName: "look", text: '{"taken":\n}', content },
      { type: "image", attachmentIndex: 0 },
      { type: "tool_result", callId: "list", toolName: "look", text: '{"b":[1],"a":null}' },
      { type: "tool_result", callId: "slow", toolName: "look", text: "[Tool execution failed]\ntook too long", isError: true },
      { type: "tool_result", callId: "quiet", toolName: "look", text: "" },
    ],
  })
})

test("the causes of a turn are shown once, where they were delivered; requests only grow", () => {
  const cause = { id: "e1", eventType: "mail.arrived", origin: { type: "plugin", pluginId: "mail" }, text: " From Ada. \n" } as const
  const turn = expectTurn(configOf(), { messages: [userMessage("Watch my mail.")], turnCauses: [cause] }, [
    { type: "poll" },
    { type: "respond", response: callsTools(1, ["read"]) },
    { type: "poll" },
    { type: "respond", response: results(2, completed("read", "Dear …")) },
    { type: "poll" },
    { type: "respond", response: delivers(3, { turnCauses: [cause, { ...cause, id: "e2", text: "From Bob." }] }) },
    { type: "poll" },
  ])
  const [first, second] = turn.effects.flatMap((effect) => (effect.type === "llm_call" ? [plain(effect.request).messages] : []))
  const shown = (text: string) => ({ role: "user", blocks: [{ type: "text", text }] })
  expect(first).toEqual([shown("Watch my mail."), shown("--- event · mail.arrived · e1 ---\nOrigin: plugin mail\n\nFrom Ada.")])
  expect(second?.slice(0, 2)).toEqual(first)
  expect(second?.slice(2).map(({ role }) => role)).toEqual(["assistant", "user", "user"])
  expect(second?.at(-1)).toEqual(shown("--- event · e2 ---\nOrigin: plugin mail\n\nFrom Bob."))
})
