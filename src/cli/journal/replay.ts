import { CheckpointError, JournalError, ReplayDivergence } from "../../errors.ts"
import type { Journal } from "../../replay/journal.ts"
import { replay } from "../../replay/replay.ts"
import { type ReplayReport, verifyReplay } from "../../replay/verify.ts"
import { readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, plainJson, plural } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { styler, widthOf } from "../terminal/style.ts"
import { REPLAY_HELP } from "./help.ts"
import { damageOf, type GivenJournal, givenJournals, HELP_FLAG, ownConfig, readRecordNumber } from "./open.ts"
import { type TurnStatus, turnStatusOf, turnStatusText } from "./turn-status.ts"
import { differingLines } from "./value-diff.ts"

const FLAGS = { at: { type: "string" }, json: { type: "boolean" }, ...HELP_FLAG } as const

/** `turn-machine journal replay`. Returns the exit code. @throws {CliError} */
export async function replayJournal(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine journal replay --help")
  if (flags.help === true) {
    printHelp(REPLAY_HELP, io)
    return 0
  }
  const [given] = await givenJournals(words, 1, "replay", io)
  if (given === undefined) return 2
  const config = ownConfig(given, "replay", "Replay it in a test with its own driver and configuration: verifyReplay in turn-machine/replay.")
  const whole = given.journal
  const at = flags.at === undefined ? undefined : readRecordNumber("--at", flags.at, whole)
  const journal: Journal = at === undefined ? whole : { ...whole, entries: whole.entries.filter(({ number }) => number <= at) }
  try {
    const status = turnStatusOf(replay(whole, config, at === undefined ? {} : { at }))
    const report = verifyReplay(journal, config)
    if (flags.json === true) io.stdout.write(`${plainJson({ type: "replay", agrees: true, ...factsOf(report), standing: status })}\n`)
    else writeReport(given, report, status, at, io)
  } catch (error) {
    if (error instanceof ReplayDivergence) {
      writeDivergence(error, flags.json === true, io)
      return 1
    }
    if (error instanceof JournalError || error instanceof CheckpointError) throw new CliError(oneLine(error.message))
    throw error
  }
  const damage = damageOf(given)
  if (damage === undefined || at !== undefined) return 0
  throw new CliError(damage, 1)
}

function factsOf({ records, effects, snapshots, iterations }: ReplayReport): object {
  return { records, effects, snapshots, iterations }
}

function writeReport({ name, journal }: GivenJournal, report: ReplayReport, status: TurnStatus, at: number | undefined, io: Io): void {
  const style = styler(io)
  const total = journal.entries.length + 1
  const snapshots = report.snapshots === 0 ? "" : ` and ${plural(report.snapshots, "snapshot")}`
  const fields: readonly (readonly [string, string])[] = [
    [
      "journal",
      `${name}, ${at === undefined ? plural(report.records, "record") : `up to record ${at}: ${report.records} of ${plural(total, "record")}`}`,
    ],
    [
      "replayed",
      `${plural(report.effects, "answered effect")}${snapshots} in ${plural(report.iterations, "iteration")}: ${style("green", "all as recorded")}`,
    ],
    ["state", turnStatusText(status)],
  ]
  for (const [field, value] of fields) io.stdout.write(`${style("dim", field.padEnd(8))} ${value}\n`)
}

function writeDivergence(error: ReplayDivergence, asJson: boolean, io: Io): void {
  const { code, record, effectId, differences, differenceCount, message } = error
  if (asJson) {
    // JSON would omit an undefined value, so it becomes null.
    const shown = differences.map(({ path, expected, received }) => ({ path, recorded: expected ?? null, now: received ?? null }))
    io.stdout.write(`${plainJson({ type: "replay", agrees: false, code, record, effectId, message, differences: shown, differenceCount })}\n`)
    return
  }
  const width = widthOf(io.stdout)
  const where = `record ${record}${effectId === undefined ? "" : `, effect ${effectId}`}`
  io.stdout.write(`${styler(io)("red", "differs")}  at ${where}: ${oneLine(message)}\n`)
  if (isFingerprintAlone(error)) {
    io.stdout.write("  The journal stores only a fingerprint of the recorded request, so the difference cannot be shown.\n")
    return
  }
  for (const line of differingLines(differences, ["recorded", "now"], width)) io.stdout.write(`${line}\n`)
  if (differenceCount > differences.length) io.stdout.write(`  and ${plural(differenceCount - differences.length, "more place")}\n`)
}

function isFingerprintAlone({ code, differences: [first] }: ReplayDivergence): boolean {
  const { expected } = first ?? {}
  return code === "effect_differs" && first?.path === "" && typeof expected === "object" && expected !== null && "fingerprint" in expected
}
