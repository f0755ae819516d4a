import { expect, test } from "vitest"
import { expectTurn } from "../../src/testing/index.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { callsTools, completed, configOf, delivers, plain, pollAll, respond, results, says, userMessage } from "../machine/support.ts"

const CORRECTION = userMessage("Only the ones from this week.", "u2")

test("a user message that arrives in mid-turn is in the next model call, and becomes ordinary history", () => {
  const machine = new TurnMachine(configOf(), { messages: [userMessage("List my mails.", "u1")] })
  pollAll(machine)
  respond(machine, callsTools(1, ["inbox"]))
  respond(machine, results(2, completed("inbox", "400 mails")))

  // The user types while the tool runs; the host delivers it at the checkpoint after the work.
  const effects = respond(machine, delivers(3, { userMessages: [CORRECTION] }))
  const [progress, , call] = effects
  expect(progress).toMatchObject({ type: "progress", eventDelta: [{ type: "conversation", message: CORRECTION }] })
  expect(call?.type === "llm_call" && plain(call.request.messages)).toEqual([
    { role: "user", blocks: [{ type: "text", text: "List my mails." }] },
    { role: "assistant", blocks: [{ type: "tool_call", callId: "inbox", toolName: "look", inputJson: "{}" }] },
    { role: "user", blocks: [{ type: "tool_result", callId: "inbox", toolName: "look", text: "400 mails" }] },
    { role: "user", blocks: [{ type: "text", text: "Only the ones from this week." }] },
  ])

  respond(machine, says(4, "Twelve."))
  respond(machine, delivers(5))
  // It keeps its own id and does not have an origin, because it was not injected.
  expect(machine.messages).toContainEqual(CORRECTION)
  expect(machine.history.filter((record) => record.type === "conversation" && record.message.id === "u2")).toHaveLength(1)
})

test("one that arrives after the answer starts another iteration", () => {
  const turn = expectTurn(configOf(), { messages: [userMessage("List my mails.", "u1")] }, [
    { type: "poll" },
    { type: "respond", response: says(1, "Here are 400.") },
    { type: "poll" },
    { type: "respond", response: delivers(2, { userMessages: [CORRECTION] }) },
    { type: "poll" },
    { type: "respond", response: says(3, "Here are twelve.") },
    { type: "poll" },
    { type: "respond", response: delivers(4) },
    { type: "poll" },
  ])
  expect(turn.messages.map(({ role, parts: [part] }) => [role, part?.type === "text" && part.text])).toEqual([
    ["user", "List my mails."],
    ["assistant", "Here are 400."],
    ["user", "Only the ones from this week."],
    ["assistant", "Here are twelve."],
  ])
  expect(turn.iteration).toBe(1)
  expect(turn.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Here are twelve." } })
})
