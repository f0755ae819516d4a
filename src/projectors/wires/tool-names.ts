import type { LlmRequest } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { shortHash } from "./short-hash.ts"

/** What endpoints accept as the name of a function. */
const NAME = /^[a-zA-Z0-9_-]{1,64}$/
/** Gemini's names begin with a letter or an underscore. @see https://ai.google.dev/api/caching#FunctionDeclaration (2026-11) */
const WORD = /^[a-zA-Z_][a-zA-Z0-9_-]{0,63}$/
const MAX_LENGTH = 64
const HASH_LENGTH = 6

/** Which names an endpoint accepts: any of letters, digits, `_` and `-` (`any`), or only those that do not begin with a digit or `-` (`word`). */
export type ToolNameForm = "any" | "word"

/**
 * The names of functions as an endpoint accepts them. A name that fits is sent unchanged. In any other the odd characters become
 * `_`. A hash of the name follows where the name is not that of a tool, is too long, or would equal another tool's. So a name
 * depends only on the tools and on itself, and two names are never sent as one.
 */
export class ToolNames {
  readonly #sent = new Map<string, string>()
  readonly #own = new Map<string, string>()

  readonly #fits: RegExp

  constructor(tools: readonly ToolSpec[], form: ToolNameForm = "any") {
    this.#fits = form === "any" ? NAME : WORD
    for (const { name } of tools) if (this.#fits.test(name)) this.#add(name, name)
    for (const { name } of tools) {
      if (this.#sent.has(name)) continue
      const readable = this.#readable(name)
      this.#add(name, this.#fits.test(readable) && !this.#own.has(readable) ? readable : this.#hashed(name))
    }
  }

  /** Returns the name to send. */
  sent(name: string): string {
    const known = this.#sent.get(name)
    if (known !== undefined) return known
    const sent = this.#fits.test(name) && !this.#own.has(name) ? name : this.#hashed(name)
    this.#add(name, sent)
    return sent
  }

  /** The names that are sent in another form: from the sent name to the own one. */
  changed(): ReadonlyMap<string, string> {
    return new Map([...this.#own].filter(([sent, own]) => sent !== own))
  }

  #hashed(name: string): string {
    for (let salt = 0; ; salt += 1) {
      const hash = shortHash(salt === 0 ? name : `${name} ${salt}`, HASH_LENGTH)
      const readable = this.#readable(name).slice(0, MAX_LENGTH - HASH_LENGTH - 1) || "unnamed"
      const sent = `${readable}_${hash}`
      if (!this.#own.has(sent)) return sent
    }
  }

  #readable(name: string): string {
    const readable = name.replace(/[^a-zA-Z0-9_-]/g, "_")
    return this.#fits === WORD && /^[0-9-]/.test(readable) ? `_${readable}` : readable
  }

  #add(own: string, sent: string): void {
    this.#sent.set(own, sent)
    this.#own.set(sent, own)
  }
}

/**
 * Returns the names of functions that a request sends in another form, from the sent name to the own one: those of tools and of
 * calls in the history that the endpoint does not accept. The reader of the answer needs them.
 */
export function sentToolNames({ messages, tools }: LlmRequest, form: ToolNameForm = "any"): ReadonlyMap<string, string> {
  const names = new ToolNames(tools, form)
  for (const { blocks } of messages) for (const block of blocks) if (block.type === "tool_call") names.sent(block.toolName)
  return names.changed()
}
