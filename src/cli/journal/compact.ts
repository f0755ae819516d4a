import { realpath } from "node:fs/promises"
import { journalLineValidation } from "../../checks/records.ts"
import { JournalError } from "../../errors.ts"
import { inChunks, readJournalParts } from "../../hosts/journal/parts.ts"
import { JournalStoreError, type StoredJournal } from "../../hosts/journal/store.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { compactedJournal, journalLines } from "../../replay/journal.ts"
import { checkLock, storeRefusal } from "../run/journal-file.ts"
import { readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { formatBytes, oneLine, plural } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { COMPACT_HELP } from "./help.ts"
import { damageOf, type GivenJournal, givenJournals, HELP_FLAG } from "./open.ts"

const FLAGS = { "take-over": { type: "boolean" }, ...HELP_FLAG } as const

/** `turn-machine journal compact`. Returns the exit code. @throws {CliError} */
export async function compactJournal(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine journal compact --help")
  if (flags.help === true) {
    printHelp(COMPACT_HELP, io)
    return 0
  }
  // Read before it is opened for writing: a file that is not a journal must not change.
  const [given] = await givenJournals(words, 1, "compact", io)
  if (given === undefined) return 2
  const damage = damageOf(given)
  if (damage !== undefined) throw new CliError(damage)
  await checkLock(await realpath(given.path))
  try {
    const stored = await fileJournalStore().open(given.path, { takeOver: flags["take-over"] ?? false })
    try {
      io.stdout.write(`${await compact(stored, given)}\n`)
    } finally {
      await stored.close()
    }
  } catch (error) {
    if (error instanceof JournalStoreError) throw storeRefusal(given.name, error, "try again later")
    if (error instanceof JournalError) throw new CliError(oneLine(error.message))
    throw error
  }
  return 0
}

async function compact(stored: StoredJournal, { name, bytes }: GivenJournal): Promise<string> {
  const { journal } = await readJournalParts(stored.read(), journalLineValidation)
  // It was read before, so another process has just emptied it.
  if (journal === undefined) throw new CliError(`${name} was changed by another process. Try again.`)
  const short = compactedJournal(journal)
  const dropped = (short.header.dropped ?? 0) - (journal.header.dropped ?? 0)
  if (dropped === 0) {
    const why = journal.entries.some(({ record }) => record.type === "snapshot")
      ? "it already starts with its last snapshot"
      : "it has no snapshot yet"
    return `Nothing to drop from ${name}: ${why}.`
  }
  await stored.replace(inChunks(journalLines(short)))
  const sizes = `${formatBytes(bytes)} before, ${formatBytes(await bytesIn(stored))} now`
  return `Dropped ${plural(dropped, "record")} from ${name}: ${sizes}. It can be resumed, but no longer replayed from its start.`
}

async function bytesIn(stored: StoredJournal): Promise<number> {
  let bytes = 0
  for await (const part of stored.read()) bytes += Buffer.byteLength(part)
  return bytes
}
