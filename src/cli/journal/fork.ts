import { readFile, realpath, stat } from "node:fs/promises"
import { resolve } from "node:path"
import { journalValidation } from "../../checks/records.ts"
import { wireValidation } from "../../checks/validation.ts"
import { ReplayDivergence, TurnError } from "../../errors.ts"
import { inChunks } from "../../hosts/journal/parts.ts"
import { JournalStoreError } from "../../hosts/journal/store.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { forkLines } from "../../replay/fork.ts"
import type { Journal } from "../../replay/journal.ts"
import type { JournalEntry } from "../../replay/journal-entry.ts"
import { replay } from "../../replay/replay.ts"
import type { TurnMachine } from "../../validated-turn-machine.ts"
import type { JournalRecord } from "../../wire/journal.ts"
import type { Response } from "../../wire/response.ts"
import { checkLock, storeRefusal } from "../run/journal-file.ts"
import { recordedConfig } from "../run/run-config.ts"
import { readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, shellWord } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { OwnStates } from "../trust/own-states.ts"
import { FORK_HELP } from "./help.ts"
import { type GivenJournal, givenJournals, HELP_FLAG, readRecordNumber } from "./open.ts"

const FLAGS = {
  at: { type: "string" },
  out: { type: "string" },
  text: { type: "string" },
  answer: { type: "string" },
  "answer-file": { type: "string" },
  ...HELP_FLAG,
} as const

/** `turn-machine journal fork`. Returns the exit code. @throws {CliError} */
export async function forkJournal(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine journal fork --help")
  if (flags.help === true) {
    printHelp(FORK_HELP, io)
    return 0
  }
  const { at: atText, out, text, answer: json, "answer-file": file } = flags
  if (atText === undefined)
    throw new CliError("journal fork needs the record to fork at: --at N. To list the records: turn-machine journal show FILE")
  if (out === undefined) throw new CliError("journal fork needs the path of the new journal: --out NEW.")
  if ([text, json, file].filter((given) => given !== undefined).length > 1) throw new CliError("Pass only one of --text, --answer and --answer-file.")
  const [given] = await givenJournals(words, 1, "fork", io)
  if (given === undefined) return 2

  const at = readRecordNumber("--at", atText, given.journal, 1)
  const replaced = given.journal.entries.find(({ number }) => number === at)
  const answer = text !== undefined ? textAnswer(replaced, at, text, given.name) : await answerOf(json, file, replaced, io)
  const turnId = crypto.randomUUID()
  let forked: Iterable<string>
  try {
    forked = forkLines(given.journal, at, answer, { turnId, validation: journalValidation })
    if (answer !== undefined) checkAccepted(given, at, answer)
  } catch (error) {
    if (error instanceof TurnError) throw new CliError(oneLine(error.message))
    throw error
  }
  const path = resolve(io.cwd, out)
  await writeNew(path, forked)
  await recordFork(given, path, turnId, io)
  const before = at === 2 ? `the first record of ${given.name}` : `records 1 to ${at - 1} of ${given.name}`
  io.stdout.write(`Wrote ${oneLine(out)}: ${before}${answer === undefined ? "" : `, and a new answer as record ${at}`}. Its turn id is ${turnId}.\n`)
  const next = typeof given.meta === "object" ? `turn-machine resume ${shellWord(oneLine(out))}` : `the program that wrote ${given.name}`
  io.stdout.write(`Resume with: ${next}\n`)
  return 0
}

/** A fork of a run that this user started has the same settings, and resumes without questions, too. */
async function recordFork({ path, journal, meta }: GivenJournal, forkedPath: string, turnId: string, { env }: Io): Promise<void> {
  if (typeof meta !== "object") return
  const own = new OwnStates(env)
  const known = await own.find({ type: "run", path: await realpath(path) }, journal.header.turnId)
  if ("settings" in known) await own.record({ type: "run", path: await realpath(forkedPath) }, turnId, known.settings)
}

/** A model's answer that is only text. Its usage is unknown and counts as zero. */
function textAnswer(replaced: JournalEntry | undefined, at: number, text: string, name: string): Response {
  if (replaced?.record.type !== "llm_complete") {
    throw new CliError(
      `--text replaces a model's answer, and record ${at} is not one. To list the records: turn-machine journal show ${shellWord(name)}`,
    )
  }
  const { id, at: time } = replaced.record
  const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const response = { text, parts: [{ type: "text", text }], usage, terminalReason: "stop" } as const
  return { type: "llm_complete", id, ...(time !== undefined && { at: time }), result: { ok: true, response } }
}

async function answerOf(
  json: string | undefined,
  file: string | undefined,
  replaced: JournalEntry | undefined,
  { cwd }: Io,
): Promise<Response | undefined> {
  const text = file === undefined ? json : await readAnswer(resolve(cwd, file), oneLine(file))
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new CliError(`The answer is not JSON: ${oneLine(error instanceof Error ? error.message : String(error))}.`)
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new CliError("The answer is not a JSON object. For the shape, see: turn-machine journal show FILE --record N")
  // Type, id and time default to those of the replaced record.
  return { ...answeredEffect(replaced?.record), ...value } as Response
}

function answeredEffect(record: JournalRecord | undefined): object {
  if (record === undefined || !("id" in record)) return {}
  const { type, id, at } = record
  return { type, id, ...(at !== undefined && { at }) }
}

async function readAnswer(path: string, shown: string): Promise<string> {
  try {
    return await readFile(path, "utf8")
  } catch (error) {
    throw new CliError(`The answer in ${shown} cannot be read: ${fileReason(error)}.`)
  }
}

/** Checks that the turn accepts the answer; otherwise the fork would continue without it. */
function checkAccepted({ journal, meta }: GivenJournal, at: number, answer: Response): void {
  if (typeof meta !== "object") return
  const before: Journal = { ...journal, entries: journal.entries.filter(({ number }) => number < at) }
  let machine: TurnMachine
  try {
    machine = replay(before, { ...recordedConfig(meta), validation: wireValidation }, { checkConfig: false })
  } catch (error) {
    // Another version wrote the journal: whether the turn accepts the answer shows when the fork is resumed.
    if (error instanceof ReplayDivergence) return
    throw error
  }
  if (machine.handle(answer).status !== "accepted")
    throw new CliError(`Record ${at} arrived too late to change the turn, so a new answer in its place would have no effect.`)
}

async function writeNew(path: string, lines: Iterable<string>): Promise<void> {
  const shown = oneLine(path)
  const exists = new CliError(`${shown} already exists and was not changed. Pass another path with --out.`)
  try {
    await stat(path)
    throw exists
  } catch (error) {
    if (error === exists) throw exists
    if (errorCode(error) !== "ENOENT") throw new CliError(`${shown} cannot be written: ${fileReason(error)}. Pass another path with --out.`)
  }
  await checkLock(path)
  try {
    const stored = await fileJournalStore().open(path)
    try {
      for await (const part of stored.read()) if (part !== "") throw exists
      await stored.replace(inChunks(lines))
    } finally {
      await stored.close()
    }
  } catch (error) {
    throw error instanceof JournalStoreError ? storeRefusal(shown, error, "pass another path with --out") : error
  }
}
