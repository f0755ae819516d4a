import { CheckpointError, type Difference, JournalError, ReplayDivergence } from "../errors.ts"
import { withChanges } from "../lazy.ts"
import type { CompleteTurnConfig, TurnConfig } from "../machine/config.ts"
import type { Turn } from "../machine/turn.ts"
import { TurnMachine } from "../machine/turn-machine.ts"
import type { Effect } from "../wire/effect.ts"
import type { LlmRequest } from "../wire/llm.ts"
import { wholeSurface } from "./base.ts"
import { trustingConfig } from "./config.ts"
import { changesOnResume, changesRequests, configurationChanges, REQUEST_KEYS, type RequestKey } from "./configuration-changes.ts"
import { digest } from "./digest.ts"
import { all, beginAt, drain, type EffectCheck, fold, Notifications, none, underDriver } from "./fold.ts"
import { type Journal, lastOfType, lastSnapshot } from "./journal.ts"
import type { JournalEntry } from "./journal-entry.ts"
import { lastSection, type Section, sectionsOf } from "./sections.ts"

/** Options of {@link replay}. */
export interface ReplayOptions {
  /** The last record to replay, counted from 1. Default: all. */
  readonly at?: number
  /** False: a changed configuration is accepted as long as it gives the same effects. Default true. */
  readonly checkConfig?: boolean
}

/**
 * Replays a journal from its start without performing anything. Returns the machine after the record `at`, with all effects up
 * to there polled. Each effect is compared with the recorded fingerprint. A compacted journal is replayed from its snapshot.
 *
 * A turn that was reconfigured has no single configuration. It is replayed from the last `reconfigured` record before `at`, under the
 * configuration of that record. To replay what comes before the record, pass the earlier configuration and an `at` before the record.
 * @throws {ReplayDivergence} the configuration, an effect or the outcome differs from the recorded one
 * @throws {JournalError} `dropped_record`: a compaction left out the record `at`
 */
export function replay(journal: Journal, config: TurnConfig, options: ReplayOptions = {}): TurnMachine {
  const { at = Number.POSITIVE_INFINITY, checkConfig = true } = options
  const trusting = trustingConfig(config)
  const { entries } = journal
  const [whole, ...later] = sectionsOf(journal)
  const section = later.filter(({ record }) => record < at).at(-1) ?? whole
  if (checkConfig) checkConfiguration(journal, section, trusting)
  const { number = 1, record } = entries[section.first] ?? {}
  if (at < number) {
    throw new JournalError("dropped_record", at, 0, `Record ${at} was left out by a compaction; the first that can be replayed is ${number}.`)
  }
  const machine = beginAt(journal, record, trusting)
  fold(machine, entries.slice(section.first + 1, section.end), at, all)
  drain(machine)
  return machine
}

/** Options of {@link resume}. */
export interface ResumeOptions {
  /**
   * False: nothing is compared with the journal, so that a turn can continue with other code or another configuration. Default true: the
   * name and version of the driver are compared, and the last answered model call, with it the whole transcript up to it.
   */
  readonly checkEffects?: boolean
  /**
   * True: the turn continues under a changed configuration or with changed code, as long as the recorded answers still answer its effects.
   * `TurnJournal` records the change, so that what follows is compared with the new configuration. Default false: a change that affects
   * what was asked is refused.
   */
  readonly reconfigure?: boolean
}

/**
 * Resumes a turn at the end of its journal, from the last snapshot and the records after it. The outstanding effect is emitted
 * again unless it was answered; of a tool batch, only the calls without a result. As with a checkpoint, system prompt and
 * tools are those of the turn; the rest of the configuration is the caller's. An outstanding model call that is made again under a
 * changed configuration has its model and settings, and the id that it had.
 * @throws {ReplayDivergence} `configuration_differs`, with the changed paths; `effect_differs`, `outcome_differs`
 * @throws {CheckpointError} as `TurnMachine.restore`
 */
export function resume(journal: Journal, config: TurnConfig, options: ResumeOptions = {}): TurnMachine {
  const { turn, unreported } = resumeTurn(journal, config, options)
  return TurnMachine.of(config, turn, unreported)
}

/** A turn at the end of its journal. */
export interface ResumedTurn {
  readonly turn: Turn
  /** The notifications that the host may not have received. */
  readonly unreported: readonly Effect[]
  /** Whether the turn continues under another configuration, or with other code, than its journal. */
  readonly isReconfigured: boolean
}

/** {@link resume} without the machine. */
export function resumeTurn(journal: Journal, config: TurnConfig, { checkEffects = true, reconfigure = false }: ResumeOptions = {}): ResumedTurn {
  const given = trustingConfig(config)
  const section = lastSection(journal)
  const changes = changesOnResume(journal, section, given)
  const isEnded = journal.entries.at(-1)?.record.type === "end"
  const isReconfigured = changes.length > 0 && !isEnded
  const resumed = (folded: FoldedTurn, changed: boolean): ResumedTurn => ({
    unreported: folded.unreported,
    turn: changed ? withSettings(folded.turn, section, given) : folded.turn,
    isReconfigured: changed,
  })
  if (!checkEffects) return resumed(foldTurn(journal, given, none, true), isReconfigured)

  // An ended turn performs nothing, so a changed configuration does not matter as long as the end is the same.
  const isAccepted = reconfigure || (isEnded && changes.length > 0)
  if (!isAccepted && isRefused(journal, changes)) throw configurationDiffers(section, changes, RESUMED)
  try {
    const last = lastModelCall(journal.entries)
    return resumed(
      foldTurn(journal, given, (entry) => (entry === last ? "full" : "none")),
      isReconfigured,
    )
  } catch (error) {
    if (!(error instanceof ReplayDivergence || error instanceof CheckpointError)) throw error
    if (!isAccepted) throw error instanceof ReplayDivergence && changes.length > 0 ? configurationDiffers(section, changes, RESUMED, error) : error
  }
  return resumed(foldUnder(journal, given, isEnded), !isEnded)
}

interface FoldedTurn extends Pick<ResumedTurn, "turn" | "unreported"> {}

/** Folds the records since the last snapshot. `anyDriver`: the snapshot may be of another driver. */
function foldTurn(journal: Journal, config: CompleteTurnConfig, check: EffectCheck, anyDriver = false): FoldedTurn {
  const { entries } = journal
  const trusting = { ...config, ...wholeSurface(journal) }
  const last = lastSnapshot(entries)
  const snapshot = entries[last]?.record
  const machine = beginAt(journal, anyDriver ? underDriver(snapshot, trusting) : snapshot, trusting)
  const notifications = new Notifications()
  fold(machine, entries.slice(last + 1), Number.POSITIVE_INFINITY, check, notifications)
  notifications.poll(machine)
  drain(machine)
  return { turn: machine.turn, unreported: notifications.toArray() }
}

/**
 * Folds records that were written under another configuration. They are folded without its limits if they went past those of the new one,
 * which then ends the turn.
 * @throws {ReplayDivergence} the records do not answer what the turn asks for now
 */
function foldUnder(journal: Journal, config: CompleteTurnConfig, isEnded: boolean): FoldedTurn {
  const attempt = (tried: CompleteTurnConfig): FoldedTurn => {
    const folded = foldTurn(journal, tried, () => "type", true)
    const { state } = folded.turn.position
    const error = state.type === "finished" && state.outcome.type === "stopped" ? state.outcome.stop.error : undefined
    if (isEnded || error?.kind !== "driver") return folded
    const { number } = journal.entries.at(-1) as JournalEntry
    throw new ReplayDivergence("effect_differs", number, undefined, [], `After record ${number}, the driver fails under this configuration.`)
  }
  try {
    return attempt(config)
  } catch (error) {
    if (!(error instanceof ReplayDivergence)) throw error
    const { maxIterations: _iterations, maxTokens: _tokens, ...unlimited } = config
    try {
      return attempt(unlimited)
    } catch {
      const { code, record, effectId, differences, message } = error
      throw new ReplayDivergence(code, record, effectId, differences, `The turn cannot continue under this configuration. ${message}`)
    }
  }
}

/** Whether a configuration is refused before anything is compared. */
function isRefused({ entries }: Journal, changes: readonly Difference[]): boolean {
  if (changes.some(({ path }) => path.startsWith("/driver/"))) return true
  const last = lastSnapshot(entries)
  // After a snapshot there may be no model call to compare, but the turn may have made some before.
  const isCompared = last < 0 || entries.slice(last).some(({ record }) => record.type === "llm_complete")
  return !isCompared && changes.some(changesRequests)
}

/** Gives an outstanding model call the settings of a configuration, in place of those that it has from the recorded one. */
function withSettings(turn: Turn, { config: recorded }: Section, config: CompleteTurnConfig): Turn {
  const { position } = turn
  const { state } = position
  if (state.type !== "waiting_llm") return turn
  const { outstanding } = state
  const { request } = outstanding
  const copy: Partial<Record<keyof LlmRequest, unknown>> = withChanges(request, {})
  for (const key of Object.keys(REQUEST_KEYS) as RequestKey[]) {
    const requestKey = REQUEST_KEYS[key]
    const value = request[requestKey]
    // A driver may make calls with settings of its own.
    const isRecorded = (value === undefined ? undefined : digest(value)) === recorded[key]
    if (!isRecorded) continue
    if (config[key] === undefined) delete copy[requestKey]
    else copy[requestKey] = config[key]
  }
  const changed = { ...state, outstanding: { ...outstanding, request: copy as LlmRequest } }
  return { ...turn, position: { ...position, state: changed } }
}

function lastModelCall(entries: readonly JournalEntry[]): JournalEntry | undefined {
  return entries[lastOfType(entries, "llm_complete")]
}

/** @throws {ReplayDivergence} `configuration_differs` */
export function checkConfiguration(journal: Journal, section: Section, config: CompleteTurnConfig): void {
  const changes = configurationChanges(journal, section, config)
  if (changes.length > 0) throw configurationDiffers(section, changes)
}

const RESUMED = " Resume the turn with that configuration, or continue it with this one: resume: { reconfigure: true }."

function configurationDiffers({ record }: Section, changes: readonly Difference[], remedy = "", cause?: unknown): ReplayDivergence {
  const names = [...new Set(changes.map(({ path }) => path.replace(/^\/(config\/)?/, "").replace(/^(tools|generation|cache)\/.*/, "$1")))].join(", ")
  const where = record === 1 ? "The journal was written" : `The journal was written from record ${record} on`
  const message = `${where} with another configuration. Different keys: ${names}.${remedy}`
  const error = new ReplayDivergence("configuration_differs", record, undefined, changes, message)
  if (cause !== undefined) error.cause = cause
  return error
}
