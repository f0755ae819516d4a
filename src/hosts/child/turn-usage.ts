import { addKnown, addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { TurnCheckpoint } from "../../wire/checkpoint.ts"
import type { JournalRecord } from "../../wire/journal.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { TokenUsage } from "../../wire/usage.ts"

/**
 * Counts the tokens of a turn from the records of its journal, as its machine does, without its configuration. A repeated response counts
 * once.
 */
export class UsageCount {
  usage: TokenUsage = NO_USAGE
  /** The calls whose results count tokens, as `<effectId>:<callId>`. */
  readonly countedCalls: Set<string> = new Set()
  readonly #calls = new Set<string>()
  #answered = 0

  add(record: JournalRecord): void {
    switch (record.type) {
      case "snapshot":
        this.usage = record.checkpoint.usage
        this.#noteResults(record.checkpoint)
        return
      case "llm_complete":
      case "tool_results":
        this.#answer(record)
        return
      case "interruption": {
        const { interruption } = record
        if ("partial" in interruption) this.#count(interruption.partial)
        if ("answer" in interruption && interruption.answer !== undefined) this.#answer(interruption.answer)
      }
    }
  }

  /** The results that an open batch has. A compaction may have removed their own records. */
  #noteResults({ state }: TurnCheckpoint): void {
    if (state.type !== "waiting_tools") return
    for (const result of state.results) {
      if (result === null) continue
      const key = callKey(state.outstanding.id, result.callId)
      this.#calls.add(key)
      if (result.usage !== undefined) this.countedCalls.add(key)
    }
  }

  #answer(response: Response): void {
    if (response.type === "llm_complete") {
      if (response.id <= this.#answered) return
      this.#answered = response.id
      const { result } = response
      if (result.ok) this.#count(result.response)
      else
        this.#count({ usage: result.error.usage ?? result.partial?.usage, retriedUsage: result.error.retriedUsage ?? result.partial?.retriedUsage })
    } else if (response.type === "tool_results") {
      for (const { callId, usage } of response.results) {
        const key = callKey(response.id, callId)
        if (this.#calls.has(key)) continue
        this.#calls.add(key)
        if (usage === undefined) continue
        this.countedCalls.add(key)
        this.#count({ usage })
      }
    }
  }

  #count(spent: { readonly usage?: TokenUsage | undefined; readonly retriedUsage?: LlmResponse["retriedUsage"] | undefined } | undefined): void {
    const known = addKnown(spent?.usage, spent?.retriedUsage)
    if (known !== undefined) this.usage = addUsage(this.usage, known)
  }
}

/** Identifies a call among those of a turn. */
export function callKey(effectId: number, callId: string): string {
  return `${effectId}:${callId}`
}
