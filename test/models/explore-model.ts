import { type Broken, type ExploredModel, explore } from "./explore.ts"
import {
  delivered,
  isTurnOpen,
  type ModelOptions,
  queueOf,
  type ThreadInput,
  type ThreadModel,
  type ThreadState,
  type TurnRecord,
} from "./thread-model.ts"

/** What must hold in every state, and of every step. */
export const MODEL_LAWS = {
  once: "a call that must not run twice never begins twice",
  consent: "a held call begins only after its approval is stored",
  answers: "what is stored stays, and each effect is answered once",
  owner: "no earlier owner of a journal writes to it",
  inputs: "each input is received once or taken back, and none that was acknowledged is lost",
  decisions: "one decision counts, and it is the one whose author got `accepted`",
  liveness: "the turn can end, with every input handled, from every state",
} as const
export type ModelLaw = keyof typeof MODEL_LAWS

/** Explores a model of a thread, and checks the laws in each of its states. @throws {ModelError} */
export function exploreModel(model: ThreadModel): ExploredModel<ThreadInput> {
  return explore<ThreadState, ThreadInput, ModelLaw>({
    laws: MODEL_LAWS,
    liveness: "liveness",
    start: () => model.start(),
    inputs: (state) => model.inputs(state),
    next: (state, input) => model.next(state, input),
    key: keyOf,
    isEnded,
    brokenBy: (state) => brokenLaw(state, model.options),
    lostBy: lostOf,
    describe,
    kindOf,
    stepKindOf,
  })
}

/** Which process is the first one makes no difference. */
function keyOf(state: ThreadState): string {
  const [key, other] = [JSON.stringify(state), JSON.stringify(swapped(state))]
  return key < other ? key : other
}

function swapped({ log, turns, processes, inputs, retractions, ...rest }: ThreadState): ThreadState {
  const swap = <Value>(value: Value): Value => (typeof value === "number" ? ((1 - value) as Value) : value)
  return {
    log: { ...log, owner: swap(log.owner) },
    turns: turns.map((turn) => ({ ...turn, owner: swap(turn.owner) })),
    processes: processes.toReversed(),
    inputs: inputs.map(swap),
    retractions: retractions.map(swap),
    ...rest,
  }
}

/** Every input is handled, and no turn is open. */
export function isEnded({ log, inputs }: ThreadState): boolean {
  const { waiting, assigned } = queueOf(log.records)
  return inputs.every((sent) => sent === "acknowledged") && waiting.length + assigned.length === 0 && !isTurnOpen(log.records)
}

/** What is of interest in a state: where each process is, and who owns the journals. What was said is not. */
export function kindOf({ log, turns, processes, answered, begun }: ThreadState): string {
  const where = processes.map((process) => {
    if (process === undefined) return "gone"
    const { work, pending } = process
    const what = work.type === "write" ? work.record.replace(/[\d,]+/, "inputs") : "verdict" in work ? `${work.type} ${work.verdict}` : work.type
    return `${what} ${pending.map(({ record }) => record.type).join()}`
  })
  const last = turns.at(-1)
  return JSON.stringify([where, log.owner, last?.owner, last?.records.at(-1)?.replace(/[\d,]+/, "inputs"), answered, begun])
}

/** What is of interest in a step: what it is, what the process was about to do, and whether it found that another one has taken over. */
function stepKindOf(before: ThreadState, input: ThreadInput, after: ThreadState): string {
  const process = before.processes[input.process]
  const { work, pending = [] } = process ?? {}
  const what = work?.type === "write" ? work.record.replace(/[\d,]+/, "inputs") : work?.type
  const isFenced = !input.type.endsWith("crash") && process !== undefined && after.processes[input.process] === undefined
  const verdict = "verdict" in input ? input.verdict : work !== undefined && "verdict" in work ? work.verdict : ""
  return [input.type, verdict, what, pending[0]?.record.type, isFenced, JSON.stringify(after.answered)].join(" ")
}

function brokenLaw(state: ThreadState, { isHeld }: ModelOptions): Broken<ModelLaw> | undefined {
  const { log, turns, begun, inputs, retractions, answered, intruded } = state
  if (begun > 1) return ["once", `It began ${begun} times.`]
  const first = turns[0]?.records ?? []
  if (begun > 0 && isHeld && !first.includes("approve")) return ["consent", "It began, and no approval is stored."]
  if (intruded) return ["owner", "The store accepted a write of another process."]
  const decided = first.filter((record) => record === "approve" || record === "reject")
  if (decided.length > 1) return ["decisions", `${decided.length} decisions are stored.`]
  for (const verdict of ["approve", "reject"] as const)
    if ((answered[verdict] === "accepted" || answered[verdict] === "stale") && decided[0] !== verdict)
      return ["decisions", `Who chose ${verdict} got ${answered[verdict]}, and ${decided[0] ?? "nothing"} is stored.`]
  for (const [index, { records }] of turns.entries()) {
    const wrong = wrongRecords(records, index === 0)
    if (wrong !== undefined) return ["answers", `Turn ${index + 1}: ${wrong}`]
  }
  const received = [
    ...log.records.flatMap((record) => (record.type === "turn_begun" ? record.ids : [])),
    ...turns.flatMap(({ records }) => delivered(records)),
  ]
  for (const [input, sent] of inputs.entries()) {
    const times = received.filter((id) => id === input).length
    if (times > 1) return ["inputs", `Input ${input} was received ${times} times.`]
    const said = log.records.filter((record) => record.type === "said" && record.input === input).length
    if (said > 1) return ["inputs", `Input ${input} is stored ${said} times.`]
    if (sent === "acknowledged" && said === 0) return ["inputs", `Input ${input} is acknowledged, and not stored.`]
    if (retractions[input] === "retracted" && times > 0)
      return ["inputs", `Input ${input} was received, and its sender got the answer that it is taken back.`]
    if (isEnded(state) && times === 0 && retractions[input] !== "retracted" && !isRetracted(state, input))
      return ["inputs", `Input ${input} was neither received nor taken back.`]
  }
  return undefined
}

function isRetracted({ log }: ThreadState, input: number): boolean {
  return log.records.some((record) => record.type === "retracted" && record.input === input)
}

/** The journal of a turn: what may follow what. Two records for one effect, and a result without a beginning, do not match. */
const FIRST_TURN =
  /^(begun(;model(;(approve|reject))?((;started)?(;(result|unknown_outcome))?(;delivery [\d,]*(;model;delivery [\d,]+)*(;model(;delivery (;end)?)?)?)?)?)?)?$/
const LATER_TURN = /^(begun(;model;delivery [\d,]+)*(;model(;delivery (;end)?)?)?)?$/

function wrongRecords(records: readonly TurnRecord[], isFirst: boolean): string | undefined {
  const text = records.join(";")
  if (!(isFirst ? FIRST_TURN : LATER_TURN).test(text)) return `its journal has ${text}`
  return records.includes("result") && !records.includes("started") ? "a call has a result, and did not begin" : undefined
}

/** What a step lost. */
function lostOf(before: ThreadState, after: ThreadState): Broken<ModelLaw> | undefined {
  const isKept = (one: readonly unknown[], other: readonly unknown[]): boolean =>
    one.every((record, index) => JSON.stringify(record) === JSON.stringify(other[index]))
  if (!isKept(before.log.records, after.log.records)) return ["answers", "A record of the log is gone."]
  const lost = before.turns.findIndex(({ records }, index) => !isKept(records, after.turns[index]?.records ?? []))
  return lost < 0 ? undefined : ["answers", `A record of turn ${lost + 1} is gone.`]
}

export function describe(input: ThreadInput): string {
  const name = "process" in input ? `Process ${input.process + 1}` : ""
  switch (input.type) {
    case "open":
      return `${name} starts.`
    case "crash":
      return `${name} is killed.`
    case "write_log":
      return `${name} writes its next record to the log.`
    case "work":
      return `${name} does what it is about to do.`
    case "write_log_and_crash":
      return `${name} writes its next record to the log, and is killed before anyone hears of it.`
    case "work_and_crash":
      return `${name} does what it is about to do, and is killed before anyone hears of it.`
    case "say":
      return `A user says input ${input.input} to ${name.toLowerCase()}.`
    case "retract":
      return `A user takes input ${input.input} back at ${name.toLowerCase()}.`
    case "decide":
      return `A person decides at ${name.toLowerCase()}: ${input.verdict}.`
  }
}
