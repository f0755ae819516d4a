import { NO_USAGE } from "../../machine/limits.ts"
import { isBlank } from "../../text.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmResponse, OutputPart, TerminalReason } from "../../wire/llm.ts"
import { membersOf, ownJson } from "./plain-json.ts"

/** Returns a partial answer in the form of the wire, or `undefined` if the machine would refuse it. */
export type CheckPartial = (partial: unknown) => LlmResponse | undefined

/** For work of no turn: accepts what has the members of an answer. */
export const checkLoosely: CheckPartial = (partial) => {
  const { text, parts, usage } = (partial ?? {}) as { readonly [Key in keyof LlmResponse]?: unknown }
  return typeof text === "string" && Array.isArray(parts) && typeof usage === "object" && usage !== null ? (partial as LlmResponse) : undefined
}

/** What a model call said before it failed or was aborted: what its executor reports, or the text and reasoning that it emitted. */
export class PartialAnswer {
  readonly #checked: CheckPartial
  readonly #pieces: { readonly type: "text" | "reasoning"; text: string }[] = []
  /** The next piece is the first of another attempt. */
  #beginsAnew = false

  constructor(checked: CheckPartial) {
    this.#checked = checked
  }

  add(event: TurnEvent): void {
    if (event.type === "retry_status") this.#beginsAnew = true
    if (event.type !== "text_delta" && event.type !== "reasoning_delta") return
    if (this.#beginsAnew) this.#pieces.length = 0
    this.#beginsAnew = false
    const type = event.type === "text_delta" ? "text" : "reasoning"
    const last = this.#pieces.at(-1)
    if (last?.type === type) last.text += event.content
    else this.#pieces.push({ type, text: event.content })
  }

  /**
   * Returns the partial answer; `undefined` if the call said and used nothing. `reported`: what the executor returned or threw, which may be
   * anything. If it says nothing or is not an answer, what the call emitted counts, with the reported usage.
   */
  response(reported: unknown, terminalReason: TerminalReason): LlmResponse | undefined {
    const said = this.#check(reported, terminalReason)
    if (said !== undefined && saysSomething(said)) return said
    const emitted = this.#emitted(terminalReason)
    if (emitted === undefined && said !== undefined) return said
    const { usage = NO_USAGE, retriedUsage } = membersOf(reported as { readonly usage?: unknown; readonly retriedUsage?: unknown })
    if (usage === NO_USAGE && retriedUsage === undefined) return emitted
    const spent = { usage, ...(retriedUsage !== undefined && { retriedUsage }) }
    return this.#check({ text: "", parts: [], ...emitted, ...spent }, terminalReason) ?? emitted
  }

  /** Whether a value is a whole answer, in the form of the wire. */
  accepts(value: unknown): boolean {
    const { terminalReason } = membersOf(value as { readonly terminalReason?: TerminalReason })
    return terminalReason !== undefined && this.#check(value, terminalReason) !== undefined
  }

  #check(partial: unknown, terminalReason: TerminalReason): LlmResponse | undefined {
    if (typeof partial !== "object" || partial === null) return undefined
    try {
      return this.#checked(ownJson({ ...partial, terminalReason }))
    } catch {
      return undefined
    }
  }

  #emitted(terminalReason: TerminalReason): LlmResponse | undefined {
    const parts: readonly OutputPart[] = this.#pieces.filter(({ text }) => text !== "").map(({ type, text }) => ({ type, text }))
    if (parts.length === 0) return undefined
    const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
    return { text, parts, usage: NO_USAGE, terminalReason }
  }
}

function saysSomething({ text, parts }: LlmResponse): boolean {
  return !isBlank(text) || parts.some((part) => part.type === "opaque" || (part.type !== "tool_call" && !isBlank(part.text)))
}
