import type { LlmRequest } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { shortHash } from "./short-hash.ts"

/** What endpoints accept as the name of a function. */
const NAME = /^[a-zA-Z0-9_-]{1,64}$/
const MAX_LENGTH = 64
const HASH_LENGTH = 6

/**
 * The names of functions as an endpoint accepts them. A name that fits is sent unchanged. In any other the odd characters become
 * `_`. A hash of the name follows where the name is not that of a tool, is too long, or would equal another tool's. So a name
 * depends only on the tools and on itself, and two names are never sent as one.
 */
export class ToolNames {
  readonly #sent = new Map<string, string>()
  readonly #own = new Map<string, string>()

  constructor(tools: readonly ToolSpec[]) {
    for (const { name } of tools) if (NAME.test(name)) this.#add(name, name)
    for (const { name } of tools) {
      if (this.#sent.has(name)) continue
      const readable = readableName(name)
      this.#add(name, NAME.test(readable) && !this.#own.has(readable) ? readable : this.#hashed(name))
    }
  }

  /** Returns the name to send. */
  sent(name: string): string {
    const known = this.#sent.get(name)
    if (known !== undefined) return known
    const sent = NAME.test(name) && !this.#own.has(name) ? name : this.#hashed(name)
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
      const readable = readableName(name).slice(0, MAX_LENGTH - HASH_LENGTH - 1) || "unnamed"
      const sent = `${readable}_${hash}`
      if (!this.#own.has(sent)) return sent
    }
  }

  #add(own: string, sent: string): void {
    this.#sent.set(own, sent)
    this.#own.set(sent, own)
  }
}

function readableName(name: string): string {
  return name.replace(/[^a-zA-Z0-9_-]/g, "_")
}

/**
 * Returns the names of functions that a request sends in another form, from the sent name to the own one: those of tools and of
 * calls in the history that do not match `[a-zA-Z0-9_-]{1,64}`. The reader of the answer needs them.
 */
export function sentToolNames({ messages, tools }: LlmRequest): ReadonlyMap<string, string> {
  const names = new ToolNames(tools)
  for (const { blocks } of messages) for (const block of blocks) if (block.type === "tool_call") names.sent(block.toolName)
  return names.changed()
}
