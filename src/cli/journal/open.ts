import { resolve } from "node:path"
import type { TurnConfig } from "../../machine/config.ts"
import type { Journal } from "../../replay/journal.ts"
import { type JournalFile, readJournalFile } from "../run/journal-file.ts"
import { type RunMeta, readRunMeta, recordedConfig } from "../run/run-config.ts"
import { type FlagSpecs, readCount } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, shellWord } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"

export const HELP_FLAG = { help: { type: "boolean", short: "h" } } as const satisfies FlagSpecs

/** A journal that a command was given, with its name in messages. */
export interface GivenJournal extends JournalFile {
  readonly path: string
  readonly name: string
  /** The run's settings, if `turn-machine run` wrote the journal; else the reason why there are none. */
  readonly meta: RunMeta | string
}

/** Reads the journals that a command takes. @throws {CliError} */
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

/** The configuration of a turn that this program ran. @throws {CliError} another program wrote the journal */
export function ownConfig({ name, meta, journal }: GivenJournal, command: string, instead: string): TurnConfig {
  if (typeof meta === "object") return recordedConfig(meta, journal.header.surface.tools)
  throw new CliError(`journal ${command} cannot read ${name}: ${meta}. ${instead}`)
}

/** Parses the number of a record in a journal, or of one of the `beyond` next ones. @throws {CliError} */
export function readRecordNumber(flag: string, text: string, { entries }: Journal, beyond = 0): number {
  return readCount(flag, text, 1, (entries.at(-1)?.number ?? 1) + beyond)
}

/** Describes the damage to a journal in one line; `undefined` for an intact one. */
export function damageOf({ damage, name }: GivenJournal): string | undefined {
  if (damage === undefined) return undefined
  const why =
    damage.code === "invalid_record"
      ? oneLine(damage.message)
      : `Record ${damage.record} is damaged, missing or out of place; it and all later records are lost.`
  return `${name} is damaged. ${why} To resume from the records before it: turn-machine journal fork ${shellWord(name)} --at ${damage.record} --out NEW`
}
