import { describe, expect, test } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import type { AskOptions, PolicyAnswer, PolicyFacts } from "../../../src/drivers/approval/policy.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { wrapHost } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { mergeToolboxes } from "../../../src/hosts/tools/merge-toolboxes.ts"
import { ToolDefinitionError } from "../../../src/hosts/tools/tool-definition-error.ts"
import { type Tool, toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { Json } from "../../../src/schemas/json.ts"
import { scriptedModel } from "../../../src/testing/scripted-model.ts"
import { asks, begun, broken, call, callIds, failures, held, heldIds } from "../../drivers/approval/support.ts"
import { configOf, pending, respond } from "../../machine/support.ts"

const input = z.object({ eur: z.number(), to: z.string().default("ann") })
const base = { name: "pay", description: "Pays.", input, execute: () => "paid" }
const FACTS: PolicyFacts = { grants: [], tool: undefined, iteration: 0 }

function answerOf(tool: Tool, args: Json, facts: PolicyFacts = FACTS): PolicyAnswer {
  return toolbox([tool]).approvals(pending("a", "pay", args), facts)
}

describe("approval of a tool", () => {
  test("never, or nothing: the call runs", () => {
    expect(answerOf(defineTool(base), { eur: 5 })).toBe("run")
    expect(answerOf(defineTool({ ...base, approval: "never" }), { eur: 5 })).toBe("run")
    expect("approval" in defineTool({ ...base, approval: "never" })).toBe(false)
  })

  test("always: a person is asked about each call", () => {
    expect(answerOf(defineTool({ ...base, approval: "always" }), { eur: 5 })).toEqual({ hold: {} })
  })

  test("a function gets the arguments as the schema returns them, and says what is asked", () => {
    const seen: unknown[] = []
    const tool = defineTool({
      ...base,
      approval: (given) => {
        seen.push(given)
        return given.eur > 100 ? { risk: "high", summary: `Pays ${given.to}.` } : false
      },
    })
    expect(answerOf(tool, { eur: 5 })).toBe("run")
    expect(answerOf(tool, { eur: 500 })).toEqual({ hold: { risk: "high", summary: "Pays ann." } })
    expect(seen).toEqual([
      { eur: 5, to: "ann" },
      { eur: 500, to: "ann" },
    ])
  })

  test("arguments that do not match the schema are not asked about: they are denied, also if the schema would accept them later", () => {
    let accepts = false
    const input = base.input.refine(() => accepts, "The account does not exist.")
    const tools = toolbox([defineTool({ ...base, input, approval: "always" })])
    const call = pending("a", "pay", { eur: 5, to: "ann" })
    const answer = tools.approvals(call, FACTS)
    expect(answer).toEqual({ deny: expect.stringContaining("The account does not exist.") })
    accepts = true
    expect(tools.approvals(call, FACTS)).toEqual({ hold: {} })
  })

  test("arguments that only an async schema can check are asked about", () => {
    const asyncInput = z.object({ eur: z.number().refine(async () => true) })
    const tool = defineTool({ ...base, input: asyncInput, approval: () => false })
    expect(answerOf(tool, { eur: 5 })).toEqual({ hold: {} })
  })

  test("broken arguments and unknown tools are left to the model and the toolbox", () => {
    const tools = toolbox([defineTool({ ...base, approval: "always" })])
    expect(tools.approvals(pending("a", "pay", "{"), { ...FACTS, broken: true })).toBe("run")
    expect(tools.approvals(pending("a", "constructor", {}), FACTS)).toBe("run")
  })

  test("a tool written by hand decides by the call", () => {
    const tool: Tool = {
      spec: { name: "pay", description: "Pays.", inputSchema: { type: "object" } },
      call: async () => ({ output: { status: "success", value: 1 } }),
      approval: ({ args }) => ((args as { eur: number }).eur > 100 ? { risk: "low" } : false),
    }
    expect(answerOf(tool, { eur: 5 })).toBe("run")
    expect(answerOf(tool, { eur: 500 })).toEqual({ hold: { risk: "low" } })
    expect(toolbox([{ ...tool, approval: () => ({}) }]).approvals(pending("a", "pay", "{"), { ...FACTS, broken: true })).toBe("run")
  })

  test.each([["ask"], [true], [null], [{ hold: {} }]])("%j is refused where the tool is defined", (approval) => {
    expect(() => defineTool({ ...base, approval: approval as never })).toThrow(expect.objectContaining({ code: "invalid_approval" }))
    const byHand = { spec: { name: "pay", description: "", inputSchema: {} }, call: async () => ({ output: {} }), approval }
    expect(() => toolbox([byHand as never])).toThrow(ToolDefinitionError)
  })

  test("a misspelled key is refused", () => {
    expect(() => defineTool({ ...base, needsApproval: true } as never)).toThrow('did you mean "approval"?')
  })
})

describe("a turn whose driver cannot hold calls", () => {
  const PAYS = [{ toolCalls: [{ toolName: "pay", args: { eur: 1 } }] }, "Done."]
  const always = defineTool({ ...base, approval: "always" })
  const look = defineTool({ ...base, name: "look" })

  test.each([
    ["that a person is asked about", toolbox([look, always])],
    ["that may be denied", toolbox([{ ...look, spec: { ...look.spec, name: "pay" }, approval: () => ({ deny: "No." }) }])],
    ["in a toolbox that was merged", mergeToolboxes([toolbox([look]), toolbox([always])])],
  ])("is refused with a tool %s, before anything is performed", async (_, tools) => {
    const { llmCall, calls } = scriptedModel(PAYS)
    const machine = begun(configOf({ tools: tools.specs }))
    for (const host of [{ llmCall, tools }, wrapHost({ llmCall, tools }, {})]) {
      const run = runTurn(machine, host)
      await expect(run).rejects.toMatchObject({ name: "RunError", code: "approval_without_driver" })
      await expect(run).rejects.toThrow('The tool "pay" asks before its calls run')
    }
    expect(calls).toEqual([])
  })

  test("runs with tools that ask nothing, also beside tools that it does not offer", async () => {
    const { llmCall } = scriptedModel(["Done."])
    const { outcome } = await runTurn(begun(configOf({ tools: toolbox([look]).specs })), { llmCall, tools: toolbox([look, always]) })
    expect(outcome.type).toBe("finished")
  })

  test("is not refused once it has ended", async () => {
    const tools = toolbox([always])
    const machine = begun(configOf({ tools: tools.specs }))
    machine.cancel()
    expect((await runTurn(machine, { llmCall: scriptedModel([]).llmCall, tools })).type).toBe("done")
  })
})

test("a toolbox is the policy of an approval driver", () => {
  const wire = defineTool({ ...base, name: "wire", approval: ({ eur }): AskOptions | false => (eur > 100 ? { scopes: ["call"] } : false) })
  const tools = toolbox([defineTool({ ...base, approval: "always" }), wire, defineTool({ ...base, name: "look" })])
  const config = configOf({ driver: approvalDriver(chatDriver(), { policy: tools.approvals }), tools: tools.specs })
  const machine = begun(config)
  const parts = [
    call("a", "pay", { eur: 1 }),
    call("b", "wire", { eur: 500 }),
    call("c", "wire", { eur: 5 }),
    call("d", "look", { eur: 1 }),
    broken("e"),
  ]
  expect(failures(respond(machine, asks(1, ...parts)))).toEqual({ e: "broken_arguments" })
  expect([heldIds(machine), callIds(machine)]).toEqual([
    ["a", "b"],
    ["c", "d"],
  ])
  expect(held(machine, "a").ask).toEqual({ summary: 'pay {"eur":1}', allow: ["approve", "edit", "reject"], scopes: ["call", "turn", "thread"] })
  expect(held(machine, "b").ask.scopes).toEqual(["call"])
})
