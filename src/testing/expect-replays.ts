import { type Difference, ReplayDivergence, type ReplayErrorCode } from "../errors.ts"
import type { Json } from "../json.ts"
import type { TurnConfig } from "../machine/config.ts"
import { type Journal, readJournal } from "../replay/journal.ts"
import { type ReplayReport, type VerifyOptions, verifyReplay } from "../replay/verify.ts"
import type { JournalRecord } from "../schemas/journal.ts"
import { journalValidation } from "../schemas/validation.ts"
import { shown } from "./difference.ts"

/** A kept journal that does not replay any more. The message says where, what differs and what to do. */
export class ReplayMismatch extends Error {
  readonly divergence: ReplayDivergence

  constructor(message: string, divergence: ReplayDivergence) {
    super(message, { cause: divergence })
    this.name = "ReplayMismatch"
    this.divergence = divergence
  }
}

/**
 * Expects that a journal, or the text of one, still replays: that the turn asks for the same, record by record, and ends
 * the same. Every record of a text is checked against its schema.
 *
 *     expectReplays(readFileSync("journals/search.jsonl", "utf8"), config)
 *
 * Gives what was compared: a journal without answers replays under any driver, so a test may want to look at `effects`.
 * @throws {ReplayMismatch} where it does not
 * @throws {JournalError} the text is no journal, or is damaged
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

/** Some editors take the newline at the end of a file away, and with it the last record. */
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
  // Of most of the configuration a journal holds digests, which say nothing to a person.
  const digest = key !== undefined && key !== "systemPrompt" && key !== "tools"
  const was = digest && expected !== undefined ? "another value" : shown(expected, SHOWN_LENGTH)
  const is = digest && received !== undefined ? (config as unknown as Readonly<Record<string, Json>>)[key] : received
  return [`  at "${path}"`, `    recorded ${was}`, `    replayed ${shown(is, SHOWN_LENGTH)}`]
}

function withoutPointers({ code, differences }: ReplayDivergence): boolean {
  return code === "effect_differs" && differences[0]?.path === ""
}

const RECORD_ANEW = "If the change is meant, record the journal anew, and raise the driver's version if turns of the old one are to be taken up."

const ADVICE: Readonly<Record<ReplayErrorCode, string>> = {
  configuration_differs:
    "replay with the configuration of the recording. If the change is meant, record the journal anew; { checkConfig: false } says whether it changes what the turn asks for.",
  effect_differs: `look at what the driver, the projector or turnLimitMessage changed in what they order, or whether one of them is not pure. ${RECORD_ANEW}`,
  outcome_differs: `look at how the driver ends a turn. ${RECORD_ANEW}`,
  snapshot_differs: `look at what the driver appends and counts, which no effect shows. ${RECORD_ANEW}`,
}

const KEEP_EFFECTS = " This journal holds only fingerprints of its effects; one recorded with { keepEffects: true } says what differs."
