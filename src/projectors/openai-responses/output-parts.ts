import type { Json } from "../../json.ts"
import { isBlank } from "../../text.ts"
import type { OpaqueBlock, OutputPart, ReasoningBlock, TextOutput, ToolCallBlock } from "../../wire/llm.ts"
import { isRecord, jsonOf, stringOf, textOf } from "../wires/values.ts"
import type { DecodeOptions } from "../wires/wire.ts"
import { CALL_KEYS, REFUSAL, standInText } from "./kinds.ts"
import { DEFAULT_PROVIDER } from "./options.ts"

/** An item of an answer as the provider sends it. */
export type OutputItem = Readonly<Record<string, unknown>>

/** An item, and whether it has ended. Only a whole one goes back to the provider as it is. */
export interface ReadItem {
  readonly item: OutputItem
  readonly isWhole: boolean
}

/** What an answer said. */
export interface ReadOutput {
  readonly parts: readonly OutputPart[]
  readonly hasCalls: boolean
  /** A call has arguments but does not name a function. Calls with neither are ignored. */
  readonly hasNameless: boolean
  readonly hasRefusal: boolean
}

/**
 * Reads the items of an answer, in order.
 *
 * An answer that was cut off (`isCutOff`) is read without its calls, and its reasoning can go back only with the text that followed it:
 * half a block makes every later request of the thread fail. What the user was shown of it stays as text.
 */
export function readOutput(items: readonly ReadItem[], isCutOff: boolean, options: DecodeOptions): ReadOutput {
  const isEncrypted = items.some(({ item }) => item["type"] === "reasoning" && stringOf(item["encrypted_content"]) !== "")
  const calls = new Calls(items, options)
  const parts: Draft[] = []
  let [hasCalls, hasNameless, hasRefusal] = [false, false, false]
  for (const { isWhole, item } of items) {
    switch (item["type"]) {
      case "message": {
        const texts = textsOf(item, isEncrypted && (isWhole || !isCutOff))
        hasRefusal ||= texts.some(({ providerMetadata }) => providerMetadata === REFUSAL)
        parts.push(...texts)
        break
      }
      case "reasoning":
        parts.push({ type: "pending", item, isWhole })
        break
      case "function_call": {
        const isNamed = !isBlank(stringOf(item["name"]))
        hasCalls ||= isNamed
        hasNameless ||= !isNamed && !isBlank(argumentsOf(item))
        if (isCutOff) parts.push(DROPPED)
        else if (isNamed) parts.push(calls.read(item))
        break
      }
      default: {
        const opaque = isWhole ? opaqueOf(item, options) : undefined
        if (opaque !== undefined || isCutOff) parts.push(opaque ?? DROPPED)
      }
    }
  }
  return { parts: (isCutOff ? afterCutOff(parts) : parts.flatMap(finished)).filter(isSomething), hasCalls, hasNameless, hasRefusal }
}

/** Reasoning before it is known what followed it. */
interface Pending {
  readonly type: "pending"
  readonly item: OutputItem
  readonly isWhole: boolean
}

/** What an answer that was cut off is stored without: reasoning that led to it cannot go back. */
const DROPPED = { type: "dropped" } as const

type Draft = OutputPart | Pending | typeof DROPPED

function finished(part: Draft): readonly OutputPart[] {
  if (part.type === "pending") return [reasoningOf(part.item)]
  return part.type === "dropped" ? [] : [part]
}

function afterCutOff(parts: readonly Draft[]): readonly OutputPart[] {
  const isReturned = (part: Pending, index: number): boolean => {
    const next = parts.slice(index + 1).find(({ type }) => type !== "pending")
    if (next === undefined || next.type === "pending" || next.type === "dropped") return false
    return part.isWhole && stringOf(part.item["encrypted_content"]) !== ""
  }
  const isComplete = parts.every((part, index) => part.type !== "pending" || isReturned(part, index))
  return parts.flatMap((part, index): readonly OutputPart[] => {
    if (part.type === "pending" && !isReturned(part, index)) return [{ type: "reasoning", text: reasoningOf(part.item).text }]
    // A message with an id that comes back without its reasoning is refused.
    if (part.type !== "text" || isComplete || part.responseMeta === undefined) return finished(part)
    const { id: _id, ...responseMeta } = part.responseMeta
    return [{ ...part, responseMeta }]
  })
}

function isSomething(part: OutputPart): boolean {
  if (part.type === "text") return part.text !== "" || part.providerMetadata !== undefined
  return part.type !== "reasoning" || part.text !== "" || part.replay !== undefined || part.providerMetadata !== undefined
}

/** @param isEncrypted the answer has encrypted reasoning, which needs each item after it, also an empty one */
function textsOf(item: OutputItem, isEncrypted: boolean): readonly TextOutput[] {
  const { content, id, phase, status } = item
  const responseMeta = {
    ...(typeof id === "string" && id !== "" && { id }),
    status: typeof status === "string" && status !== "" ? status : "completed",
    ...(typeof phase === "string" && phase !== "" && { phase }),
  }
  const list: readonly unknown[] = Array.isArray(content) ? content : [content]
  return list.flatMap((part): readonly TextOutput[] => {
    const read = readContent(part)
    if (read === undefined || (read.text === "" && !isEncrypted)) return []
    // A projector leaves out blank texts without metadata.
    const metadata = read.metadata ?? (isEncrypted && isBlank(read.text) ? { annotations: [] } : undefined)
    return [{ type: "text", text: read.text, responseMeta, ...(metadata !== undefined && { providerMetadata: metadata }) }]
  })
}

function readContent(part: unknown): { readonly text: string; readonly metadata?: Json } | undefined {
  if (typeof part === "string") return { text: part }
  if (!isRecord(part)) return undefined
  if (part["type"] === "refusal") return { text: stringOf(part["refusal"]), metadata: REFUSAL }
  if (typeof part["text"] !== "string") return undefined
  const annotations = jsonOf(part["annotations"])
  const hasAnnotations = Array.isArray(annotations) && annotations.length > 0
  return { text: part["text"], ...(hasAnnotations && { metadata: { annotations } }) }
}

/** The texts of a list of summaries or of reasoning. */
export function textsIn(list: unknown): readonly string[] {
  if (!Array.isArray(list)) return []
  return (list as readonly unknown[]).map((part) => (isRecord(part) ? stringOf(part["text"]) : stringOf(part)))
}

function reasoningOf(item: OutputItem): ReasoningBlock {
  const summary = textsIn(item["summary"])
  const content = textsIn(item["content"])
  const id = stringOf(item["id"])
  const encrypted = stringOf(item["encrypted_content"])
  const shown = summary.some((text) => text !== "") ? summary : content
  const replay = {
    ...(id !== "" && { itemId: id }),
    ...(encrypted !== "" && { encryptedContent: encrypted }),
    ...(summary.length > 0 && { summary }),
  }
  return {
    type: "reasoning",
    text: shown.filter((text) => text !== "").join("\n\n"),
    ...(Object.keys(replay).length > 0 && { replay }),
    ...(content.length > 0 && { providerMetadata: { content } }),
  }
}

/** Some servers send the arguments as an object. */
function argumentsOf(item: OutputItem): string {
  return textOf(item["arguments"]) ?? ""
}

/** Reads calls and gives them unique ids: a missing or repeated one is replaced by `call_<n>`. */
class Calls {
  readonly #given: ReadonlySet<string>
  readonly #used = new Set<string>()
  readonly #options: DecodeOptions
  #number: number

  constructor(items: readonly ReadItem[], options: DecodeOptions) {
    this.#given = new Set(items.map(({ item }) => stringOf(item["call_id"])))
    this.#options = options
    this.#number = options.firstCallNumber ?? 1
  }

  read(item: OutputItem): ToolCallBlock {
    const name = stringOf(item["name"])
    const itemId = stringOf(item["id"])
    const more = Object.fromEntries(
      CALL_KEYS.flatMap((key) => {
        const value = jsonOf(item[key])
        return value === undefined || value === null ? [] : [[key, value] as const]
      }),
    )
    return {
      type: "tool_call",
      callId: this.#id(stringOf(item["call_id"])),
      toolName: this.#options.toolNames?.get(name) ?? name,
      inputJson: argumentsOf(item),
      ...(itemId !== "" && { replay: { itemId } }),
      ...(Object.keys(more).length > 0 && { providerMetadata: more }),
    }
  }

  #id(given: string): string {
    let callId = given
    if (isBlank(given) || this.#used.has(given)) {
      while (this.#given.has(`call_${this.#number}`)) this.#number += 1
      callId = `call_${this.#number}`
      this.#number += 1
    }
    this.#used.add(callId)
    return callId
  }
}

function opaqueOf(item: OutputItem, { producer }: DecodeOptions): OpaqueBlock | undefined {
  const { type: kind } = item
  const data = jsonOf(item)
  if (typeof kind !== "string" || kind === "" || data === undefined) return undefined
  const text = standInText(item)
  return { type: "opaque", provider: producer?.provider ?? DEFAULT_PROVIDER, kind, data, ...(text !== undefined && { text }) }
}
