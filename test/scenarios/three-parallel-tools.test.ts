import { expect, test } from "vitest"
import type { Host, HostTools, ToolEffects } from "../../src/hosts/host.ts"
import { journaled } from "../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import type { LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import { configOf, userMessage } from "../machine/support.ts"

const TURN = { config: configOf(), start: { messages: [userMessage("Look at all three.")] }, turnId: "turn-1" }
const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** Three calls at once, then a text. */
function answerTo(id: number): LlmResponse {
  const parts = ["a", "b", "c"].map((callId): OutputPart => ({ type: "tool_call", callId, toolName: "look", inputJson: "{}" }))
  return id === 1
    ? { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
    : { text: "All seen.", parts: [], usage: USAGE, terminalReason: "stop" }
}

/** A process that is killed in the third call, after the results of the others were persisted, and one that resumes its turn. */
async function killedInTheThird(more: Pick<HostTools, "recover"> & { readonly effects: ToolEffects }) {
  const done: string[] = []
  const store = memoryJournalStore()
  const hostOf = (process: string, third: () => Promise<void>): Host => ({
    async llmCall({ id }) {
      done.push(`${process} asks ${id}`)
      return answerTo(id)
    },
    tools: {
      async call({ callId }, { idempotencyKey }) {
        done.push(`${process} runs ${idempotencyKey}`)
        if (callId === "c") await third()
        return { output: { status: "success", value: `saw ${callId}` } }
      },
      effects: ({ callId }) => (callId === "c" ? more.effects : "idempotent"),
      ...(more.recover !== undefined && { recover: more.recover }),
    },
  })

  let killed = (): void => {}
  const atTheThird = new Promise<void>((resolve) => {
    killed = resolve
  })
  let recorded = 0
  const first = hostOf("first", () => new Promise(() => {}))
  // It never gets any further, as if it had been killed.
  void journaled(
    {
      ...first,
      save: ({ outstanding }) => {
        if (outstanding?.type === "tool_calls") recorded = 3 - outstanding.calls.length
        if (recorded === 2) killed()
      },
    },
    store,
  ).run("turn", TURN)
  await atTheThird

  const second = hostOf("second", async () => {})
  const { outcome, messages } = await journaled(second, store, { takeOver: true }).run("turn", TURN)
  const results = messages.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === "tool_result" ? [`${part.callId}: ${part.text.slice(0, 60)}`] : [])),
  )
  return { done, outcome: outcome.type, results }
}

const BY_THE_FIRST = ["first asks 1", "first runs turn-1:2:a", "first runs turn-1:2:b", "first runs turn-1:2:c"]

test("of three parallel tools, the interrupted one runs again, under the same key; the others do not, and the model is not called again", async () => {
  expect(await killedInTheThird({ effects: "idempotent" })).toEqual({
    done: [...BY_THE_FIRST, "second runs turn-1:2:c", "second asks 4"],
    outcome: "finished",
    results: ["a: saw a", "b: saw b", "c: saw c"],
  })
})

test("a once call that was interrupted does not run again, and the model sees why", async () => {
  expect(await killedInTheThird({ effects: "once" })).toEqual({
    done: [...BY_THE_FIRST, "second asks 4"],
    outcome: "finished",
    results: ["a: saw a", "b: saw b", "c: [Tool execution failed]\nThe call was cut off by a crash: it "],
  })
})

test("a once call that was interrupted is looked up, if the host can do that", async () => {
  const found = { ran: true, answer: { output: { status: "success", value: "found c" } } } as const
  expect(await killedInTheThird({ effects: "once", recover: async () => found })).toMatchObject({
    done: [...BY_THE_FIRST, "second asks 4"],
    results: ["a: saw a", "b: saw b", "c: found c"],
  })
  expect(await killedInTheThird({ effects: "once", recover: async () => ({ ran: false }) })).toMatchObject({
    done: [...BY_THE_FIRST, "second runs turn-1:2:c", "second asks 4"],
    results: ["a: saw a", "b: saw b", "c: saw c"],
  })
})
