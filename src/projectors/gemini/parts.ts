import { type Json, whyNotJson } from "../../json.ts"
import { isRecord, stringOf } from "../wires/values.ts"

/** Keys of a part that have a meaning of their own here. What else it has is stored as metadata. */
const NAMED: ReadonlySet<string> = new Set(["text", "thought", "thoughtSignature", "functionCall"])

/** Keys that describe the data of a part and are not data themselves. */
const ABOUT: ReadonlySet<string> = new Set([
  "thought",
  "thoughtSignature",
  "videoMetadata",
  "mediaResolution",
  "mediaProcessing",
  "partMetadata",
  "speechMetadata",
])

/** Keys of an answer that are stored with its last part and have no place in a request. */
export const ANSWER_KEYS = ["groundingMetadata", "citationMetadata", "urlContextMetadata"] as const

/** The key of the token with which the next request continues an answer. */
export const CONTINUATION_TOKEN = "continuationToken"

const NOT_SENT: ReadonlySet<string> = new Set([...NAMED, "functionResponse", CONTINUATION_TOKEN, ...ANSWER_KEYS])

/** Kinds of parts that are never sent as they were received: they have blocks of their own, whose pairs and names must fit. */
const OWN_KINDS: ReadonlySet<string> = new Set(["text", "functionCall", "functionResponse"])

export type Extras = { readonly [key: string]: Json }

/** The keys of a part that are stored as the metadata of its block. */
export function extrasOf(part: Readonly<Record<string, unknown>>): Extras | undefined {
  return pick(part, (key) => !NAMED.has(key))
}

/** The keys of a block's metadata that go back on its part. */
export function sentExtras(metadata: unknown): Extras {
  return (isRecord(metadata) ? pick(metadata, (key) => !NOT_SENT.has(key)) : undefined) ?? {}
}

function pick(source: Readonly<Record<string, unknown>>, wants: (key: string) => boolean): Extras | undefined {
  const entries = Object.entries(source).filter(([key, value]) => wants(key) && value !== null && whyNotJson(value) === undefined)
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as Extras)
}

/** The key of the data in a part that has no block of its own, such as `executableCode`. `undefined`: the part has none. */
export function kindOf(part: Readonly<Record<string, unknown>>): string | undefined {
  return Object.keys(part).find((key) => !ABOUT.has(key) && isRecord(part[key]))
}

/**
 * What another provider reads in the place of a part that it does not know: code with its output, and the name of media.
 * `undefined`: nothing.
 */
export function textFor(kind: string, part: Readonly<Record<string, unknown>>): string | undefined {
  const data = isRecord(part[kind]) ? part[kind] : {}
  switch (kind) {
    case "executableCode":
      return `\`\`\`${stringOf(data["language"]).toLowerCase()}\n${stringOf(data["code"])}\n\`\`\``
    case "codeExecutionResult":
      return `[Output of the code]\n${stringOf(data["output"])}`
    case "inlineData":
    case "fileData": {
      const type = stringOf(data["mimeType"])
      return `[${type.startsWith("image/") ? "Image" : "File"}: ${type === "" ? "not available" : type}]`
    }
    default:
      return undefined
  }
}

/** Pairs of parts on the provider's side. One half of a pair, as in an answer that was cut off, is sent as text. */
const SECOND_HALF: ReadonlyMap<string, string> = new Map([
  ["executableCode", "codeExecutionResult"],
  ["toolCall", "toolResponse"],
])

/** A block that may be sent as it was received. */
export interface RawBlock {
  readonly kind: string
  readonly data: Json
}

/** Returns those of an answer's opaque blocks that go back as they were received: parts of the API, pairs whole. */
export function sentRaw<Block extends RawBlock>(blocks: readonly Block[]): ReadonlySet<Block> {
  const fitting = blocks.filter(({ data, kind }) => isRecord(data) && !OWN_KINDS.has(kind) && !ABOUT.has(kind) && isRecord(own(data, kind)))
  const sent = new Set<Block>(fitting)
  for (const [first, second] of SECOND_HALF) {
    const open: Block[] = []
    for (const block of fitting) {
      if (block.kind === first) open.push(block)
      if (block.kind !== second) continue
      const place = open.findIndex((one) => idOf(one) === idOf(block))
      if (place < 0) sent.delete(block)
      else open.splice(place, 1)
    }
    for (const block of open) sent.delete(block)
  }
  return sent
}

function idOf({ data, kind }: RawBlock): string {
  const inner = isRecord(data) ? own(data, kind) : undefined
  return isRecord(inner) ? stringOf(inner["id"]) : ""
}

function own(data: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(data, key) ? data[key] : undefined
}
