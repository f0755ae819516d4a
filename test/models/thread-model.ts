/**
 * A model of what the pure core cannot show: processes that open one thread of a store, are killed between any two writes, take a thread from a
 * process that still lives (its lease has ended), and hear of users and of people who decide. Written from the promises of the docs, and not from
 * the code. Its steps are the writes, and the beginnings of work, that a process can be killed between; what a process does from one to the next
 * is one step. The states are plain JSON.
 *
 * The first turn makes one call that must not run twice (`once`), which may be held for a decision. Every later turn only answers.
 */

export type ProcessNumber = 0 | 1

/** What the log of the thread stores. `ids`: inputs. */
export type LogRecord =
  | { readonly type: "said" | "retracted"; readonly input: number }
  | { readonly type: "assigned" | "turn_begun"; readonly ids: readonly number[] }
  /** `ids`: the inputs that the turn received at checkpoints. */
  | { readonly type: "turn_ended"; readonly ids: readonly number[] }

/** What the journal of a turn stores: `delivery 1,2`, the answer of a checkpoint with inputs; `delivery `, one without any. */
export type TurnRecord = "begun" | "model" | "approve" | "reject" | "started" | "result" | "unknown_outcome" | `delivery ${string}` | "end"

export type Verdict = "approve" | "reject"

/** A journal in the store. `owner`: the process that opened it last, and lives. */
export interface Stored<Record> {
  readonly records: readonly Record[]
  readonly owner: ProcessNumber | undefined
}

/** What a process is about to do, beside the writes to the log. */
export type Work =
  | { readonly type: "open_log" | "rest" | "open_turn" | "act" }
  /** The turn waits for a record of the log. */
  | { readonly type: "log" }
  | { readonly type: "write"; readonly record: TurnRecord }
  | { readonly type: "open_to_decide" | "decide"; readonly verdict: Verdict }

/** A record of the log that is made, and not stored. */
export interface PendingRecord {
  readonly record: LogRecord
  /** The turn waits for it. */
  readonly isOfTurn: boolean
}

export interface Process {
  /** The log as the process knows it: with what is not stored. */
  readonly log: readonly LogRecord[]
  readonly pending: readonly PendingRecord[]
  readonly work: Work
  /** The journal of the open turn, as the process knows it. */
  readonly turn: readonly TurnRecord[]
}

export type DecisionStatus = "accepted" | "stale" | "refused"

export interface ThreadState {
  readonly log: Stored<LogRecord>
  /** The journals of the turns that have begun. */
  readonly turns: readonly Stored<TurnRecord>[]
  readonly processes: readonly (Process | undefined)[]
  /** Of each input: not acknowledged, being said to a process, or acknowledged. */
  readonly inputs: readonly ("new" | ProcessNumber | "acknowledged")[]
  /** Of each input that its sender took back: the process that is asked, or its answer. */
  readonly retractions: readonly (ProcessNumber | "retracted" | "delivered" | null)[]
  /** The answers to the people who decided. */
  readonly answered: { readonly [Choice in Verdict]?: DecisionStatus }
  /** How often the call has begun. */
  readonly begun: number
  /** What the store accepted from a process that is not the owner of a journal. */
  readonly intruded: boolean
}

export type ThreadInput =
  | { readonly type: "open" | "crash"; readonly process: ProcessNumber }
  /** The first pending record of the log is written, or what a process is about to do is done. */
  | { readonly type: "write_log" | "work"; readonly process: ProcessNumber }
  /** The same, and the process is killed before anyone hears of it. */
  | { readonly type: "write_log_and_crash" | "work_and_crash"; readonly process: ProcessNumber }
  | { readonly type: "say" | "retract"; readonly process: ProcessNumber; readonly input: number }
  | { readonly type: "decide"; readonly process: ProcessNumber; readonly verdict: Verdict }

/** Faults of the model, to see that its laws find them. */
export type ModelFault =
  /** A store accepts writes of earlier owners. */
  | "no_fencing"
  /** A call begins before that is stored. */
  | "begun_before_stored"
  /** A call that may have run is run again. */
  | "begun_again"
  /** A sender's second attempt is a second input. */
  | "keys_ignored"
  /** An input is delivered before the log says so. */
  | "not_assigned"
  /** A turn forgets what was assigned to it, and not delivered. */
  | "assigned_forgotten"
  /** A decision is recorded without reading whether there is one. */
  | "decided_unread"
  /** A held call runs as soon as a person was asked. */
  | "not_held"
  /** A decision is answered with `accepted` before it is stored. */
  | "answered_before_stored"
  /** An input is acknowledged before it is stored. */
  | "acknowledged_before_stored"
  /** A journal that its owner did not close cannot be opened. */
  | "never_free"
  /** A turn that resumes asks the model again. */
  | "answer_ignored"
  /** A process that opens the journal of a turn drops its last record, as if that were torn. */
  | "last_dropped"
  /** An input is taken back although a turn has received it. */
  | "taken_back_late"

export interface ModelOptions {
  readonly inputs: number
  /** Whether the call waits for a decision. */
  readonly isHeld: boolean
  readonly processes: 1 | 2
  /** The inputs that their senders may take back. Default: none. */
  readonly retractable?: readonly number[]
  /** Default: approve, and reject. */
  readonly verdicts?: readonly Verdict[]
  readonly fault?: ModelFault
}

type Mutable<Value> = Value extends readonly (infer Item)[]
  ? Mutable<Item>[]
  : Value extends object
    ? { -readonly [Key in keyof Value]: Mutable<Value[Key]> }
    : Value

/** A state that is being changed. */
type Draft = Mutable<ThreadState>
type ProcessDraft = Mutable<Process>

export class ThreadModel {
  readonly options: ModelOptions

  constructor(options: ModelOptions) {
    this.options = options
  }

  start(): ThreadState {
    const { inputs, processes } = this.options
    return {
      log: { records: [], owner: undefined },
      turns: [],
      processes: Array.from({ length: processes }, () => undefined),
      inputs: Array.from({ length: inputs }, () => "new" as const),
      retractions: Array.from({ length: inputs }, () => null),
      answered: {},
      begun: 0,
      intruded: false,
    }
  }

  /** What may happen in a state. */
  inputs(state: ThreadState): readonly ThreadInput[] {
    const { retractable = [], verdicts = ["approve", "reject"], isHeld } = this.options
    const inputs: ThreadInput[] = []
    state.processes.forEach((process, index) => {
      const number = index as ProcessNumber
      if (process === undefined) {
        if (this.#mayOpen(state.log)) inputs.push({ type: "open", process: number })
        return
      }
      inputs.push({ type: "crash", process: number })
      if (process.pending.length > 0) inputs.push({ type: "write_log", process: number })
      // After other writes, a process is as it is before its next one.
      const first = process.pending[0]?.record.type
      if (first === "said" || first === "retracted") inputs.push({ type: "write_log_and_crash", process: number })
      const { type } = process.work
      if (type === "decide") inputs.push({ type: "work_and_crash", process: number })
      if (type !== "rest" && type !== "log") inputs.push({ type: "work", process: number })
      if (type === "open_log") return
      state.inputs.forEach((sent, input) => {
        // Inputs differ in nothing but their number.
        if (input > 0 && state.inputs[input - 1] === "new") return
        // A second attempt is made where nothing else is being written, so that its answer comes at once.
        const isKnown = process.log.some((record) => record.type === "said" && record.input === input)
        if (sent === "new" && (!isKnown || process.pending.length === 0)) inputs.push({ type: "say", process: number, input })
        if (sent === "acknowledged" && state.retractions[input] === null && retractable.includes(input) && process.pending.length === 0)
          inputs.push({ type: "retract", process: number, input })
      })
      if (!isHeld || type !== "rest" || process.pending.length > 0 || !isTurnOpen(process.log)) return
      for (const verdict of verdicts) if (state.answered[verdict] === undefined) inputs.push({ type: "decide", process: number, verdict })
    })
    return inputs
  }

  next(state: ThreadState, input: ThreadInput): ThreadState {
    const draft = structuredClone(state) as Draft
    this.#apply(draft, input)
    return draft
  }

  #apply(draft: Draft, input: ThreadInput): void {
    const { process: number } = input
    if (input.type === "open") {
      draft.processes[number] = { log: [], pending: [], work: { type: "open_log" }, turn: [] }
      return
    }
    const process = draft.processes[number] as ProcessDraft
    switch (input.type) {
      case "crash":
        this.#die(draft, number)
        break
      case "write_log":
        this.#writeLog(draft, number, process)
        break
      case "work":
        this.#work(draft, number, process)
        break
      case "write_log_and_crash":
      case "work_and_crash":
        this.#workAndDie(draft, number, process, input.type === "write_log_and_crash")
        break
      case "say":
        this.#say(draft, number, process, input.input)
        break
      case "retract":
        this.#retract(draft, number, process, input.input)
        break
      case "decide":
        process.work = { type: "open_to_decide", verdict: input.verdict }
    }
  }

  /** What is stored stays, and the answer to the caller is lost. */
  #workAndDie(draft: Draft, number: ProcessNumber, process: ProcessDraft, isOfLog: boolean): void {
    const { inputs, retractions, answered } = structuredClone(draft)
    if (isOfLog) this.#writeLog(draft, number, process)
    else this.#work(draft, number, process)
    Object.assign(draft, { inputs, retractions, answered })
    this.#die(draft, number)
  }

  /** The process is gone. What it has not stored is lost, and its callers do not know the result. */
  #die(draft: Draft, number: ProcessNumber): void {
    draft.processes[number] = undefined
    draft.inputs = draft.inputs.map((sent) => (sent === number ? "new" : sent))
    draft.retractions = draft.retractions.map((asked) => (asked === number ? null : asked))
    if (this.options.fault === "never_free") return
    for (const stored of [draft.log, ...draft.turns]) if (stored.owner === number) stored.owner = undefined
  }

  #mayOpen({ owner }: Stored<unknown>): boolean {
    return this.options.fault !== "never_free" || owner === undefined
  }

  /** Whether a write is stored. An earlier owner notices, and ends. */
  #mayWrite(draft: Draft, number: ProcessNumber, stored: Mutable<Stored<unknown>>): boolean {
    if (stored.owner === number) return true
    if (this.options.fault === "no_fencing") {
      draft.intruded = true
      return true
    }
    this.#die(draft, number)
    return false
  }

  #writeLog(draft: Draft, number: ProcessNumber, process: ProcessDraft): void {
    const [first, ...rest] = process.pending
    if (first === undefined || !this.#mayWrite(draft, number, draft.log)) return
    process.pending = rest
    draft.log.records.push(first.record)
    const { record } = first
    if (record.type === "turn_begun") draft.turns.push({ records: [], owner: undefined })
    if (record.type === "said") draft.inputs[record.input] = "acknowledged"
    if (record.type === "retracted") draft.retractions[record.input] = "retracted"
    if (!first.isOfTurn) return
    if (record.type === "assigned") this.#deliver(process)
    else this.#loop(process)
  }

  #work(draft: Draft, number: ProcessNumber, process: ProcessDraft): void {
    const { work } = process
    const turn = turnOf(draft, process)
    switch (work.type) {
      case "open_log":
        draft.log.owner = number
        process.log = structuredClone(draft.log.records)
        this.#loop(process)
        break
      case "act":
        draft.begun += 1
        process.work = { type: "write", record: this.options.fault === "begun_before_stored" ? "started" : "result" }
        return
      case "open_turn":
        if (turn === undefined) throw new Error("No turn has begun.")
        turn.owner = number
        if (this.options.fault === "last_dropped") turn.records.pop()
        process.turn = [...turn.records]
        this.#follow(draft, number, process)
        break
      case "write":
        if (turn === undefined || !this.#mayWrite(draft, number, turn)) return
        turn.records.push(work.record)
        process.turn.push(work.record)
        this.#follow(draft, number, process, work.record)
        break
      case "open_to_decide":
        this.#openToDecide(draft, number, process, work.verdict)
        break
      case "decide":
        if (turn === undefined || !this.#mayWrite(draft, number, turn)) return
        turn.records.push(work.verdict)
        draft.answered[work.verdict] = "accepted"
        turn.owner = undefined
        this.#loop(process)
    }
  }

  #openToDecide(draft: Draft, number: ProcessNumber, process: ProcessDraft, verdict: Verdict): void {
    const turn = turnOf(draft, process)
    if (turn === undefined) throw new Error("No turn has begun.")
    turn.owner = number
    const decided = turn.records.find((record) => record === "approve" || record === "reject")
    const { fault } = this.options
    // The call is not held before the model has asked for it.
    if (turn.records.includes("model") && (decided === undefined || fault === "decided_unread")) {
      if (fault === "answered_before_stored") draft.answered[verdict] = "accepted"
      process.work = { type: "decide", verdict }
      return
    }
    draft.answered[verdict] = decided === verdict ? "stale" : "refused"
    turn.owner = undefined
    this.#loop(process)
  }

  #say(draft: Draft, number: ProcessNumber, process: ProcessDraft, input: number): void {
    const { fault } = this.options
    const isKnown = process.log.some((record) => record.type === "said" && record.input === input)
    if (isKnown && fault !== "keys_ignored") draft.inputs[input] = "acknowledged"
    else {
      draft.inputs[input] = fault === "acknowledged_before_stored" ? "acknowledged" : number
      this.#append(process, { type: "said", input }, false)
    }
    if (process.work.type === "rest") this.#loop(process)
  }

  #retract(draft: Draft, number: ProcessNumber, process: ProcessDraft, input: number): void {
    if (!queueOf(process.log).waiting.includes(input) && this.options.fault !== "taken_back_late") {
      draft.retractions[input] = "delivered"
      return
    }
    draft.retractions[input] = number
    this.#append(process, { type: "retracted", input }, false)
  }

  /** A record of the log: known at once, and stored after those that were made before it. */
  #append(process: ProcessDraft, record: LogRecord, isOfTurn: boolean): void {
    const own = structuredClone(record) as Mutable<LogRecord>
    process.log.push(own)
    process.pending.push({ record: own, isOfTurn })
    if (isOfTurn) process.work = { type: "log" }
  }

  /** Between turns: an open one is resumed; what waits begins the next one; otherwise the process rests. */
  #loop(process: ProcessDraft): void {
    process.turn = []
    process.work = { type: "rest" }
    if (isTurnOpen(process.log)) {
      process.work = { type: "open_turn" }
      return
    }
    const { waiting, assigned } = queueOf(process.log)
    const ids = [...(this.options.fault === "assigned_forgotten" ? [] : assigned), ...waiting]
    if (ids.length > 0) this.#append(process, { type: "turn_begun", ids }, true)
  }

  /** What a turn does after its records. `just`: the last one was written by this process; otherwise the turn was resumed. */
  #follow(draft: Draft, number: ProcessNumber, process: ProcessDraft, just?: TurnRecord): void {
    const { isHeld, fault } = this.options
    const { turn } = process
    const isFirst = process.log.filter(({ type }) => type === "turn_begun").length === 1
    const last = fault === "answer_ignored" && just === undefined && turn.at(-1) === "model" ? "begun" : turn.at(-1)
    const write = (record: TurnRecord): void => {
      process.work = { type: "write", record }
    }
    const calls = turn.filter((record) => record === "model").length
    switch (last) {
      case undefined:
        write("begun")
        break
      case "begun":
        write("model")
        break
      case "model":
        if (!isFirst || calls > 1) this.#checkpoint(draft, number, process)
        else if (isHeld && fault !== "not_held") this.#suspend(draft, number, process)
        else this.#begin(process)
        break
      case "approve":
        this.#begin(process)
        break
      case "started":
        if (fault === "begun_before_stored") write(just === undefined ? "unknown_outcome" : "result")
        else if (just === undefined && fault !== "begun_again") write("unknown_outcome")
        else process.work = { type: "act" }
        break
      case "reject":
      case "result":
      case "unknown_outcome":
        this.#checkpoint(draft, number, process)
        break
      case "end":
        this.#append(process, { type: "turn_ended", ids: delivered(turn) }, true)
        break
      default:
        write(last === "delivery " && isEnding(turn, isFirst) ? "end" : "model")
    }
  }

  #begin(process: ProcessDraft): void {
    process.work = this.options.fault === "begun_before_stored" ? { type: "act" } : { type: "write", record: "started" }
  }

  /** The turn waits for a person, and its process closes it. */
  #suspend(draft: Draft, number: ProcessNumber, process: ProcessDraft): void {
    process.turn = []
    process.work = { type: "rest" }
    const turn = turnOf(draft, process)
    if (turn?.owner === number) turn.owner = undefined
  }

  /** What waits is assigned to the turn in the log, and then delivered. */
  #checkpoint(draft: Draft, number: ProcessNumber, process: ProcessDraft): void {
    const { waiting } = queueOf(process.log)
    if (waiting.length > 0 && this.options.fault !== "not_assigned") {
      this.#append(process, { type: "assigned", ids: waiting }, true)
      return
    }
    this.#deliver(process)
    // An empty delivery is written at once: nothing comes between it and the record before it.
    if (process.work.type !== "write" || process.work.record !== "delivery ") return
    const turn = turnOf(draft, process)
    if (turn === undefined || !this.#mayWrite(draft, number, turn)) return
    turn.records.push("delivery ")
    process.turn.push("delivery ")
    this.#follow(draft, number, process, "delivery ")
  }

  #deliver(process: ProcessDraft): void {
    const { waiting, assigned } = queueOf(process.log)
    const received = delivered(process.turn)
    const due = [...assigned, ...(this.options.fault === "not_assigned" ? waiting : [])].filter((input) => !received.includes(input))
    process.work = { type: "write", record: `delivery ${due.join(",")}` }
  }
}

/** The open turn of a process, which an other process may have ended since. */
function turnOf(draft: Draft, { log }: ProcessDraft): Mutable<Stored<TurnRecord>> | undefined {
  return draft.turns[log.filter(({ type }) => type === "turn_begun").length - 1]
}

/** The inputs that a journal has as delivered at checkpoints. */
export function delivered(records: readonly TurnRecord[]): readonly number[] & number[] {
  return records.flatMap((record) => (record.startsWith("delivery ") ? record.slice("delivery ".length).split(",").filter(Boolean).map(Number) : []))
}

/** The last checkpoint was that at the end of the turn, and not the one after the call. */
function isEnding(records: readonly TurnRecord[], isFirst: boolean): boolean {
  return records.filter((record) => record === "model").length > (isFirst ? 1 : 0)
}

export function isTurnOpen(log: readonly LogRecord[]): boolean {
  const last = log.findLast(({ type }) => type === "turn_begun" || type === "turn_ended")
  return last?.type === "turn_begun"
}

/** What waits, and what the open turn is to receive, or the next one if it ended before. */
export function queueOf(log: readonly LogRecord[]): { readonly waiting: number[]; readonly assigned: number[] } {
  let waiting: number[] = []
  let assigned: number[] = []
  for (const record of log) {
    switch (record.type) {
      case "said":
        waiting.push(record.input)
        break
      case "retracted":
        waiting = waiting.filter((input) => input !== record.input)
        break
      case "assigned":
        assigned.push(...record.ids)
        waiting = waiting.filter((input) => !record.ids.includes(input))
        break
      default:
        waiting = waiting.filter((input) => !record.ids.includes(input))
        assigned = assigned.filter((input) => !record.ids.includes(input))
    }
  }
  return { waiting, assigned }
}
