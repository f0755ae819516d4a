import { describe, expect, expectTypeOf, test } from "vitest"
import * as z from "zod"
import type { EffectContext } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineTool, type ToolContext, type ToolProgress } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { TurnEvent } from "../../../src/schemas/event.ts"
import { newTurn } from "../run/support.ts"

const contextOf = (events: TurnEvent[]): EffectContext => ({
  effectId: 1,
  idempotencyKey: undefined,
  signal: new AbortController().signal,
  emit: (event) => void events.push(event),
})

describe("progress of a tool", () => {
  test.each<readonly [ToolProgress]>([[{}], [{ message: "Reading." }], [{ progress: 1 }], [{ message: "Reading.", progress: 1, total: 3 }]])(
    "%j is emitted as an event of the call",
    async (progress) => {
      const events: TurnEvent[] = []
      const tool = defineTool({ name: "read", description: "Reads.", input: z.object({}), execute: (_input, given) => given.progress(progress) })
      await tool.call({ callId: "c7", toolName: "read", args: {} }, contextOf(events))
      expect(events).toEqual([{ ...progress, type: "tool_progress", callId: "c7", name: "read" }])
      expect(TurnEvent.parse(events[0])).toEqual(events[0])
    },
  )

  test("does not change which call it belongs to", async () => {
    const events: TurnEvent[] = []
    const wrong = { type: "done", callId: "c8", name: "write", progress: 1 } as ToolProgress
    const tool = defineTool({ name: "read", description: "Reads.", input: z.object({}), execute: (_input, { progress }) => progress(wrong) })
    await tool.call({ callId: "c7", toolName: "read", args: {} }, contextOf(events))
    expect(events).toEqual([{ type: "tool_progress", callId: "c7", name: "read", progress: 1 }])
  })

  test("has a type", () => {
    expectTypeOf<ToolContext["progress"]>().parameters.toEqualTypeOf<[ToolProgress]>()
    const { progress } = {} as { progress?: ToolContext["progress"] }
    // @ts-expect-error: a progress is a number
    progress?.({ progress: "half" })
  })

  test("reaches onEvent while the call runs, and not after it has ended", async () => {
    let late = (): void => {}
    const read = defineTool({
      name: "read",
      description: "Reads.",
      input: z.object({ pages: z.number() }),
      async execute({ pages }, { progress }) {
        for (let page = 1; page <= pages; page += 1) progress({ progress: page, total: pages })
        late = () => progress({ message: "Too late." })
        return "read"
      },
    })
    const tools = toolbox([read])
    const events: TurnEvent[] = []
    const usage = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, reasoningTokens: 0 }
    let calls = 0
    await runTurn(
      newTurn({ tools: tools.specs }),
      {
        async llmCall() {
          late()
          calls += 1
          if (calls > 1) return { text: "Done.", parts: [{ type: "text", text: "Done." }], usage, terminalReason: "stop" }
          const parts = [{ type: "tool_call", callId: "c1", toolName: "read", inputJson: '{"pages":2}' }] as const
          return { text: "", parts, usage, terminalReason: "tool_use" }
        },
        tools,
      },
      { onEvent: (event) => void events.push(event) },
    )
    const ofTheCall = events.filter(({ type }) => type.startsWith("tool_"))
    expect(ofTheCall).toMatchObject([
      { type: "tool_call_start", callId: "c1" },
      { type: "tool_progress", callId: "c1", name: "read", progress: 1, total: 2 },
      { type: "tool_progress", callId: "c1", name: "read", progress: 2, total: 2 },
      { type: "tool_call", callId: "c1" },
    ])
  })
})
