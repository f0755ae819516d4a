import { describe, expect, test } from "vitest"
import * as z from "zod"
import { codeDriver } from "../../../src/drivers/code.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { calls, configOf, newTurn, says, script, start, toolTexts } from "./support.ts"

const BIG = { rows: [{ text: "long text" }] }

describe("what crosses the edge of a run", () => {
  test("a tool that changes its arguments does not change the call, and gets the model's own when it runs again", async () => {
    const seen: unknown[] = []
    const llm = calls(["c1", "scale"])
    const parts = [{ type: "tool_call", callId: "c1", toolName: "scale", inputJson: '{"x":2,"deep":{"list":[1]}}' }] as const
    const tools = {
      effects: () => "idempotent" as const,
      async call({ args }: { args: unknown }) {
        seen.push(JSON.stringify(args))
        const mine = args as { x: number; deep: { list: number[] } }
        mine.x *= 10
        mine.deep.list.push(9)
        return { output: { status: "success", value: mine } } as const
      },
    }
    const host: Host = { llmCall: script({ ...llm, parts }, says("Done.")), tools: tools as never }
    const store = memoryJournalStore()
    const done = await journaled(host, store).run("t", { config: configOf(), start })
    expect(seen).toEqual(['{"x":2,"deep":{"list":[1]}}'])
    const call = done.messages[1]?.parts[0]
    expect(call).toMatchObject({ type: "tool_call", inputJson: '{"x":2,"deep":{"list":[1]}}' })
    expect((await journaled(host, store).run("t", { config: configOf(), start })).messages).toEqual(done.messages)
  })

  test("a value that its tool changes later stays as it was returned", async () => {
    const value = { rows: [1] }
    const tools = { effects: () => "idempotent" as const, call: async () => ({ output: { status: "success", value } }) as const }
    const answers = [calls(["c1", "get"]), says("Done.")].values()
    const done = await runTurn(newTurn(), {
      async llmCall({ request }) {
        if (request.messages.length > 2) value.rows.push(2)
        return answers.next().value ?? says("Again.")
      },
      tools,
    })
    value.rows.push(3)
    expect(toolTexts(done)).toEqual(['{"rows":[1]}'])
    expect(value.rows).toEqual([1, 2, 3])
    expect(Object.isFrozen(value)).toBe(false)
  })

  test("the tool's own object is not frozen, nor is the host's configuration", async () => {
    const tools = toolbox([defineTool({ name: "get", description: "Gets.", input: z.object({}), execute: () => BIG })])
    const generation = { temperature: 0 }
    await runTurn(newTurn({ tools: tools.specs, generation }), { llmCall: script(calls(["c1", "get"]), says("Done.")), tools })
    expect(Object.isFrozen(BIG.rows)).toBe(false)
    expect(Object.isFrozen(generation)).toBe(false)
    expect(Object.isFrozen(tools.specs)).toBe(false)
    expect(Object.isFrozen(tools.specs[0]?.inputSchema)).toBe(false)
  })

  test.each(["messages", "attachments", "tools", "generation"] as const)("%s of a request cannot be changed", async (key) => {
    const host: Host = {
      async llmCall({ request }) {
        expect(isFrozenThroughout(request[key])).toBe(true)
        return says("Hi.")
      },
    }
    const tools = toolbox([defineTool({ name: "get", description: "Gets.", input: z.object({}), execute: () => 1 })])
    await runTurn(newTurn({ tools: tools.specs }), host)
  })

  test("an executor that sets a property of a rendered message fails, and the turn is unchanged", async () => {
    const marks: Host["llmCall"] = async ({ request }) => {
      const [message] = request.messages
      ;(message as { cacheBreakpoint?: boolean }).cacheBreakpoint = true
      return says("Hi.")
    }
    const done = await runTurn(newTurn(), { llmCall: marks })
    expect(JSON.stringify(done.outcome)).toContain("not extensible")
  })

  test("events, records and the end are frozen throughout", async () => {
    const seen: unknown[] = []
    const tools = toolbox([defineTool({ name: "get", description: "Gets.", input: z.object({}), execute: () => BIG })])
    const host: Host = {
      llmCall: script(calls(["c1", "get"]), says("Done.")),
      tools,
      progress: ({ eventDelta, messages }) => void seen.push(eventDelta, messages),
      save: (machine) => void seen.push(machine.messages, machine.history),
    }
    const done = await runTurn(newTurn({ tools: tools.specs, emitLlmTrace: true }), host, {
      onEvent: (event) => seen.push(event),
      onLog: (event) => seen.push(event),
    })
    seen.push(done, done.messages)
    expect(seen.length).toBeGreaterThan(20)
    expect(seen.filter((value) => !isFrozenThroughout(value))).toEqual([])
  })

  test("the turn that save reads cannot be changed, also by code that is not strict", async () => {
    const change = new Function(
      "machine",
      `const { turn, usage } = machine
      turn.surface.systemPrompt = "Another."
      turn.surface.tools = turn.record.messages = turn.position.state.outstanding = 1
      turn.position.iteration = usage.inputTokens = turn.position.usage.outputTokens = 77
      turn.position = turn.record = turn.surface = 1`,
    )
    const asked: string[] = []
    const answers = script(calls(["c1", "get"]), says("Done."))
    const tools = toolbox([defineTool({ name: "get", description: "Gets.", input: z.object({}), execute: () => 1 })])
    const done = await runTurn(newTurn({ tools: tools.specs }), {
      llmCall: async ({ request }) => {
        asked.push(JSON.stringify(request.messages[0]))
        return answers()
      },
      tools,
      save: (machine) => change(machine),
    })
    expect(done).toMatchObject({ outcome: { type: "finished" }, iteration: 1, usage: { inputTokens: 2, outputTokens: 2 } })
    expect(asked[1]).toBe(asked[0])
  })

  test("code is handed out frozen", async () => {
    const frozen: boolean[] = []
    const run = async (effect: object): Promise<never> => {
      frozen.push(isFrozenThroughout(effect))
      throw new Error("no")
    }
    await runTurn(newTurn({ driver: codeDriver() }), { llmCall: script(says("```ts\n1\n```"), says("No.")), code: { run } })
    expect(frozen).toEqual([true])
  })
})

function isFrozenThroughout(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true
  return Object.isFrozen(value) && Object.values(value).every(isFrozenThroughout)
}
