import { describe, expect, test } from "vitest"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { callsAndResults, callsTools, completed, configOf, plain, pollAll, respond, results, userMessage } from "../machine/support.ts"

/** The request of the next turn of a thread. */
function nextRequest(thread: readonly Message[], question: string): LlmRequest {
  const machine = new TurnMachine(configOf(), { messages: [...thread, userMessage(question, "next")], iterationOffset: 10 })
  const call = pollAll(machine).find((effect) => effect.type === "llm_call")
  if (call === undefined) throw new Error("The turn called no model.")
  return plain(call.request)
}

/** In each request every call has one result, in the message right after it, and every result has a call. */
function expectNoOrphans({ messages }: LlmRequest): void {
  messages.forEach(({ blocks }, index) => {
    const calls = blocks.flatMap((block) => (block.type === "tool_call" ? [block.callId] : []))
    const answered = (messages[index + 1]?.blocks ?? []).flatMap((block) => (block.type === "tool_result" ? [block.callId] : []))
    if (calls.length > 0 || answered.length > 0) expect(answered.toSorted()).toEqual(calls.toSorted())
  })
}

function waitingForTools(): TurnMachine {
  const machine = new TurnMachine(configOf(), { messages: [userMessage("Look around.")] })
  pollAll(machine)
  respond(machine, callsTools(1, ["left", "right"]))
  machine.handle(results(2, completed("right", "a wall")))
  return machine
}

describe("the thread of a turn that was stopped while tools ran continues in the next turn", () => {
  test("cancelled: finished tools keep their results, the others are reported as cancelled", () => {
    const machine = waitingForTools()
    machine.cancel("The user changed their mind.")
    expect(callsAndResults(machine.messages)).toEqual(["call left", "call right", "result left", "result right"])
    const request = nextRequest(machine.messages, "Go back.")
    expectNoOrphans(request)
    expect(request.messages[2]?.blocks).toEqual([
      { type: "tool_result", callId: "left", toolName: "look", text: "[Tool execution cancelled]\nThe user changed their mind.", isError: true },
      { type: "tool_result", callId: "right", toolName: "look", text: "a wall" },
    ])
    expect(request.messages.at(-1)).toEqual({ role: "user", blocks: [{ type: "text", text: "Go back." }] })
  })

  test("failed or finished by the host: each call has a result in the transcript", () => {
    for (const stop of [
      (machine: TurnMachine) => machine.fail({ type: "error", message: "disk full" }),
      (machine: TurnMachine) => machine.finish({ type: "stopped", stop: { type: "plugin_abort" } }),
    ]) {
      const machine = waitingForTools()
      stop(machine)
      expect(callsAndResults(machine.messages)).toEqual(["call left", "call right", "result left", "result right"])
      const request = nextRequest(machine.messages, "Go back.")
      expectNoOrphans(request)
      expect(request.messages.map((message) => message.role)).toEqual(["user", "assistant", "user", "user"])
    }
  })

  test("crashed, and the thread restored from the last persisted progress: the same", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("Look around.")] })
    pollAll(machine)
    const progress = respond(machine, callsTools(1, ["left", "right"])).find((effect) => effect.type === "progress")
    expectNoOrphans(nextRequest(progress?.messages ?? [], "Go back."))
  })
})

test("a turn cancelled before its tools were polled leaves no orphans either", () => {
  const machine = new TurnMachine(configOf(), { messages: [userMessage("Look around.")] })
  pollAll(machine)
  machine.handle(callsTools(1, ["left"]))
  machine.cancel()
  expectNoOrphans(nextRequest(machine.messages, "Go back."))
})
