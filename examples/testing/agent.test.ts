import { readdirSync, readFileSync } from "node:fs"
import * as fc from "fast-check"
import { TurnMachine } from "turn-machine"
import { runTurn } from "turn-machine/hosts"
import { expectReplays, expectTurn, type ScriptedModelAnswer, scriptedHost, scriptedModel } from "turn-machine/testing"
import * as arbitrary from "turn-machine/testing/arbitraries"
import { expect, test } from "vitest"
import { asked, libraryAgent } from "./agent.ts"
import { shelf } from "./shelf.ts"

const START = asked("Is there anything on axolotls? I would take it.")
const FIND: ScriptedModelAnswer = { toolCalls: [{ toolName: "find_books", args: { title: "axolotl" } }] }
const RESERVE: ScriptedModelAnswer = { toolCalls: [{ toolName: "reserve_book", args: { isbn: "978-0-01" } }] }
const DONE = { type: "finished", finish: { type: "assistant_message", text: "It is yours." } }

// (a) A turn with a scripted model and the real tools.

test("finds a book, reserves it and answers", async () => {
  const books = shelf()
  const { config, tools } = libraryAgent(books)
  const model = scriptedModel([FIND, RESERVE, "It is yours."])
  const { outcome } = await runTurn(new TurnMachine(config, START), { llmCall: model.llmCall, tools })
  expect(outcome).toEqual(DONE)
  expect([...books.reserved.values()]).toEqual(["978-0-01"])
  // The result of the first call, as the second request shows it to the model.
  const shown = model.calls[1]?.request.messages.at(-1)?.blocks[0]
  expect(shown).toMatchObject({ type: "tool_result", toolName: "find_books", text: expect.stringContaining('"copies":2') })
  model.check()
})

test("does not reserve an unknown book, and the model learns why", async () => {
  const books = shelf()
  const { config, tools } = libraryAgent(books)
  const model = scriptedModel([
    { toolCalls: [{ toolName: "reserve_book", args: { isbn: "978-9-99" } }] },
    ({ messages }) => (JSON.stringify(messages.at(-1)).includes("There is no book 978-9-99.") ? "There is none." : "It is yours."),
  ])
  const { outcome } = await runTurn(new TurnMachine(config, START), { llmCall: model.llmCall, tools })
  expect(outcome).toMatchObject({ finish: { text: "There is none." } })
  expect(books.reserved.size).toBe(0)
})

// (b) Recorded turns: any change to what the agent asks for fails here. See record.ts.

const JOURNALS = new URL("./journals/", import.meta.url)

test.each(readdirSync(JOURNALS).filter((name) => name.endsWith(".jsonl")))("%s still replays", (name) => {
  const { config } = libraryAgent(shelf())
  const { effects, outcome } = expectReplays(readFileSync(new URL(name, JOURNALS), "utf8"), config)
  expect(effects).toBeGreaterThan(0)
  expect(outcome?.type).toBe("finished")
})

// (c) The laws of a turn hold for any answers of model and tools, in any order and split, cancelled or failed at any point.

test("replays any turn of the agent, and restores it at any point", () => {
  const { config } = libraryAgent(shelf())
  fc.assert(
    fc.property(arbitrary.moves, (moves) => {
      expectTurn(config, START, scriptedHost(moves).play(config, START), { mostCuts: 20 })
    }),
    { numRuns: 30 },
  )
}, 60_000)

// (d) The process dies, and another one resumes from the last save.

test("resumes a turn after a crash at any point, and reserves nothing twice", async () => {
  const script = [FIND, RESERVE, "It is yours."]
  for (let savesBeforeDeath = 0; ; savesBeforeDeath += 1) {
    const books = shelf()
    const { config, tools } = libraryAgent(books)
    let saved: string | undefined
    let saves = 0
    const died = new Error("died")
    const save = (machine: TurnMachine): void => {
      if (saves === savesBeforeDeath) throw died
      saves += 1
      saved = JSON.stringify(machine.checkpoint())
    }
    // With a turn id, a repeated call has the same idempotency key.
    const options = { turnId: "turn-1" }
    const first = runTurn(new TurnMachine(config, START), { llmCall: scriptedModel(script).llmCall, tools, save }, options)
    const end = await first.catch((error: unknown) => error)

    // A new script finds its position in the transcript.
    const machine = saved === undefined ? new TurnMachine(config, START) : TurnMachine.restore(config, saved)
    const { outcome } = await runTurn(machine, { llmCall: scriptedModel(script).llmCall, tools }, options)
    expect(outcome).toEqual(DONE)
    expect([...books.reserved.values()]).toEqual(["978-0-01"])
    if (end !== died) break
  }
})
