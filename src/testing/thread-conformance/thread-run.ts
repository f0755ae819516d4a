import { describeDifference, firstDifference, shown } from "../difference.ts"
import type { PlacePlan } from "../host-conformance/killable-process.ts"
import type { TestedStatus, TestedThreadHost, ThreadConformanceOptions } from "./tested-thread.ts"
import { type Act, ThreadClient } from "./thread-acts.ts"
import type { ThreadLaw } from "./thread-laws.ts"
import { type Ended, failureOf, ThreadProcess } from "./thread-process.ts"
import type { Stage, ThreadStory } from "./thread-stories.ts"
import type { ThreadWorld } from "./thread-world.ts"

/** At which of its places a process is killed, by the number of the process, from 1. */
export type Kills = ReadonlyMap<number, number>

/** The acts of one stage. */
class StageActs {
  readonly #answered = new Set<Act>()
  readonly #due: Act[]
  readonly #during: Map<string, readonly Act[]>

  constructor({ acts = [], during = {} }: Stage) {
    this.#due = [...acts]
    this.#during = new Map(Object.entries(during))
  }

  /** The acts that a person does now: some were begun in a process that was killed. */
  get due(): readonly Act[] {
    return this.#due.filter((act) => !this.#answered.has(act))
  }

  /** The acts that are due while this work runs. From now on they are due in any case. */
  take(place: string): readonly Act[] {
    const acts = this.#during.get(place) ?? []
    this.#during.delete(place)
    this.#due.push(...acts)
    return acts
  }

  /** Makes the acts due whose work did not run. Returns whether there are any. */
  takeRest(): boolean {
    for (const place of [...this.#during.keys()]) this.take(place)
    return this.due.length > 0
  }

  answered(act: Act): void {
    this.#answered.add(act)
  }

  /** The process was killed. Who sees that the turn still waits, interrupts it again. */
  killed(): void {
    for (const act of this.#answered) if (act.do === "interrupt" && act.again) this.#answered.delete(act)
  }
}

/** A story as it happens to one host: its processes, one after the other. */
export class ThreadRun {
  readonly world: ThreadWorld
  /** The places that each process passed. */
  readonly places: (readonly string[])[] = []
  chars = 0
  readonly host: TestedThreadHost
  readonly #story: ThreadStory
  readonly #options: ThreadConformanceOptions
  readonly #kills: Kills
  readonly #client: ThreadClient
  #acts = new StageActs({})
  #process: ThreadProcess | undefined
  /** Whether the thread rested at the end of the last stage: a host that runs on its own may be in the middle of something otherwise. */
  #rested = true
  /** Whether a process was killed. Any later one may find its locks. */
  #takesOver = false

  constructor(world: ThreadWorld, host: TestedThreadHost, story: ThreadStory, options: ThreadConformanceOptions, kills: Kills = new Map()) {
    this.world = world
    this.host = host
    this.#story = story
    this.#options = options
    this.#kills = kills
    this.#client = new ThreadClient(world, options.promises ?? {})
  }

  /** Plays all stages. */
  async play(): Promise<void> {
    for (const stage of this.#story.stages) if (!(await this.stage(stage))) return
    await this.end()
  }

  /** Makes a process. A story uses one at a time. */
  newProcess(plan: PlacePlan): ThreadProcess {
    const { promises: { once = true } = {}, timeoutMs = 10_000 } = this.#options
    const process = new ThreadProcess(this.places.length + 1, plan, {
      world: this.world,
      client: this.#client,
      goals: this.#story.goals === true,
      held: this.#story.held === true,
      runsOnce: once,
      timeoutMs,
      actsDuring: (place) => this.#acts.take(place),
      acted: (act) => this.#acts.answered(act),
    })
    this.places.push(process.places)
    return process
  }

  /** Another process may take the locks of those before it. */
  takesOver(): void {
    this.#takesOver = true
  }

  /** Plays a stage. Returns false if the host failed, so that the story cannot continue. */
  async stage(stage: Stage): Promise<boolean> {
    this.#acts = new StageActs(stage)
    if (stage.restart && !(await this.#restart())) return false
    for (;;) {
      const result = await this.#try(stage)
      this.#rested = stage.run !== false
      if (result !== "again") return result === "done"
    }
  }

  async #try(stage: Stage): Promise<"done" | "failed" | "again"> {
    const process = await this.#started()
    if (typeof process === "string") return process
    for (const act of this.#acts.due) {
      const acted = await process.act(act)
      if (acted.type !== "done") return this.#stopped(acted, `to ${act.do.replace("_", " ")}`)
      this.#acts.answered(act)
    }
    if (stage.run === false) return "done"
    const ran = await process.run()
    if (ran.type !== "done") return this.#stopped(ran, "to run")
    const { notBefore } = ran.value
    if (notBefore !== undefined && notBefore > this.world.now) {
      this.world.now = notBefore
      return "again"
    }
    if (this.#acts.takeRest()) return "again"
    const status = await process.status()
    if (status.type !== "done") return this.#stopped(status, "to show its status")
    this.#shown(status.value, stage)
    return "done"
  }

  #shown(status: TestedStatus, { held: expected = [], queue }: Stage): void {
    this.#client.sees(status)
    const held = status.held.map(({ callId }) => callId)
    const difference = firstDifference(held, expected)
    if (difference !== undefined) this.world.fault("rests", `The thread rests with other held calls than expected, ${describeDifference(difference)}`)
    const waiting = queue?.map((key) => this.world.idOf(key))
    if (waiting !== undefined && firstDifference(status.queue, waiting) !== undefined)
      this.world.fault("status", `The queue is ${shown(status.queue)}. Expected: ${shown(waiting)}.`)
    if (held.length === 0 && status.openTurn === undefined) this.world.shows(status)
  }

  /** Starts a process, unless there is one. */
  async #started(): Promise<ThreadProcess | "failed" | "again"> {
    if (this.#process !== undefined) return this.#process
    const number = this.places.length + 1
    const killAt = this.#kills.get(number)
    const process = this.newProcess({ takeOver: this.#takesOver, ...(killAt !== undefined && { killAt }) })
    this.#process = process
    const started = await process.start(this.host)
    if (started.type !== "done") return this.#stopped(started, "to start")
    return process
  }

  /** A process was killed, so that the next one continues; anything else is a fault. */
  #stopped(ended: Exclude<Ended<unknown>, { readonly type: "done" }>, what: string, law: ThreadLaw = "rests"): "failed" | "again" {
    const process = this.#process
    this.#process = undefined
    this.chars += process?.chars ?? 0
    if (ended.type === "killed") {
      this.takesOver()
      this.#acts.killed()
      return "again"
    }
    this.world.fault(law, `Process ${process?.number} was asked ${what}, and failed: ${failureOf(ended)}`)
    return "failed"
  }

  /** Ends the process in order, and starts another one, which must show the same. */
  async #restart(): Promise<boolean> {
    const process = this.#process
    if (process === undefined) return true
    const before = await process.status()
    const closed = before.type === "done" ? await process.close() : before
    if (closed.type !== "done") return this.#stopped(closed, "to close") === "again"
    this.chars += process.chars
    this.#process = undefined
    const next = await this.#started()
    if (typeof next === "string") return next === "again"
    const after = await next.status()
    if (after.type !== "done") return this.#stopped(after, "to show its status") === "again"
    if (before.type === "done" && this.#rested) this.#compare(before.value, after.value)
    return true
  }

  #compare(before: TestedStatus, after: TestedStatus): void {
    const difference = firstDifference(comparable(after), comparable(before))
    if (difference !== undefined) this.world.fault("status", `The status after a restart is not the one before, ${describeDifference(difference)}`)
  }

  /** The thread rests at the end, shows the same after a restart, and does nothing more. */
  async end(): Promise<void> {
    if (!(await this.stage({}))) return
    const process = this.#process as ThreadProcess
    const status = await process.status()
    if (status.type !== "done") return void this.#stopped(status, "to show its status")
    this.world.end(status.value)
    const { calls } = this.world
    if (!(await this.stage({ restart: true }))) return
    if (this.world.calls > calls) this.world.fault("rests", `The thread rested, and made model call ${this.world.calls} when it was run again.`)
    const closed = await this.#process?.close()
    if (closed !== undefined && closed.type !== "done") this.#stopped(closed, "to close")
    this.chars += process.chars
  }
}

/** What must not change over a restart. The clock of a goal may run on, and an open turn's messages may not be shown. */
function comparable({ messages, queue, held, goal }: TestedStatus): object {
  const calls = held.map(({ callId, requestId, digest }) => ({ callId, requestId, digest }))
  const { updatedAt: _updatedAt, secondsUsed: _secondsUsed, ...facts } = goal ?? {}
  return { queue, held: calls, ...(held.length === 0 && { messages, goal: goal && facts }) }
}
