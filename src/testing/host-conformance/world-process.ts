import type { EffectContext, Host } from "../../hosts/host.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { Decision, HeldCall } from "../../wire/approval.ts"
import type { Done, Progress } from "../../wire/effect.ts"
import type { CompletedToolCall } from "../../wire/tool.ts"
import { forever, KillableProcess, type PlacePlan } from "./killable-process.ts"
import { configOf, executorsOf, type ScriptedWork, START } from "./scripted-turn.ts"
import type { HostInstance, TestedDecision, TestedEnd, TestedHost, TestedSuspension, TestedTurn } from "./tested-host.ts"
import { describe, type Reporter, type TestedWorld } from "./tested-world.ts"

/** What happens to the process of a turn. Its places are numbered from 0. */
export interface ProcessPlan extends PlacePlan {
  readonly cancelAt?: number
  /** The executor that reaches this place, or the next one, throws a fatal error. */
  readonly suspendAt?: number
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

/** Decisions were handed in. */
export interface Decided {
  readonly type: "decided"
  readonly results: readonly TestedDecision[]
}

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
export class WorldProcess extends KillableProcess implements Reporter {
  readonly asked: Set<string> = new Set()
  nextRecord: number | undefined
  /** The names of the calls whose executors returned. */
  readonly returned: Set<string> = new Set()
  readonly #world: TestedWorld
  readonly #plan: ProcessPlan
  readonly #cancelling = new AbortController()
  #instance: HostInstance | undefined
  #isOver = false
  #hasEnded = false
  #isSuspending = false

  constructor(world: TestedWorld, number: number, plan: ProcessPlan) {
    super(number, plan)
    this.#world = world
    this.#plan = plan
  }

  protected override passes(number: number): void {
    if (number === this.#plan.suspendAt) this.#isSuspending = true
    if (number === this.#plan.cancelAt) this.cancel()
  }

  protected override dies(place: string): void {
    this.#world.place += place
    this.#world.interrupt()
  }

  cancel(): void {
    this.#world.interrupt()
    this.#cancelling.abort()
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
    const ended = await this.#end(timeoutMs, this.#run(host))
    this.#hasEnded = ended.type === "ended"
    return ended
  }

  /** Starts the instance and hands in decisions. `undefined`: the host cannot be given any. */
  async decideOutside(host: TestedHost, timeoutMs: number, decisions: readonly Decision[]): Promise<RunEnd | Decided | undefined> {
    const decide = async (): Promise<RunEnd | Decided | undefined> => {
      try {
        this.#instance = await host.start(this)
        const results = await this.#instance.decide?.(this.#turn, decisions, () => this.#world.now)
        return results && { type: "decided", results }
      } catch (error) {
        return { type: "rejected", error }
      }
    }
    return this.#end(timeoutMs, decide())
  }

  async #end<End extends RunEnd | Decided | undefined>(timeoutMs: number, work: Promise<End>): Promise<End | RunEnd> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const timedOut = new Promise<RunEnd>((resolve) => {
      timer = setTimeout(() => resolve({ type: "timed_out" }), timeoutMs)
    })
    const killed = this.whenKilled.then((): RunEnd => ({ type: "killed" }))
    const ended = await Promise.race([work, killed, timedOut])
    clearTimeout(timer)
    if (ended?.type === "timed_out") this.kill("which did not end")
    this.#isOver = true
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
        now: () => this.#world.now,
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
    if (this.#plan.holdCall !== undefined && work.name.endsWith(`:${this.#plan.holdCall}`)) await this.wait(describe(work))
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
}
