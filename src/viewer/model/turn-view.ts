import { costOf } from "../../hosts/models/prices.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { Journal } from "../../replay/journal.ts"
import { type JournalOutline, journalOutline } from "../../replay/outline.ts"
import type { RequestBreak, Step, Verdict, ViewedTurn, ViewerData } from "../data.ts"
import { configOf } from "./agent.ts"
import { journalOf } from "./journal.ts"
import { type Row, rowsOf, Search } from "./rows.ts"
import { StoredReplay } from "./stored-steps.ts"
import { type Bar, barsOf } from "./timeline.ts"
import { type RequestPair, TurnReplay } from "./turn-replay.ts"

/** How a page knows the states and requests of a turn. */
export type Knowledge = "replayed" | "stored" | "recorded"

/** What several turns did together. */
export interface Totals extends Pick<JournalOutline, "workedMs" | "modelCalls" | "toolCalls" | "usage" | "processes"> {
  /** Millionths of a US dollar; `undefined` if the prices of one of them are not known. */
  readonly cost: number | undefined
}

/** The sums over some turns. */
export function totalsOf(views: readonly TurnView[]): Totals {
  let totals: Totals = { workedMs: 0, modelCalls: 0, toolCalls: 0, usage: NO_USAGE, processes: 0, cost: 0 }
  for (const { outline, cost } of views)
    totals = {
      workedMs: totals.workedMs + outline.workedMs,
      modelCalls: totals.modelCalls + outline.modelCalls,
      toolCalls: totals.toolCalls + outline.toolCalls,
      usage: addUsage(totals.usage, outline.usage),
      processes: totals.processes + outline.processes,
      cost: totals.cost === undefined || cost === undefined ? undefined : totals.cost + cost,
    }
  return totals
}

/** A turn of the page. Each part is computed when it is first looked at. */
export class TurnView {
  readonly turn: ViewedTurn
  readonly index: number
  readonly #data: ViewerData
  #journal: Journal | undefined
  #rows: readonly Row[] | undefined
  #outline: JournalOutline | undefined
  #bars: readonly Bar[] | undefined
  #search: Search | undefined
  #replay: TurnReplay | undefined
  #stored: StoredReplay | undefined
  /** Why the replay could not begin. */
  #fault: string | undefined

  constructor(data: ViewerData, index: number) {
    this.#data = data
    this.index = index
    this.turn = data.turns[index] as ViewedTurn
  }

  get journal(): Journal {
    const { thread } = this.turn
    this.#journal ??= journalOf(
      this.turn,
      this.#data.threads.find(({ threadId }) => threadId === thread),
    )
    return this.#journal
  }

  get rows(): readonly Row[] {
    this.#rows ??= rowsOf(this.journal.header, this.journal.entries)
    return this.#rows
  }

  /** Totals; no request is compared. */
  get outline(): JournalOutline {
    this.#outline ??= journalOutline({ ...this.journal, entries: this.journal.entries.filter(({ record }) => record.type !== "effect") })
    return this.#outline
  }

  get bars(): readonly Bar[] {
    this.#bars ??= barsOf(this.journal.header, this.journal.entries)
    return this.#bars
  }

  get search(): Search {
    this.#search ??= new Search(this.journal.header, this.journal.entries)
    return this.#search
  }

  /** Millionths of a US dollar; `undefined` without prices. */
  get cost(): number | undefined {
    const { prices } = this.turn
    return prices === undefined ? undefined : costOf(this.outline.usage, prices)
  }

  get knowledge(): Knowledge {
    if (this.turn.steps !== undefined) return "stored"
    return this.replay === undefined ? "recorded" : "replayed"
  }

  /** Why states and requests are not known; `undefined` if they are. */
  get note(): string | undefined {
    return this.knowledge === "recorded" ? (this.#fault ?? this.turn.note ?? "The page does not have the turn's configuration.") : undefined
  }

  get replay(): TurnReplay | undefined {
    const { agent } = this.turn
    if (this.#replay !== undefined || this.#fault !== undefined || agent === undefined || this.turn.steps !== undefined) return this.#replay
    if (this.journal.header.base !== undefined && this.journal.history === undefined) this.#fault = "The log of the turn's thread was not found."
    else
      try {
        this.#replay = new TurnReplay(this.journal, configOf(agent), agent.unknown)
      } catch (error) {
        this.#fault = error instanceof Error ? error.message : String(error)
      }
    return this.#replay
  }

  get verdict(): Verdict | undefined {
    return this.turn.steps?.verdict ?? this.replay?.verdict
  }

  /** Where requests do not begin with the one before, as far as the turn was replayed. */
  get breaks(): readonly { readonly record: number; readonly broken: RequestBreak }[] {
    return this.#storedReplay?.breaks ?? this.replay?.breaks ?? []
  }

  /** How many requests were compared. */
  get compared(): number {
    return this.turn.steps?.compared ?? this.replay?.compared ?? 0
  }

  /** What a row's record did to the turn; `undefined` if that is not known. */
  step({ index, number }: Pick<Row, "index" | "number">): Step | undefined {
    return index < 0 ? undefined : this.#storedReplay === undefined ? this.replay?.step(index) : this.#storedReplay.step(number)
  }

  /** The request that a row's record answers. */
  request({ index, number }: Pick<Row, "index" | "number">): RequestPair | undefined {
    if (index < 0) return undefined
    if (this.#storedReplay !== undefined) return this.#storedReplay.request(number)
    return this.replay === undefined ? this.#recorded(index) : this.replay.request(index)
  }

  get #storedReplay(): StoredReplay | undefined {
    const { steps } = this.turn
    if (steps !== undefined) this.#stored ??= new StoredReplay(steps)
    return this.#stored
  }

  /** A request that the journal has in full, where the turn was not replayed. */
  #recorded(index: number): RequestPair | undefined {
    const { entries } = this.journal
    const record = entries[index]?.record
    if (record?.type !== "llm_complete") return undefined
    const found = entries
      .slice(0, index)
      .flatMap(({ record: before, number }) =>
        before.type === "effect" && before.effect.type === "llm_call" ? [{ effect: before.effect, number }] : [],
      )
    const own = found.findLast(({ effect }) => effect.id === record.id)
    if (own === undefined) return undefined
    const previous = found[found.indexOf(own) - 1]
    return { request: own.effect.request, previous: previous?.effect.request, previousRecord: previous?.number, broken: undefined }
  }
}
