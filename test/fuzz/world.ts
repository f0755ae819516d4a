import { inspect } from "node:util"
import type { StoredJournal } from "../../src/hosts/journal/store.ts"
import type { HostCommand } from "../../src/machine/step.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { VirtualClock } from "./clock.ts"
import type { Place, Script } from "./script.ts"

/** What happened in all cases. */
export interface Figures {
  cases: number
  processes: number
  /** Executors that were called. */
  executions: number
  kills: number
  aborts: number
  /** Turns that were redirected. */
  redirects: number
  takeOvers: number
  throws: number
  delays: number
  hangs: number
  storeFaults: number
  /** `once` calls that began, and look-ups of them. */
  once: number
  lookUps: number
  /** Processes that resumed a turn. */
  resumed: number
  turns: number
  /** Calls reported as of unknown outcome. */
  unknown: number
  compactions: number
}

export function newFigures(): Figures {
  return {
    cases: 0,
    processes: 0,
    executions: 0,
    kills: 0,
    aborts: 0,
    redirects: 0,
    takeOvers: 0,
    throws: 0,
    delays: 0,
    hangs: 0,
    storeFaults: 0,
    once: 0,
    lookUps: 0,
    resumed: 0,
    turns: 0,
    unknown: 0,
    compactions: 0,
  }
}

/** What is known of a `once` call. */
interface OnceCall {
  begun: number
  effects: number
  /** The last look-up said that it had not run. */
  mayBegin: boolean
}

/** What is known of one turn, outside of all processes. */
export interface TurnFacts {
  readonly turnId: string
  /** Answers that are stored: `effectId`, and `effectId:callId` of tool calls. */
  readonly answered: Set<string>
  /** `once` calls and code whose start is stored. */
  readonly started: Set<string>
  readonly unknown: Set<string>
  readonly once: Map<string, OnceCall>
  /** The records of the history that a host stored, as JSON, by their place. */
  readonly records: Map<number, string>
  /** Keys by the work that they identify. */
  readonly keys: Map<string, string>
  /** Model calls by their effect. */
  readonly asked: Map<number, number>
}

/** An entry of the log that a loop of its own writes. */
export type LoopEntry = { readonly type: "response"; readonly response: Response } | { readonly type: "command"; readonly command: HostCommand }

/** What survives a process, and what it has seen. */
export class World {
  readonly script: Script
  readonly clock: VirtualClock
  readonly figures: Figures
  readonly wrongs: string[] = []
  readonly turns = new Map<string, TurnFacts>()
  /** Of a loop of its own. */
  readonly log: LoopEntry[] = []
  /** Of a host that saves checkpoints: the last one, and the effect that is outstanding in it. */
  saved: { readonly checkpoint: string; readonly outstanding: number | undefined } | undefined
  /** The machine of a run that was rejected in a process that lives on. */
  machine: TurnMachine | undefined
  /** Calls of the real store that have not ended. */
  io = 0
  /** The journals that are open in the real store. */
  readonly journals = new Set<StoredJournal>()
  /** A process was followed by another one while it lived. */
  wasTakenOver = false
  /** Two processes may take the journal from each other. */
  isContested = false
  /** How many redirections were asked for. */
  redirects = 0
  /** What the user said, by whether that was acknowledged. */
  readonly said: { readonly text: string; stored: boolean }[] = []
  readonly #reached = new Map<Place, number>()

  constructor(script: Script, clock: VirtualClock, figures: Figures) {
    this.script = script
    this.clock = clock
    this.figures = figures
  }

  wrong(what: string, ...facts: readonly unknown[]): void {
    if (this.wrongs.length < 20) this.wrongs.push([what, ...facts.map((fact) => inspect(fact, { depth: 6, breakLength: 200 }))].join(" "))
  }

  /** Counts that a place is reached, and returns how often it was before. */
  reach(place: Place): number {
    const before = this.#reached.get(place) ?? 0
    this.#reached.set(place, before + 1)
    return before
  }

  turn(turnId: string): TurnFacts {
    let facts = this.turns.get(turnId)
    if (facts === undefined) {
      facts = {
        turnId,
        answered: new Set(),
        started: new Set(),
        unknown: new Set(),
        once: new Map(),
        records: new Map(),
        keys: new Map(),
        asked: new Map(),
      }
      this.turns.set(turnId, facts)
    }
    return facts
  }

  /** Learns what is stored from whole lines of a journal. */
  stored(name: string, lines: string): void {
    if (/changed later|scribbled/.test(lines)) this.wrong("a change of a value reached the journal:", lines)
    if (name.endsWith(".thread")) return
    for (const line of lines.split("\n").slice(0, -1)) {
      const [, record] = JSON.parse(line) as readonly [string, JournalRecord]
      this.storedRecord(this.turn(name), record)
    }
  }

  storedRecord(facts: TurnFacts, record: JournalRecord | Response): void {
    if (record.type === "call_started") {
      const key = callKey(record.effectId, record.callId)
      if (facts.started.has(key)) this.wrong("the start of a call is stored twice:", facts.turnId, key)
      facts.started.add(key)
    } else if (record.type === "tool_results") {
      for (const { callId, output } of record.results) {
        const key = callKey(record.id, callId)
        if (facts.answered.has(key)) this.wrong("a call is answered twice:", facts.turnId, key)
        facts.answered.add(key)
        if (output.status !== "failure" || output.failure.code !== "outcome_unknown") continue
        facts.unknown.add(key)
        this.figures.unknown += 1
        if (!facts.started.has(key)) this.wrong("a call that never started is reported as unknown:", facts.turnId, key)
      }
    } else if (record.type === "interruption") {
      if (["cancel", "redirect"].includes(record.interruption.type) && record.effectId !== undefined) facts.answered.add(`${record.effectId}`)
    } else if ("id" in record) {
      const isRefused = record.type === "llm_complete" && !record.result.ok && record.result.error.code === "invalid_llm_response"
      if (isRefused && this.script.faults.every(({ what }) => what !== "garbage")) this.wrong("an answer is refused:", record)
      if (facts.answered.has(`${record.id}`)) this.wrong("an effect is answered twice:", facts.turnId, record.id)
      facts.answered.add(`${record.id}`)
    }
  }

  /** Stores records by their place, as the docs advise. */
  keep(turnId: string, from: number, records: readonly unknown[]): void {
    const kept = this.turn(turnId).records
    records.forEach((record, index) => {
      const text = JSON.stringify(record)
      const before = kept.get(from + index)
      if (before !== undefined && before !== text) this.wrong("a record changed when it was reported again:", from + index, before, text)
      kept.set(from + index, text)
    })
    if (kept.size > 0 && from > Math.max(...kept.keys()) + 1) this.wrong("records are missing before place", from)
  }

  /** Law 10. */
  checkPairs({ messages }: LlmRequest): void {
    let open: string[] = []
    const close = (): void => {
      if (open.length > 0) this.wrong("a request has calls without a result:", open)
      open = []
    }
    for (const { role, blocks } of messages) {
      if (role === "assistant") {
        close()
        open = blocks.flatMap((block) => (block.type === "tool_call" ? [block.callId] : []))
        continue
      }
      for (const block of blocks) {
        if (block.type !== "tool_result") continue
        const place = open.indexOf(block.callId)
        if (place < 0) this.wrong("a request has a result without a call:", block.callId)
        else open.splice(place, 1)
      }
    }
    close()
  }
}

/** Identifies a call in a turn; without an id, the code of an effect. */
export function callKey(effectId: number, callId = ""): string {
  return callId === "" ? `${effectId}` : `${effectId}:${callId}`
}
