import { describe, expect, test } from "vitest"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { ExecutionSurfaceSynced } from "../../src/schemas/response.ts"
import type { ToolSpec } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { configOf, delivers, driverOf, moved, pollAll, REQUEST, respond, says } from "./support.ts"

type Update = Extract<ExecutionSurfaceSynced["result"], { ok: true }>["update"]

const tool = (name: string): ToolSpec => ({ name, description: name, inputSchema: { type: "object" } })
const SAME = { systemPrompt: "You look.", tools: [tool("look")] }
const NEXT: DriverAction = { type: "advance_iteration" }
const WAIT: DriverAction = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }

/**
 * Syncs these surfaces, one in each iteration, and returns what the driver is shown after each. A model call follows the syncs whose
 * index is in `calls`.
 */
function shownAfter(updates: readonly Update[], { calls, moves = false, surfaceChanged }: Options): readonly boolean[] {
  const shown: boolean[] = []
  const driver: ProtocolDriver = driverOf({
    prepareIteration(context) {
      shown.push(context.surfaceChanged)
      return calls.includes(shown.length - 1) ? [{ type: "start_llm", request: REQUEST }] : [NEXT, WAIT]
    },
    onLlmComplete: () => [NEXT, WAIT],
  })
  const config = configOf({ ...SAME, driver, syncExecutionSurface: true })
  let machine = new TurnMachine(config, { messages: [], ...(surfaceChanged !== undefined && { surfaceChanged }) })
  for (const update of updates) {
    pollAll(machine)
    respond(machine, {
      type: "execution_surface_synced",
      id: machine.outstanding?.id ?? 0,
      result: { ok: true, ...(update !== undefined && { update }) },
    })
    if (moves) machine = moved(machine, config)
    if (machine.outstanding?.type === "llm_call") respond(machine, says(machine.outstanding.id, "Hi."))
    respond(machine, delivers(machine.outstanding?.id ?? 0))
  }
  return shown
}

interface Options {
  readonly calls: readonly number[]
  readonly moves?: boolean
  readonly surfaceChanged?: true
}

describe("the driver is shown whether the surface changed since the last model request", () => {
  test.each<readonly [string, Update, boolean]>([
    ["no update", undefined, false],
    ["the same objects", SAME, false],
    ["equal values in other objects", structuredClone(SAME), false],
    ["another prompt alone", { ...SAME, systemPrompt: "You find." }, true],
    ["other tools alone", { ...SAME, tools: [tool("find")] }, true],
    ["one tool more", { ...SAME, tools: [...SAME.tools, tool("find")] }, true],
    ["another description of a tool", { ...SAME, tools: [{ ...tool("look"), description: "Looks." }] }, true],
  ])("%s", (_what, update, changed) => {
    expect(shownAfter([update], { calls: [0] })).toEqual([changed])
    expect(shownAfter([undefined, update], { calls: [0, 1] })).toEqual([false, changed])
  })

  const OTHER = { ...SAME, systemPrompt: "You find." }

  test("a model request with the change ends it", () => {
    expect(shownAfter([OTHER, undefined, OTHER, SAME, SAME], { calls: [0, 1, 2, 3, 4] })).toEqual([true, false, false, true, false])
  })

  test("without a model request it lasts, though later syncs change nothing or change it back", () => {
    expect(shownAfter([OTHER, OTHER, undefined, SAME, SAME], { calls: [4] })).toEqual([true, true, true, true, true])
  })

  test("a restored turn still knows", () => {
    expect(shownAfter([OTHER, undefined, undefined, undefined], { calls: [1, 2], moves: true })).toEqual([true, true, false, false])
  })

  test("a thread may begin a turn with it", () => {
    expect(shownAfter([undefined, undefined], { calls: [0], surfaceChanged: true })).toEqual([true, false])
  })
})
