import { journalValidation } from "../checks/records.ts"
import { type Difference, ReplayDivergence, type ReplayErrorCode } from "../errors.ts"
import type { Json } from "../json.ts"
import type { TurnConfig } from "../machine/config.ts"
import { type Journal, readJournal } from "../replay/journal.ts"
import { type ReplayReport, type VerifyOptions, verifyReplay } from "../replay/verify.ts"
import type { JournalRecord } from "../wire/journal.ts"
import { shown } from "./difference.ts"

/** A recorded journal that no longer replays. The message says where, what differs and what to do. */
export class ReplayMismatch extends Error {
  readonly divergence: ReplayDivergence

  constructor(message: string, divergence: ReplayDivergence) {
    super(message, { cause: divergence })
    this.name = "ReplayMismatch"
    this.divergence = divergence
  }
}

/**
 * Expects that a journal, or the text of one, still replays: that the turn requests the same effects, record by record, and ends
 * the same. Every record of a text is checked against its schema.
 *
 *     expectReplays(readFileSync("journals/search.jsonl", "utf8"), config)
 *
 * Returns what was compared. A journal without answers replays under any driver, so a test may want to check `effects`.
 * @throws {ReplayMismatch} where it does not
 * @throws {JournalError} the text is not a journal, or is damaged
 */
export function expectReplays(journal: Journal | string, config: TurnConfig, options: VerifyOptions = {}): ReplayReport {
  const read = typeof journal === "string" ? readWhole(journal) : journal
  try {
    return verifyReplay(read, config, options)
  } catch (error) {
    if (error instanceof ReplayDivergence) throw new ReplayMismatch(messageOf(error, read, config), error)
    throw error
  }
}

/** Some editors remove the newline at the end of a file, and with it the last record. */
function readWhole(text: string): Journal {
  const journal = readJournal(text, journalValidation)
  if (journal.droppedLength === 0) return journal
  try {
    return readJournal(`${text}\n`, journalValidation)
  } catch {
    return journal
  }
}

function messageOf(divergence: ReplayDivergence, journal: Journal, config: TurnConfig): string {
  const { code, message, record, differences, differenceCount } = divergence
  const { turnId, driver } = journal.header
  const entry = journal.entries.find(({ number }) => number === record)
  const lines = [`The journal of turn "${turnId}" (driver "${driver.name}" ${driver.version}) does not replay: ${code}.`, message]
  if (entry !== undefined) lines.push(`Record ${record}: ${shown(brief(entry.record), SHOWN_LENGTH)}`)
  for (const difference of differences) lines.push(...describe(difference, config))
  if (differenceCount > differences.length) lines.push(`  … and ${differenceCount - differences.length} more`)
  return [...lines, `What to do: ${ADVICE[code]}${withoutPointers(divergence) ? KEEP_EFFECTS : ""}`].join("\n")
}

const SHOWN_LENGTH = 200

/** Snapshots and effects are as long as the transcript. */
function brief(record: JournalRecord): Json {
  if (record.type === "snapshot") return { type: record.type, iteration: record.checkpoint.iteration, state: record.checkpoint.state.type }
  return record.type === "effect" ? { type: record.type, effect: { type: record.effect.type, id: record.effect.id } } : (record as Json)
}

function describe({ path, expected, received }: Difference, config: TurnConfig): readonly string[] {
  const [, key] = /^\/config\/(\w+)$/.exec(path) ?? []
  // For most of the configuration a journal holds digests, which are not readable.
  const digest = key !== undefined && key !== "systemPrompt" && key !== "tools"
  const was = digest && expected !== undefined ? "another value" : shown(expected, SHOWN_LENGTH)
  const is = digest && received !== undefined ? (config as unknown as Readonly<Record<string, Json>>)[key] : received
  return [`  at "${path}"`, `    recorded ${was}`, `    replayed ${shown(is, SHOWN_LENGTH)}`]
}

function withoutPointers({ code, differences }: ReplayDivergence): boolean {
  return code === "effect_differs" && differences[0]?.path === ""
}

const RECORD_ANEW = "If the change is intended, record the journal again, and raise the driver's version if turns of the old one may be resumed."

const ADVICE: Readonly<Record<ReplayErrorCode, string>> = {
  configuration_differs:
    "replay with the configuration of the recording. If the change is intended, record the journal again; { checkConfig: false } shows whether it changes the requested effects.",
  effect_differs: `check what changed in the requests of the driver, the projector or turnLimitMessage, or whether one of them is not pure. ${RECORD_ANEW}`,
  outcome_differs: `check how the driver ends a turn. ${RECORD_ANEW}`,
  snapshot_differs: `check what the driver appends and counts, which no effect shows. ${RECORD_ANEW}`,
}

const KEEP_EFFECTS = " This journal holds only fingerprints of its effects; one recorded with { keepEffects: true } shows what differs."
