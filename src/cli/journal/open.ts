import { resolve } from "node:path"
import type { TurnConfig } from "../../machine/turn.ts"
import type { Journal } from "../../replay/journal.ts"
import { recordedConfig } from "../run/run-config.ts"
import { type RunMeta, readRunMeta } from "../run/run-meta.ts"
import { type FlagSpecs, readCount } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { type JournalFile, readJournalFile } from "./journal-file.ts"

export const HELP_FLAG = { help: { type: "boolean", short: "h" } } as const satisfies FlagSpecs

/** A journal that a command was given, with what the command calls it. */
export interface GivenJournal extends JournalFile {
  readonly path: string
  readonly name: string
  /** What `turn-machine run` was asked, if it wrote the journal; else why that is not known. */
  readonly meta: RunMeta | string
}

/** Reads as many journals as a command takes. @throws {CliError} */
export async function givenJournals(words: readonly string[], count: 1 | 2, command: string, { cwd }: Io): Promise<readonly GivenJournal[]> {
  if (words.length !== count) {
    throw new CliError(
      `journal ${command} takes ${count === 1 ? "the path of one journal" : "the paths of two journals"}. See: turn-machine journal ${command} --help`,
    )
  }
  const given: GivenJournal[] = []
  for (const word of words) {
    const path = resolve(cwd, word)
    const file = await readJournalFile(path, oneLine(word))
    given.push({ ...file, path, name: oneLine(word), meta: readRunMeta(file.journal.header.meta) })
  }
  return given
}

/** The configuration of this program for a journal that it wrote. @throws {CliError} another program wrote it */
export function ownConfig({ name, meta }: GivenJournal, command: string, instead: string): TurnConfig {
  if (typeof meta === "object") return recordedConfig(meta)
  throw new CliError(`journal ${command} can do nothing with ${name}: ${meta}. ${instead}`)
}

/** Reads the number of a record that a journal has, or of one of the `beyond` that could follow. @throws {CliError} */
export function readRecordNumber(flag: string, text: string, { entries }: Journal, beyond = 0): number {
  return readCount(flag, text, 1, (entries.at(-1)?.number ?? 1) + beyond)
}

/** One line on what a journal has lost; `undefined` for a whole one. */
export function damageOf({ damage, name }: GivenJournal): string | undefined {
  if (damage === undefined) return undefined
  const why =
    damage.code === "invalid_record"
      ? oneLine(damage.message)
      : `Record ${damage.record} is damaged, missing or out of place; it and all behind it are lost.`
  return `${name} is not whole. ${why} Go on with what stands before it: turn-machine journal fork ${name} --at ${damage.record} --out NEW`
}
