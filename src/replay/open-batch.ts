import { pendingCall, placeResults, type WaitingTools } from "../machine/batch.ts"
import { restoreState } from "../machine/checkpoint.ts"
import { decidedBy, isReached, isWide, placeDecisions, undecidedCalls } from "../machine/held.ts"
import type { DecidedCall, Decision, HeldCall } from "../wire/approval.ts"
import type { JournalRecord, JournalSnapshot } from "../wire/journal.ts"
import type { ToolDecisions, ToolPending, ToolResults } from "../wire/response.ts"
import type { ToolSpec } from "../wire/tool.ts"
import type { JournalEntry } from "./journal-entry.ts"

/**
 * The batch of tool calls that a journal ends in, read from a snapshot and the records after it, without the driver of the turn. What its
 * driver does beyond the decisions is not known: a snapshot follows those where it matters.
 */
export class OpenBatch {
  readonly state: WaitingTools
  /** When the batch began, as far as known. Milliseconds since the epoch. */
  readonly since: number | undefined
  /** The latest time that the turn knows. */
  readonly at: number | undefined
  /** The tools that the model was shown. */
  readonly tools: readonly ToolSpec[]

  constructor(state: WaitingTools, since: number | undefined, at: number | undefined, tools: readonly ToolSpec[]) {
    this.state = state
    this.since = since
    this.at = at
    this.tools = tools
  }

  /** The batch of a snapshot. `before`: the batch until there, which may be the same. `undefined`: the turn does not wait for tool calls. */
  static of({ checkpoint }: JournalSnapshot, before?: OpenBatch): OpenBatch | undefined {
    const state = restoreState(checkpoint.state)
    if (state.type !== "waiting_tools") return undefined
    const { at, heldSince, tools } = checkpoint
    const isSame = before?.id === state.outstanding.id
    return new OpenBatch(state, isSame ? before.since : (at ?? heldSince), at, tools)
  }

  /** The id of the batch. */
  get id(): number {
    return this.state.outstanding.id
  }

  /** The batch after one more record. `undefined`: it is over, or the turn has ended. */
  after(record: JournalRecord): OpenBatch | undefined {
    switch (record.type) {
      case "snapshot":
        return OpenBatch.of(record, this)
      case "end":
        return undefined
      case "interruption": {
        const { interruption } = record
        const isEnd = interruption.type !== "apply" || interruption.actions.some(({ type }) => type === "finish")
        return isEnd ? undefined : this
      }
      case "tool_results":
        return record.id === this.id ? this.#afterResults(record) : this
      case "tool_decisions":
        return record.id === this.id ? this.#afterDecisions(record) : this
      case "tool_pending":
        return record.id === this.id ? this.#afterPending(record) : this
      default:
        // The answer to a later effect. A late one to an earlier effect changed nothing.
        return "id" in record && record.id > this.id ? undefined : this
    }
  }

  /** Whether every call has its result, so that the driver is asked what follows. */
  get isComplete(): boolean {
    return this.state.arrived.length === this.state.calls.length
  }

  #afterResults({ results, at }: ToolResults): OpenBatch {
    const { arrived, refused } = placeResults(this.state, results)
    return refused === undefined ? this.#with(this.state.withResults(arrived), at) : this
  }

  #afterPending(response: ToolPending): OpenBatch {
    const call = pendingCall(this.state, response)
    if (call === "known" || "why" in call) return this
    return this.#with(this.state.with({ pending: [...this.state.pending, call] }), response.at)
  }

  #afterDecisions({ decisions, at }: ToolDecisions): OpenBatch {
    const known = latest(this.at, at)
    const placed = placeDecisions(this.state, decisions, known)
    if (placed.decisions.length === 0) return this
    const exact = placed.decisions.map(decidedBy)
    const reached = placed.decisions.flatMap((decision) => reachedBy(this.state, decision, exact))
    const decided = [...exact, ...reached.filter(({ requestId }, index) => reached.findIndex((other) => other.requestId === requestId) === index)]
    return this.#with(this.state.with({ decided: this.state.decided.append(decided) }), at)
  }

  #with(state: WaitingTools, at: number | undefined): OpenBatch {
    return new OpenBatch(state, this.since, latest(this.at, at), this.tools)
  }
}

/** The batch after more entries. `batch`: the one before them. */
export function batchAfter(batch: OpenBatch | undefined, entries: readonly Pick<JournalEntry, "record">[]): OpenBatch | undefined {
  let last = batch
  for (const { record } of entries) last = record.type === "snapshot" ? OpenBatch.of(record, last) : last?.after(record)
  return last
}

/** The later of two times. A time that goes back does not count, as in the turn. */
export function latest(known: number | undefined, at: number | undefined): number | undefined {
  return at === undefined || (known !== undefined && known > at) ? known : at
}

/** Other held calls of the same tool that a decision with a wider scope reaches. */
function reachedBy(state: WaitingTools, decision: Decision, exact: readonly DecidedCall[]): readonly DecidedCall[] {
  if (!isWide(decision)) return []
  const { scope } = decision
  const effect = decision.decision === "approve" ? "allow" : "deny"
  const held = state.outstanding.held ?? []
  const toolName = held.find(({ requestId }) => requestId === decision.requestId)?.toolName
  const isOther = (call: HeldCall): boolean => call.toolName === toolName && !exact.some(({ requestId }) => requestId === call.requestId)
  return undecidedCalls(state)
    .filter((call) => isOther(call) && isReached(call, { effect, scope }))
    .map(({ requestId }) => ({ ...decidedBy(decision), requestId }))
}
