import type { InputTime } from "../../src/hosts/thread/thread.ts"

/** What the model knows of an input, by its text. */
interface Waiting {
  readonly text: string
  readonly when: InputTime
}

interface State {
  readonly waiting: readonly Waiting[]
  /** In the order in which turns are to receive them. */
  readonly committed: readonly string[]
  readonly gone: ReadonlySet<string>
}

const ORDER: readonly InputTime[] = ["now", "turn_end", "next_turn"]

/**
 * A model of a thread's queue, written from its rules and not from its code: one list of what waits, one of what turns are to receive, in order, and
 * what was taken back. A commitment may be lost in a crash, with everything after it.
 */
export class QueueModel {
  #state: State = { waiting: [], committed: [], gone: new Set() }
  /** Before the last commitment, which a crash may have prevented. */
  #before: State | undefined

  get committed(): readonly string[] {
    return this.#state.committed
  }

  /** What waits, in the order of delivery. */
  get queue(): readonly string[] {
    return queueOf(this.#state)
  }

  say(text: string, when: InputTime): void {
    this.#before = undefined
    this.#state = { ...this.#state, waiting: [...this.#state.waiting, { text, when }] }
  }

  /** The open turn is redirected: what waits for a checkpoint goes with the input. */
  redirect(text: string): void {
    this.say(text, "now")
    this.#commit(this.#waitingFor("now"))
  }

  retract(text: string): "retracted" | "delivered" | "unknown" {
    const { waiting, committed, gone } = this.#state
    if (waiting.some((input) => input.text === text)) {
      this.#take([text])
      return "retracted"
    }
    if (committed.includes(text)) return "delivered"
    return gone.has(text) ? "retracted" : "unknown"
  }

  /** Moves an input before another of its class, or to the end of it. Returns false if that is not possible. */
  reorder(text: string, before: string | undefined): boolean {
    const { waiting, committed } = this.#state
    const moved = waiting.find((input) => input.text === text)
    // Before what a turn has received, or will, is the first place.
    const first = waiting.find((input) => input.when === moved?.when)
    const place = before !== undefined && committed.includes(before) ? first : waiting.find((input) => input.text === before)
    if (moved === undefined || (before !== undefined && place?.when !== moved.when)) return false
    if (place === moved) return true
    const others = waiting.filter((input) => input !== moved)
    const index = place === undefined ? others.length : others.indexOf(place)
    this.#before = undefined
    this.#state = { ...this.#state, waiting: [...others.slice(0, index), moved, ...others.slice(index)] }
    return true
  }

  /** Returns what an interrupt of the open turn takes out of the queue. */
  interrupt(): readonly string[] {
    const returned = [...this.#waitingFor("now"), ...this.#waitingFor("turn_end")]
    this.#take(returned)
    return returned
  }

  /** A turn is at a checkpoint, having received these texts. Returns what it is to receive. */
  checkpoint(kind: "after_work" | "before_completion", received: ReadonlySet<string>): readonly string[] {
    const left = this.#state.committed.filter((text) => !received.has(text))
    const now = this.#waitingFor("now")
    const isEnding = kind === "before_completion" && left.length === 0 && now.length === 0
    this.#commit(isEnding ? this.#waitingFor("turn_end").slice(0, 1) : now)
    return this.#state.committed.filter((text) => !received.has(text))
  }

  /** A turn begins. Returns what it begins with. */
  begin(received: ReadonlySet<string>): readonly string[] {
    const left = this.#state.committed.filter((text) => !received.has(text))
    const now = this.#waitingFor("now")
    const others = [...this.#waitingFor("turn_end"), ...this.#waitingFor("next_turn")]
    this.#commit(left.length > 0 || now.length > 0 ? now : others.slice(0, 1))
    return this.#state.committed.filter((text) => !received.has(text))
  }

  /** A process has read the queue after a crash. Returns whether it can be: as it was, without the last commitment, or with the begin of a turn. */
  recover(queue: readonly string[], received: ReadonlySet<string>): boolean {
    if (isSame(this.queue, queue)) return true
    const after = this.#state
    if (this.#before !== undefined && isSame(queueOf(this.#before), queue)) {
      this.#state = this.#before
      return true
    }
    this.begin(received)
    if (isSame(this.queue, queue)) return true
    this.#state = after
    return false
  }

  #waitingFor(when: InputTime): readonly string[] {
    return this.#state.waiting.filter((input) => input.when === when).map(({ text }) => text)
  }

  #commit(texts: readonly string[]): void {
    if (texts.length === 0) return
    this.#before = this.#state
    const { waiting, committed } = this.#state
    this.#state = { ...this.#state, waiting: waiting.filter(({ text }) => !texts.includes(text)), committed: [...committed, ...texts] }
  }

  #take(texts: readonly string[]): void {
    const { waiting, gone } = this.#state
    this.#before = undefined
    this.#state = { ...this.#state, waiting: waiting.filter(({ text }) => !texts.includes(text)), gone: new Set([...gone, ...texts]) }
  }
}

function queueOf({ waiting }: State): readonly string[] {
  return ORDER.flatMap((when) => waiting.filter((input) => input.when === when).map(({ text }) => text))
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, index) => text === other[index])
}
