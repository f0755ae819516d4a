import { type Json, whyNotJson } from "../../json.ts"
import { isRecord } from "./values.ts"

/** JSON that a provider wants back, from pieces. */
export type Metadata = { [key: string]: Json }

/**
 * Adds some keys of a message or a call to the metadata of the part that they belong to. A later piece completes an earlier one: what is
 * empty in it does not overwrite, because Google repeats calls without their signatures.
 */
export function addMetadata(
  metadata: Metadata | undefined,
  source: Readonly<Record<string, unknown>>,
  keys: readonly string[],
): Metadata | undefined {
  let result = metadata
  for (const key of keys) {
    const { [key]: value } = source
    if (isEmpty(value) || whyNotJson(value) !== undefined) continue
    result ??= {}
    merge(result, key, value as Json)
  }
  return result
}

function merge(into: Metadata, key: string, value: Json): void {
  if (key === "__proto__") return
  if (!isRecord(value)) {
    into[key] = value
    return
  }
  // Copied, because a later piece is merged into it.
  const { [key]: before } = into
  const target: Metadata = isRecord(before) ? (before as Metadata) : {}
  into[key] = target
  for (const [inner, item] of Object.entries(value as { readonly [key: string]: Json })) if (!isEmpty(item)) merge(target, inner, item)
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === "" || (isRecord(value) && Object.keys(value).length === 0)
}

/** Keys whose texts come in pieces. Those of other keys are whole. */
const IN_PIECES: readonly string[] = ["text", "summary", "thinking", "data"]

/**
 * The blocks of reasoning in a list such as OpenRouter's `reasoning_details`, from pieces. Pieces of one block have the same index, or
 * follow each other. The text comes in pieces, the signature often in a piece without text.
 * @see https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning (2026-11)
 * @see https://github.com/agno-agi/agno/pull/5802 (2026-11): how the pieces of a signed block look
 */
export class ReasoningBlocks {
  readonly #blocks: Metadata[] = []
  readonly #byIndex = new Map<string, Metadata>()

  /** Adds a list of whole blocks, or with `inPieces` of pieces. Returns the text in it. */
  add(list: unknown, inPieces: boolean): string {
    if (!Array.isArray(list) || whyNotJson(list) !== undefined) return ""
    let text = ""
    for (const item of list as readonly Json[]) {
      if (!isRecord(item)) continue
      text += textOfBlock(item)
      const block = inPieces ? this.#blockOf(item) : undefined
      if (block === undefined) this.#start(item as Metadata)
      else complete(block, item as Metadata)
    }
    return text
  }

  get list(): readonly Metadata[] {
    return this.#blocks
  }

  #start(item: Metadata): void {
    const block = { ...item }
    this.#blocks.push(block)
    const { index, type } = item
    if (typeof index === "number") this.#byIndex.set(`${index} ${String(type)}`, block)
  }

  #blockOf({ id, index, type }: Readonly<Record<string, unknown>>): Metadata | undefined {
    const block = typeof index === "number" ? this.#byIndex.get(`${index} ${String(type)}`) : this.#openBlock(type)
    return block === undefined || (!isEmpty(id) && !isEmpty(block["id"]) && id !== block["id"]) ? undefined : block
  }

  /** The last block, if more of it may come. */
  #openBlock(type: unknown): Metadata | undefined {
    const last = this.#blocks.at(-1)
    if (last === undefined || last["type"] !== type || !isEmpty(last["signature"])) return undefined
    return IN_PIECES.some((key) => key !== "data" && typeof last[key] === "string") ? last : undefined
  }
}

function complete(block: Metadata, item: Metadata): void {
  for (const [key, value] of Object.entries(item)) {
    const { [key]: before } = block
    if (isEmpty(before)) merge(block, key, value)
    else if (IN_PIECES.includes(key) && typeof before === "string" && typeof value === "string" && !(key === "data" && before === value)) {
      block[key] = before + value
    }
  }
}

function textOfBlock(item: Readonly<Record<string, unknown>>): string {
  for (const key of ["text", "summary", "thinking"]) {
    const { [key]: text } = item
    if (typeof text === "string" && text !== "") return text
  }
  return ""
}
