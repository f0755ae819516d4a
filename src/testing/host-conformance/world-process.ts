import type { EffectContext, Host } from "../../hosts/host.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { HeldCall } from "../../wire/approval.ts"
import type { Done, Progress } from "../../wire/effect.ts"
import type { CompletedToolCall } from "../../wire/tool.ts"
import { configOf, executorsOf, type ScriptedWork, START } from "./scripted-turn.ts"
import type { HostInstance, PlaceDetails, TestedEnd, TestedHost, TestedProcess, TestedSuspension, TestedTurn } from "./tested-host.ts"
import { describe, type Reporter, type TestedWorld } from "./tested-world.ts"

/** What happens to a process at its places, which are numbered from 0. */
export interface ProcessPlan {
  /** Takes the locks of earlier processes. */
  readonly takeOver?: boolean
  readonly killAt?: number
  readonly cancelAt?: number
  /** The executor that reaches this place, or the next one, throws a fatal error. */
  readonly suspendAt?: number
  /** The process waits here until `release`. */
  readonly holdAt?: number
  /** The call with this id waits until `release`, after it took effect. */
  readonly holdCall?: string
  readonly deliveries?: 1 | 2
  /** The run may be suspended. */
  readonly suspend?: true
  /** The calls about which people decide in this process, one after the other. Default: all, at once. */
  readonly decides?: readonly string[]
  readonly config?: TurnConfig
}

/** How a run ended. */
export type RunEnd =
  | { readonly type: "ended"; readonly end: TestedEnd }
  | { readonly type: "suspended"; readonly suspension: TestedSuspension }
  | { readonly type: "rejected"; readonly error: unknown }
  | { readonly type: "killed" | "timed_out" }

/** The error by which the harness suspends a run, as engines do. */
class Suspended extends Error {
  constructor() {
    super("The engine suspends this run.")
    this.name = "Suspended"
  }
}

export const isSuspended = (error: unknown): boolean => error instanceof Suspended

const GRACE_MS = 50

/** One process: an instance of the host under test, and the places that it passed. */
export class WorldProcess implements TestedProcess, Reporter {
  readonly number: number
  readonly takeOver: boolean
  readonly asked: Set<string> = new Set()
  readonly places: string[] = []
  nextRecord: number | undefined
  /** The characters that it wrote. */
  chars = 0
  /** Resolves when the process waits at `holdAt` or `holdCall`, with the place. */
  readonly held: Promise<string>
  /** The names of the calls whose executors returned. */
  readonly returned: Set<string> = new Set()
  readonly #world: TestedWorld
  readonly #plan: ProcessPlan
  readonly #killing = new AbortController()
  readonly #cancelling = new AbortController()
  readonly #released: Promise<void>
  readonly #killed: Promise<RunEnd>
  #instance: HostInstance | undefined
  #isOver = false
  #hasEnded = false
  #isSuspending = false
  #isDying = false
  #hold: (place: string) => void = () => {}
  #release: () => void = () => {}
  #kill: () => void = () => {}

  constructor(world: TestedWorld, number: number, plan: ProcessPlan) {
    this.number = number
    this.takeOver = plan.takeOver === true
    this.#world = world
    this.#plan = plan
    this.held = new Promise((resolve) => {
      this.#hold = resolve
    })
    this.#released = new Promise((resolve) => {
      this.#release = resolve
    })
    this.#killed = new Promise((resolve) => {
      this.#kill = () => resolve({ type: "killed" })
    })
  }

  get killed(): AbortSignal {
    return this.#killing.signal
  }

  async reached(place: string, { chars = 0, dying }: PlaceDetails = {}): Promise<void> {
    if (this.killed.aborted || this.#isDying) return forever()
    const { killAt, cancelAt, suspendAt, holdAt } = this.#plan
    const number = this.places.push(place) - 1
    this.chars += chars
    if (number === suspendAt) this.#isSuspending = true
    if (number === cancelAt) {
      this.#world.interrupt()
      this.#cancelling.abort()
    }
    if (number === killAt) {
      this.#isDying = true
      await dying?.()
      this.kill(place)
      return forever()
    }
    if (number === holdAt) await this.#wait(place)
  }

  /** Kills the process: nothing that it awaits returns. */
  kill(place: string): void {
    if (this.killed.aborted) return
    this.#world.place += `, killed at place ${this.places.length - 1} of process ${this.number}, ${place}`
    this.#world.interrupt()
    this.#killing.abort()
    this.#kill()
  }

  cancel(): void {
    this.#world.interrupt()
    this.#cancelling.abort()
  }

  release(): void {
    this.#release()
  }

  /** Hands in results from outside, after the run. Returns whether the host takes any. */
  async answer(results: readonly CompletedToolCall[]): Promise<boolean> {
    const answered = this.#instance?.answer?.(this.#turn, results)
    await answered
    return answered !== undefined
  }

  get #turn(): TestedTurn {
    return { turnId: "turn-1", config: this.#plan.config ?? configOf(this.#world.script), start: START }
  }

  /** Starts the instance and runs the turn. */
  async run(host: TestedHost, timeoutMs: number): Promise<RunEnd> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const timedOut = new Promise<RunEnd>((resolve) => {
      timer = setTimeout(() => resolve({ type: "timed_out" }), timeoutMs)
    })
    const ended = await Promise.race([this.#run(host), this.#killed, timedOut])
    clearTimeout(timer)
    if (ended.type === "timed_out") this.kill("which did not end")
    this.#isOver = true
    this.#hasEnded = ended.type === "ended"
    if (this.killed.aborted) await this.#instance?.kill?.()
    return ended
  }

  async #run(host: TestedHost): Promise<RunEnd> {
    try {
      this.#instance = await host.start(this)
      const end = await this.#instance.run(this.#turn, this.#executors(), {
        signal: this.#cancelling.signal,
        onEvent: ({ type }) => {
          if (this.#hasEnded) this.#world.fault("silence", `An event ${type} was emitted after the run had returned.`)
        },
        isFatal: isSuspended,
        now: () => 1_000,
        cancelGraceMs: GRACE_MS,
        toolConcurrency: 3,
        deliveries: this.#plan.deliveries ?? 1,
        ...(this.#plan.suspend && { suspend: true }),
      })
      return "held" in end ? { type: "suspended", suspension: end } : { type: "ended", end }
    } catch (error) {
      return { type: "rejected", error }
    }
  }

  #executors(): Host {
    return executorsOf(this.#world.script, {
      perform: (work, context) => this.#perform(work, context),
      lookUp: async ({ name, place }) => {
        await this.#executor(`before call ${name} is looked up`)
        return place !== undefined && this.#world.tookEffect(place)
      },
      progress: (effect) => this.#progress(effect),
      decide: (held) => this.#decide(held),
    })
  }

  async #perform(work: ScriptedWork, context: EffectContext): Promise<void> {
    if (this.killed.aborted || this.#isOver) return forever()
    this.#world.ask(this, work, context)
    await this.#executor(`before ${describe(work)} takes effect`)
    this.#world.take(work)
    await this.#executor(`after ${describe(work)} took effect`)
    if (this.#plan.holdCall !== undefined && work.name.endsWith(`:${this.#plan.holdCall}`)) await this.#wait(describe(work))
    this.returned.add(work.name)
  }

  async #decide(held: readonly HeldCall[]): Promise<readonly string[]> {
    await this.#executor("before people decide")
    const left = held.map(({ callId }) => callId)
    const now = this.#plan.decides === undefined ? left : this.#plan.decides.filter((callId) => left.includes(callId)).slice(0, 1)
    this.#world.decide(held, now)
    await this.#executor("after people decided")
    return now
  }

  async #progress(effect: Progress | Done): Promise<void> {
    const { type } = effect
    await this.reached(`before ${type} is reported`)
    if (this.#hasEnded) this.#world.fault("silence", `A ${type} was reported after the run had returned.`)
    this.#world.report(this, effect)
    await this.reached(`after ${type} was reported`)
  }

  /** A place of an executor. One whose run is over continues to wait, as one that ignores its signal. */
  async #executor(place: string): Promise<void> {
    if (this.#isOver) return forever()
    await this.reached(place)
    if (!this.#isSuspending || this.#isOver) return
    this.#isSuspending = false
    this.#world.interrupt()
    this.#world.place += `, suspended ${place}`
    throw new Suspended()
  }

  async #wait(place: string): Promise<void> {
    this.#hold(place)
    await this.#released
  }
}

function forever(): Promise<never> {
  return new Promise(() => {})
}
