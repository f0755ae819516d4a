import { describe, expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import { calls, configOf, neverCalled, says, script, start, toolTexts, usage } from "./support.ts"

const LIMIT = { maxLineChars: 20_000 }
const LONG = "h".repeat(30_000)
const turn = { config: configOf(), start }

describe("a record that would be too long", () => {
  test("of a streamed answer fails the call, without what was streamed", async () => {
    const store = memoryJournalStore()
    const host: Host = {
      async llmCall(_effect, { emit }) {
        emit({ type: "text_delta", content: LONG })
        return says(LONG)
      },
    }
    const done = await journaled(host, store, LIMIT).run("t", turn)
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error", error: { code: "invalid_llm_response" } } })
    expect((await journaled({ llmCall: neverCalled }, store).run("t", turn)).outcome).toEqual(done.outcome)
  })

  test("of a cancellation leaves out what was streamed, and counts its tokens", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    const host: Host = {
      async llmCall(_effect, { emit }) {
        emit({ type: "text_delta", content: LONG })
        controller.abort("Stop.")
        return { text: "", parts: [], usage } as unknown as LlmResponse
      },
    }
    const done = await journaled(host, store, LIMIT).run("t", turn, { signal: controller.signal })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(done.usage).toMatchObject(usage)
    expect((await journaled({ llmCall: neverCalled }, store).run("t", turn)).outcome).toEqual(done.outcome)
  })

  test("of the cancelled once calls of a batch is divided", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    const ids = ["c1", "c2", "c3", "c4", "c5", "c6"]
    const asked = calls(...ids.map((id) => [id, "pay"] as const))
    const parts = asked.parts.map((part) => ({ ...part, inputJson: JSON.stringify({ to: "a".repeat(3_000) }) }))
    let begun = 0
    const host: Host = {
      llmCall: script({ ...asked, parts } as LlmResponse),
      tools: {
        effects: () => "once",
        call() {
          begun += 1
          if (begun === ids.length) controller.abort("Stop.")
          return new Promise(() => {})
        },
      },
    }
    const options = { signal: controller.signal, cancelGraceMs: 1 }
    const done = await journaled(host, store, { maxLineChars: 19_500 }).run("t", turn, options)
    expect(toolTexts(done).filter((text) => text.includes("may have taken effect"))).toHaveLength(ids.length)
    expect((await journaled({ llmCall: neverCalled }, store).run("t", turn)).messages).toEqual(done.messages)
  })
})
