import { type Json, whyNotJson } from "../../json.ts"
import { isRecord } from "../wires/values.ts"

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
const IN_PIECES: readonly string[] = ["text", "summary", "thinking"]

interface ReasoningEntry {
  readonly block: Metadata
  /** How much text the answer had when the block came, in UTF-16 code units. */
  readonly textBefore: number
}

/**
 * The blocks of reasoning in a list such as OpenRouter's `reasoning_details`, from pieces. Pieces of one block have the same index, or
 * follow each other. The text comes in pieces, the signature often in a piece without text, or in one that repeats the whole text.
 * @see https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning (2026-11)
 * @see https://github.com/agno-agi/agno/pull/5802 (2026-11): how the pieces of a signed block look
 * @see https://github.com/open-webui/open-webui/issues/29860 (2026-11): the signed block has the whole text
 */
export class ReasoningBlocks {
  readonly #entries: ReasoningEntry[] = []
  readonly #byIndex = new Map<string, Metadata>()

  /**
   * Adds a list of whole blocks, or with `inPieces` of pieces. Returns the text that it adds.
   * @param textBefore how much text the answer has, in UTF-16 code units
   */
  add(list: unknown, inPieces: boolean, textBefore: number): string {
    if (!Array.isArray(list) || whyNotJson(list) !== undefined) return ""
    let text = ""
    for (const item of list as readonly Json[]) {
      if (!isRecord(item)) continue
      const block = inPieces ? this.#blockOf(item) : undefined
      if (block === undefined) {
        this.#start(item as Metadata, textBefore)
        text += textOfBlock(item)
      } else text += complete(block, item as Metadata)
    }
    return text
  }

  get list(): readonly Metadata[] {
    return this.#entries.map(({ block }) => block)
  }

  /**
   * The blocks of an answer that was cut off which its provider accepts: thinking with its signature, and encrypted reasoning that led to
   * text. Unsigned thinking may be half a block. Encrypted reasoning without what follows it is refused, and the calls are left out.
   * @param textLength how much text the answer has, in UTF-16 code units
   * @param callIds the calls that are left out; Google's encrypted reasoning has the id of its call
   * @see https://platform.openai.com/docs/guides/reasoning (2026-11): a reasoning item needs the item after it
   */
  afterCutOff(textLength: number, callIds: ReadonlySet<string>): readonly Metadata[] {
    const stays = ({ block, textBefore }: ReasoningEntry): boolean => {
      const { data, id, signature } = block
      if (!isEmpty(signature)) return true
      return !isEmpty(data) && textBefore < textLength && !(typeof id === "string" && callIds.has(id))
    }
    return this.#entries.filter(stays).map(({ block }) => block)
  }

  #start(item: Metadata, textBefore: number): void {
    const block = { ...item }
    this.#entries.push({ block, textBefore })
    const { index, type } = item
    if (typeof index === "number") this.#byIndex.set(`${index} ${String(type)}`, block)
  }

  #blockOf(item: Readonly<Record<string, unknown>>): Metadata | undefined {
    const { id, index, type } = item
    const block = typeof index === "number" ? this.#byIndex.get(`${index} ${String(type)}`) : this.#openBlock(item)
    if (block === undefined || isOther(block["id"], id) || isOther(block["data"], item["data"])) return undefined
    // A block ends with its signature. Some servers give the next one the same index.
    const isNext = !isEmpty(block["signature"]) && block["signature"] !== item["signature"] && textOfBlock(item) !== ""
    return isNext ? undefined : block
  }

  /** The last block, if more of it may come. */
  #openBlock({ signature, type }: Readonly<Record<string, unknown>>): Metadata | undefined {
    const last = this.#entries.at(-1)?.block
    if (last === undefined || last["type"] !== type || (!isEmpty(last["signature"]) && last["signature"] !== signature)) return undefined
    return IN_PIECES.some((key) => typeof last[key] === "string") ? last : undefined
  }
}

function isOther(before: unknown, value: unknown): boolean {
  return !isEmpty(before) && !isEmpty(value) && before !== value
}

/** Adds a piece to a block. Returns the text that it adds. */
function complete(block: Metadata, item: Metadata): string {
  const isSigned = !isEmpty(item["signature"])
  let added = ""
  for (const [key, value] of Object.entries(item)) {
    const { [key]: before } = block
    if (isEmpty(before)) {
      merge(block, key, value)
      if (IN_PIECES.includes(key) && typeof value === "string") added ||= value
    } else if (IN_PIECES.includes(key) && typeof before === "string" && typeof value === "string") {
      const more = isSigned && value.startsWith(before) ? value.slice(before.length) : value
      block[key] = before + more
      added ||= more
    }
  }
  return added
}

function textOfBlock(item: Readonly<Record<string, unknown>>): string {
  for (const key of IN_PIECES) {
    const { [key]: text } = item
    if (typeof text === "string" && text !== "") return text
  }
  return ""
}
