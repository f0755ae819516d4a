import type { Json } from "../json.ts"
import { messagesListing, type Segment } from "../lazy.ts"
import type { CompleteTurnConfig, TurnConfig } from "../machine/config.ts"
import type { Turn } from "../machine/turn.ts"
import type { Transcript } from "../projectors/projector.ts"
import type { Block, LlmMessage, LlmRequest } from "../wire/llm.ts"
import type { AttachmentRef, HistoryRecord } from "../wire/message.ts"
import { wholeSurface } from "./base.ts"
import { trustingConfig } from "./config.ts"
import { fingerprint } from "./fingerprint.ts"
import { beginAt, drain, fold, none, underDriver } from "./fold.ts"
import type { Journal } from "./journal.ts"
import { type Section, sectionsOf } from "./sections.ts"

/** Whether a request begins with the one before it. */
export type RequestPrefix = { readonly stable: true } | BrokenPrefix

/** Where a request differs from the one that it should begin with. */
export interface BrokenPrefix {
  readonly stable: false
  /** JSON pointer into the two requests, to the first difference. */
  readonly at: string
  /** `system`: the system messages at the beginning. `tools`: the list of tools. `message`: any later message. */
  readonly reason: "system" | "tools" | "message"
}

const STABLE: RequestPrefix = { stable: true }

/**
 * Compares two requests as a provider's cache does: the second has the same system prompt and the same tools in the same order, and the
 * messages of the first are its first messages, block for block. Otherwise the provider reads the whole request anew, and one that binds
 * signatures to the conversation refuses it.
 *
 * The system prompt is compared first, then the tools, then the messages. The order of keys, `cache` and `cacheBreakpoint` do not count;
 * neither do the model and its settings. An image or file is compared by its attachment. Messages that both requests share are not read,
 * so comparing consecutive requests of `chatProjector` costs the same at any length.
 */
export function requestPrefix(previous: LlmRequest, next: LlmRequest): RequestPrefix {
  const message = messageDifference(previous, next)
  if (message?.isSystem === true) return { stable: false, at: message.at, reason: "system" }
  const tool = previous.tools === next.tools ? undefined : differenceAt(previous.tools, next.tools, "/tools")
  if (tool !== undefined) return { stable: false, at: tool, reason: "tools" }
  return message === undefined ? STABLE : { stable: false, at: message.at, reason: "message" }
}

interface MessageDifference {
  readonly at: string
  /** Whether one of the two messages belongs to the system messages at the beginning. */
  readonly isSystem: boolean
}

function messageDifference(previous: LlmRequest, next: LlmRequest): MessageDifference | undefined {
  const [before, after] = [segmentsOf(previous), segmentsOf(next)]
  const blocks = new BlockComparison(previous.attachments, next.attachments)
  const [left, right] = [new Cursor(before), new Cursor(after)]
  for (let index = 0; !left.isAtEnd; ) {
    const shared = Math.min(left.remaining, right.remaining)
    if (shared === 0) return { at: `/messages/${index}`, isSystem: isLeadingSystem(before, after, index) }
    if (!(blocks.isByIdentity && left.storage === right.storage && left.offset === right.offset)) {
      for (let step = 0; step < shared; step += 1) {
        const at = blocks.compare(left.peek(step), right.peek(step), `/messages/${index + step}`)
        if (at !== undefined) return { at, isSystem: isLeadingSystem(before, after, index + step) }
      }
    }
    index += shared
    left.skip(shared)
    right.skip(shared)
  }
  return undefined
}

type Segments = readonly Segment<LlmMessage>[]

function segmentsOf(request: LlmRequest): Segments {
  return messagesListing<LlmMessage>(request)?.segments?.() ?? [{ storage: request.messages, length: request.messages.length }]
}

/** A position in a list of segments. */
class Cursor {
  readonly #segments: Segments
  #index = 0
  offset = 0

  constructor(segments: Segments) {
    this.#segments = segments
    this.skip(0)
  }

  get isAtEnd(): boolean {
    return this.#index === this.#segments.length
  }

  get storage(): readonly LlmMessage[] | undefined {
    return this.#segments[this.#index]?.storage
  }

  /** How many messages are left in the current segment. 0: at the end. */
  get remaining(): number {
    return (this.#segments[this.#index]?.length ?? 0) - this.offset
  }

  peek(step: number): LlmMessage {
    return this.storage?.[this.offset + step] as LlmMessage
  }

  /** Moves on by `count`, which is not more than what is left in the segment, and past empty segments. */
  skip(count: number): void {
    this.offset += count
    while (!this.isAtEnd && this.remaining === 0) {
      this.#index += 1
      this.offset = 0
    }
  }
}

/** The messages before `index` are the same in both. */
function isLeadingSystem(before: Segments, after: Segments, index: number): boolean {
  for (let place = 0; place < index; place += 1) if (roleAt(before, place) !== "system") return false
  return roleAt(before, index) === "system" || roleAt(after, index) === "system"
}

function roleAt(segments: Segments, index: number): LlmMessage["role"] | undefined {
  let place = index
  for (const { storage, length } of segments) {
    if (place < length) return storage[place]?.role
    place -= length
  }
  return undefined
}

/** Compares the messages of two requests, whose blocks refer to attachments by index. */
class BlockComparison {
  readonly #before: readonly AttachmentRef[]
  readonly #after: readonly AttachmentRef[]
  /** Whether a message that is the same object in both requests is equal: its blocks then refer to the same attachments. */
  readonly isByIdentity: boolean

  constructor(before: readonly AttachmentRef[], after: readonly AttachmentRef[]) {
    this.#before = before
    this.#after = after
    this.isByIdentity = before.every((attachment, index) => differenceAt(attachment, after[index], "") === undefined)
  }

  /** Returns a JSON pointer to the first difference, which starts with `path`. */
  compare(before: LlmMessage, after: LlmMessage, path: string): string | undefined {
    if (before === after && this.isByIdentity) return undefined
    const { blocks: left, ...one } = before
    const { blocks: right, ...other } = after
    const found = differenceAt(one, other, path)
    if (found !== undefined) return found
    for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
      const at = this.#compareBlocks(left[index], right[index], `${path}/blocks/${index}`)
      if (at !== undefined) return at
    }
    return undefined
  }

  #compareBlocks(before: Block | undefined, after: Block | undefined, path: string): string | undefined {
    if (before === undefined || after === undefined) return path
    const found = differenceAt(compared(before), compared(after), path)
    if (found !== undefined || !("attachmentIndex" in before && "attachmentIndex" in after)) return found
    return differenceAt(this.#before[before.attachmentIndex], this.#after[after.attachmentIndex], "") === undefined ? undefined : path
  }
}

/** A block without what does not count: where a cache may end, and the place of an attachment in its list. */
function compared(block: Block): object {
  if (!("cacheBreakpoint" in block || "attachmentIndex" in block)) return block
  const { cacheBreakpoint: _mark, attachmentIndex: _index, ...rest } = block as Block & Record<string, unknown>
  return rest
}

/** Returns a JSON pointer to the first place at which two JSON values differ. A key with the value `undefined` is an absent one. */
function differenceAt(before: unknown, after: unknown, path: string): string | undefined {
  if (before === after) return undefined
  if (!isNested(before) || !isNested(after) || Array.isArray(before) !== Array.isArray(after)) return path
  for (const key of Object.keys(before)) {
    const found = differenceAt(before[key], own(after, key), `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`)
    if (found !== undefined) return found
  }
  for (const key of Object.keys(after))
    if (after[key] !== undefined && !Object.hasOwn(before, key)) return `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`
  return undefined
}

function isNested(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null
}

function own(value: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : undefined
}

/** A broken prefix, and whether it was announced. */
export interface MarkedBreak extends BrokenPrefix {
  /** Whether a record `{ type: "protocol", event: { contextReset: true } }` was added to the history since the request before. */
  readonly marked: boolean
  /** The request before. */
  readonly previous: LlmRequest
}

/**
 * Follows the model calls of a turn and compares each request with the one before it of the same purpose. The purpose is the text
 * `purpose` in the driver state of the call; calls without one have a purpose of their own. Side calls, those with a purpose in the effect
 * alone, continue no request, so they are not compared.
 */
export class PrefixWatch {
  readonly #previous = new Map<string | undefined, { readonly request: LlmRequest; readonly records: number }>()

  /** How many requests were compared with one before. */
  compared = 0

  /** Call it once for each model call. `request`: the request of the turn, or a copy. Returns `undefined` if its prefix is stable. */
  next(turn: Turn, request?: LlmRequest): MarkedBreak | undefined {
    return this.pair(turn, request).broken
  }

  /** {@link next}, with the request that was compared. `previous`: `undefined` for the first call of a purpose, and for side calls. */
  pair(turn: Turn, request?: LlmRequest): { readonly previous: LlmRequest | undefined; readonly broken: MarkedBreak | undefined } {
    const { state } = turn.position
    if (state.type !== "waiting_llm") return NOT_COMPARED
    const purpose = purposeOf(state.driverState)
    if (purpose === undefined && state.outstanding.purpose !== undefined) return NOT_COMPARED
    const { events } = turn.record
    const call = { request: request ?? state.outstanding.request, records: events.length }
    const last = this.#previous.get(purpose)
    this.#previous.set(purpose, call)
    if (last === undefined) return NOT_COMPARED
    this.compared += 1
    const previous = last.request
    const prefix = requestPrefix(previous, call.request)
    return { previous, broken: prefix.stable ? undefined : { ...prefix, marked: hasReset(events, last.records), previous } }
  }
}

const NOT_COMPARED = { previous: undefined, broken: undefined } as const

/** The purpose in a driver state, also where wrappers with a state of their own have nested it. The outermost one counts. */
function purposeOf(driverState: Json | undefined): string | undefined {
  let state: Json | undefined = driverState
  while (typeof state === "object" && state !== null) {
    const { purpose, own, inner } = state as { readonly purpose?: Json; readonly own?: Json; readonly inner?: Json }
    if (typeof purpose === "string") return purpose
    if (own === undefined) return undefined
    const ownPurpose = purposeOf(own)
    if (ownPurpose !== undefined) return ownPurpose
    state = inner
  }
  return undefined
}

function hasReset(events: Transcript<HistoryRecord>, from: number): boolean {
  for (let index = from; index < events.length; index += 1) if (isContextReset(events.at(index))) return true
  return false
}

function isContextReset(record: HistoryRecord | undefined): boolean {
  if (record?.type !== "protocol") return false
  const { event } = record
  return typeof event === "object" && event !== null && "contextReset" in event && event["contextReset"] === true
}

/** A request of a journal that does not begin with the one before it. */
export interface PrefixBreak extends Omit<BrokenPrefix, "stable"> {
  /** The number of the record that answers the request. */
  readonly record: number
  readonly effectId: number
  /** Whether a history record with `contextReset: true` announced it. `undefined`: unknown, because the turn was not replayed. */
  readonly marked: boolean | undefined
}

/** The answered model requests of a journal, each compared with the one before it. */
export interface PrefixReport {
  /** How many requests were compared with one before. */
  readonly compared: number
  readonly breaks: readonly PrefixBreak[]
  /** Whether every answered request is known. */
  readonly complete: boolean
}

/**
 * Finds the requests of a journal that do not begin with the one before them. With a config, it replays the turn, without performing
 * anything, and compares requests of the same purpose; from a record whose effect is not the recorded one, the requests are
 * unknown, until the turn was reconfigured. Without a config, it compares the requests that the journal has in full (`keepEffects`), whatever their purpose.
 * @throws {CheckpointError} the journal was compacted, and its snapshot cannot be restored under the config
 */
export function prefixBreaks(journal: Journal, config?: TurnConfig): PrefixReport {
  return config === undefined ? breaksOfEffects(journal) : breaksOfReplay(journal, config)
}

function breaksOfEffects({ entries }: Journal): PrefixReport {
  const requests = new Map<number, LlmRequest>()
  const sideCalls = new Set<number>()
  const breaks: PrefixBreak[] = []
  let previous: LlmRequest | undefined
  let compared = 0
  let complete = true
  for (const { record, number } of entries) {
    if (record.type === "effect" && record.effect.type === "llm_call") {
      const { id, request, purpose } = record.effect
      if (purpose === undefined) requests.set(id, request)
      else sideCalls.add(id)
    }
    if (record.type !== "llm_complete" || sideCalls.has(record.id)) continue
    const request = requests.get(record.id)
    complete &&= request !== undefined
    if (previous !== undefined && request !== undefined) {
      compared += 1
      const prefix = requestPrefix(previous, request)
      if (!prefix.stable) breaks.push({ record: number, effectId: record.id, at: prefix.at, reason: prefix.reason, marked: undefined })
    }
    previous = request
  }
  return { compared, breaks, complete }
}

function breaksOfReplay(journal: Journal, config: TurnConfig): PrefixReport {
  const breaks: PrefixBreak[] = []
  let [compared, complete] = [0, true]
  let watch = new PrefixWatch()
  for (const section of sectionsOf(journal)) {
    const isKnown = watchSection(journal, section, trustingConfig(config), watch, breaks)
    if (isKnown) continue
    // What comes after a reconfiguration is known again: it begins at a snapshot.
    complete = false
    compared += watch.compared
    watch = new PrefixWatch()
  }
  return { compared: compared + watch.compared, breaks, complete }
}

/** Returns false at a record whose effect is not the replayed one. */
function watchSection(journal: Journal, section: Section, config: CompleteTurnConfig, watch: PrefixWatch, breaks: PrefixBreak[]): boolean {
  const { entries } = journal
  const snapshot = entries[section.first]?.record
  const machine = beginAt(journal, section.record === 1 ? snapshot : underDriver(snapshot, config), { ...config, ...wholeSurface(journal) })
  for (const entry of entries.slice(section.first + 1, section.end)) {
    const { record, number } = entry
    if ("id" in record) {
      drain(machine)
      const { state } = machine.turn.position
      const effect = "outstanding" in state && state.outstanding.id === record.id ? state.outstanding : undefined
      if (entry.fingerprint !== undefined && (effect === undefined || fingerprint(effect) !== entry.fingerprint)) return false
      const found = effect?.type === "llm_call" ? watch.next(machine.turn) : undefined
      if (found !== undefined) breaks.push({ record: number, effectId: record.id, at: found.at, reason: found.reason, marked: found.marked })
    }
    fold(machine, [entry], Number.POSITIVE_INFINITY, none)
  }
  return true
}
