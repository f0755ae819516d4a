import { describe, expectTypeOf, test } from "vitest"
import type { CompleteTurnConfig } from "../../src/machine/config.ts"
import type { ANSWERS, Rule, RuleResult, TRANSITIONS, TransitionTable } from "../../src/machine/transitions.ts"
import type { StateName, StateOf, Turn } from "../../src/machine/turn.ts"
import type { AnswerableEffect } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"

declare function syncSurface(
  config: CompleteTurnConfig,
  turn: Turn,
  state: StateOf<"waiting_execution_surface">,
  response: Extract<Response, { type: "execution_surface_synced" }>,
): RuleResult
declare function collectResults(
  config: CompleteTurnConfig,
  turn: Turn,
  state: StateOf<"waiting_tools">,
  response: Extract<Response, { type: "tool_results" }>,
): RuleResult
declare const empty: Omit<TransitionTable, "waiting_tools">

describe("the transition table", () => {
  test("accepts a row that fits", () => {
    const table = { ...empty, waiting_tools: { tool_results: { run: collectResults, next: ["waiting_llm", "finished"] } } } satisfies TransitionTable
    expectTypeOf(table).toExtend<TransitionTable>()
  })

  test("refuses a handler of another response", () => {
    // @ts-expect-error syncSurface takes execution_surface_synced
    const _table = { ...empty, waiting_tools: { tool_results: { run: syncSurface, next: ["finished"] } } } satisfies TransitionTable
  })

  test("refuses a handler in the row of another state", () => {
    // @ts-expect-error collectResults needs a state that holds a tool batch
    const _rule = { run: collectResults, next: ["finished"] } satisfies Rule<"waiting_exec", "tool_results">
  })

  test("refuses a response that does not exist", () => {
    // @ts-expect-error the response is called tool_results
    const _table = { ...empty, waiting_tools: { tool_result: { run: collectResults, next: ["finished"] } } } satisfies TransitionTable
  })

  test("refuses a next state that does not exist", () => {
    // @ts-expect-error the state is called waiting_llm
    const _table = { ...empty, waiting_tools: { tool_results: { run: collectResults, next: ["waiting_model"] } } } satisfies TransitionTable
  })

  test("refuses a table that lacks a state", () => {
    // @ts-expect-error waiting_tools is missing
    const _table = { ...empty } satisfies TransitionTable
  })

  test("has a row for every state, and an answer for every answerable effect", () => {
    expectTypeOf<keyof typeof TRANSITIONS>().toEqualTypeOf<StateName>()
    expectTypeOf<keyof typeof ANSWERS>().toEqualTypeOf<AnswerableEffect["type"]>()
    expectTypeOf<(typeof ANSWERS)["llm_call"]>().toEqualTypeOf<readonly ["llm_complete"]>()
    expectTypeOf<(typeof ANSWERS)[AnswerableEffect["type"]][number]>().toEqualTypeOf<Response["type"]>()
  })
})
