import type { EffectContext, Host } from "../../src/hosts/host.ts"
import { executorsOf, type ScriptedWork, type TurnScript } from "../../src/testing/host-conformance/scripted-turn.ts"

export { type ScriptedCall, ticks } from "../../src/testing/host-conformance/scripted-turn.ts"

/** A turn, as data, and how its journal is written. */
export interface Script extends TurnScript {
  readonly toolConcurrency: number
  readonly snapshotEveryRecords: number
  readonly compactAboveChars: number
  /** The number of microtask ticks that a write of the store takes. */
  readonly writeTicks: number
  /** Where appends are torn, from 0 to 1. */
  readonly tear: number
}

/** The state outside the processes, which survives them. */
export interface Memory {
  readonly text: string
  /** The ids of the effects that the persisted text answers, and `effectId:callId` of tool calls. */
  readonly answered: ReadonlySet<string>
  /** The `once` calls whose start was persisted. */
  readonly begun: ReadonlySet<string>
  readonly unknown: ReadonlySet<string>
  /** Everything that took effect, in order. */
  readonly performed: readonly string[]
  /** The emitted `eventDelta`s, as JSON, by process. */
  readonly emitted: readonly (readonly string[])[]
}

export const NOTHING: Memory = { text: "", answered: new Set(), begun: new Set(), unknown: new Set(), performed: [], emitted: [] }

/** A moment at which a process may die. */
export interface Moment {
  readonly kind: string
  readonly memory: Memory
}

/** The number of violations of the promise. */
export interface Violations {
  /** Model calls, deliveries, code and surfaces that were repeated although their answer was persisted. */
  askedAgain: number
  /** Tool calls that ran again although their result was persisted. */
  ranAgain: number
  /** Work that started before the answer that it depends on was persisted. */
  actedEarly: number
  /** `once` calls that ran twice, or before their start was persisted; anything that ran twice in one process, or under another key. */
  beyondPromise: number
}

export const noViolations = (): Violations => ({ askedAgain: 0, ranAgain: 0, actedEarly: 0, beyondPromise: 0 })

export interface Ended {
  /** Outcome, transcript and usage, as JSON. */
  readonly end: string
  readonly memory: Memory
  readonly moments: readonly Moment[]
}

/** A way to break the promise, to test that it is detected. */
export type Fault = "answers_persisted_late" | "starts_not_persisted" | "journal_not_folded"

export interface ProcessOptions {
  readonly fault?: Fault | undefined
  readonly violations: Violations
  /** Awaited at each moment, by its number. A process that hangs there stays alive. */
  readonly hang?: (moment: number) => Promise<void> | undefined
  /** The moment, by its number, at which the turn is cancelled. */
  readonly cancelAt?: number
}

/** The world that a process works in. */
export interface Surroundings {
  memory: Memory
}

/** One process: its executors, and the moments that it passed. */
export class Process {
  readonly moments: Moment[] = []
  readonly cancelling = new AbortController()
  readonly #world: Surroundings
  readonly host: Host
  readonly #options: ProcessOptions
  readonly #mine = new Set<string>()
  #count = 0

  constructor(world: Surroundings, script: Script, options: ProcessOptions) {
    this.#world = world
    this.#options = options
    this.host = this.#executors(script)
  }

  note(kind: string, memory: Memory): void {
    this.moments.push({ kind, memory })
  }

  async moment(kind: string): Promise<void> {
    this.note(kind, this.#world.memory)
    const number = this.#count++
    if (number === this.#options.cancelAt) this.cancelling.abort()
    await this.#options.hang?.(number)
  }

  #executors(script: TurnScript): Host {
    return executorsOf(script, {
      perform: (work, context) => this.#perform(work, context),
      lookUp: async ({ name }) => {
        await this.moment("before a call is looked up")
        return this.#world.memory.performed.includes(`once ${name}`)
      },
      progress: async ({ eventDelta }) => {
        await this.moment("before progress is emitted")
        const { emitted } = this.#world.memory
        const mine = [...(emitted.at(-1) ?? []), JSON.stringify(eventDelta)]
        this.#world.memory = { ...this.#world.memory, emitted: [...emitted.slice(0, -1), mine] }
        await this.moment("after progress was emitted")
      },
    })
  }

  /** Takes effect in the world, and counts violations. */
  async #perform({ name: key, kind: what, canBeLookedUp }: ScriptedWork, { idempotencyKey }: EffectContext): Promise<void> {
    await this.moment("before an executor takes effect")
    const { memory } = this.#world
    const { violations } = this.#options
    if (memory.answered.has(key)) violations[what === "none" || what === "idempotent" || what === "once" ? "ranAgain" : "askedAgain"] += 1
    const before = Number.parseInt(key, 10) - 1
    if (before > 0 && ![...memory.answered].some((answered) => Number.parseInt(answered, 10) === before)) violations.actedEarly += 1
    if (this.#mine.has(key) || idempotencyKey !== `turn-1:${key}`) violations.beyondPromise += 1
    if (what === "once" && (memory.performed.includes(`once ${key}`) || !memory.begun.has(key))) violations.beyondPromise += 1
    this.#mine.add(key)
    // A fenced owner may still perform a call that the new owner found not to have run. Only a receiver that stores keys can drop the repetition.
    const repeated = canBeLookedUp && this.#options.hang !== undefined && memory.performed.includes(`${what} ${key}`)
    if (!repeated) this.#world.memory = { ...memory, performed: [...memory.performed, `${what} ${key}`] }
    await this.moment("after an executor took effect")
  }
}
