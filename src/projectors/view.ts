import type { CompactionRecord } from "../wire/compaction.ts"
import type { HistoryRecord, Message, Origin, Part } from "../wire/message.ts"
import type { ProjectionInput, Projector, Transcript } from "./projector.ts"
import { wrapProjector } from "./wrap-projector.ts"

/**
 * Wraps a projector so that it renders what is left of the transcript after the last compaction record of the history: the user's messages
 * that the record keeps, its summary, what it restates, and the messages after `through`. Without such a record, requests are those of
 * the inner projector. Needed with `compactingDriver`.
 *
 * A view is built once for each record and grows with the transcript, so the cost of a request stays that of its new messages.
 *
 *     const config = { model, driver: compactingDriver(chatDriver()), projector: viewProjector(chatProjector), maxContextTokens: 128_000 }
 */
export function viewProjector(inner: Projector): Projector {
  return wrapProjector(inner, { input: viewedInput })
}

function viewedInput(input: ProjectionInput): ProjectionInput {
  const view = viewOf(input.messages, input.events)
  return view === undefined ? input : { ...input, messages: view.messages, startLength: view.placeOf(input.startLength) }
}

/** What a compaction leaves of a transcript. */
export interface TranscriptView {
  readonly record: CompactionRecord
  readonly messages: Transcript<Message>
  /** The user's messages that it shows before the summary, in order. */
  readonly kept: readonly Message[]
  /** The index of the first message of the transcript that is shown as itself: the one after `through`. */
  readonly tailStart: number
  /** How many messages the transcript had when the record was made. */
  readonly baseLength: number
  /** The place in the view of a place in the transcript. */
  placeOf(index: number): number
}

/** Returns the view after the last record that applies to a transcript. `undefined`: none does, so the view is the whole transcript. */
export function viewOf(messages: Transcript<Message>, events: Transcript<HistoryRecord>): TranscriptView | undefined {
  const records = recordsOf(events)
  for (let index = records.length - 1; index >= 0; index -= 1) {
    const { record, place } = records[index] as PlacedRecord
    const view = place < events.length ? grownView(messages, record) : undefined
    if (view !== undefined) return view
  }
  return undefined
}

interface PlacedRecord {
  readonly record: CompactionRecord
  /** Its index in the history. */
  readonly place: number
}

interface ReadRecords {
  readonly found: PlacedRecord[]
  seen: number
}

const readRecords = new WeakMap<readonly HistoryRecord[], ReadRecords>()

/** The compaction records of a history, also of a later one that shares its storage. Reads only records that are new since the last time. */
function recordsOf({ storage, length }: Transcript<HistoryRecord>): readonly PlacedRecord[] {
  let read = readRecords.get(storage)
  if (read === undefined) {
    read = { found: [], seen: 0 }
    readRecords.set(storage, read)
  }
  for (; read.seen < length; read.seen += 1) {
    const record = storage[read.seen]
    if (record?.type === "protocol" && isCompaction(record.event)) read.found.push({ record: record.event, place: read.seen })
  }
  return read.found
}

/** Whether an event is a compaction record. The history may hold events of any shape. */
export function isCompaction(event: unknown): event is CompactionRecord {
  if (typeof event !== "object" || event === null) return false
  const { type, contextReset, id, through, base, summary, restated, keptUserMessages } = event as {
    readonly [Key in keyof CompactionRecord]?: unknown
  }
  if (type !== "compaction" || contextReset !== true) return false
  return (
    (restated === undefined || typeof restated === "string") &&
    typeof id === "string" &&
    typeof through === "string" &&
    typeof summary === "string" &&
    Array.isArray(keptUserMessages) &&
    typeof (base as { readonly messageId?: unknown } | null | undefined)?.messageId === "string"
  )
}

/** The part of a view that all transcripts with one storage share. */
interface SharedView {
  readonly record: CompactionRecord
  readonly tailStart: number
  readonly baseLength: number
  readonly kept: readonly Message[]
  readonly headLength: number
  readonly storage: Message[]
  last?: TranscriptView
}

const sharedViews = new WeakMap<readonly Message[], WeakMap<CompactionRecord, SharedView>>()

function grownView(messages: Transcript<Message>, record: CompactionRecord): TranscriptView | undefined {
  let views = sharedViews.get(messages.storage)
  if (views === undefined) {
    views = new WeakMap()
    sharedViews.set(messages.storage, views)
  }
  let shared = views.get(record)
  if (shared === undefined) {
    shared = newView(messages, record)
    if (shared === undefined) return undefined
    views.set(record, shared)
  }
  const { tailStart, headLength, storage, baseLength, kept, last } = shared
  if (messages.length < tailStart) return undefined
  const length = headLength + messages.length - tailStart
  if (last?.messages.length === length) return last
  for (let index = tailStart + storage.length - headLength; index < messages.length; index += 1)
    storage.push(shownInTail(messages.at(index) as Message, index < baseLength))
  const placeOf = (index: number): number => headLength + Math.max(0, index - tailStart)
  shared.last = { record, messages: new ViewedMessages(storage, length), kept, tailStart, baseLength, placeOf }
  return shared.last
}

function newView(messages: Transcript<Message>, record: CompactionRecord): SharedView | undefined {
  const { through, base, keptUserMessages } = record
  const isBase = messages.at(base.count - 1)?.id === base.messageId
  // A later turn may count its message ids from the same number.
  const throughIndex = indexOf(messages, through, isBase ? base.count : messages.length)
  if (throughIndex === undefined) return undefined
  const tailStart = throughIndex + 1
  const baseLength = isBase ? base.count : Math.max(indexOf(messages, base.messageId, messages.length) ?? 0, throughIndex) + 1
  const kept = keptMessages(messages, keptUserMessages, tailStart)
  const storage = headOf(kept, record)
  return { record, tailStart, baseLength, kept, headLength: storage.length, storage }
}

interface KnownPlaces {
  readonly places: Map<string, number>
  seen: number
}

const knownPlaces = new WeakMap<readonly Message[], KnownPlaces>()

/** The last place of a message before `end`. Reads only messages that are new since the last time, so a record costs the same at any length. */
function indexOf({ storage, length }: Transcript<Message>, id: string, end: number): number | undefined {
  let known = knownPlaces.get(storage)
  if (known === undefined) {
    known = { places: new Map(), seen: 0 }
    knownPlaces.set(storage, known)
  }
  for (; known.seen < length; known.seen += 1) known.places.set((storage[known.seen] as Message).id, known.seen)
  const place = known.places.get(id)
  if (place === undefined || place < end) return place
  // A later message, or one of a longer transcript with the same storage, has the id again.
  for (let index = end - 1; index >= 0; index -= 1) if (storage[index]?.id === id) return index
  return undefined
}

function keptMessages(messages: Transcript<Message>, ids: readonly string[], end: number): readonly Message[] {
  const places = ids.flatMap((id) => indexOf(messages, id, end) ?? [])
  const sorted = [...new Set(places)].sort((left, right) => left - right)
  return sorted.map((place) => messages.at(place) as Message).filter(({ role }) => role === "user")
}

const ORIGIN: Origin = { type: "plugin", pluginId: "compaction" }

/** The messages of a view before its tail: those of the user that are kept, the summary, and what is restated. */
export function headOf(kept: readonly Message[], { id, summary, restated }: Pick<CompactionRecord, "id" | "summary" | "restated">): Message[] {
  const head = [...kept, note(id, `${SUMMARY_INTRODUCTION}\n\n<summary>\n${summary}\n</summary>`)]
  return restated === undefined ? head : [...head, note(`${id}_restated`, restated)]
}

const SUMMARY_INTRODUCTION =
  "The earlier part of this conversation is not shown any more, except for messages of the user above. This summary of it takes its place. Continue from where it ends."

function note(id: string, text: string): Message {
  return { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }], origin: ORIGIN }
}

/**
 * A message of the tail as the view shows it. Reasoning from before the record is left out: providers bind its signature to the exact
 * messages before it, which changed.
 */
export function shownInTail(message: Message, isBeforeRecord: boolean): Message {
  if (!isBeforeRecord || !message.parts.some(isReasoning)) return message
  return { ...message, parts: message.parts.filter((part) => !isReasoning(part)) }
}

function isReasoning({ type }: Part): boolean {
  return type === "reasoning"
}

/** The first messages of a storage that only grows. */
class ViewedMessages implements Transcript<Message> {
  readonly storage: readonly Message[]
  readonly length: number
  #array: readonly Message[] | undefined

  constructor(storage: readonly Message[], length: number) {
    this.storage = storage
    this.length = length
  }

  at(index: number): Message | undefined {
    const place = index < 0 ? this.length + index : index
    return place < this.length ? this.storage[place] : undefined
  }

  slice(start: number, end: number = this.length): readonly Message[] {
    return this.storage.slice(this.#bound(start), this.#bound(end))
  }

  toArray(): readonly Message[] {
    this.#array ??= Object.freeze(this.storage.slice(0, this.length))
    return this.#array
  }

  /** The storage may be longer than this transcript. */
  #bound(place: number): number {
    return place < 0 ? Math.max(0, this.length + place) : Math.min(place, this.length)
  }

  *[Symbol.iterator](): IterableIterator<Message> {
    for (let index = 0; index < this.length; index += 1) yield this.storage[index] as Message
  }
}
