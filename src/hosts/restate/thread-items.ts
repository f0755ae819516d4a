import { TurnError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import type { ToolDecisions } from "../../wire/response.ts"
import { type DecisionResult, type OutsideAnswerCode, outsideDecision } from "../journal/outside-answers.ts"
import type { Thread } from "../thread/thread.ts"
import type { JournalClock } from "./journal-clock.ts"
import type { StateReader, StateWriter } from "./thread-context.ts"
import type { Inbox, InboxEntry, InboxItem, InboxReply, TakenItems } from "./thread-inbox.ts"
import { definedOnly } from "./thread-options.ts"
import type { ThreadTurns } from "./thread-turns.ts"

/** What was decided in the last turn in which anything was. */
type DecidedCalls = { readonly turnId: string; readonly records: readonly ToolDecisions[] }

const DECIDED = "decided"

/** What receiving items needs of the run. */
interface ReceiverOptions {
  /** Resolves the awakeable of a sender. */
  reply(id: string, result: InboxReply): void
  /** Called when items are recorded. */
  received(thread: Thread): void
  /** Called when the invocation is cancelled. */
  cancelled(): void
  isFatal(error: unknown): boolean
}

/** Applies what has arrived for a thread, and replies to those who sent it. */
export class ItemReceiver {
  readonly #inbox: Inbox
  readonly #state: StateReader & StateWriter
  readonly #turns: ThreadTurns
  readonly #clock: JournalClock
  readonly #options: ReceiverOptions
  /** Answers from outside that came before the open turn ran. */
  #deferred: InboxEntry[] = []

  constructor(inbox: Inbox, state: StateReader & StateWriter, turns: ThreadTurns, clock: JournalClock, options: ReceiverOptions) {
    this.#inbox = inbox
    this.#state = state
    this.#turns = turns
    this.#clock = clock
    this.#options = options
  }

  /** Applies the answers that waited for the machine of the open turn. */
  async applyDeferred(thread: Thread): Promise<void> {
    for (const entry of this.#deferred.splice(0)) await this.#apply(thread, entry)
  }

  /** Records everything that has arrived. Returns how much. */
  async receive(thread: Thread): Promise<number> {
    let count = 0
    for (;;) {
      const taken: TakenItems = await this.#taken()
      for (const entry of taken.entries) await this.#apply(thread, entry)
      this.#inbox.recorded(taken)
      count += taken.entries.length
      if (taken.entries.length > 0) this.#options.received(thread)
      else return count
    }
  }

  async #taken(): Promise<TakenItems> {
    for (;;) {
      try {
        return await this.#inbox.take()
      } catch (error) {
        // The cancellation of the invocation cancels its calls. What they would have handed out is still there.
        if ((error as { readonly code?: unknown }).code !== 409) throw error
        this.#options.cancelled()
      }
    }
  }

  async #apply(thread: Thread, entry: InboxEntry): Promise<void> {
    const { item, at, reply } = entry
    this.#clock.advance(at)
    if (this.#isEarly(thread, item)) {
      this.#deferred.push(entry)
      return
    }
    let result: InboxReply
    try {
      result = { ok: true, value: (await this.#result(thread, item, reply)) as Json }
    } catch (error) {
      // What a client sent must not fail the run: it would fail again in each attempt, and no other item would be received.
      if (this.#options.isFatal(error)) throw error
      result = { ok: false, code: error instanceof TurnError ? error.code : "invalid_request", message: messageOf(error) }
    }
    if (reply !== undefined) this.#options.reply(reply, result)
  }

  async #result(thread: Thread, item: InboxItem, id: string | undefined): Promise<unknown> {
    if (item.type === "decided") return this.#decide(thread, item)
    if (item.type === "answered" && !isForOpenTurn(thread, item)) return { status: "refused", ...whyNotOpen(thread, item.turnId) }
    return applyItem(thread, item, id)
  }

  /** Decides, and stores what was decided: the same decision again is stale, also when another invocation receives it. */
  async #decide(thread: Thread, item: Extract<InboxItem, { type: "decided" }>): Promise<readonly DecisionResult[]> {
    const { decisions, at, turnId } = item
    const isOpen = isForOpenTurn(thread, item)
    const results = isOpen ? await thread.decide(decisions, { at, turnId }) : undefined
    const known = await this.#state.get<DecidedCalls>(DECIDED)
    const open = thread.openTurn?.turnId
    const records = known !== null && (isOpen ? known.turnId === open : turnId === undefined || known.turnId === turnId) ? known.records : []
    const accepted = decisions.filter((_decision, index) => results?.[index]?.status === "accepted")
    if (open !== undefined && accepted.length > 0) {
      const record: ToolDecisions = { type: "tool_decisions", id: 0, at, decisions: accepted }
      this.#state.set<DecidedCalls>(DECIDED, { turnId: open, records: [...records, record] })
    }
    const otherwise = whyNotOpen(thread, turnId)
    return decisions.map((decision, index) => {
      const result = results?.[index]
      if (result !== undefined && result.status !== "refused") return result
      const earlier = outsideDecision(
        { batch: undefined, at: undefined, tools: { shown: [], now: undefined }, records, otherwise },
        decision,
        at,
      ).result
      return result === undefined || earlier.status === "stale" ? earlier : result
    })
  }

  /** Whether an answer is for the open turn, whose machine this invocation has not made yet. */
  #isEarly(thread: Thread, { type }: InboxItem): boolean {
    return (type === "decided" || type === "answered") && thread.openTurn !== undefined && thread.openTurn.turnId !== this.#turns.turn?.turnId
  }
}

function isForOpenTurn({ openTurn }: Thread, { turnId }: { readonly turnId?: string }): boolean {
  return openTurn !== undefined && (turnId === undefined || turnId === openTurn.turnId)
}

/** Why an answer for a turn that is not open does not count. */
function whyNotOpen({ threadId, turns }: Thread, turnId: string | undefined): { readonly code: OutsideAnswerCode; readonly message: string } {
  const number = turnId === undefined ? turns : Number(turnId.slice(threadId.length + 1))
  const hasEnded = turns > 0 && (turnId === undefined || turnId === `${threadId}.${number}`) && number >= 1 && number <= turns
  return hasEnded ? { code: "turn_finished", message: "The turn has ended." } : { code: "turn_not_begun", message: "The thread has no such turn." }
}

/**
 * `id`: identifies the item. Where it has no key of its own, it is recorded under this one: a run that is killed between the record and the cursor
 * leaves the item to the next run, which must not record it again.
 */
async function applyItem(thread: Thread, item: Exclude<InboxItem, { type: "decided" }>, id: string | undefined): Promise<unknown> {
  switch (item.type) {
    case "said": {
      const { input, when, key = id, attachments } = item
      return thread.say(input, definedOnly({ when, key, attachments }))
    }
    case "commanded":
      return thread.command(item.command, definedOnly({ key: item.key ?? id }))
    case "happened":
      await thread.event(item.event, definedOnly({ key: item.key ?? id }))
      return null
    case "answered":
      return thread.answer(item.callId, item.answer, { at: item.at, turnId: item.turnId })
    case "retracted":
      return thread.retract(item.inputId)
    case "interrupted": {
      const wasRunning = thread.openTurn !== undefined
      return { ...(await thread.interrupt(item.reason)), wasRunning }
    }
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
