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

/** What the journal of the turn stores after both calls were asked for: the lease and the result of each, the answer of the model, and the end. */
export type TurnWrite =
  | { readonly type: "grant"; readonly call: CallNumber; readonly lease: number }
  | { readonly type: "result"; readonly call: CallNumber; readonly result: Result }
  | { readonly type: "model" | "end" }

/** The journal of the turn. Of each call: its lease and its result. */
export interface Turn {
  readonly grants: readonly (number | null)[]
  readonly results: readonly (Result | null)[]
  readonly records: readonly ("model" | "end")[]
  readonly owner?: ProcessNumber
}

/** What a process is about to do with one call. */
export type Call =
  /** Open its journal, or read the other ones to see what is left. */
  | { readonly at: "open" | "look" }
  /** Wait for the other call, which begins; or for the journal of the turn, which is to store its lease or its result. */
  | { readonly at: "wait" | "stored" }
  | { readonly at: "begin"; readonly lease: number }
  | { readonly at: "write"; readonly record: ChildRecord }

export interface Process {
  /** Absent: it is about to open the journal of the turn. */
  readonly turn?: Turn
  readonly calls: readonly Call[]
  /** The calls that have opened their journals and not begun, in order: one begins at a time. */
  readonly beginning: readonly CallNumber[]
  /** What is being written to the journal of the turn, in one piece. */
  readonly writing: readonly TurnWrite[]
  /** What is written next. */
  readonly queued: readonly TurnWrite[]
  /** The results that are recorded when the one before is stored. */
  readonly ended: readonly { readonly call: CallNumber; readonly result: Result }[]
}

export interface LeaseState {
  readonly turn: Turn
  readonly children: readonly Child[]
  readonly processes: readonly (Process | null)[]
}

export type LeaseInput =
  | { readonly type: "open" | "crash"; readonly process: ProcessNumber; readonly call?: undefined }
  /** What a process is about to do is done: with a call, or else with the turn. */
  | { readonly type: "step"; readonly process: ProcessNumber; readonly call?: CallNumber }

export type LeaseFault =
  /** A subagent whose journal another process has is a call that failed. */
  | "fenced_is_refused"
  /** A subagent that is continued does not know its records. */
  | "begun_anew"
  /** A call that had its lease before a crash does not begin. */
  | "grant_waits"
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

export interface LeaseModelOptions {
  readonly processes: 1 | 2
  readonly fault?: LeaseFault
}

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
  readonly #numbers: readonly ProcessNumber[]

  /** `processes`: 1, one that is killed and started again; 2, two that take the turn from each other. */
  constructor({ processes, fault }: LeaseModelOptions) {
    this.#numbers = processes === 1 ? [0] : [0, 1]
    this.fault = fault
  }

  start(): LeaseState {
    return {
      turn: { grants: [null, null], results: [null, null], records: [] },
      children: [{ records: [] }, { records: [] }],
      processes: [null, null],
    }
  }

  inputs({ turn, processes }: LeaseState): readonly LeaseInput[] {
    const inputs: LeaseInput[] = []
    for (const process of this.#numbers) {
      const own = processes[process] ?? null
      if (own === null) {
        if (!hasEnded(turn)) inputs.push({ type: "open", process })
        continue
      }
      inputs.push({ type: "crash", process })
      if (own.turn === undefined || own.writing.length > 0) inputs.push({ type: "step", process })
      for (const [call, { at }] of own.calls.entries())
        if (at !== "wait" && at !== "stored") inputs.push({ type: "step", process, call: call as CallNumber })
    }
    return inputs
  }

  next(state: LeaseState, input: LeaseInput): LeaseState {
    const draft = structuredClone(state) as Draft
    if (input.type === "open") draft.processes[input.process] = { calls: [], beginning: [], writing: [], queued: [], ended: [] }
    else if (input.type === "crash") this.#die(draft, input.process)
    else if (input.call !== undefined) this.#stepCall(draft, input.process, input.call)
    else if (draft.processes[input.process]?.turn === undefined) this.#openTurn(draft, input.process)
    else this.#writeTurn(draft, input.process)
    return draft
  }

  #die(draft: Draft, number: ProcessNumber): void {
    draft.processes[number] = null
    for (const journal of [draft.turn, ...draft.children]) if (journal.owner === number) delete journal.owner
  }

  #mayWrite({ owner }: { readonly owner?: ProcessNumber }, number: ProcessNumber): boolean {
    return owner === number || this.fault === "no_fencing"
  }

  #openTurn(draft: Draft, number: ProcessNumber): void {
    const process = draft.processes[number] as Mutable<Process>
    if (hasEnded(draft.turn)) {
      this.#die(draft, number)
      return
    }
    draft.turn.owner = number
    process.turn = structuredClone(draft.turn)
    process.calls = draft.turn.results.map((result) => ({ at: result === null ? "open" : "stored" }))
    this.#goOn(process)
  }

  /** Stores what is being written. */
  #writeTurn(draft: Draft, number: ProcessNumber): void {
    const process = draft.processes[number] as Mutable<Process>
    const { turn } = draft
    if (!this.#mayWrite(turn, number)) {
      this.#die(draft, number)
      return
    }
    const own = process.turn as Mutable<Turn>
    const written = process.writing
    process.writing = process.queued
    process.queued = []
    for (const write of written)
      switch (write.type) {
        case "grant":
          turn.grants[write.call] = own.grants[write.call] = write.lease
          process.calls[write.call] = { at: "begin", lease: write.lease }
          break
        case "result":
          turn.results[write.call] = own.results[write.call] = write.result
          break
        default:
          turn.records.push(write.type)
          own.records.push(write.type)
      }
    if (hasEnded(own)) {
      this.#die(draft, number)
      return
    }
    this.#goOn(process)
  }

  /** Records the next result, if none is being recorded, and what follows both of them. */
  #goOn(process: Mutable<Process>): void {
    const { turn } = process
    if (turn === undefined || [...process.writing, ...process.queued].some(({ type }) => type !== "grant")) return
    const next = process.ended.shift()
    if (next !== undefined) this.#write(process, { type: "result", ...next })
    else if (turn.results.every((result) => result !== null)) this.#write(process, { type: turn.records.length === 0 ? "model" : "end" })
  }

  #write(process: Mutable<Process>, write: TurnWrite): void {
    if (process.writing.length === 0) process.writing.push(write)
    else process.queued.push(write)
  }

  #stepCall(draft: Draft, number: ProcessNumber, call: CallNumber): void {
    const process = draft.processes[number] as Mutable<Process>
    const child = draft.children[call] as Mutable<Child>
    const step = process.calls[call] as Call
    switch (step.at) {
      case "open":
        child.owner = number
        if (child.lease !== undefined && this.fault === "begun_anew") process.calls[call] = { at: "write", record: "model" }
        else if (child.lease !== undefined) this.#follow(process, number, child, call)
        else {
          process.beginning.push(call)
          process.calls[call] = process.beginning.length === 1 || this.fault === "begun_together" ? this.#first(process, call) : { at: "wait" }
        }
        break
      case "look":
        this.#look(draft, number, call)
        break
      case "begin":
        if (!this.#mayWrite(child, number)) {
          this.#fenced(draft, number, call)
          return
        }
        child.lease = step.lease
        this.#hasBegun(process, call)
        this.#follow(process, number, child, call)
        break
      case "write":
        if (!this.#mayWrite(child, number)) {
          this.#fenced(draft, number, call)
          return
        }
        child.records.push(step.record)
        this.#follow(process, number, child, call)
    }
  }

  #look(draft: Draft, number: ProcessNumber, call: CallNumber): void {
    const process = draft.processes[number] as Mutable<Process>
    const other = draft.children[1 - call] as Child
    const reserved = other.lease === undefined ? (process.turn?.grants[1 - call] ?? 0) : this.#reserved(other)
    const lease = Math.min(CHILD_TOKENS, TOTAL_TOKENS - reserved)
    if (lease < 1) {
      this.#end(process, number, draft.children[call] as Mutable<Child>, call, "refused")
      this.#hasBegun(process, call)
    } else if (this.fault === "not_recorded") process.calls[call] = { at: "begin", lease }
    else {
      process.calls[call] = { at: "stored" }
      this.#write(process, { type: "grant", call, lease })
    }
  }

  /** Another process has the journal of a subagent. */
  #fenced(draft: Draft, number: ProcessNumber, call: CallNumber): void {
    if (this.fault !== "fenced_is_refused") {
      this.#die(draft, number)
      return
    }
    const process = draft.processes[number] as Mutable<Process>
    this.#end(process, number, draft.children[call] as Mutable<Child>, call, "refused")
    this.#hasBegun(process, call)
  }

  #end(process: Mutable<Process>, number: ProcessNumber, child: Mutable<Child>, call: CallNumber, result: Result): void {
    if (child.owner === number) delete child.owner
    process.calls[call] = { at: "stored" }
    process.ended.push({ call, result })
    this.#goOn(process)
  }

  /** The next one may look. */
  #hasBegun(process: Mutable<Process>, call: CallNumber): void {
    process.beginning = process.beginning.filter((other) => other !== call)
    const [next] = process.beginning
    if (next !== undefined && process.calls[next]?.at === "wait") process.calls[next] = this.#first(process, next)
  }

  /** What a call does whose turn it is to begin. One that had its lease before a crash keeps it. */
  #first({ turn }: Process, call: CallNumber): Call {
    const lease = turn?.grants[call] ?? null
    if (lease !== null && this.fault === "grant_waits") return { at: "wait" }
    return lease === null || this.fault === "granted_again" ? { at: "look" } : { at: "begin", lease }
  }

  #follow(process: Mutable<Process>, number: ProcessNumber, child: Mutable<Child>, call: CallNumber): void {
    const last = child.records.at(-1)
    const isAnswered = usedBy(child) === 2 * CALL_TOKENS
    if (last === "end") this.#end(process, number, child, call, isAnswered ? "ok" : "used_up")
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
    return hasEnded(turn)
  }

  brokenBy({ turn, children }: LeaseState): Broken<LeaseLaw> | undefined {
    const leases = children.map(({ lease }, call) => lease ?? turn.grants[call] ?? 0)
    const granted = children.reduce(
      (sum, child, call) => sum + Math.min(leases[call] ?? 0, isEnded(child) ? usedBy(child) : Number.POSITIVE_INFINITY),
      0,
    )
    if (granted > TOTAL_TOKENS) return ["granted", `${granted} of ${TOTAL_TOKENS} tokens are granted.`]
    for (const [call, child] of children.entries()) {
      const { lease = 0, records } = child
      if (usedBy(child) - lease >= CALL_TOKENS) return ["granted", `Subagent ${call + 1} used ${usedBy(child)} of ${lease} tokens.`]
      if (!/^(model(,tools(,model(,end)?)?|,end)?)?$/.test(records.join())) return ["answers", `Subagent ${call + 1} has ${records.join()}.`]
      const result = turn.results[call] ?? null
      if (result === null) continue
      const said = child.lease === undefined ? "refused" : usedBy(child) === 2 * CALL_TOKENS ? "ok" : "used_up"
      if (result !== said || (child.lease !== undefined && !isEnded(child)))
        return ["spent", `The result of subagent ${call + 1} is ${result}, and its journal says ${said} (${records.join()}).`]
    }
    if (!/^(model(,end)?)?$/.test(turn.records.join())) return ["answers", `The turn has ${turn.records.join()}.`]
    return undefined
  }

  lostBy(before: LeaseState, after: LeaseState): Broken<LeaseLaw> | undefined {
    const begins = (one: readonly unknown[], other: readonly unknown[]): boolean => one.every((record, index) => record === other[index])
    const isGone = before.turn.results.some((result, call) => result !== null && result !== after.turn.results[call])
    if (isGone || !begins(before.turn.records, after.turn.records)) return ["kept", "A record of the turn is gone."]
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
    const at = processes.map((process) => process && [gatesOf(process), process.beginning])
    return JSON.stringify([at, turn.owner, children.map(({ owner, lease }) => [owner, lease])])
  }

  stepKindOf(before: LeaseState, input: LeaseInput, after: LeaseState): string {
    const process = before.processes[input.process]
    const what = input.type !== "step" ? "" : input.call === undefined ? (process?.writing ?? []).map(({ type }) => type) : process?.calls[input.call]
    const isFenced = input.type === "step" && after.processes[input.process] === null
    return JSON.stringify([input.type, what, isFenced, process?.beginning.length])
  }
}

/** The gates at which a process waits. */
export function gatesOf({ turn, calls, writing }: Process): readonly string[] {
  const gates: string[] = turn === undefined ? ["open turn"] : []
  if (writing.length > 0) gates.push(`turn ${writing.map(({ type }) => type).join(" + ")}`)
  for (const [call, step] of calls.entries()) {
    if (step.at === "look") gates.push("look")
    else if (step.at === "open" || step.at === "begin") gates.push(`${step.at} ${call}`)
    else if (step.at === "write") gates.push(`${step.record} ${call}`)
  }
  return gates
}

function hasEnded({ records }: Turn): boolean {
  return records.at(-1) === "end"
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
