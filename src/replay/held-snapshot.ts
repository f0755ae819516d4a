import { isWide } from "../machine/held.ts"
import type { Turn } from "../machine/turn.ts"
import type { DecidedCall } from "../wire/approval.ts"
import type { JournalRecord } from "../wire/journal.ts"
import type { Response } from "../wire/response.ts"

/**
 * Whether a journal needs a snapshot because a batch waits for answers from outside. They are checked against the snapshot, by a process that
 * does not have the driver. A policy decided which calls are held, and once more about edited arguments; a
 * driver decided what a grant reaches. None of this is asked again after a snapshot, so that a turn that is resumed under another policy
 * does not change what was allowed.
 */
export class HeldSnapshot {
  /** The batch that the last snapshot has. */
  #id: number | undefined
  /** How many decisions of the batch were looked at. */
  #seen = 0
  /** The requests of the decisions that the records after the snapshot have. */
  readonly #recorded = new Set<string>()
  /** Since the snapshot, a decision may have led to more than its record says. */
  #isDue = false

  /** What the records say of held calls, from the last snapshot on. */
  static of(records: readonly JournalRecord[]): HeldSnapshot {
    const held = new HeldSnapshot()
    for (const record of records) {
      if (record.type === "tool_decisions") held.note(record)
      if (record.type !== "snapshot") continue
      const { state } = record.checkpoint
      if (state.type !== "waiting_tools") continue
      held.#id = state.outstanding.id
      held.#seen = state.decided?.length ?? 0
    }
    return held
  }

  /** Notes a response that is recorded. */
  note(response: Response): void {
    if (response.type !== "tool_decisions") return
    for (const decision of response.decisions) {
      this.#recorded.add(decision.requestId)
      this.#isDue ||= decision.decision === "edit" || isWide(decision)
    }
  }

  /** Whether a snapshot of the turn is due. The turn has handled every response that is recorded. */
  isDue({ position: { state } }: Turn): boolean {
    if (state.type !== "waiting_tools" || (state.outstanding.held === undefined && state.pending.length === 0)) return this.#isDue
    if (state.outstanding.id !== this.#id) return true
    const { storage, length } = state.decided
    for (; this.#seen < length; this.#seen += 1) {
      const { requestId } = storage[this.#seen] as DecidedCall
      this.#isDue ||= !this.#recorded.has(requestId)
    }
    return this.#isDue
  }
}
