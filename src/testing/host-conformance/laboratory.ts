import { memoryJournalStore } from "../../hosts/journal/memory.ts"
import { TurnJournal } from "../../hosts/journal/turn-journal.ts"
import { runTurn } from "../../hosts/run/run-turn.ts"
import type { HeldCall } from "../../wire/approval.ts"
import { shown } from "../difference.ts"
import type { ConformanceFault } from "./conformance-error.ts"
import { configOf, decisionOf, executorsOf, outsideResults, START, type TurnScript } from "./scripted-turn.ts"
import { scriptsFor } from "./scripts.ts"
import type { HostConformanceOptions, HostPromises, TestedDecision, TestedEnd, TestedHost } from "./tested-host.ts"
import { TestedWorld } from "./tested-world.ts"
import { type ProcessPlan, type RunEnd, WorldProcess } from "./world-process.ts"

export type MakeHost = () => TestedHost | Promise<TestedHost>

/** Makes worlds for a host under test, and collects the faults. */
export class Laboratory {
  readonly faults: ConformanceFault[] = []
  readonly idleMs: number
  readonly promises: HostPromises
  readonly mostPlaces: number
  readonly #makeHost: MakeHost
  readonly #timeoutMs: number
  readonly #expected = new Map<TurnScript, Promise<TestedEnd>>()

  constructor(makeHost: MakeHost, { promises = {}, timeoutMs = 10_000, idleMs = 30, mostPlaces = Number.POSITIVE_INFINITY }: HostConformanceOptions) {
    this.#makeHost = makeHost
    this.#timeoutMs = timeoutMs
    this.idleMs = idleMs
    this.mostPlaces = mostPlaces
    this.promises = promises
  }

  get scripts(): readonly (readonly [string, TurnScript])[] {
    return scriptsFor(this.promises.once !== false)
  }

  /** Plays a story on a new storage. */
  async story(name: string, script: TurnScript, play: (story: Story) => Promise<void>): Promise<void> {
    const host = await this.#makeHost()
    const world = new TestedWorld(script, name, await this.#expectedOf(script))
    try {
      await play(new Story(world, host, this.#timeoutMs))
    } finally {
      await host.remove?.()
      this.faults.push(...world.faults)
    }
  }

  /** Disturbs a script at each of the places for which `isPlace` returns true, or at as many of them as are wanted, spread evenly. */
  async everyPlace(
    script: TurnScript,
    name: string,
    isPlace: (place: string, at: number) => boolean,
    disturb: (at: number, place: string) => Promise<void>,
  ): Promise<void> {
    const all = (await this.placesOf(name, script)).flatMap((place, at) => (isPlace(place, at) ? [{ at, place }] : []))
    const step = Math.max(1, all.length / this.mostPlaces)
    for (let index = 0; index < all.length; index += step) {
      const { at, place } = all[Math.floor(index)] as (typeof all)[number]
      await disturb(at, place)
    }
  }

  /** The places of a run that is not disturbed. */
  async placesOf(name: string, script: TurnScript): Promise<readonly string[]> {
    let places: readonly string[] = []
    await this.story(name, script, async (story) => {
      places = (await story.toEnd({})).places
    })
    return places
  }

  #expectedOf(script: TurnScript): Promise<TestedEnd> {
    const known = this.#expected.get(script) ?? endOf(script)
    this.#expected.set(script, known)
    return known
  }
}

/** The end of a turn that nothing disturbs. */
export async function endOf(script: TurnScript): Promise<TestedEnd> {
  const nothing = async (): Promise<void> => {}
  const executors = executorsOf(script, { perform: nothing, lookUp: async () => false, progress: nothing })
  const journal = await TurnJournal.open(memoryJournalStore(), "turn-1", { now: () => 1_000 })
  const machine = await journal.begin(configOf(script), START)
  for (;;) {
    const result = await runTurn(machine, executors, { journal, now: () => 1_000, suspend: true })
    if (result.type === "done") return result
    const response = machine.check({ type: "tool_results", id: machine.outstanding?.id, results: outsideResults(script, result.pending) })
    await journal.response(machine, response)
    machine.handle(response)
  }
}

/** How decisions are handed in, and what their results may be. */
export interface DecidePlan {
  readonly expects: readonly TestedDecision["status"][]
  /** Whether the decisions count. Default true. */
  readonly counts?: boolean
  /** Default: what people decide in the script. */
  readonly decision?: "approve" | "reject"
  /** The place at which the first process of each decision is killed. */
  readonly killAt?: number
}

/** The processes of one turn, one after the other. */
export class Story {
  readonly world: TestedWorld
  readonly #host: TestedHost
  readonly #timeoutMs: number
  #processes = 0
  #wasKilled = false
  /** How many places its last process reached. */
  places = 0

  constructor(world: TestedWorld, host: TestedHost, timeoutMs: number) {
    this.world = world
    this.#host = host
    this.#timeoutMs = timeoutMs
  }

  start(plan: ProcessPlan): { readonly process: WorldProcess; readonly ended: Promise<RunEnd> } {
    this.#processes += 1
    const process = new WorldProcess(this.world, this.#processes, plan)
    return { process, ended: process.run(this.#host, this.#timeoutMs) }
  }

  async run(plan: ProcessPlan): Promise<{ readonly process: WorldProcess; readonly ended: RunEnd }> {
    const { process, ended } = this.start(plan)
    const result = { process, ended: await ended }
    this.places = process.places.length
    return result
  }

  /**
   * Runs a process that must reach the end of the turn. With `cancelled`, the turn may have been cancelled; a run that was cancelled before
   * it asked for anything may also reject, as one that never began.
   */
  async toEnd(plan: ProcessPlan, cancelled = false): Promise<WorldProcess> {
    const { process, ended } = await this.run(plan)
    if (ended.type !== "rejected" || !cancelled || this.world.asked > 0) this.judge(process, ended, cancelled)
    return process
  }

  /** As {@link toEnd}, and runs the ended turn once more. */
  async toEndTwice(plan: ProcessPlan, cancelled = false): Promise<void> {
    await this.toEnd(plan, cancelled)
    await this.toEnd({}, cancelled)
  }

  /**
   * Runs a process that must be suspended with these calls. Returns whether the host can be given results from outside, and gives it those of
   * the calls that continue there.
   */
  async toSuspension(plan: ProcessPlan, expected: readonly string[]): Promise<boolean> {
    const { process, ended } = await this.run({ ...plan, suspend: true })
    if (ended.type !== "suspended") {
      this.judge(process, ended)
      this.world.fault("suspended", `The run of process ${process.number} was not suspended, but: ${ended.type}`)
      return false
    }
    this.world.suspended(ended.suspension, expected)
    const results = outsideResults(this.world.script, ended.suspension.pending)
    return results.length === 0 || process.answer(results)
  }

  /** Runs a process that must be suspended, and returns the calls that are held. */
  async toHeld(expected: readonly string[]): Promise<readonly HeldCall[]> {
    const { process, ended } = await this.run({ suspend: true, decides: [] })
    if (ended.type !== "suspended") {
      this.judge(process, ended)
      this.world.fault("suspended", `The run of process ${process.number} was not suspended, but: ${ended.type}`)
      return []
    }
    this.world.suspended(ended.suspension, expected)
    return ended.suspension.held
  }

  /**
   * Hands in decisions about these calls in a process of its own, in this order, one after the other, and returns whether the host takes them. Of a
   * process that is killed, the next one hands in the same.
   */
  async decide(held: readonly HeldCall[], callIds: readonly string[], { counts = true, killAt, ...plan }: DecidePlan): Promise<boolean> {
    for (const callId of callIds) {
      const call = held.find((one) => one.callId === callId)
      if (call === undefined) continue
      const { requestId, digest } = call
      const decision = plan.decision ?? decisionOf(this.world.script, call)
      if (counts) this.world.decide([call], [callId])
      let expects: readonly TestedDecision["status"][] = plan.expects
      for (let at = killAt; ; at = undefined) {
        this.#processes += 1
        const process = new WorldProcess(this.world, this.#processes, { takeOver: this.#wasKilled, ...(at !== undefined && { killAt: at }) })
        const ended = await process.decideOutside(this.#host, this.#timeoutMs, [{ requestId, digest, decision }])
        this.places = process.places.length
        if (ended === undefined) return false
        if (ended.type === "killed") {
          this.#wasKilled = true
          // The process that was killed may have stored it.
          if (expects.includes("accepted")) expects = ["accepted", "stale"]
          continue
        }
        const [status] = ended.type === "decided" ? ended.results.map((result) => result.status) : [ended.type]
        if (ended.type !== "decided" || !expects.includes(status as TestedDecision["status"]))
          this.world.fault(
            "decided",
            `The decision to ${decision} call ${callId} was ${status ?? "not answered"}. Expected: ${expects.join(" or ")}.`,
          )
        else if (counts) this.world.settled(call)
        break
      }
    }
    return true
  }

  /** Whether a later process may take the locks of earlier ones. */
  get wasKilled(): boolean {
    return this.#wasKilled
  }

  judge({ number }: WorldProcess, ended: RunEnd, cancelled = false): void {
    if (ended.type === "ended") this.world.end(ended.end, cancelled)
    else if (ended.type === "timed_out") this.world.fault("ends", `The run of process ${number} did not end within ${this.#timeoutMs} ms.`)
    else if (ended.type === "rejected") this.world.fault("ends", `The run of process ${number} rejected: ${textOf(ended.error)}`)
  }
}

export function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : shown(error)
}
