/** Turns and goals whose model is at an endpoint that refuses everything but what it said. */
import { describe, expect, test } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { defineTool, memoryJournalStore, runTurn, toolbox } from "../../../src/hosts/index.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { openAiResponsesWire } from "../../../src/projectors/openai-responses/index.ts"
import { countCalls, type LlmResult } from "../../../src/projectors/wires/wire.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { configOf, userMessage } from "../../machine/support.ts"
import { StrictResponses } from "../../support/strict-responses.ts"
import { MODEL, PRODUCER } from "./support.ts"

/** Calls the model at an endpoint in this process. */
function llmCallTo(endpoint: StrictResponses, stream: boolean): Host["llmCall"] {
  const wire = openAiResponsesWire()
  return async ({ request }, context) => {
    const decoding = { producer: PRODUCER, toolNames: wire.toolNames(request), firstCallNumber: countCalls(request) + 1 }
    const body = wire.encode(request, { stream, producer: PRODUCER })
    const posted = endpoint.post(JSON.parse(JSON.stringify(body)) as Record<string, unknown>)
    const read = (): LlmResult => {
      if ("error" in posted) return { ok: false, error: wire.failure(posted.status, JSON.stringify(posted.error)) }
      if (posted.events === undefined) return wire.decode(posted.response, decoding)
      const reader = wire.stream(decoding)
      for (const event of posted.events) for (const shown of reader.push(event)) context.emit(shown)
      return reader.finish()
    }
    const result = read()
    if (!result.ok) throw new LlmCallError(result.error, { partial: result.partial })
    return result.response
  }
}

const box = toolbox([
  defineTool({
    name: "fs_look",
    description: "Looks.",
    input: z.object({ at: z.string().optional() }),
    execute: ({ at }) => ({ seen: at ?? "all" }),
  }),
])
const look = (at?: string, reasoning?: string) => ({
  name: "fs_look",
  args: at === undefined ? {} : { at },
  ...(reasoning !== undefined && { reasoning }),
})

describe.each([
  ["whole", false],
  ["in streams", true],
])("answers %s", (_how, stream) => {
  test("a turn with parallel tools over several iterations is never refused", async () => {
    const endpoint = new StrictResponses([
      { reasoning: "Two places.", text: "I look at both.", phase: "commentary", calls: [look("door"), look("window", "And the window.")] },
      { reasoning: "More.", search: "windows", calls: [look(), look("roof"), look("cellar")] },
      { calls: [{ name: "fs_look", args: '{"at":' }, { name: "nothing" }] },
      { reasoning: "Enough.", text: "All seen.", phase: "final_answer" },
    ])
    const machine = new TurnMachine(
      configOf({ driver: chatDriver(), projector: chatProjector, model: MODEL, tools: box.specs, systemPrompt: "You look." }),
      {
        messages: [userMessage("Look around.")],
      },
    )
    const done = await runTurn(machine, { llmCall: llmCallTo(endpoint, stream), tools: box })
    expect(endpoint.refusals).toEqual([])
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "All seen." } })
    expect(endpoint.requests).toHaveLength(4)
    const last = endpoint.requests[3]?.["input"] as readonly { readonly type?: string; readonly output?: string }[]
    expect(last.filter(({ type }) => type === "reasoning")).toHaveLength(3)
    expect(last.filter(({ type }) => type === "web_search_call")).toHaveLength(1)
    expect(last.filter(({ type }) => type === "function_call_output")).toHaveLength(7)
    expect(JSON.stringify(last)).toContain("The call was not run: its arguments cannot be read.")
  })

  test("a goal over several turns is never refused, and its requests only grow", async () => {
    const endpoint = new StrictResponses((_body, number) => {
      if (number === 8) return { reasoning: "Done.", calls: [{ name: "update_goal", args: { status: "complete" } }] }
      if (number === 9) return { text: "The goal is reached.", phase: "final_answer" }
      return number % 2 === 1
        ? { reasoning: `Step ${number}.`, calls: [look(String(number))] }
        : { reasoning: "So far.", text: `Part ${number} is done.` }
    })
    let at = 1_000_000
    const thread = await Thread.open(memoryJournalStore(), "t", {
      config: { driver: chatDriver(), projector: chatProjector, model: MODEL, systemPrompt: "You look.", tools: box.specs },
      now: () => at,
    })
    await thread.command({ type: "set", objective: "See everything." })
    await runThread(
      thread,
      { llmCall: llmCallTo(endpoint, stream), tools: box },
      {
        now: () => {
          at += 1_000
          return at
        },
        wait: async (until) => {
          at = Math.max(at, until)
        },
      },
    )
    expect(endpoint.refusals).toEqual([])
    expect(thread.goal?.status).toBe("complete")
    expect(endpoint.requests.length).toBeGreaterThanOrEqual(9)
    for (const [index, { input }] of endpoint.requests.entries()) {
      const before = endpoint.requests[index - 1]?.["input"] as readonly unknown[] | undefined
      if (before !== undefined) expect((input as readonly unknown[]).slice(0, before.length)).toEqual(before)
    }
    await thread.close()
  })
})

test.each([
  ["in reasoning", 5],
  ["in a text", 16],
  ["in a call", 30],
])("after a stream that broke %s the thread continues", async (_where, cutAfter) => {
  const script = [{ reasoning: "Hm, yes.", text: "I look at the door and the window.", calls: [look("door", "The door.")] }]
  const endpoint = new StrictResponses((_body, number) => (number === 1 ? { ...script[0], cutAfter } : "Done."))
  const config = configOf({ driver: chatDriver(), projector: chatProjector, model: MODEL, tools: box.specs })
  const machine = new TurnMachine(config, { messages: [userMessage("Look around.")] })
  const host = { llmCall: llmCallTo(endpoint, true), tools: box }
  const broken = await runTurn(machine, host)
  expect(broken.outcome.type).toBe("stopped")
  const again = await runTurn(new TurnMachine(config, { messages: [...machine.messages, userMessage("Continue.", "u2")] }), host)
  expect(endpoint.refusals).toEqual([])
  expect(again.outcome).toMatchObject({ type: "finished" })
})
