import { expect, test } from "vitest"
import type { PendingToolCall } from "../../src/schemas/tool.ts"
import { expectTurn } from "../../src/testing/index.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { answer, callsAndResults, completed, configOf, delivers, pollAll, respond, results, says, userMessage } from "../machine/support.ts"

const TOOLS = ["north", "east", "south"]
const CALLS = answer(
  1,
  TOOLS.map((callId) => ({ type: "tool_call", callId, toolName: "look", inputJson: `{"to":"${callId}"}` })),
)

test("a turn that is moved to another process between two tool results runs no tool twice and loses no result", () => {
  const ran: string[] = []
  const run = (call: PendingToolCall, where: string) => {
    ran.push(`${call.callId} ${where}`)
    return completed(call.callId, `${call.callId} is free`)
  }

  // In the first process the first tool ends, and its result is submitted. The second is running when the process dies.
  const here = new TurnMachine(configOf(), { messages: [userMessage("Where can I go?")] })
  pollAll(here)
  const batch = respond(here, CALLS).at(-1)
  expect(batch).toMatchObject({ type: "tool_calls", id: 2, calls: [{ callId: "north" }, { callId: "east" }, { callId: "south" }] })
  here.handle(results(2, run({ callId: "north", toolName: "look", args: {} }, "here")))
  const saved = JSON.stringify(here.checkpoint())

  // In the second process only the missing calls are emitted, under the same id.
  const there = TurnMachine.restore(configOf(), saved)
  const again = pollAll(there).find((effect) => effect.type === "tool_calls")
  expect(again).toEqual({
    type: "tool_calls",
    id: 2,
    calls: [
      { callId: "east", toolName: "look", args: { to: "east" } },
      { callId: "south", toolName: "look", args: { to: "south" } },
    ],
  })
  for (const call of again?.calls ?? []) there.handle(results(2, run(call, "there")))
  expect(ran).toEqual(["north here", "east there", "south there"])

  pollAll(there)
  respond(there, delivers(3))
  respond(there, says(4, "Anywhere."))
  respond(there, delivers(5))
  expect(there.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Anywhere." } })
  expect(callsAndResults(there.messages)).toEqual(["call north", "call east", "call south", "result north", "result east", "result south"])
  expect(there.messages[2]?.parts.map((part) => part.type === "tool_result" && part.text)).toEqual(["north is free", "east is free", "south is free"])
})

test("the turn is the same wherever it is cut", () => {
  const turn = expectTurn(configOf(), { messages: [userMessage("Where can I go?")] }, [
    { type: "poll" },
    { type: "respond", response: CALLS },
    { type: "poll" },
    { type: "respond", response: results(2, completed("south")) },
    { type: "respond", response: results(2, completed("south")), expect: "call_already_answered" },
    { type: "poll" },
    { type: "respond", response: results(2, completed("north"), completed("east")) },
    { type: "poll" },
    { type: "respond", response: delivers(3) },
    { type: "poll" },
    { type: "respond", response: says(4, "Anywhere.") },
    { type: "poll" },
    { type: "respond", response: delivers(5) },
    { type: "poll" },
  ])
  expect(turn.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Anywhere." } })
  expect(turn.cuts).toBeGreaterThan(20)
})
