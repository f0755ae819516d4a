import { expect, test } from "vitest"
import type { Effect } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { callsTools, completed, configOf, delivers, plain, results, says, userMessage } from "../machine/support.ts"

const CONFIG = configOf({ syncExecutionSurface: true })
const START = { messages: [userMessage("Look around.")] }

/** The world's answers, the same for every process. */
function perform(effect: Effect): Response | undefined {
  switch (effect.type) {
    case "sync_execution_surface":
      return { type: "execution_surface_synced", id: effect.id, result: { ok: true } }
    case "llm_call": {
      const rounds = effect.request.messages.filter((message) => message.blocks.some((block) => block.type === "tool_result")).length
      return rounds < 2 ? callsTools(effect.id, [`a${rounds}`, `b${rounds}`]) : says(effect.id, "All seen.")
    }
    case "tool_calls":
      return results(effect.id, ...effect.calls.map((call) => completed(call.callId, `saw ${call.callId}`)))
    case "checkpoint":
      return delivers(effect.id)
    default:
      return undefined
  }
}

/** Runs a turn in a process that saves after each effect it polls and stops right after effect number `dies`. */
function run(dies: number): { readonly performed: readonly string[]; readonly end: Effect | undefined; readonly messages: unknown } {
  const performed: string[] = []
  let machine = new TurnMachine(CONFIG, START)
  let end: Effect | undefined
  for (let count = 0; ; count += 1) {
    const effect = machine.poll()
    if (effect === undefined) break
    const saved = JSON.stringify(machine.checkpoint())
    if (count === dies) {
      machine = TurnMachine.restore(CONFIG, saved)
      continue
    }
    if (effect.type === "done") end = plain(effect)
    const response = perform(effect)
    if (response === undefined) continue
    performed.push(`${effect.type} ${response.id}`)
    machine.handle(response)
  }
  return { performed, end, messages: plain(machine.messages) }
}

const WHOLE = run(Number.POSITIVE_INFINITY)

test("the effects of a turn that is never killed", () => {
  expect(WHOLE.performed).toEqual([
    ...["sync_execution_surface 1", "llm_call 2", "tool_calls 3", "checkpoint 4"],
    ...["sync_execution_surface 5", "llm_call 6", "tool_calls 7", "checkpoint 8"],
    ...["sync_execution_surface 9", "llm_call 10", "checkpoint 11"],
  ])
  expect(WHOLE.end).toMatchObject({ outcome: { type: "finished", finish: { type: "assistant_message", text: "All seen." } } })
})

test("a turn killed right after polling any one effect does the same work and ends with the same answer", () => {
  // 11 pieces of work, and the notifications between them.
  for (let dies = 0; dies < 40; dies += 1) {
    const { performed, end, messages } = run(dies)
    expect(performed).toEqual(WHOLE.performed)
    expect(messages).toEqual(WHOLE.messages)
    // Only `done` is not emitted again after it was polled.
    if (end !== undefined) expect(end).toEqual(WHOLE.end)
  }
})
