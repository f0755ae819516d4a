import { type Difference, ReplayDivergence } from "../errors.ts"
import { type Host, type HostTools, LlmCallError, type ToolAnswer } from "../hosts/host.ts"
import { differences } from "../replay/divergence.ts"
import { fingerprint } from "../replay/fingerprint.ts"
import type { Journal } from "../replay/journal.ts"
import type { LlmCall } from "../wire/effect.ts"
import type { LlmComplete } from "../wire/response.ts"
import type { CompletedToolCall } from "../wire/tool.ts"

/** A model that answers from a journal. Use `llmCall` in a host. */
export interface RecordedModel extends Pick<Host, "llmCall"> {
  /** @throws {ReplayDivergence} the first one, if any call differed from the recorded one; the turn only reports that its call failed */
  check(): void
}

/** Tools that answer from a journal. Use them as `Host.tools`. */
export interface RecordedTools extends HostTools {
  /** @throws {ReplayDivergence} the first one, if any call differed from the recorded one */
  check(): void
}

/**
 * Makes a model that answers from a journal's records, found by effect id. Use it to run a turn again with real tools,
 * or to continue a turn after the end of its journal. A recorded failure is thrown as `LlmCallError`; a text that was
 * streamed is streamed again, in one piece.
 *
 * A call that the journal does not answer, or whose request is not the recorded one, rejects with a `ReplayDivergence`
 * (`effect_differs`).
 */
export function recordedModel(journal: Journal): RecordedModel {
  const answers = new Map<number, Recorded<LlmComplete>>()
  const requests = new Map<number, LlmCall>()
  for (const { number, record, fingerprint: expected } of journal.entries) {
    if (record.type === "effect" && record.effect.type === "llm_call") requests.set(record.effect.id, record.effect)
    if (record.type !== "llm_complete" || expected === undefined) continue
    answers.set(record.id, { number, record, expected })
  }
  const doubts = new Doubts(journal)
  return {
    check: () => doubts.check(),
    async llmCall(effect, { emit }) {
      const { id } = effect
      const answer = answers.get(id)
      if (answer === undefined) throw doubts.unanswered(id, "model call", effect.request)
      const { number, record, expected } = answer
      if (fingerprint(effect) !== expected) {
        const recordedRequest = requests.get(id)
        const fingerprints: Difference = { path: "", expected: { id, fingerprint: expected }, received: { id, fingerprint: fingerprint(effect) } }
        throw doubts.add(
          number,
          id,
          recordedRequest === undefined ? [fingerprints] : differences(recordedRequest, effect),
          `the request of effect ${id}`,
        )
      }
      const { result, textStreamed } = record
      if (!result.ok) throw new LlmCallError(result.error)
      if (textStreamed === true && result.response.text !== "") emit({ type: "text_delta", content: result.response.text })
      return result.response
    },
  }
}

/**
 * Makes tools that answer from a journal's records, found by effect id and call id. Use them to run a turn again with
 * a real or a recorded model.
 *
 * A call that the journal does not answer, or that has another name or other arguments, rejects with a `ReplayDivergence`
 * (`effect_differs`).
 */
export function recordedTools(journal: Journal): RecordedTools {
  const answers = new Map<string, Recorded<CompletedToolCall>[]>()
  for (const { number, record, fingerprint: expected } of journal.entries) {
    if (record.type !== "tool_results" || expected === undefined) continue
    for (const result of record.results) {
      const key = keyOf(record.id, result.callId)
      answers.set(key, [...(answers.get(key) ?? []), { number, record: result, expected }])
    }
  }
  const doubts = new Doubts(journal)
  return {
    check: () => doubts.check(),
    // Reading a journal changes nothing in the world.
    effects: () => "none",
    async call({ callId, toolName, args }, { effectId }): Promise<ToolAnswer> {
      const found = answers.get(keyOf(effectId, callId)) ?? []
      const difference = ({ record }: Recorded<CompletedToolCall>): readonly Difference[] =>
        differences({ toolName: record.toolName, args: record.args }, { toolName, args })
      const answer = found.find((recorded) => difference(recorded).length === 0)
      if (answer === undefined) {
        const [first] = found
        if (first === undefined) throw doubts.unanswered(effectId, `tool call "${callId}"`, { toolName, args })
        throw doubts.add(first.number, effectId, difference(first), `the call "${callId}" of effect ${effectId}`)
      }
      const { output, modelReturn } = answer.record
      return { output, ...(modelReturn !== undefined && { modelReturn }) }
    },
  }
}

/** The content of a record, with its number and the fingerprint of the effect that it answers. */
interface Recorded<Answer> {
  readonly number: number
  readonly record: Answer
  readonly expected: string
}

function keyOf(effectId: number, callId: string): string {
  return `${effectId} ${callId}`
}

/** The differences between a turn and its journal. */
class Doubts {
  readonly #journal: Journal
  #first: ReplayDivergence | undefined

  constructor(journal: Journal) {
    this.#journal = journal
  }

  check(): void {
    if (this.#first !== undefined) throw this.#first
  }

  add(number: number, effectId: number, found: readonly Difference[], what: string): ReplayDivergence {
    const message = `Record ${number} answers something else: ${what} is not the recorded one.`
    return this.#keep(new ReplayDivergence("effect_differs", number, effectId, found, message))
  }

  unanswered(effectId: number, what: string, request: unknown): ReplayDivergence {
    const { entries } = this.#journal
    const message = `The journal holds no answer to the ${what} of effect ${effectId}.`
    return this.#keep(new ReplayDivergence("effect_differs", entries.at(-1)?.number ?? 1, effectId, differences(undefined, request), message))
  }

  #keep(divergence: ReplayDivergence): ReplayDivergence {
    this.#first ??= divergence
    return divergence
  }
}
