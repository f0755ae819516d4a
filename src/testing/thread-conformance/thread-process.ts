import type { EffectContext } from "../../hosts/host.ts"
import { shown } from "../difference.ts"
import { forever, KillableProcess, type PlacePlan } from "../host-conformance/killable-process.ts"
import { type ThreadWork, threadConfig, threadExecutors } from "./scripted-thread.ts"
import type { TestedRest, TestedStatus, TestedThread, TestedThreadHost, ThreadInstance } from "./tested-thread.ts"
import { type Act, cutsOff, type ThreadClient } from "./thread-acts.ts"
import type { ThreadWorld } from "./thread-world.ts"

/** What a process is for. */
export interface ThreadProcessOptions {
  readonly world: ThreadWorld
  readonly client: ThreadClient
  readonly goals: boolean
  readonly held: boolean
  readonly runsOnce: boolean
  readonly timeoutMs: number
  /** Returns the acts that are due when this work runs, once. */
  readonly actsDuring: (place: string) => readonly Act[]
  /** The acts were answered. */
  readonly acted: (act: Act) => void
}

/** How something that a process was to do ended. */
export type Ended<Value> =
  | { readonly type: "done"; readonly value: Value }
  | { readonly type: "rejected"; readonly error: unknown }
  | { readonly type: "killed" | "timed_out" }

/** One process that serves the thread under test. */
export class ThreadProcess extends KillableProcess {
  readonly #options: ThreadProcessOptions
  #instance: ThreadInstance | undefined
  #isOver = false

  constructor(number: number, plan: PlacePlan, options: ThreadProcessOptions) {
    super(number, plan)
    this.#options = options
  }

  protected override passes(): void {}

  protected override dies(place: string): void {
    this.#options.world.killed(place)
  }

  async start(host: TestedThreadHost): Promise<Ended<void>> {
    return this.#within(async () => {
      this.#instance = whileAlive(await host.start(this, this.#thread), this.killed)
    })
  }

  run(): Promise<Ended<TestedRest>> {
    return this.#within((instance) => instance.run())
  }

  act(act: Act): Promise<Ended<void>> {
    return this.#within((instance) => this.#options.client.perform(act, instance, false))
  }

  status(): Promise<Ended<TestedStatus>> {
    return this.#within((instance) => instance.status())
  }

  async close(): Promise<Ended<void>> {
    const ended = await this.#within((instance) => instance.close?.())
    if (ended.type === "done") this.#isOver = true
    return ended
  }

  /** Nothing of this process may happen any more. */
  async end(): Promise<void> {
    this.#isOver = true
    await this.#instance?.kill?.()
  }

  async #within<Value>(work: (instance: ThreadInstance) => Promise<Value> | Value): Promise<Ended<Value>> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const timedOut = new Promise<Ended<Value>>((resolve) => {
      timer = setTimeout(() => resolve({ type: "timed_out" }), this.#options.timeoutMs)
    })
    const killed = this.whenKilled.then((): Ended<Value> => ({ type: "killed" }))
    const done = (async (): Promise<Ended<Value>> => {
      try {
        return { type: "done", value: await work(this.#instance as ThreadInstance) }
      } catch (error) {
        return { type: "rejected", error }
      }
    })()
    const ended = await Promise.race([done, killed, timedOut])
    clearTimeout(timer)
    if (ended.type === "timed_out") this.kill("which did not end")
    if (this.killed.aborted) await this.end()
    return ended
  }

  get #thread(): TestedThread {
    const { world, goals, held, runsOnce } = this.#options
    return {
      threadId: "thread-1",
      config: threadConfig(held),
      goals,
      executors: threadExecutors(runsOnce, {
        ask: async (request, context) => {
          if (this.killed.aborted || this.#isOver) return forever()
          const isNew = world.ask(this, request, context)
          await this.#reachedWork(`before model call ${world.calls} takes effect`)
          await this.#reachedWork(`after model call ${world.calls} took effect`)
          if (isNew && (await this.#actDuring(`model ${world.calls}`, context))) throw new Error("The call was aborted.")
        },
        perform: (work, context) => this.#perform(work, context),
      }),
      now: () => world.now,
      sleep: async (until) => {
        await this.#reachedWork(`before it waits until ${until}`)
        world.now = Math.max(world.now, until)
        await this.#reachedWork(`after it waited until ${until}`)
      },
    }
  }

  async #perform(work: ThreadWork, context: EffectContext): Promise<void> {
    if (this.killed.aborted || this.#isOver) return forever()
    const { world } = this.#options
    world.begin(work, context)
    await this.#reachedWork(`before ${work.name} takes effect`)
    world.take(work)
    await this.#reachedWork(`after ${work.name} took effect`)
    await this.#actDuring(work.name, context)
  }

  /** Does what is due during this work. Returns whether the work was cut off. */
  async #actDuring(place: string, { signal }: EffectContext): Promise<boolean> {
    const { client, actsDuring, acted } = this.#options
    let isCutOff = false
    for (const act of actsDuring(place)) {
      await client.perform(act, this.#instance as ThreadInstance, true)
      acted(act)
      isCutOff ||= cutsOff(act)
    }
    if (isCutOff) await aborted(signal)
    return isCutOff
  }

  async #reachedWork(place: string): Promise<void> {
    if (this.#isOver) return forever()
    await this.reached(place)
  }
}

/** A killed process receives no more answers. */
function whileAlive(instance: ThreadInstance, killed: AbortSignal): ThreadInstance {
  return new Proxy(instance, {
    get(target, name, receiver) {
      const member: unknown = Reflect.get(target, name, receiver)
      if (typeof member !== "function" || name === "kill") return member
      return async (...given: readonly unknown[]): Promise<unknown> => {
        const value: unknown = await Reflect.apply(member, target, given)
        return killed.aborted ? forever() : value
      }
    },
  })
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener("abort", () => resolve(), { once: true })
  })
}

/** What went wrong, for a fault. */
export function failureOf(ended: Exclude<Ended<unknown>, { readonly type: "done" }>): string {
  if (ended.type !== "rejected") return ended.type === "killed" ? "it was killed" : "it did not end in time"
  const { error } = ended
  return error instanceof Error ? `${error.name}: ${error.message}` : shown(error)
}
