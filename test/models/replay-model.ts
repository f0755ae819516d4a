import { describe, isEnded } from "./explore-model.ts"
import { GatedWorld, inputIds, type RealFault } from "./gated-world.ts"
import { replaySteps, settle } from "./settle.ts"
import type { LogRecord, ThreadInput, ThreadModel, ThreadState, TurnRecord, Work } from "./thread-model.ts"

/** What both the model and the real threads can show. */
interface Shown {
  readonly log: readonly LogRecord[]
  readonly turns: readonly (readonly TurnRecord[])[]
  /** Of each process that lives: where it waits. */
  readonly processes: readonly (readonly string[] | "gone")[]
  readonly acknowledged: readonly number[]
  readonly retractions: readonly (string | null)[]
  readonly answered: object
  readonly begun: number
}

/**
 * Takes the steps of a path with real threads, and then those that lead to the end of the turn. After each step, what is stored, where each process
 * waits, and what users and people were answered must be as in the model. Returns how many steps were taken. @throws {ReplayError}
 */
export async function replayPath(model: ThreadModel, path: readonly ThreadInput[], fault?: RealFault): Promise<number> {
  const world = new GatedWorld(model.options.isHeld, fault)
  await world.begin()
  return replaySteps<ThreadState, ThreadInput>(
    {
      model: {
        start: () => model.start(),
        inputs: (state) => model.inputs(state),
        next: (state, input) => model.next(state, input),
        isEnded,
        describe,
      },
      perform: (input, _before, isTorn) => perform(world, input, isTorn),
      settle: (state, steps) => settle(world.processes, shownByModel(state), () => shownByWorld(world, state), steps),
      towardsEnd,
    },
    path,
  )
}

function perform(world: GatedWorld, input: ThreadInput, isTorn: boolean): void {
  if (input.type === "open") {
    world.open(input.process)
    return
  }
  const process = world.process(input.process)
  switch (input.type) {
    case "crash":
      process.kill(isTorn ? 0.5 : 0)
      break
    case "write_log":
    case "work":
      process.pass(input.type === "write_log")
      break
    case "write_log_and_crash":
    case "work_and_crash":
      process.kill(1, input.type === "write_log_and_crash")
      break
    case "say":
      process.say(input.input)
      break
    case "retract":
      process.retract(input.input)
      break
    case "decide":
      process.decide(input.verdict)
  }
}

/** What processes are about to do comes first, then what users and people still want, and a new process where that leads nowhere. */
function towardsEnd(inputs: readonly ThreadInput[]): ThreadInput | undefined {
  for (const type of ["write_log", "work", "say", "decide", "open", "crash"] as const) {
    const input = inputs.find((candidate) => candidate.type === type)
    if (input !== undefined) return input
  }
  return undefined
}

function shownByModel({ log, turns, processes, inputs, retractions, answered, begun }: ThreadState): Shown {
  return {
    log: log.records,
    turns: turns.map(({ records }) => records),
    processes: processes.map((process) => {
      if (process === undefined) return "gone"
      const turn = process.log.filter(({ type }) => type === "turn_begun").length
      const first = process.pending[0]
      return [...(first === undefined ? [] : [`log ${first.record.type}`]), ...gatesOf(process.work, turn)].sort()
    }),
    acknowledged: inputs.flatMap((sent, input) => (sent === "acknowledged" ? [input] : [])),
    retractions: retractions.map((asked) => (typeof asked === "string" ? asked : null)),
    answered,
    begun,
  }
}

/** The gate at which a process waits before its work. */
function gatesOf(work: Work, turn: number): readonly string[] {
  switch (work.type) {
    case "open_log":
      return ["open log"]
    case "open_turn":
    case "open_to_decide":
      return [`open t.${turn}`]
    case "act":
      return ["act"]
    case "write":
      return [`turn ${RECORD_TYPES[work.record] ?? "checkpoint_delivery"}`]
    case "decide":
      return ["turn tool_decisions"]
    case "rest":
      return ["rests"]
    case "log":
      return []
  }
}

const RECORD_TYPES: { readonly [record: string]: string } = {
  begun: "header",
  model: "llm_complete",
  started: "call_started",
  result: "tool_results",
  unknown_outcome: "tool_results",
  end: "end",
}

function shownByWorld(world: GatedWorld, { processes, retractions, answered }: ThreadState): Shown {
  const inputs = inputIds(world)
  const ids = (messages: readonly string[]): readonly number[] => messages.map((id) => inputs[Number(id.replace("user-", "")) - 1] ?? -1)
  const log = world.records("t.thread").flatMap((record) => logRecord(record as unknown as RealLogRecord, ids))
  const turns = log.filter(({ type }) => type === "turn_begun")
  return {
    log,
    turns: turns.map((_, index) => world.records(`t.${index + 1}`).flatMap((record) => turnRecord(record as unknown as RealTurnRecord, ids))),
    processes: processes.map((_, number) => {
      const process = world.processes[number]
      if (process === undefined || process.isGone) return "gone"
      const isResting = process.isResting && !process.gates.some((gate) => !gate.startsWith("log "))
      return [...process.gates, ...(isResting ? ["rests"] : [])].sort()
    }),
    acknowledged: [...world.acknowledged].sort(),
    retractions: retractions.map((_, input) => world.retracted.get(input) ?? null),
    answered: Object.fromEntries(Object.keys(answered).length === 0 && world.answered.size === 0 ? [] : world.answered),
    begun: world.begun,
  }
}

interface RealLogRecord {
  readonly type: string
  readonly message?: { readonly parts: readonly { readonly text: string }[] }
  readonly inputs?: readonly string[]
  readonly said?: readonly string[]
  readonly records?: readonly { readonly type: string; readonly message?: { readonly id: string; readonly role: string } }[]
}

function logRecord(
  { type, message, inputs = [], said = [], records = [] }: RealLogRecord,
  idsOf: (ids: readonly string[]) => readonly number[],
): readonly LogRecord[] {
  switch (type) {
    case "said":
      return [{ type, input: Number(message?.parts[0]?.text.slice(1)) }]
    case "retracted":
      return idsOf(inputs).map((input) => ({ type, input }))
    case "assigned":
      return [{ type, ids: idsOf(inputs) }]
    case "turn_begun":
      return [{ type, ids: idsOf(said) }]
    case "turn_ended":
      return [{ type, ids: idsOf(records.flatMap((record) => (record.message?.id.startsWith("user-") === true ? [record.message.id] : []))) }]
    default:
      return []
  }
}

interface RealTurnRecord {
  readonly type: string
  readonly decisions?: readonly { readonly decision: "approve" | "reject" }[]
  readonly results?: readonly { readonly output: { readonly status: string; readonly failure?: { readonly code: string } } }[]
  readonly delivery?: { readonly userMessages?: readonly { readonly id: string }[] }
}

function turnRecord(record: RealTurnRecord, idsOf: (ids: readonly string[]) => readonly number[]): readonly TurnRecord[] {
  switch (record.type) {
    case "header":
      return ["begun"]
    case "llm_complete":
      return ["model"]
    case "tool_decisions":
      return record.decisions?.map(({ decision }) => decision) ?? []
    case "call_started":
      return ["started"]
    case "tool_results":
      return record.results?.map(({ output }) => (output.failure?.code === "outcome_unknown" ? "unknown_outcome" : "result")) ?? []
    case "checkpoint_delivery":
      return [`delivery ${idsOf(record.delivery?.userMessages?.map(({ id }) => id) ?? []).join(",")}`]
    case "end":
      return ["end"]
    default:
      return []
  }
}
