import { undecidedCalls } from "../../machine/held.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { cutMiddle } from "../../text.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { Outcome } from "../../wire/event.ts"
import type { Goal } from "../../wire/goal.ts"
import type { InputTime } from "../../wire/thread.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import type { ThreadTurn } from "../thread/config.ts"
import type { RestFacts } from "../thread/loop-options.ts"
import type { Thread, ThreadRest } from "../thread/thread.ts"
import type { StateReader, StateWriter } from "./thread-context.ts"
import { piecesOf } from "./thread-store.ts"

/** An input that no turn has received. */
export interface WaitingInput {
  readonly inputId: string
  readonly when: InputTime
  /** When it was said. Milliseconds since the epoch. */
  readonly at: number
}

/** What is known of a thread without its history. It is small, and a value of its own in the state of the object. */
export interface ThreadHead {
  /** When it was written. Milliseconds since the epoch. */
  readonly at: number
  /** The goal at the last end of a turn or command between turns. */
  readonly goal: Goal | null
  /** How many turns have begun. */
  readonly turns: number
  /** The turn that has begun and not ended. */
  readonly openTurn?: ThreadTurn
  /** The last turn that ended. A long text of its outcome is cut. */
  readonly lastTurn?: { readonly turnId: string; readonly outcome: Outcome }
  /** The inputs that no turn has received. */
  readonly queue: readonly WaitingInput[]
  /** The calls of the open turn that wait for a decision. */
  readonly held: readonly HeldCall[]
  /** The calls of the open turn that continue outside. */
  readonly pending: readonly ExternalCall[]
  /** The tokens of all turns that have ended. */
  readonly usage: TokenUsage
  /** Why the thread rests. Absent: it runs, or continues in another invocation. */
  readonly rest?: Omit<RestFacts, "outcome">
}

/** How far the open turn is. */
export interface TurnProgress {
  readonly turnId: string
  readonly iteration: number
  /** The tokens of all answers so far. */
  readonly usage: TokenUsage
  /** When its last answer came. Milliseconds since the epoch. */
  readonly at: number
}

/** The keys of the state. */
export const HEAD = "head"
export const PROGRESS = "progress"
const REST = "rest"

/** What a run knows of a thread beside its log. */
export interface HeadFacts {
  /** The turn whose machine this is. */
  readonly turnId: string | undefined
  readonly machine: TurnMachine | undefined
  /** The tokens of all turns that have ended. */
  readonly usage: TokenUsage
  readonly now: number
}

/** Writes the head of a thread whenever it changes. */
export class HeadWriter {
  readonly #state: StateWriter
  #written = ""

  constructor(state: StateWriter) {
    this.#state = state
  }

  /** `rest`: the thread rests. */
  write(thread: Thread, facts: HeadFacts, rest?: ThreadRest): void {
    const { goal, turns, openTurn, lastTurn } = thread
    const { state } = facts.machine?.turn.position ?? {}
    const waits = openTurn !== undefined && openTurn.turnId === facts.turnId && state?.type === "waiting_tools" ? state : undefined
    const head = {
      goal,
      turns,
      ...(openTurn !== undefined && { openTurn }),
      ...(lastTurn !== undefined && { lastTurn: { turnId: lastTurn.turnId, outcome: shortOutcome(lastTurn.outcome) } }),
      queue: thread.queue().map(({ inputId, when, at }): WaitingInput => ({ inputId, when, at })),
      held: waits === undefined ? [] : undecidedCalls(waits),
      pending: waits?.pending ?? [],
      usage: facts.usage,
      ...(rest !== undefined && { rest: withoutOutcome(rest) }),
    }
    const text = JSON.stringify(head)
    if (text === this.#written) return
    this.#written = text
    this.#state.set<ThreadHead>(HEAD, { at: facts.now, ...head })
  }
}

/** A rest has the whole text of its outcome. */
export async function writeRest(state: StateReader & StateWriter, rest: ThreadRest): Promise<void> {
  const before = (await state.get<number>(REST)) ?? 0
  const pieces = piecesOf(JSON.stringify(rest))
  pieces.forEach((piece, index) => {
    state.set(`${REST}:${index}`, piece)
  })
  for (let index = pieces.length; index < before; index += 1) state.clear(`${REST}:${index}`)
  state.set(REST, pieces.length)
}

/** `undefined`: it is not there, or not whole. */
export async function readRest(state: StateReader): Promise<ThreadRest | undefined> {
  const count = (await state.get<number>(REST)) ?? 0
  let text = ""
  for (let index = 0; index < count; index += 1) text += (await state.get<string>(`${REST}:${index}`)) ?? ""
  try {
    return JSON.parse(text) as ThreadRest
  } catch {
    return undefined
  }
}

function withoutOutcome({ reason, notBefore, wait }: ThreadRest): Omit<RestFacts, "outcome"> {
  return { reason, ...(notBefore !== undefined && { notBefore }), ...(wait !== undefined && { wait }) }
}

/** How much of the text of an outcome the head has, in UTF-16 units. */
const MAX_TEXT_CHARS = 1_000

function shortOutcome(outcome: Outcome): Outcome {
  if (outcome.type !== "finished") return outcome
  const { finish } = outcome
  if (finish.type === "assistant_message") return { type: "finished", finish: { ...finish, text: cutMiddle(finish.text, MAX_TEXT_CHARS) } }
  const text = JSON.stringify(finish.value) ?? ""
  return text.length <= MAX_TEXT_CHARS ? outcome : { type: "finished", finish: { ...finish, value: cutMiddle(text, MAX_TEXT_CHARS) } }
}
