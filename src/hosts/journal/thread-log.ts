import { threadLineValidation } from "../../checks/records.ts"
import { JournalError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import { canonicalJson } from "../../json.ts"
import { History } from "../../machine/history.ts"
import { checkRecord, damagedRecord, isUnfinishedHeader, JournalWriter, type LogHistory, type RecordFormat } from "../../replay/journal.ts"
import { LineReader, MAX_LINE_CHARS } from "../../replay/lines.ts"
import { includes, START, type ThreadPosition } from "../../replay/thread-cursor.ts"
import type { Outcome } from "../../wire/event.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import {
  THREAD_FORMAT,
  THREAD_VERSION,
  type ThreadCommanded,
  type ThreadHappened,
  type ThreadHeader,
  type ThreadRecord,
  type ThreadTurnBegun,
  type ThreadTurnEnded,
} from "../../wire/thread.ts"
import { encodeAscii } from "./encode-ascii.ts"
import { InputQueue } from "./input-queue.ts"
import { LogLines } from "./log-lines.ts"
import { firstChars } from "./parts.ts"
import type { JournalStore, OpenOptions, StoredJournal } from "./store.ts"

const FORMAT: RecordFormat<ThreadRecord> = { format: THREAD_FORMAT, version: THREAD_VERSION, name: "thread's log", validation: threadLineValidation }

/** A turn that has ended. */
export interface EndedThreadTurn {
  readonly turnId: string
  readonly outcome: Outcome
  /** The messages that it added to the history. */
  readonly messages: readonly Message[]
}

/** The state of a thread, computed by folding the records of its log. */
export class ThreadLog {
  readonly #stored: StoredJournal
  readonly #keys = new Set<string>()
  readonly #lines = new LogLines()
  #writer: JournalWriter<ThreadRecord>
  #written: Promise<void> = Promise.resolve()
  header: ThreadHeader | undefined
  /** The records of all ended turns, and those that were noted between them. */
  records: History<HistoryRecord> = History.of([])
  /** The messages among {@link records}. */
  messages: History<Message> = History.of([])
  /** The inputs of the user that no turn has received. */
  readonly queue: InputQueue = new InputQueue()
  /** The goal commands that are not settled. */
  commands: readonly ThreadCommanded[] = []
  /** The events that are not settled. */
  events: readonly ThreadHappened[] = []
  /** The turn that has begun and not ended. */
  turn: ThreadTurnBegun | undefined
  lastTurn: EndedThreadTurn | undefined
  turns = 0
  /** How many messages the user has sent in all. */
  userMessageCount = 0
  /** A digest of the last turn's system prompt and tools. */
  surface: string | undefined
  /** The system prompt and tools that the log has last, and their digest. */
  newestSurface: ThreadTurnEnded["newSurface"]
  newestSurfaceDigest: string | undefined
  /** Whether the deletion of the thread has begun. */
  isDeleted = false
  /** How many records of the history were reported by turns that have ended, with those before them. */
  reported = 0
  /** The first iteration of the next turn. */
  iteration = 0
  /** The latest time of a record. */
  at = 0
  /** The last record. */
  place: LogPlace = { records: 0, checksum: "" }
  /** The record with which the last turn began. The history changes next when the turn ends. */
  turnPlace: LogPlace | undefined
  /** Where each turn began, the first one first: the position before its events. */
  readonly begun: ThreadPosition[] = []
  /** The last record that is an input, and how many events it has. */
  #inputs: Pick<ThreadPosition, "inputs" | "inputIndex"> = START
  /** The last two turns, the newer one last, each with its own records and those before the next. */
  #tails: readonly (Omit<LogTail, "records" | "checksum"> & { readonly own: ThreadRecord[] })[] = []

  private constructor(stored: StoredJournal, writer: JournalWriter<ThreadRecord>) {
    this.#stored = stored
    this.#writer = writer
  }

  /** {@link records} as an array. */
  get history(): readonly HistoryRecord[] {
    return this.records.toArray()
  }

  /**
   * The log from the last turn that began after a position, or the one before it; without a position, from the last one. `undefined`: it is not in memory.
   * Its records may not be stored before {@link written} resolves.
   */
  tailAfter(position?: ThreadPosition): LogTail | undefined {
    const index = this.#tails.findLastIndex((tail) => position === undefined || includes(position, tail.position))
    const found = this.#tails[index]
    if (found === undefined) return undefined
    const { own: _own, ...tail } = found
    return { ...tail, records: this.#tails.slice(index).flatMap(({ own }) => own), checksum: this.place.checksum }
  }

  /** Opens a log exclusively and reads it. An incomplete last line is removed. @throws {JournalStoreError | JournalError} */
  static async open(store: Pick<JournalStore, "open">, name: string, options: OpenOptions): Promise<ThreadLog> {
    const stored = await store.open(name, options)
    try {
      const log = new ThreadLog(stored, new JournalWriter())
      const { length, unfinishedLength } = await log.#read(stored.read())
      if (unfinishedLength > 0) await stored.replace(firstChars(stored.read(), length))
      return log
    } catch (error) {
      await stored.close()
      throw error
    }
  }

  /** Reads a log that is not opened. `records`: how many of it, the header included. @throws {JournalError} */
  static async read(parts: AsyncIterable<string>, records: number = Number.POSITIVE_INFINITY): Promise<ThreadLog> {
    const log = new ThreadLog(NOT_OPEN, new JournalWriter())
    await log.#read(parts, records)
    return log
  }

  async #read(parts: AsyncIterable<string>, most: number = Number.POSITIVE_INFINITY): Promise<LineReader> {
    let records = 0
    const lines = logReader(
      this.#lines,
      (record, place) => {
        records = place.records
        this.#apply(record, place)
      },
      most,
    )
    for await (const part of parts) {
      lines.push(part)
      if (records >= most) break
    }
    if (records === 0 && !isUnfinishedHeader(lines.unfinished, THREAD_FORMAT))
      throw new JournalError("not_a_journal", 1, 0, "Not a thread's log: it does not have a whole first line.")
    if (records > 0) this.#writer = new JournalWriter({ checksum: this.place.checksum, lastNumber: records })
    return lines
  }

  /** The messages of the user that no turn has received. */
  get undelivered(): readonly Message[] {
    return this.queue.messages
  }

  /** Resolves when everything that was appended is stored. Rejects as {@link append}. */
  get written(): Promise<void> {
    return this.#written
  }

  begin(threadId: string, at: number, meta?: Json): Promise<void> {
    return this.append({ type: "header", format: THREAD_FORMAT, version: THREAD_VERSION, threadId, at, ...(meta !== undefined && { meta }) })
  }

  /** Applies a record and stores it. The state changes at once; the promise resolves when it is stored. After a failed write, every later one rejects. @throws {JournalError} `record_too_long`: nothing changed */
  async append(given: ThreadRecord): Promise<void> {
    const record = this.#lines.marked(given)
    const line = this.#writer.line(this.#lines.short(record))
    this.#apply(record, { records: this.place.records + 1, checksum: this.#writer.checksum })
    this.#written = this.#written.then(() => this.#stored.append(line))
    return this.#written
  }

  /**
   * Appends a record unless the log has one of its type with its key. Resolves when the first one is stored. Returns whether the record is new.
   * @throws as {@link append}
   */
  async appendOnce(record: KeyedRecord): Promise<boolean> {
    const isNew = !this.hasKey(record.type, record.key)
    await (isNew ? this.append(record) : this.#written)
    return isNew
  }

  /** Whether the log has a record of this type with this key. */
  hasKey(type: KeyedRecord["type"], key: string | undefined): boolean {
    return key !== undefined && this.#keys.has(keyOf(type, key))
  }

  async close(): Promise<void> {
    await this.#written.catch(() => {})
    await this.#stored.close()
  }

  #apply(record: ThreadRecord, place: LogPlace): void {
    this.place = place
    if (record.type === "said" || record.type === "reordered") this.#inputs = { inputs: place.records, inputIndex: 1 }
    if (record.type === "retracted") this.#inputs = { inputs: place.records, inputIndex: record.inputs.length }
    if (record.type === "turn_begun") this.#beginTail(place.records)
    this.#tails.at(-1)?.own.push(record)
    this.#lines.note(record)
    this.at = Math.max(this.at, record.at)
    this.queue.apply(record)
    if ("key" in record && record.key !== undefined && record.type !== "said") this.#keys.add(keyOf(record.type, record.key))
    switch (record.type) {
      case "header":
        this.header = record
        break
      case "said":
        this.userMessageCount += 1
        break
      case "commanded":
        this.commands = [...this.commands, record]
        break
      case "happened":
        this.events = [...this.events, record]
        break
      case "noted":
        this.#note(record.records)
        this.commands = this.commands.filter(({ at }) => !record.commands.includes(at))
        this.events = this.events.filter(({ at }) => !record.commands.includes(at))
        break
      case "turn_begun": {
        const received = this.queue.begin(record.said)
        this.#note([...received, ...record.messages.filter(isDurable)].map((message) => ({ type: "conversation", message })))
        this.turn = record
        this.turnPlace = place
        this.turns += 1
        break
      }
      case "deleted":
        this.isDeleted = true
        break
      case "turn_ended":
        this.reported = this.records.length + (record.reported ?? record.records.length)
        this.#note(record.records)
        this.iteration = record.iteration + 1
        this.surface = record.surface
        if (record.newSurface !== undefined) {
          this.newestSurface = record.newSurface
          this.newestSurfaceDigest = record.surface
        }
        this.turn = undefined
        this.lastTurn = { turnId: record.turnId, outcome: record.outcome, messages: messagesOf(record.records) }
    }
  }

  #beginTail(number: number): void {
    const { records: history, undelivered, newestSurface: surface } = this
    const { inputs, inputIndex } = this.#inputs
    const position = { ...START, main: number, places: history.length, inputs, inputIndex }
    this.begun.push(position)
    this.#tails = [...this.#tails.slice(-1), { position, history, undelivered, surface, own: [] }]
  }

  /** Adds records to the history. Messages and commands among them are no longer waiting. */
  #note(records: readonly HistoryRecord[]): void {
    this.records = this.records.append(records)
    this.messages = this.messages.append(messagesOf(records))
    this.queue.received(records)
    this.commands = unsettled(this.commands, records)
  }
}

/** The end of a log: the record with which one of its last turns began, those after it, and what they follow. */
export interface LogTail {
  /** The position before them. Its `main` is the number of the first record, counted from 1. */
  readonly position: ThreadPosition
  readonly records: readonly ThreadRecord[]
  /** The checksum of the last of `records`. */
  readonly checksum: string
  /** The history before them. */
  readonly history: History<HistoryRecord>
  /** The messages of the user that no turn had received. */
  readonly undelivered: readonly Message[]
  /** The system prompt and tools that the log had last. */
  readonly surface: ThreadTurnEnded["newSurface"]
}

/**
 * Reads the text of a log. `onRecord` receives each record whole, up to the `most`-th. `known`: the lines before it, which `onRecord` adds to.
 * `after`: the last of the records that are not read.
 */
export function logReader(
  known: LogLines,
  onRecord: (record: ThreadRecord, place: LogPlace) => void,
  most: number = Number.POSITIVE_INFINITY,
  after: LogPlace = { records: 0, checksum: "" },
): LineReader {
  let { records } = after
  return new LineReader(
    (line, position) => {
      if (records >= most) return
      records += 1
      if (line === undefined) throw damagedRecord(FORMAT.name, records, position)
      const record = known.whole(checkRecord(line.record, FORMAT, records, position))
      if (record === undefined) throw damagedRecord(FORMAT.name, records, position)
      onRecord(record, { records, checksum: line.checksum })
    },
    MAX_LINE_CHARS,
    { encode: encodeAscii, checksum: after.checksum },
  )
}

/** A record of a log: its number, and its checksum, which covers all records before it. */
export type LogPlace = Pick<LogHistory, "records" | "checksum">

/** What a log that is only read writes to. */
const NOT_OPEN: StoredJournal = { read: noParts, append: nothing, replace: nothing, close: nothing }

async function nothing(): Promise<void> {}

async function* noParts(): AsyncGenerator<string, void, undefined> {}

function messagesOf(records: readonly HistoryRecord[]): readonly Message[] {
  const messages: Message[] = []
  for (const record of records) if (record.type === "conversation") messages.push(record.message)
  return messages
}

type KeyedRecord = ThreadCommanded | ThreadHappened

/** Commands and events of one sender may have the same key. */
function keyOf(type: KeyedRecord["type"], key: string): string {
  return `${type} ${key}`
}

/** Whether a message stays in the history. One that is marked as transient is part of its turn only. */
export function isDurable({ origin }: Message): boolean {
  return origin?.type !== "plugin" || origin.transient !== true
}

/** The messages that are not among the added history records. One of the host's own may have the same id, so the content counts, too. */
export function undelivered(messages: readonly Message[], added: readonly HistoryRecord[]): readonly Message[] {
  if (messages.length === 0) return messages
  const waiting = new Map(messages.map((message) => [message.id, message]))
  const received = new Set<Message>()
  for (const record of added) {
    if (record.type !== "conversation") continue
    const { message } = record
    const found = waiting.get(message.id)
    // Mostly the same object, whose text need not be made.
    if (found !== undefined && (found === message || canonicalJson(found) === canonicalJson(message))) received.add(found)
  }
  return received.size === 0 ? messages : messages.filter((message) => !received.has(message))
}

/** The commands that are not among the added history records. The host's own inputs may have the same time, so the command counts, too. */
export function unsettled(commands: readonly ThreadCommanded[], added: readonly HistoryRecord[]): readonly ThreadCommanded[] {
  if (commands.length === 0) return commands
  const settled = new Set(added.map(commandKey))
  return commands.filter(({ at, command }) => !settled.has(canonicalJson([at, command])))
}

/** The time of a command that a driver received, and the command. */
function commandKey(record: HistoryRecord): string | undefined {
  if (record.type !== "protocol") return undefined
  const { type, input } = (record.event ?? {}) as { readonly type?: unknown; readonly input?: { readonly [key: string]: Json } }
  return type === "goal_input" && input?.["type"] === "command" ? canonicalJson([input["at"] ?? null, input["command"] ?? null]) : undefined
}
