import { canonicalJson } from "../../json.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import type { InputTime, ThreadRecord, ThreadSaid } from "../../wire/thread.ts"

/** An input that no turn has received. */
export interface QueuedInput {
  readonly inputId: string
  readonly when: InputTime
  /** Its id is the input's. */
  readonly message: Message
  /** When it was said. Milliseconds since the epoch. */
  readonly at: number
  readonly key?: string
}

/** `assigned`: the open turn or the next one receives it. */
export type InputState = "waiting" | "assigned" | "delivered" | "retracted"

interface Entry extends QueuedInput {
  readonly redirects: boolean
}

/** In the order in which a thread delivers them. */
const TIMES: readonly InputTime[] = ["now", "turn_end", "next_turn"]

/** The inputs of a thread that no turn has received, folded from the records of its log. */
export class InputQueue {
  readonly #waiting: Record<InputTime, Entry[]> = { now: [], turn_end: [], next_turn: [] }
  #assigned: readonly Entry[] = []
  /** The inputs that wait or are assigned, by id. */
  readonly #entries = new Map<string, Entry>()
  readonly #states = new Map<string, InputState>()
  readonly #byKey = new Map<string, QueuedInput>()
  /** The ids of all inputs, and of all messages of the history. */
  readonly #ids = new Set<string>()

  /** Inputs that the open turn or the next one receives, in order. None of them can be retracted. */
  get assigned(): readonly QueuedInput[] {
    return this.#assigned
  }

  /** The message of an input that no turn has received. */
  messageOf(inputId: string): Message | undefined {
    return this.#entries.get(inputId)?.message
  }

  /** Whether an input redirects the turn that receives it. */
  redirects(inputId: string): boolean {
    return this.#entries.get(inputId)?.redirects === true
  }

  /** Inputs that can be retracted, in the order in which they are delivered. */
  get waiting(): readonly QueuedInput[] {
    return TIMES.flatMap((when) => this.#waiting[when].map(queued))
  }

  waitingFor(when: InputTime): readonly QueuedInput[] {
    return this.#waiting[when]
  }

  get isEmpty(): boolean {
    return this.#assigned.length === 0 && TIMES.every((when) => this.#waiting[when].length === 0)
  }

  /** All messages that no turn has received, in the order in which they are delivered. */
  get messages(): readonly Message[] {
    return [...this.#assigned, ...this.waiting].map(({ message }) => message)
  }

  /** The input that was said with a key. */
  withKey(key: string): QueuedInput | undefined {
    return this.#byKey.get(key)
  }

  /** What happened to an input; `undefined` if there is none. */
  stateOf(inputId: string): InputState | undefined {
    return this.#states.get(inputId)
  }

  /** The time for which a waiting input waits. */
  timeOf(inputId: string): InputTime | undefined {
    return this.#states.get(inputId) === "waiting" ? this.#entries.get(inputId)?.when : undefined
  }

  /** Whether an input, or a message of the history, has an id. */
  hasId(id: string): boolean {
    return this.#ids.has(id)
  }

  /**
   * The inputs that the next turn begins with: those that an earlier turn did not receive and all that wait for a checkpoint, together; without
   * any, the first one that waits for the end of a turn; or else the first one that waits for a turn.
   */
  forNextTurn(): readonly QueuedInput[] {
    const together = [...this.#assigned, ...this.#waiting.now]
    if (together.length > 0) return together
    return [...this.#waiting.turn_end, ...this.#waiting.next_turn].slice(0, 1)
  }

  /** Applies a record of the log. Records of the history are applied with {@link received}. */
  apply(record: ThreadRecord): void {
    if (record.type === "said") this.#add(record)
    else if (record.type === "assigned") this.#assign(record.inputs)
    else if (record.type === "retracted") this.#take(record.inputs, "retracted")
    else if (record.type === "reordered") this.#reorder(record.input, record.before)
  }

  /** A turn begins with inputs. Returns their messages, in this order. */
  begin(inputIds: readonly string[]): readonly Message[] {
    const messages = inputIds.flatMap((inputId) => this.messageOf(inputId) ?? [])
    this.#deliver(new Set(inputIds))
    return messages
  }

  /** Messages among these records have been received. */
  received(records: readonly HistoryRecord[]): void {
    const found = new Set<string>()
    for (const record of records) {
      if (record.type !== "conversation") continue
      const { message } = record
      this.#ids.add(message.id)
      const input = this.messageOf(message.id)
      if (input !== undefined && isSame(input, message)) found.add(message.id)
    }
    if (found.size > 0) this.#deliver(found)
  }

  #add(record: ThreadSaid): void {
    const { at, message, when = "now", key, redirects = false } = record
    const entry: Entry = { inputId: message.id, when, message, at, ...(key !== undefined && { key }), redirects }
    this.#ids.add(message.id)
    this.#states.set(message.id, "waiting")
    if (key !== undefined && !this.#byKey.has(key)) this.#byKey.set(key, queued(entry))
    this.#entries.set(message.id, entry)
    this.#waiting[when].push(entry)
    if (redirects) this.#assign(this.#waiting.now.map(({ inputId }) => inputId))
  }

  #assign(inputIds: readonly string[]): void {
    const taken = this.#take(inputIds, "assigned")
    if (taken.length > 0) this.#assigned = [...this.#assigned, ...taken]
  }

  /** Removes waiting inputs, which have another state from now on. Returns them in the order in which they waited. */
  #take(inputIds: readonly string[], state: Exclude<InputState, "waiting">): readonly Entry[] {
    const wanted = new Set(inputIds.filter((inputId) => this.#states.get(inputId) === "waiting"))
    const times = new Set([...wanted].map((inputId) => this.#entries.get(inputId)?.when))
    const taken: Entry[] = []
    for (const when of TIMES) {
      if (!times.has(when)) continue
      taken.push(...this.#waiting[when].filter(({ inputId }) => wanted.has(inputId)))
      this.#waiting[when] = this.#waiting[when].filter(({ inputId }) => !wanted.has(inputId))
    }
    for (const { inputId } of taken) {
      this.#states.set(inputId, state)
      if (state !== "assigned") this.#entries.delete(inputId)
    }
    return taken
  }

  /** Waiting and assigned inputs have been received. */
  #deliver(inputIds: ReadonlySet<string>): void {
    this.#take([...inputIds], "delivered")
    const left = this.#assigned.filter(({ inputId }) => inputIds.has(inputId))
    if (left.length === 0) return
    for (const { inputId } of left) {
      this.#states.set(inputId, "delivered")
      this.#entries.delete(inputId)
    }
    this.#assigned = this.#assigned.filter(({ inputId }) => !inputIds.has(inputId))
  }

  #reorder(input: string, before: string | undefined): void {
    const when = this.timeOf(input)
    if (when === undefined) return
    const moved = this.#waiting[when].filter(({ inputId }) => inputId === input)
    const others = this.#waiting[when].filter(({ inputId }) => inputId !== input)
    const index = before === undefined ? -1 : others.findIndex(({ inputId }) => inputId === before)
    this.#waiting[when] = index < 0 ? [...others, ...moved] : [...others.slice(0, index), ...moved, ...others.slice(index)]
  }
}

/** Whether a message is the input: one of the host's own may have the same id. */
export function isSame(one: Message, other: Message): boolean {
  return one.id === other.id && canonicalJson(one) === canonicalJson(other)
}

function queued({ redirects: _redirects, ...input }: Entry): QueuedInput {
  return input
}
