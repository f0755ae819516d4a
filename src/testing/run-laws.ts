import { isWide } from "../machine/held.ts"
import type { Turn } from "../machine/turn.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { Response, ToolDecisions, ToolPending, ToolResults } from "../wire/response.ts"
import type { CompletedToolCall } from "../wire/tool.ts"
import { jsonText } from "./difference.ts"
import { requireEqual, requireEqualLists, requireEqualTexts, requireEqualTurns } from "./laws.ts"
import { refusalsOf } from "./refusals.ts"
import { give, type TestedMachine } from "./turn-input.ts"
import { checkpointText, newMachine, type StepInput, type Subject, type Trace, type TraceStep } from "./turn-trace.ts"
import type { DriverCall } from "./watched-driver.ts"

/** Law 1: the same turn from copies of the same values, without checkpoints in between. */
export function checkReplay(subject: Subject, trace: Trace): void {
  const driverCalls: DriverCall[] = []
  const machine = newMachine({ ...subject, start: copy(subject.start) }, (call) => driverCalls.push(call))
  const done = trace.steps.map(({ input }) => (input.type === "poll_once" ? machine.poll() : give(machine, copyInput(input))))
  trace.steps.forEach(({ where, input, verdict, effectText }, index) => {
    if (input.type === "poll_once") requireEqualTexts("replay", where, "the effect polled", jsonText(done[index]), effectText)
    else requireEqual("replay", where, "the verdict on the input", done[index], verdict)
  })
  requireEqualTexts("replay", "at the end", "the checkpoint", checkpointText(machine), (trace.steps.at(-1)?.after ?? trace.begin).checkpoint)
  requireEqualLists("replay", "at the end", "the driver's calls and answers", driverCalls, trace.driverCalls)
}

/** Laws 3 and 4: neither refused inputs before every step nor a repeated answer after every answer changes what follows. */
export function checkRefusals(subject: Subject, trace: Trace): void {
  const machine = newMachine(subject, () => {})
  let refusedBy: Turn | undefined
  for (const { where, input, verdict, effectText, after } of trace.steps) {
    // A poll usually leaves the turn unchanged; inputs that were just refused need not be tried again.
    if (machine.turn !== refusedBy) requireRefusals(`before ${where}`, machine)
    refusedBy = machine.turn
    if (input.type === "poll_once") {
      requireEqualTexts("refusal", where, "the effect polled after refusals", jsonText(machine.poll()), effectText)
      continue
    }
    requireEqual("refusal", where, "the verdict on the input after refusals", give(machine, input), verdict)
    if (input.type === "respond" && verdict === "accepted") requireStale(where, machine, input, after.outstanding?.id)
  }
}

/** Law 4: a turn refuses what it must refuse, with the right codes, and stays as it is. `only`: one refusal, chosen by that number. */
export function requireRefusals(where: string, machine: TestedMachine, only?: number): void {
  const before = checkpointText(machine)
  const { turn } = machine
  const all = refusalsOf(machine)
  const tried = only === undefined ? all : all.slice(only % all.length, (only % all.length) + 1)
  for (const { what, input, code } of tried) {
    requireEqual("refusal", where, `the verdict on ${what}`, verdictOf(machine, input), code)
    if (machine.turn !== turn) requireEqualTexts("refusal", where, `the checkpoint after ${what} and before it`, checkpointText(machine), before)
  }
  requireEqualTexts("refusal", where, "the checkpoint after refusals and before them", checkpointText(machine), before)
}

/** The verdict on an input. An error without a code is returned as its text. */
function verdictOf(machine: TestedMachine, input: Parameters<typeof give>[1]): string {
  try {
    return give(machine, input)
  } catch (error) {
    return String(error)
  }
}

function requireStale(
  where: string,
  machine: TestedMachine,
  input: Extract<StepInput, { type: "respond" }>,
  outstandingId: number | undefined,
): void {
  // While a batch is incomplete, repeated results are an error and not a duplicate; see the refusals.
  if (outstandingId === input.response.id && input.response.type === "tool_results") return
  const before = checkpointText(machine)
  requireEqual("duplicates", where, "the same answer repeated", verdictOf(machine, input), "stale")
  requireEqualTexts("duplicates", where, "the checkpoint after a stale answer and before it", checkpointText(machine), before)
}

/** Law 8 for each batch: other orders and splits of its results and decisions, compared with the order in which they arrived. */
export function checkToolOrder(subject: Subject, trace: Trace): void {
  checkResultOrder(subject, trace)
  checkDecisionOrder(subject, trace)
}

/** All results of a batch at once, and one by one from the last to the first. Batches with decisions are left to {@link checkDecisionOrder}. */
function checkResultOrder(subject: Subject, trace: Trace): void {
  if (trace.steps.some(({ input }) => input.type === "respond" && input.response?.type === "tool_decisions")) return
  const inputs = trace.steps.flatMap(({ input, verdict }): Input[] => (input.type === "poll_once" || verdict !== "accepted" ? [] : [input]))
  const batches = batchesOf(inputs)
  if (Array.from(batches.values()).every(({ results }) => results.length < 2)) return
  const original = runDrained(subject, inputs)
  if (!original.isSame) return
  for (const [order, split] of Object.entries(SPLITS)) {
    const other = runDrained(subject, regroup(inputs, batches, split))
    requireEqualLists("tools", `results ${order}`, "the driver's calls and answers", other.driverCalls, original.driverCalls)
    requireEqualTurns("tools", `results ${order}`, "the turn at the end", withoutWaiting(other.checkpoint), withoutWaiting(original.checkpoint))
  }
}

/**
 * The decisions of a batch at once or one by one from the last to the first, then the reports about calls that continue outside, then the
 * results in the same ways. Decisions that reach other calls, and those that time may expire, depend on their order.
 */
function checkDecisionOrder(subject: Subject, trace: Trace): void {
  const inputs = trace.steps.flatMap(({ input, verdict }): Input[] => (input.type === "poll_once" || verdict !== "accepted" ? [] : [input]))
  const parts = inputs.flatMap((input) => (input.type === "respond" && isPart(input.response) ? [input.response] : []))
  const decisions = parts.flatMap((part) => (part.type === "tool_decisions" ? part.decisions : []))
  if (decisions.length === 0 || decisions.some(isWide) || trace.steps.some(mayExpire)) return
  const original = runDrained(subject, inputs)
  if (!original.isSame) return
  for (const [order, split] of Object.entries(DECIDED_SPLITS)) {
    const other = runDrained(subject, regroupParts(inputs, parts, split))
    const where = `decisions and results ${order}`
    requireEqualLists(
      "tools",
      where,
      "what the driver saw of each batch",
      other.driverCalls.flatMap(seenBatch),
      original.driverCalls.flatMap(seenBatch),
    )
    requireEqual("tools", where, "the turn at the end", inAnyOrder(other.checkpoint), inAnyOrder(original.checkpoint))
  }
}

type BatchPart = ToolResults | ToolDecisions | ToolPending

function isPart(response: Response): response is BatchPart {
  return response.type === "tool_results" || response.type === "tool_decisions" || response.type === "tool_pending"
}

function mayExpire({ after: { outstanding } }: TraceStep): boolean {
  return outstanding?.type === "tool_calls" && (outstanding.held ?? []).some(({ ask }) => ask.expiresAt !== undefined)
}

const DECIDED_SPLITS: { readonly [order: string]: (parts: readonly BatchPart[]) => readonly BatchPart[] } = {
  "all at once": (parts) => {
    const [first] = parts
    if (first === undefined) return []
    const decisions = parts.flatMap((part) => (part.type === "tool_decisions" ? part.decisions : []))
    const results = parts.flatMap((part) => (part.type === "tool_results" ? part.results : []))
    const decided: readonly BatchPart[] = decisions.length === 0 ? [] : [{ type: "tool_decisions", id: first.id, decisions }]
    return [...decided, ...parts.filter(({ type }) => type === "tool_pending"), { type: "tool_results", id: first.id, results }]
  },
  "one by one, the last first": (parts) => {
    const decided = parts.flatMap((part) =>
      part.type === "tool_decisions" ? part.decisions.map((decision) => ({ ...part, decisions: [decision] })) : [],
    )
    const answered = parts.flatMap((part) => (part.type === "tool_results" ? part.results : []))
    const first = parts.find((part) => part.type === "tool_results")
    const split = answered.length === 0 ? [[]] : lastFirst(answered).map((result) => [result])
    const results = first === undefined ? [] : split.map((some): BatchPart => ({ ...first, results: some }))
    return [...decided.reverse(), ...parts.filter(({ type }) => type === "tool_pending"), ...results]
  },
}

/** The same inputs, with the parts of each batch in another order, all in the place of the last one. */
function regroupParts(
  inputs: readonly Input[],
  parts: readonly BatchPart[],
  split: (parts: readonly BatchPart[]) => readonly BatchPart[],
): readonly Input[] {
  return inputs.flatMap((input): readonly Input[] => {
    if (input.type !== "respond" || !isPart(input.response)) return [input]
    const batch = parts.filter(({ id }) => id === input.response.id)
    if (batch.at(-1) !== input.response) return []
    const at = Math.max(...batch.map((part) => part.at ?? Number.NEGATIVE_INFINITY))
    return split(batch).map(({ at: _at, ...part }) => ({ type: "respond", response: { ...part, ...(Number.isFinite(at) && { at }) } }))
  })
}

/** What of a driver's call does not depend on the order of decisions. Nothing of the calls that are about decisions. */
function seenBatch(call: DriverCall): readonly string[] {
  const { callback, lastEvent: _lastEvent, at: _at, usage: _usage, ...seen } = JSON.parse(call) as Record<string, unknown>
  return callback === "onToolDecisions" ? [] : [JSON.stringify({ callback, ...seen })]
}

/** A checkpoint without what the order of decisions and results may change: the order of records, and the time spent waiting. */
export function inAnyOrder(checkpoint: string): unknown {
  const { unpolled: _unpolled, heldMs: _heldMs, heldSince: _heldSince, ...turn } = JSON.parse(checkpoint) as TurnCheckpoint
  const texts = (list: readonly unknown[] = []): readonly string[] => list.map((item) => JSON.stringify(item)).sort()
  const state =
    turn.state.type === "waiting_tools" ? { ...turn.state, decided: texts(turn.state.decided), pending: texts(turn.state.pending) } : turn.state
  return { ...turn, state, events: texts(turn.events) }
}

type Input = Exclude<StepInput, { type: "poll_once" }>
type Results = readonly CompletedToolCall[]

/** The results of one batch, in order of arrival, and the last input that contained any. */
interface Batch {
  readonly lastInput: Input
  readonly results: Results
  readonly at: number | undefined
}

function batchesOf(inputs: readonly Input[]): ReadonlyMap<number, Batch> {
  const batches = new Map<number, Batch>()
  for (const input of inputs) {
    if (input.type !== "respond" || input.response.type !== "tool_results") continue
    const { id, results, at } = input.response
    const before = batches.get(id)
    const latest = before?.at === undefined || (at !== undefined && at > before.at) ? at : before.at
    batches.set(id, { lastInput: input, results: [...(before?.results ?? []), ...results], at: latest })
  }
  return batches
}

const SPLITS: { readonly [order: string]: (results: Results) => readonly Results[] } = {
  "all at once": (results) => [results],
  "one by one, the last first": (results) => (results.length === 0 ? [[]] : lastFirst(results).map((result) => [result])),
}

/** From the last to the first. Results with the same call id stay in order, because only the order distinguishes their calls. */
export function lastFirst(results: Results): Results {
  const waiting = new Map<string, CompletedToolCall[]>()
  for (const result of results) waiting.set(result.callId, [...(waiting.get(result.callId) ?? []), result])
  return [...results].reverse().map(({ callId }) => waiting.get(callId)?.shift() as CompletedToolCall)
}

/** A checkpoint without the time that the turn waited for work outside: it begins when the last call that runs here has its result. */
function withoutWaiting(checkpoint: string): string {
  const { heldMs: _heldMs, heldSince: _heldSince, ...turn } = JSON.parse(checkpoint) as TurnCheckpoint
  return JSON.stringify(turn)
}

/** The same inputs, with each batch's results split differently at the position of its last part. */
function regroup(inputs: readonly Input[], batches: ReadonlyMap<number, Batch>, split: (results: Results) => readonly Results[]): readonly Input[] {
  return inputs.flatMap((input): readonly Input[] => {
    const batch = input.type === "respond" ? batches.get(input.response.id) : undefined
    if (input.type !== "respond" || input.response.type !== "tool_results" || batch === undefined) return [input]
    if (batch.lastInput !== input) return []
    const { id } = input.response
    const at = batch.at === undefined ? {} : { at: batch.at }
    return split(batch.results).map((results) => ({ type: "respond", response: { type: "tool_results", id, ...at, results } satisfies ToolResults }))
  })
}

/** A turn that is polled until nothing is left after each input. */
interface DrainedRun {
  readonly driverCalls: readonly DriverCall[]
  readonly checkpoint: string
  /** Whether it accepted every input, as the turn under test did. One that was redirected before its first poll may have other effects then. */
  readonly isSame: boolean
}

/** Runs accepted inputs and polls until nothing is left after each, so that the timing of polls does not matter. */
function runDrained(subject: Subject, inputs: readonly Input[]): DrainedRun {
  const driverCalls: DriverCall[] = []
  const machine = newMachine(subject, (call) => driverCalls.push(call))
  const drain = (): void => {
    while (machine.poll() !== undefined);
  }
  drain()
  let isSame = true
  for (const input of inputs) {
    isSame = give(machine, input) === "accepted" && isSame
    drain()
  }
  return { driverCalls, checkpoint: checkpointText(machine), isSame }
}

function copy<Value>(value: Value): Value {
  return JSON.parse(JSON.stringify(value)) as Value
}

/** Refused inputs may contain values that JSON cannot represent; they are not copied. */
function copyInput(input: Input): Input {
  return "expect" in input && input.expect !== undefined && input.expect !== "accepted" ? input : copy(input)
}
