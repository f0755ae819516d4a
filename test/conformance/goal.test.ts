import { applyGoal } from "../../src/drivers/goal/apply-goal.ts"
import { foldGoal, newGoalState } from "../../src/drivers/goal/goal.ts"
import { GoalEvent, GoalInput, GoalOutput, type GoalPolicyData, GoalState } from "../../src/schemas/goal.ts"
import type { Json } from "../../src/schemas/json.ts"
import { expectSame, runSuite, type Scenario } from "./suite.ts"

interface GoalScenario extends Scenario {
  readonly policy: GoalPolicyData
  readonly threadId: string
  readonly watch: readonly GoalOutput["type"][]
  readonly steps: readonly { readonly do: GoalInput; readonly expect: { readonly goal: Json; readonly outputs: readonly Json[] } }[]
}

runSuite<GoalScenario>("goal", ({ policy, threadId, watch, steps }) => {
  let state = newGoalState(threadId)
  const events: GoalEvent[] = []
  steps.forEach((step, index) => {
    const where = `step ${index} ${JSON.stringify(step.do).slice(0, 200)}`
    const before = JSON.stringify(state)
    const { state: after, outputs } = applyGoal(state, GoalInput.parse(step.do), policy)
    expectSame(state, JSON.parse(before), `${where}: the old state`)
    state = GoalState.parse(JSON.parse(JSON.stringify(after)))
    expectSame(state, after, `${where}: the state through JSON`)
    for (const output of outputs) {
      expectSame(GoalOutput.parse(output), output, `${where}: the output through its schema`)
      if (output.type === "event") events.push(GoalEvent.parse(JSON.parse(JSON.stringify(output.event))))
    }
    expectMatch(state.goal, step.expect.goal, `${where}: goal`)
    const seen = outputs.filter(({ type }) => watch.includes(type))
    expectSame(
      seen.map(({ type }) => type),
      (step.expect.outputs as readonly GoalOutput[]).map(({ type }) => type),
      `${where}: types of the outputs`,
    )
    seen.forEach((output, position) => {
      expectMatch(output, step.expect.outputs[position] ?? null, `${where}: output ${position}`)
    })
    const { goal, memory } = foldGoal(threadId, events)
    expectSame({ goal, memory }, { goal: state.goal, memory: state.memory }, `${where}: the fold`)
  })
})

/** Compares the given keys deeply. Texts and message texts are also compared by what they contain and lack. */
function expectMatch(received: unknown, expected: Json, where: string): void {
  if (typeof expected !== "object" || expected === null) return void expectSame(received, expected, where)
  if (typeof received !== "object" || received === null || Array.isArray(expected)) {
    if ("contains" in expected && typeof received === "string") return void expectText(received, expected, where)
    return void expectSame(received, expected, where)
  }
  if ("contains" in expected && "content" in received && typeof received.content === "string") expectText(received.content, expected, where)
  for (const [key, value] of Object.entries(expected)) {
    if ("contains" in expected && (key === "contains" || key === "lacks")) continue
    expectMatch((received as { readonly [key: string]: unknown })[key], value, `${where}.${key}`)
  }
}

function expectText(text: string, pattern: { readonly [key: string]: Json }, where: string): void {
  const { contains = [], lacks = [] } = pattern as { readonly contains?: readonly string[]; readonly lacks?: readonly string[] }
  for (const piece of contains) if (!text.includes(piece)) throw new Error(`${where} lacks ${JSON.stringify(piece)}:\n${text}`)
  for (const piece of lacks) if (text.includes(piece)) throw new Error(`${where} contains ${JSON.stringify(piece)}:\n${text}`)
}
