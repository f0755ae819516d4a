import { AsyncLocalStorage } from "node:async_hooks"

/** Who set a timer. */
const OWNER = new AsyncLocalStorage<object>()

interface Timer {
  readonly act: () => void
  readonly at: number
  readonly owner: object | undefined
}

const real = { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate }

/** Waits until all promises have settled that can, and until I/O that is ready has been handled. */
export function turnOfTheLoop(): Promise<void> {
  return new Promise((resolve) => {
    real.setImmediate(resolve)
  })
}

/** Timers that fire only when nothing else can happen. It knows which process set each of them. */
export class VirtualClock {
  now = 1_000_000
  readonly #timers = new Map<number, Timer>()
  readonly #intervals = new Map<number, object | undefined>()
  #last = 0

  /** Runs `work` with this clock's timers in place of the real ones. */
  async use<Value>(work: () => Promise<Value>): Promise<Value> {
    const set = (act: () => void, ms = 0): number => this.#set(act, ms, OWNER.getStore())
    const clear = (id: unknown): void => {
      if (typeof id !== "number") return
      this.#timers.delete(id)
      this.#intervals.delete(id)
    }
    const every = (): number => {
      this.#last += 1
      this.#intervals.set(this.#last, OWNER.getStore())
      return this.#last
    }
    Object.assign(globalThis, { setTimeout: set, clearTimeout: clear, setInterval: every, clearInterval: clear })
    try {
      return await work()
    } finally {
      const { setTimeout, clearTimeout, setInterval, clearInterval } = real
      Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval })
    }
  }

  /** Runs code of a process: its timers are known as its own. */
  of<Value>(owner: object, work: () => Value): Value {
    return OWNER.run(owner, work)
  }

  /** Waits without a timer of any process. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#set(resolve, ms, undefined)
    })
  }

  /** Fires the timer that is due first. Returns false if there is none. */
  fire(): boolean {
    let first: number | undefined
    for (const [id, { at }] of this.#timers) if (first === undefined || at < (this.#timers.get(first) as Timer).at) first = id
    if (first === undefined) return false
    const { act, at, owner } = this.#timers.get(first) as Timer
    this.#timers.delete(first)
    this.now = Math.max(this.now, at)
    if (owner === undefined) act()
    else OWNER.run(owner, act)
    return true
  }

  /** How many timers a process has set that have neither fired nor been cleared. */
  left(owner: object): number {
    const owners = [...[...this.#timers.values()].map((timer) => timer.owner), ...this.#intervals.values()]
    return owners.filter((other) => other === owner).length
  }

  /** Removes the timers of a process that was killed. */
  drop(owner: object): void {
    for (const [id, timer] of this.#timers) if (timer.owner === owner) this.#timers.delete(id)
    for (const [id, other] of this.#intervals) if (other === owner) this.#intervals.delete(id)
  }

  #set(act: () => void, ms: number, owner: object | undefined): number {
    this.#last += 1
    this.#timers.set(this.#last, { act, at: this.now + Math.max(0, ms), owner })
    return this.#last
  }
}
