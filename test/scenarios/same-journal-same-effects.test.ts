import { expect, test } from "vitest"
import type { Effect } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"
import { expectTurn, type TurnInput } from "../../src/testing/index.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { callsTools, completed, configOf, delivers, effectNames, plain, pollAll, results, says, userMessage } from "../machine/support.ts"

const CONFIG = configOf({ emitLlmTrace: true, maxIterations: 3, systemPrompt: "Be brief." })
const START = { messages: [userMessage("Look around.")], iterationOffset: 4, turnCauses: [] }

/** The responses of a turn, in order, as a host recorded them. */
const JOURNAL: readonly Response[] = [
  { ...callsTools(1, ["a", "", "a"]), at: 1_000 },
  results(2, completed("a", { n: 1 })),
  { ...results(2, completed("m_4_call_1", [1]), completed("m_4_call_2")), at: 900 } as Response,
  delivers(3, { messages: [{ role: "system", content: "Hurry." }], events: [{ noted: true }] }),
  says(4, "Nothing here."),
  delivers(5, { turnCauses: [{ id: "e1", eventType: "noise", origin: { type: "plugin", pluginId: "ears" }, text: "A noise." }] }),
  says(6, "It was the wind."),
  delivers(7),
]

function replayed(journal: readonly Response[]): readonly Effect[] {
  const machine = new TurnMachine(CONFIG, START)
  const effects = [...pollAll(machine)]
  for (const response of journal) {
    expect(machine.handle(response)).toEqual({ status: "accepted" })
    effects.push(...pollAll(machine))
  }
  return effects
}

test("the same journal of responses gives the same effects, byte for byte, today and from JSON", () => {
  const first = JSON.stringify(replayed(JOURNAL))
  expect(JSON.stringify(replayed(JOURNAL))).toBe(first)
  expect(JSON.stringify(replayed(plain(JOURNAL)))).toBe(first)
})

test("the effects of the journal", () => {
  expect(effectNames(replayed(JOURNAL))).toEqual([
    ...["emit llm_request", "llm_call 1"],
    ...["emit token_usage", "log llm_debug", "emit llm_response", "progress", "tool_calls 2"],
    ...["emit tool_call"],
    ...["emit tool_call", "emit tool_call", "progress", "checkpoint 3"],
    ...["progress", "emit llm_request", "llm_call 4"],
    ...["emit token_usage", "log llm_debug", "emit text_delta", "emit llm_response", "progress", "checkpoint 5"],
    ...["progress", "emit llm_request", "llm_call 6"],
    ...["emit token_usage", "log llm_debug", "emit text_delta", "emit llm_response", "progress", "checkpoint 7"],
    ...["emit turn_outcome", "emit done", "done"],
  ])
})

test("a journal submitted without polling a single effect ends the turn the same way", () => {
  const unpolled = new TurnMachine(CONFIG, START)
  unpolled.poll()
  for (const response of JOURNAL) {
    unpolled.handle(response)
    // Preparing is lazy: the next model call begins when the host asks.
    if (unpolled.state === "prepare_iteration") pollAll(unpolled)
  }
  const done = pollAll(unpolled).at(-1)
  expect(done).toEqual(replayed(JOURNAL).at(-1))
})

test("the laws hold on it", () => {
  const inputs = JOURNAL.flatMap((response): readonly TurnInput[] => [{ type: "poll" }, { type: "respond", response }])
  expect(expectTurn(CONFIG, START, [...inputs, { type: "poll" }]).done).toBe(true)
})
