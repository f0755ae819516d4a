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

// (a) A turn whose model is a script: the tools are the real ones.

test("a book is found and reserved", async () => {
  const books = shelf()
  const { config, tools } = libraryAgent(books)
  const model = scriptedModel([FIND, RESERVE, "It is yours."])
  const { outcome } = await runTurn(new TurnMachine(config, START), { llmCall: model.llmCall, tools })
  expect(outcome).toEqual(DONE)
  expect([...books.reserved.values()]).toEqual(["978-0-01"])
  // The second request shows the model the result of the first call.
  const shown = model.calls[1]?.request.messages.at(-1)?.blocks[0]
  expect(shown).toMatchObject({ type: "tool_result", toolName: "find_books", text: expect.stringContaining('"copies":2') })
  model.check()
})

test("an unknown book is not reserved, and the model sees why", async () => {
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

// (b) Recorded turns must replay: this finds every change to the requests of the agent. See record.ts.

const JOURNALS = new URL("./journals/", import.meta.url)

test.each(readdirSync(JOURNALS).filter((name) => name.endsWith(".jsonl")))("%s still replays", (name) => {
  const { config } = libraryAgent(shelf())
  const { effects, outcome } = expectReplays(readFileSync(new URL(name, JOURNALS), "utf8"), config)
  expect(effects).toBeGreaterThan(0)
  expect(outcome?.type).toBe("finished")
})

// (c) The laws of a turn hold for any answers of the model and the tools, in any order, and for any failure or cancellation.

test("any turn of the agent can be replayed, and restored at any point", () => {
  const { config } = libraryAgent(shelf())
  fc.assert(
    fc.property(arbitrary.moves, (moves) => {
      expectTurn(config, START, scriptedHost(moves).play(config, START), { mostCuts: 20 })
    }),
    { numRuns: 30 },
  )
}, 60_000)

// (d) The process stops, and another one continues from the last save.

test("a turn that stops anywhere is resumed, and no book is reserved twice", async () => {
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
    // With a turn id, a call that runs again has the same idempotency key.
    const options = { turnId: "turn-1" }
    const first = runTurn(new TurnMachine(config, START), { llmCall: scriptedModel(script).llmCall, tools, save }, options)
    const end = await first.catch((error: unknown) => error)

    // A new scripted model continues at the position that the transcript shows.
    const machine = saved === undefined ? new TurnMachine(config, START) : TurnMachine.restore(config, saved)
    const { outcome } = await runTurn(machine, { llmCall: scriptedModel(script).llmCall, tools }, options)
    expect(outcome).toEqual(DONE)
    expect([...books.reserved.values()]).toEqual(["978-0-01"])
    if (end !== died) break
  }
})
