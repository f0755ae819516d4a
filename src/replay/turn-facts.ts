import { TurnError } from "../errors.ts"
import { readCheckpoint } from "../machine/checkpoint.ts"
import type { CompleteTurnConfig, TurnConfig } from "../machine/config.ts"
import { advance, begin, command, handleChecked } from "../machine/step.ts"
import { isAnswerTo } from "../machine/transitions.ts"
import type { Step, Turn } from "../machine/turn.ts"
import type { Effect } from "../wire/effect.ts"
import type { JournalHeader, JournalInterruption, JournalRecord } from "../wire/journal.ts"
import type { HistoryRecord, Message } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import { trustingConfig } from "./config.ts"
import { isPreparing } from "./fold.ts"
import type { JournalEntry } from "./journal-entry.ts"

/** What a record of a journal shows, in order: an effect that the turn emitted, or the record itself. */
export type TurnFact =
  | { readonly type: "effect"; readonly effect: Effect }
  | { readonly type: "answer"; readonly response: Response }
  /** A command ended or redirected the turn. `left`: the model call that it waited for. */
  | { readonly type: "command"; readonly command: JournalInterruption["interruption"]; readonly left: number | undefined }
  /** The history of a turn that continues under another configuration. */
  | { readonly type: "history"; readonly records: readonly HistoryRecord[] }

/** The history that a turn of a thread began with. */
export interface TurnBase {
  readonly messages: readonly Message[]
  readonly events: readonly HistoryRecord[]
  /** The system prompt and tools that the log has last. Absent: it has none. */
  readonly surface?: JournalHeader["surface"]
}

/** Replays the journal of a turn record by record, and returns what each record shows. Nothing is performed. */
export class TurnFacts {
  readonly #config: CompleteTurnConfig
  readonly #base: TurnBase
  /** `undefined`: the turn cannot be replayed from here. */
  #turn: Turn | undefined
  #reconfigured = false

  /** @param base what the log had when the turn began; used where the journal refers to the log */
  constructor(header: JournalHeader, config: TurnConfig, base: TurnBase) {
    this.#config = { ...trustingConfig(config), ...(header.base?.surface === true ? (base.surface ?? header.surface) : header.surface) }
    this.#base = header.base === undefined ? { messages: [], events: [] } : base
    if (header.dropped !== undefined || !this.#isDriver(header.driver) || (header.base?.events ?? base.events.length) !== base.events.length) return
    const { start } = header
    this.#turn = this.#try(() =>
      begin(this.#config, {
        ...start,
        messages: [...this.#base.messages, ...start.messages],
        events: [...this.#base.events, ...(start.events ?? [])],
      }),
    )?.turn
  }

  /** The turn as the records so far lead to it. `undefined`: it cannot be replayed. */
  get turn(): Turn | undefined {
    let turn = this.#turn
    for (;;) {
      const known = turn
      const step = known && this.#try(() => advance(this.#config, known))
      if (step === undefined || step.effects.length === 0) return turn
      turn = step.turn
    }
  }

  /** What the record shows, and what its turn emits until it waits for the next. */
  next({ record, fingerprint }: Pick<JournalEntry, "record" | "fingerprint">): readonly TurnFact[] {
    const isFirst = this.#reconfigured
    this.#reconfigured = record.type === "reconfigured" && this.#isDriver(record.driver)
    if (isFirst && record.type === "snapshot") return this.#restore(record)
    const turn = this.#turn
    if (turn === undefined) return []
    switch (record.type) {
      case "header":
      case "opened":
      case "traced":
      case "reconfigured":
      case "call_started":
      case "child_granted":
      case "effect":
        return []
      case "snapshot":
        return isPreparing(record.checkpoint.state) ? [] : this.#drain()
      case "interruption":
        return this.#command(record)
      case "end":
        return this.#drain()
      default:
        return this.#answer(record, fingerprint)
    }
  }

  #answer(response: Response, fingerprint: string | undefined): readonly TurnFact[] {
    const facts = this.#drain()
    const turn = this.#turn
    if (turn === undefined) return facts
    const { state } = turn.position
    const outstanding = "outstanding" in state ? state.outstanding : undefined
    if (fingerprint !== undefined && !(outstanding?.id === response.id && isAnswerTo(outstanding, response))) {
      this.#turn = undefined
      return facts
    }
    const step = this.#try(() => handleChecked(this.#config, turn, response))
    if (step === undefined || step.status === "stale") return facts
    return [...facts, { type: "answer", response }, ...this.#accept(step)]
  }

  /** As in a replay: a command from before the driver was asked for the next iteration does not ask it. */
  #command({ effectId, interruption }: JournalInterruption): readonly TurnFact[] {
    const waits = this.#turn !== undefined && "outstanding" in this.#turn.position.state
    const facts = effectId !== undefined && !waits ? this.#drain() : []
    const turn = this.#turn
    const step = turn && this.#try(() => command(this.#config, turn, interruption))
    if (turn === undefined || step === undefined) return facts
    const { state } = turn.position
    const next = step.turn.position.state
    const isLeft = state.type === "waiting_llm" && !("outstanding" in next && next.outstanding === state.outstanding)
    return [...facts, { type: "command", command: interruption, left: isLeft ? state.outstanding.id : undefined }, ...this.#accept(step)]
  }

  #drain(): readonly TurnFact[] {
    const facts: TurnFact[] = []
    for (;;) {
      const turn = this.#turn
      const step = turn && this.#try(() => advance(this.#config, turn))
      if (step === undefined) return facts
      facts.push(...this.#accept(step))
      if (step.effects.length === 0) return facts
    }
  }

  #accept({ turn, effects }: Step): readonly TurnFact[] {
    this.#turn = turn
    return effects.map((effect) => ({ type: "effect", effect }))
  }

  #restore({ checkpoint }: Extract<JournalRecord, { type: "snapshot" }>): readonly TurnFact[] {
    const { messages, events } = this.#base
    const whole = { ...checkpoint, messages: [...messages, ...checkpoint.messages], events: [...events, ...checkpoint.events] }
    const restored = this.#try(() => readCheckpoint(this.#config, whole))
    this.#turn = restored?.turn
    return restored === undefined ? [] : [{ type: "history", records: restored.turn.record.events.toArray() }]
  }

  /** A refused input changes nothing, as in the live turn. Any other error means that the turn cannot be replayed with this code. */
  #try<Result>(act: () => Result): Result | undefined {
    try {
      return act()
    } catch (error) {
      if (!(error instanceof TurnError)) this.#turn = undefined
      return undefined
    }
  }

  #isDriver({ name, version }: JournalHeader["driver"]): boolean {
    const { driver } = this.#config
    return driver.name === name && driver.version === version
  }
}
