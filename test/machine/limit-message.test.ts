import { describe, expect, test } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../src/drivers/chat.ts"
import { codeDriver } from "../../src/drivers/code.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { defineTool } from "../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { userMessage } from "../../src/machine/user-message.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { type ScriptedModelAnswer, scriptedModel } from "../../src/testing/scripted-model.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"

const look = defineTool({ name: "look", description: "Looks.", input: z.object({}), execute: () => "seen" })
const CALLS_LOOK: ScriptedModelAnswer = { toolCalls: [{ toolName: "look", args: {} }] }
const RUN = { observations: ["1"], toolCalls: [], images: [], printedImages: [], durationMs: 1 }

/** Runs a turn. `deliver`: how often the host delivers a message before completion. */
async function run(driver: ProtocolDriver, answers: readonly ScriptedModelAnswer[], config: Partial<TurnConfig> = {}, deliver = 0) {
  const model = scriptedModel(answers)
  const tools = toolbox([look])
  const machine = new TurnMachine(
    { driver, projector: chatProjector, model: "m", tools: tools.specs, maxIterations: 1, ...config },
    { messages: [userMessage("Go.")] },
  )
  let left = deliver
  const { outcome, messages } = await runTurn(machine, {
    llmCall: model.llmCall,
    tools,
    code: { run: async () => RUN },
    checkpoint: async ({ checkpoint }) => {
      if (checkpoint !== "before_completion" || left === 0) return undefined
      left -= 1
      return { messages: [{ role: "user", content: "And?" }] }
    },
  })
  const limits = messages
    .filter(({ id }) => id.includes("_turn_limit_"))
    .map(({ role, parts }) => `${role}: ${parts.map((part) => ("text" in part ? part.text : "")).join()}`)
  return { outcome, limits, model, last: messages.at(-1) }
}

const ENDED = "system: This turn reached its limit of 1 iteration and ended here, before a final answer."
const LAST =
  "system: This turn has reached its limit of 1 iteration. Answer now with what you have: this is its last model call, and you will not see the results of further tool calls or code in this turn."

describe("the default message about the iteration limit says what is true where it appears", () => {
  test("after tools, the turn has ended", async () => {
    const { outcome, limits, model, last } = await run(chatDriver(), [CALLS_LOOK])
    expect(outcome).toMatchObject({ stop: { type: "max_iterations" } })
    expect(limits).toEqual([ENDED])
    expect(last?.id).toContain("_turn_limit_")
    expect(model.calls).toHaveLength(1)
  })

  test("after code and after a repair, the turn has ended", async () => {
    expect((await run(codeDriver(), ["```ts\nx\n```"])).limits).toEqual([ENDED])
    expect((await run(codeDriver(), ["```ts\nx"])).limits).toEqual([ENDED])
  })

  test("after a delivery, one more model call follows, in which the model may answer", async () => {
    const { outcome, limits, model } = await run(chatDriver(), ["One.", "Two."], {}, 1)
    expect(outcome).toMatchObject({ finish: { text: "Two." } })
    expect(limits).toEqual([LAST])
    expect(model.calls).toHaveLength(2)
  })

  test("tools in that call run, and their results are not shown", async () => {
    const { outcome, limits, model } = await run(chatDriver(), ["One.", CALLS_LOOK], {}, 1)
    expect(outcome).toMatchObject({ stop: { type: "max_iterations" } })
    expect(limits).toEqual([LAST, ENDED])
    expect(model.calls).toHaveLength(2)
  })

  test("a limit of several iterations is a plural", async () => {
    const { limits } = await run(chatDriver(), [CALLS_LOOK, CALLS_LOOK], { maxIterations: 2 })
    expect(limits).toEqual(["system: This turn reached its limit of 2 iterations and ended here, before a final answer."])
  })

  test("a host's message knows where it appears", async () => {
    const turnLimitMessage: TurnConfig["turnLimitMessage"] = (id, max, when) => ({
      id,
      role: "user",
      parts: [{ id: `${id}.p0`, type: "text", text: `${max} ${when}` }],
    })
    expect((await run(chatDriver(), ["One.", CALLS_LOOK], { turnLimitMessage }, 1)).limits).toEqual(["user: 1 last_iteration", "user: 1 ended"])
  })
})

test("a driver sees whether the limit message is in the transcript", async () => {
  const seen: boolean[] = []
  const driver = wrapDriver(chatDriver(), {
    prepareIteration(next, context) {
      seen.push(context.turnLimitScheduled)
      // In the last iteration, results of tools could not be shown.
      return context.turnLimitScheduled ? [{ type: "start_llm", request: context.projectRequest({ tools: false }) }] : next(context)
    },
  })
  const { model } = await run(driver, ["One.", "Two."], {}, 1)
  expect(seen).toEqual([false, true])
  expect(model.calls.map(({ request }) => request.toolChoice)).toEqual(["auto", "none"])
})
