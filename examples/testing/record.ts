/**
 * Records journals/reserve.jsonl again: `npm run record`. With MODEL_URL (and MODEL_KEY, MODEL_NAME) it calls that OpenAI-compatible
 * endpoint, otherwise it uses the scripted model. Review the diff of the journal before you commit it.
 */
import { writeFileSync } from "node:fs"
import { memoryJournalStore, openAiCompatible } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { scriptedModel } from "turn-machine/testing"
import { asked, libraryAgent } from "./agent.ts"
import { shelf } from "./shelf.ts"

const { MODEL_URL: baseUrl, MODEL_KEY: apiKey, MODEL_NAME: model } = process.env
const script = scriptedModel([
  { text: "Let me look.", toolCalls: [{ toolName: "find_books", args: { title: "axolotl" } }] },
  { toolCalls: [{ toolName: "reserve_book", args: { isbn: "978-0-01" } }] },
  "The Axolotl is yours until 1 May 2031.",
])
const llmCall = baseUrl === undefined ? script.llmCall : openAiCompatible({ baseUrl, ...(apiKey && { apiKey }), ...(model && { model }) }).llmCall

const { config, tools } = libraryAgent(shelf())
const store = memoryJournalStore()
// With the effects recorded, a failing test can show what differs, and not only where.
const host = journaled({ llmCall, tools }, store, { keepEffects: true })
const { outcome } = await host.run("reserve", { config, start: asked("Is there anything on axolotls? I would take it."), turnId: "reserve" })

let text = ""
for await (const part of (await store.read("reserve")) ?? []) text += part
writeFileSync(new URL("./journals/reserve.jsonl", import.meta.url), text)
console.log(JSON.stringify(outcome))
