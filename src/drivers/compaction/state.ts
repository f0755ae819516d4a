import type { Json } from "../../json.ts"
import type { Transcript } from "../../projectors/projector.ts"
import { isCompaction } from "../../projectors/view.ts"
import type { CompactionFailed, CompactionNeeded, CompactionProblem, CompactionRecord } from "../../wire/compaction.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"

/** The compactions of a history. */
export interface Compactions {
  /** Why the context must be compacted before the next model call, and the size of the request, if known. `undefined`: nothing asks for it. */
  readonly need: { readonly reason: "threshold" | "overflow" | "manual"; readonly tokens?: number } | undefined
  /** The last compaction. */
  readonly record: CompactionRecord | undefined
  /** The failures since the last compaction and the last input that the history has, oldest first. */
  readonly failures: readonly CompactionFailed[]
  /** The last request that did not fit. */
  readonly overflow: CompactionNeeded | undefined
  /** The estimated size of the smallest request that did not fit, in tokens. */
  readonly smallestOverflow: number | undefined
}

const NONE: Compactions = { need: undefined, record: undefined, failures: [], overflow: undefined, smallestOverflow: undefined }

interface CachedRead {
  readonly seen: number
  readonly compactions: Compactions
}

const cache = new WeakMap<readonly HistoryRecord[], CachedRead>()

/** Reads the compactions of a history. It continues after the records read last, so the cost does not grow with the history. */
export function readCompactions(history: Transcript<HistoryRecord>): Compactions {
  const last = cache.get(history.storage)
  const from = last !== undefined && last.seen <= history.length ? last : undefined
  let compactions = from?.compactions ?? NONE
  for (let index = from?.seen ?? 0; index < history.length; index += 1) {
    const record = history.at(index)
    if (record?.type === "protocol") compactions = withEvent(compactions, record.event)
    // Failures before the last input do not count any more.
    else if (record?.type === "conversation" && compactions.failures.length > 0 && isInput(record.message))
      compactions = { ...compactions, failures: [] }
  }
  cache.set(history.storage, { seen: history.length, compactions })
  return compactions
}

function withEvent(compactions: Compactions, event: Json): Compactions {
  if (isCompaction(event)) return { ...compactions, need: undefined, record: event, failures: [] }
  switch (typeOf(event)) {
    case "compaction_requested":
      return { ...compactions, need: compactions.need ?? { reason: "manual" } }
    case "compaction_needed": {
      const needed = event as CompactionNeeded
      const { reason, tokens } = needed
      if (reason !== "overflow") return { ...compactions, need: compactions.need ?? { reason, tokens } }
      const smallestOverflow = Math.min(tokens, compactions.smallestOverflow ?? tokens)
      return { ...compactions, need: { reason, tokens }, overflow: needed, smallestOverflow }
    }
    case "compaction_failed": {
      const failed = event as CompactionFailed
      // Each failure counts once.
      if (failed.reason === "delivered" || compactions.failures.some(({ id }) => id === failed.id)) return compactions
      const { need } = compactions
      // What cannot be done is not asked for again; an overflow shows again whether it must be.
      const isDropped = need?.reason === "manual" || (need?.reason === "overflow" && HOPELESS.has(failed.problem))
      return { ...compactions, need: isDropped ? undefined : need, failures: [...compactions.failures, failed] }
    }
    default:
      return compactions
  }
}

const HOPELESS: ReadonlySet<string> = new Set<CompactionProblem>(["nothing_to_compact", "too_little_gain"])

/** The tag of an event, which may have any shape. */
export function typeOf(event: Json): string | undefined {
  if (typeof event !== "object" || event === null || !("type" in event)) return undefined
  return typeof event["type"] === "string" ? event["type"] : undefined
}

/** Whether a message is input: the user's, or what a host sends in the user's place. Results of tools and code are not. */
export function isInput({ role, parts }: Message): boolean {
  return role === "user" && !parts.some(({ type }) => type === "tool_result" || type === "output" || type === "error")
}

interface LastInput {
  readonly seen: number
  readonly place: number
}

const lastInputs = new WeakMap<readonly Message[], LastInput>()

/** The index of the last input of a transcript; -1 if there is none. Reads only messages that are new since the last time. */
export function lastInput({ storage, length }: Transcript<Message>): number {
  const known = lastInputs.get(storage)
  const from = known !== undefined && known.seen <= length ? known : { seen: 0, place: -1 }
  let { place } = from
  for (let index = from.seen; index < length; index += 1) if (isInput(storage[index] as Message)) place = index
  lastInputs.set(storage, { seen: length, place })
  return place
}
