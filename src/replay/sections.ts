import type { JournalHeader, JournalRecord } from "../wire/journal.ts"
import { recordType } from "./deferred.ts"

interface Entry {
  readonly number: number
  readonly record: JournalRecord
}

/** The records of a journal, as it has them. */
interface Recorded {
  readonly header: JournalHeader
  readonly entries: readonly Entry[]
}

/** The records of a journal that were written under one configuration. */
export interface Section extends Pick<JournalHeader, "driver" | "config"> {
  /** The number of the record that names the configuration: 1 for the header. */
  readonly record: number
  /** The index of the snapshot that the section begins at; -1: it begins at the start of the turn. */
  readonly first: number
  /** The index after its last entry. */
  readonly end: number
}

/** Returns the sections of a journal: one, and one more for each `reconfigured` record that has its snapshot. */
export function sectionsOf({ header, entries }: Recorded): readonly [Section, ...Section[]] {
  const [, ...later] = splitPoints(entries)
  const first = header.dropped === undefined ? -1 : entries.findIndex((entry) => recordType(entry) === "snapshot")
  const { driver, config } = header
  const sections: [Section, ...Section[]] = [{ record: 1, driver, config, first, end: later[0] ?? entries.length }]
  for (const [place, index] of later.entries()) {
    const { number, record } = entries[index] as Entry
    if (record.type !== "reconfigured") continue
    sections.push({ record: number, driver: record.driver, config: record.config, first: index + 1, end: later[place + 1] ?? entries.length })
  }
  return sections
}

/** The indexes at which sections begin. A record whose snapshot was torn off changed nothing. */
function splitPoints(entries: readonly Entry[]): readonly number[] {
  const points = [0]
  for (let index = 0; index + 1 < entries.length; index += 1)
    if (recordType(entries[index] as Entry) === "reconfigured" && recordType(entries[index + 1] as Entry) === "snapshot") points.push(index)
  return points
}

/** The section in which a turn continues at the end of its journal. */
export function lastSection(journal: Recorded): Section {
  const sections = sectionsOf(journal)
  return sections.at(-1) ?? sections[0]
}
