/**
 * A model of the tokens of subagents: a turn asks for two of them at once, and each gets a lease of what the turn's budget has left. Two processes
 * run the turn: they are killed between any two writes, and take it from a process that still lives. Written from the promises of the docs.
 *
 * Each call of a model uses 3 tokens. A subagent calls a tool after its first one and answers with its second one, or ends when it has used its
 * lease. It may get 4 tokens, and both together 6.
 */
import type { Broken, Model } from "./explore.ts"

export type ProcessNumber = 0 | 1
export type CallNumber = 0 | 1

export const CALL_TOKENS = 3
export const CHILD_TOKENS = 4
export const TOTAL_TOKENS = 6

export type ChildRecord = "model" | "tools" | "end"

/** The journal of a subagent. `lease`: absent before it has begun. `owner`: the process that opened it last, and lives. */
export interface Child {
  readonly lease?: number
  readonly records: readonly ChildRecord[]
  readonly owner?: ProcessNumber
}

/** The result of a call: the subagent answered, used its lease, or got none. */
export type Result = "ok" | "used_up" | "refused"

/** What the journal of the turn stores after both calls were asked for. */
export type TurnRecord = "results" | "model" | "end"

/** What a process is about to do with one call. */
export type Call =
  /** Open its journal; read the other ones to see what is left; wait for the other call, which does so. */
  | { readonly at: "open" | "look" | "wait" }
  /** Store its lease in the journal of the turn, and then in its own, with which it begins. */
  | { readonly at: "grant" | "begin"; readonly lease: number }
  | { readonly at: "write"; readonly record: ChildRecord }
  | { readonly at: "done"; readonly result: Result }

export interface Process {
  /** What it is about to do beside the calls. */
  readonly at: "open" | "calls" | TurnRecord
  readonly calls: readonly Call[]
  /** The calls that have opened their journals and not begun, in order: one begins at a time. */
  readonly beginning: readonly CallNumber[]
  /** The leases in the journal of the turn, as the process knows them. */
  readonly grants: Grants
}

/** Of each call: its lease, or `null`. */
export type Grants = readonly (number | null)[]

export interface LeaseState {
  readonly turn: { readonly owner?: ProcessNumber; readonly records: readonly TurnRecord[]; readonly grants: Grants; readonly results?: readonly Result[] }
  readonly children: readonly Child[]
  readonly processes: readonly (Process | null)[]
}

export type LeaseInput =
  | { readonly type: "open" | "crash"; readonly process: ProcessNumber; readonly call?: undefined }
  /** What a process is about to do is done: with a call, or else with the turn. */
  | { readonly type: "step"; readonly process: ProcessNumber; readonly call?: CallNumber }

export type LeaseFault =
  /** Both calls look at once. */
  | "begun_together"
  /** What an open subagent may still use is not reserved. */
  | "not_reserved"
  /** A subagent that is continued looks again, and gets another lease. */
  | "granted_again"
  /** What an ended one used is not counted. */
  | "forgotten"
  /** A lease is stored in the journal of the subagent alone. */
  | "not_recorded"
  /** The store accepts writes of earlier owners. */
  | "no_fencing"

export type LeaseLaw = "granted" | "kept" | "answers" | "spent" | "liveness"

type Mutable<Value> = { -readonly [Key in keyof Value]: Value[Key] extends object ? Mutable<Value[Key]> : Value[Key] }
type Draft = Mutable<LeaseState>

export class LeaseModel implements Model<LeaseState, LeaseInput, LeaseLaw> {
  readonly laws = {
    granted: "subagents never get more than the total, and each crosses its lease by less than one call",
    kept: "what is stored stays, and a lease is never changed",
    answers: "each effect is answered once",
    spent: "the results say what the journals of the subagents say",
    liveness: "the turn can end from every state",
  } as const
  readonly liveness = "liveness"
  readonly fault: LeaseFault | undefined

  constructor(fault?: LeaseFault) {
    this.fault = fault
  }

  start(): LeaseState {
    return { turn: { records: [], grants: [null, null] }, children: [{ records: [] }, { records: [] }], processes: [null, null] }
  }

  inputs({ turn, processes }: LeaseState): readonly LeaseInput[] {
    const inputs: LeaseInput[] = []
    for (const process of [0, 1] as const) {
      const own = processes[process]
      if (own === null || own === undefined) {
        if (turn.records.at(-1) !== "end") inputs.push({ type: "open", process })
        continue
      }
      inputs.push({ type: "crash", process })
      if (own.at !== "calls") inputs.push({ type: "step", process })
      else for (const call of [0, 1] as const) if (!["done", "wait"].includes(own.calls[call]?.at ?? "")) inputs.push({ type: "step", process, call })
    }
    return inputs
  }

  next(state: LeaseState, input: LeaseInput): LeaseState {
    const draft = structuredClone(state) as Draft
    if (input.type === "open") draft.processes[input.process] = { at: "open", calls: [], beginning: [], grants: [] }
    else if (input.type === "crash") this.#die(draft, input.process)
    else if (input.call === undefined) this.#stepTurn(draft, input.process)
    else this.#stepCall(draft, input.process, input.call)
    return draft
  }

  #die(draft: Draft, number: ProcessNumber): void {
    draft.processes[number] = null
    for (const journal of [draft.turn, ...draft.children]) if (journal.owner === number) delete journal.owner
  }

  #mayWrite({ owner }: { readonly owner?: ProcessNumber }, number: ProcessNumber): boolean {
    return owner === number || this.fault === "no_fencing"
  }

  #stepTurn(draft: Draft, number: ProcessNumber): void {
    const process = draft.processes[number] as Mutable<Process>
    const { turn } = draft
    const { at } = process
    if (at === "open") {
      turn.owner = number
      process.grants = [...turn.grants]
      if (turn.records.length === 0) {
        process.at = "calls"
        process.calls = [{ at: "open" }, { at: "open" }]
        return
      }
    } else {
      if (!this.#mayWrite(turn, number)) return this.#die(draft, number)
      if (at === "results") turn.results = process.calls.map((call) => (call as { result: Result }).result)
      turn.records.push(at as TurnRecord)
    }
    const last = turn.records.at(-1)
    if (last === "end") this.#die(draft, number)
    else process.at = last === "model" ? "end" : "model"
  }

  #stepCall(draft: Draft, number: ProcessNumber, call: CallNumber): void {
    const process = draft.processes[number] as Mutable<Process>
    const child = draft.children[call] as Mutable<Child>
    const step = process.calls[call] as Call
    switch (step.at) {
      case "open":
        child.owner = number
        if (child.lease !== undefined) this.#follow(process, child, call)
        else {
          process.beginning.push(call)
          process.calls[call] = process.beginning.length === 1 || this.fault === "begun_together" ? this.#first(process, call) : { at: "wait" }
        }
        break
      case "look": {
        const other = draft.children[1 - call] as Child
        const reserved = other.lease === undefined ? (process.grants[1 - call] ?? 0) : this.#reserved(other)
        const lease = Math.min(CHILD_TOKENS, TOTAL_TOKENS - reserved)
        if (lease >= 1) {
          process.calls[call] = { at: this.fault === "not_recorded" ? "begin" : "grant", lease }
          return
        }
        this.#close(child, number)
        process.calls[call] = { at: "done", result: "refused" }
        this.#hasBegun(process, call)
        break
      }
      case "grant":
        if (!this.#mayWrite(draft.turn, number)) return this.#die(draft, number)
        draft.turn.grants[call] = step.lease
        process.grants[call] = step.lease
        process.calls[call] = { at: "begin", lease: step.lease }
        return
      case "begin":
        if (!this.#mayWrite(child, number)) return this.#die(draft, number)
        child.lease = step.lease
        this.#hasBegun(process, call)
        this.#follow(process, child, call)
        break
      case "write":
        if (!this.#mayWrite(child, number)) return this.#die(draft, number)
        child.records.push(step.record)
        this.#follow(process, child, call)
    }
    if (child.owner === number && process.calls[call]?.at === "done") this.#close(child, number)
    if (process.calls.every(({ at }) => at === "done")) process.at = "results"
  }

  #close(child: Mutable<Child>, number: ProcessNumber): void {
    if (child.owner === number) delete child.owner
  }

  /** The next one may look. */
  #hasBegun(process: Mutable<Process>, call: CallNumber): void {
    process.beginning = process.beginning.filter((other) => other !== call)
    const [next] = process.beginning
    if (next !== undefined && process.calls[next]?.at === "wait") process.calls[next] = this.#first(process, next)
  }

  /** What a call does whose turn it is to begin. One that had its lease before a crash keeps it. */
  #first({ grants }: Process, call: CallNumber): Call {
    const lease = this.fault === "granted_again" ? null : (grants[call] ?? null)
    return lease === null ? { at: "look" } : { at: "begin", lease }
  }

  #follow(process: Mutable<Process>, child: Child, call: CallNumber): void {
    const last = child.records.at(-1)
    const isAnswered = usedBy(child) === 2 * CALL_TOKENS
    if (last === "end") process.calls[call] = { at: "done", result: isAnswered ? "ok" : "used_up" }
    else if (last !== "model") process.calls[call] = { at: "write", record: "model" }
    else process.calls[call] = { at: "write", record: isAnswered || usedBy(child) >= (child.lease ?? 0) ? "end" : "tools" }
  }

  #reserved(child: Child): number {
    if (isEnded(child)) return this.fault === "forgotten" ? 0 : usedBy(child)
    return this.fault === "not_reserved" ? usedBy(child) : Math.max(usedBy(child), child.lease ?? 0)
  }

  /** Which process is the first one makes no difference. */
  key(state: LeaseState): string {
    const [key, other] = [JSON.stringify(state), JSON.stringify(swapped(state))]
    return key < other ? key : other
  }

  isEnded({ turn }: LeaseState): boolean {
    return turn.records.at(-1) === "end"
  }

  brokenBy({ turn, children }: LeaseState): Broken<LeaseLaw> | undefined {
    const leases = children.map(({ lease }, call) => lease ?? turn.grants[call] ?? 0)
    const granted = children.reduce((sum, child, call) => sum + Math.min(leases[call] ?? 0, isEnded(child) ? usedBy(child) : Number.POSITIVE_INFINITY), 0)
    if (granted > TOTAL_TOKENS) return ["granted", `${granted} of ${TOTAL_TOKENS} tokens are granted.`]
    for (const [call, child] of children.entries()) {
      const { lease = 0, records } = child
      if (usedBy(child) - lease >= CALL_TOKENS) return ["granted", `Subagent ${call + 1} used ${usedBy(child)} of ${lease} tokens.`]
      if (!/^(model(,tools(,model(,end)?)?|,end)?)?$/.test(records.join())) return ["answers", `Subagent ${call + 1} has ${records.join()}.`]
      const result = turn.results?.[call]
      if (result === undefined) continue
      const said = child.lease === undefined ? "refused" : usedBy(child) === 2 * CALL_TOKENS ? "ok" : "used_up"
      if (result !== said || (child.lease !== undefined && !isEnded(child)))
        return ["spent", `The result of subagent ${call + 1} is ${result}, and its journal says ${said} (${records.join()}).`]
    }
    if (!/^(results(,model(,end)?)?)?$/.test(turn.records.join())) return ["answers", `The turn has ${turn.records.join()}.`]
    return undefined
  }

  lostBy(before: LeaseState, after: LeaseState): Broken<LeaseLaw> | undefined {
    const begins = (one: readonly unknown[], other: readonly unknown[]): boolean => one.every((record, index) => record === other[index])
    if (!begins(before.turn.records, after.turn.records)) return ["kept", "A record of the turn is gone."]
    for (const [call, child] of before.children.entries()) {
      const granted = before.turn.grants[call] ?? null
      if (granted !== null && (after.turn.grants[call] !== granted || (after.children[call]?.lease ?? granted) !== granted))
        return ["kept", `The lease of subagent ${call + 1} was ${granted}.`]
      const now = after.children[call]
      if (child.lease !== undefined && child.lease !== now?.lease) return ["kept", `The lease of subagent ${call + 1} was ${child.lease}.`]
      if (!begins(child.records, now?.records ?? [])) return ["kept", `A record of subagent ${call + 1} is gone.`]
    }
    return undefined
  }

  describe(input: LeaseInput): string {
    const name = `Process ${input.process + 1}`
    if (input.type === "open") return `${name} starts.`
    if (input.type === "crash") return `${name} is killed.`
    return `${name} does what it is about to do with ${input.call === undefined ? "the turn" : `subagent ${input.call + 1}`}.`
  }

  kindOf({ turn, children, processes }: LeaseState): string {
    const at = processes.map((process) => process && [process.at, process.calls.map((call) => `${call.at} ${"record" in call ? call.record : ""}`)])
    return JSON.stringify([at, turn.owner, turn.grants, children.map(({ owner, lease }) => [owner, lease])])
  }

  stepKindOf(before: LeaseState, input: LeaseInput, after: LeaseState): string {
    const process = before.processes[input.process]
    const call = input.call !== undefined ? process?.calls[input.call] : undefined
    const isFenced = input.type === "step" && after.processes[input.process] === null
    return JSON.stringify([input.type, process?.at, call, isFenced, process?.beginning.length])
  }
}

export function usedBy({ records }: Child): number {
  return CALL_TOKENS * records.filter((record) => record === "model").length
}

export function isEnded({ records }: Child): boolean {
  return records.at(-1) === "end"
}

function swapped({ turn, children, processes }: LeaseState): LeaseState {
  const swap = <Journal extends { readonly owner?: ProcessNumber }>(journal: Journal): Journal =>
    journal.owner === undefined ? journal : { ...journal, owner: 1 - journal.owner }
  return { turn: swap(turn), children: children.map(swap), processes: processes.toReversed() }
}
