import type { Outcome, TurnEvent } from "../../schemas/event.ts"
import type { RunSettings } from "../run/run-settings.ts"
import type { Tally } from "./tally.ts"

/** Shows a run to whoever watches. */
export interface Reporter {
  /** `resumedAt`: the iteration at which a saved turn is taken up, from 0; absent for a new one. */
  started(settings: RunSettings, facts: { readonly state?: string; readonly resumedAt?: number }): void
  event(event: TurnEvent): void
  /** The turn is over. */
  ended(facts: RunEnd): void
  /** The process stops; the turn stands in the state file. */
  paused(facts: RunPause): void
  /** The process must stop because of a mistake or trouble of its own. */
  failed(message: string): void
}

export interface RunEnd {
  readonly outcome: Outcome
  readonly tally: Tally
  readonly durationMs: number
  readonly exitCode: number
  /** Whether the turn was over before this process began, and nothing of it was shown. */
  readonly again: boolean
}

export interface RunPause {
  readonly state: string
  readonly tally: Tally
  readonly durationMs: number
}
