import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { Effect } from "../../src/schemas/effect.ts"
import { callbacks, configData, moves, script, start } from "../../src/testing/arbitraries.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import { scriptedHost } from "../../src/testing/scripted-host.ts"
import { describeInput, give } from "../../src/testing/turn-input.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { SLOW } from "./check.ts"

// A property proves nothing about states that its cases never reach. 900 random turns must reach all of these.

const REACHED = [
  "state preparing",
  "state prepare_iteration",
  "state waiting_execution_surface",
  "state waiting_llm",
  "state waiting_tools",
  "state waiting_exec",
  "state waiting_checkpoint",
  "state finished",
  "effect sync_execution_surface",
  "effect llm_call",
  "effect cancel_llm",
  "effect tool_calls",
  "effect exec_code",
  "effect checkpoint",
  "effect progress",
  "effect done",
  "effect emit",
  "effect log",
  "log llm_debug",
  "log llm_error",
  "outcome finished",
  "outcome agent_frame_switch",
  "outcome cancelled",
  "outcome incomplete",
  "outcome max_iterations",
  "outcome provider_error",
  "outcome runtime_error",
  "outcome submitted_error",
  "outcome tool_error",
  "driver no_way_forward",
  "driver two_starts",
  "driver action_after_finish",
  "driver unknown_action",
  "driver missing_callback",
  "driver driver_threw",
  "verdict accepted",
  "verdict stale",
  "verdict invalid_response",
  "verdict unknown_effect",
  "verdict unexpected_response",
  "verdict unknown_call",
  "verdict call_already_answered",
  "verdict turn_finished",
  "verdict action_starts_work",
  "verdict action_after_finish",
  "verdict invalid_actions",
  "an overflow that said output_limit",
  "a batch answered in parts",
  "a batch that its driver answered in part",
  "a partial answer of a cancelled call",
  "a partial answer of a failed call",
  "a batch with a call id twice",
  "a turn of 8 answers",
]

test("random turns reach every state, effect, outcome, driver error and verdict", SLOW, () => {
  const reached = new Set<string>()
  const turns = fc.sample(fc.tuple(configData, start, script, callbacks, moves), { numRuns: 1_400, seed: 20_240_601 })
  for (const [data, begin, answers, optional, played] of turns) {
    const driver = scriptedDriver(answers, { callbacks: optional })
    const config = { ...data, driver, projector: () => expect.unreachable() }
    const machine = new TurnMachine(config, begin)
    let taken = 0
    for (const input of scriptedHost(played).play(config, begin)) {
      reached.add(`state ${machine.state}`)
      if (input.type === "poll") {
        for (let left = input.most ?? Number.POSITIVE_INFINITY; left > 0; left -= 1) {
          const effect = machine.poll()
          if (effect === undefined) break
          for (const name of namesOf(effect)) reached.add(name)
        }
        continue
      }
      const { outstanding } = machine
      const verdict = give(machine, input)
      expect(verdict, describeInput(input)).toBe(("expect" in input ? input.expect : undefined) ?? "accepted")
      reached.add(`verdict ${verdict}`)
      if (input.type === "cancel" && input.partial !== undefined && outstanding?.type === "llm_call")
        reached.add("a partial answer of a cancelled call")
      if (
        input.type === "respond" &&
        verdict === "accepted" &&
        input.response.type === "llm_complete" &&
        !input.response.result.ok &&
        input.response.result.partial !== undefined
      )
        reached.add("a partial answer of a failed call")
      const { state } = machine.turn.position
      if (state.type === "waiting_tools" && state.settled !== undefined) reached.add("a batch that its driver answered in part")
      if (input.type !== "respond" || verdict !== "accepted") continue
      taken += 1
      if (machine.outstanding?.id === outstanding?.id) reached.add("a batch answered in parts")
    }
    reached.add(`state ${machine.state}`)
    if (taken >= 8) reached.add("a turn of 8 answers")
  }
  expect(REACHED.filter((name) => !reached.has(name))).toEqual([])
})

function namesOf(effect: Effect): readonly string[] {
  const names = [`effect ${effect.type}`]
  if (effect.type === "log") names.push(`log ${effect.event.type}`)
  if (effect.type === "done") names.push(`outcome ${effect.outcome.type === "stopped" ? effect.outcome.stop.type : effect.outcome.type}`)
  if (effect.type === "tool_calls" && new Set(effect.calls.map((call) => call.callId)).size < effect.calls.length)
    names.push("a batch with a call id twice")
  if (effect.type === "emit" && effect.event.type === "error") {
    const { envelope, message } = effect.event
    if (envelope?.kind === "driver") names.push(`driver ${envelope.code}`)
    if (message === "No output: the prompt fills the context window.") names.push("an overflow that said output_limit")
  }
  return names
}
