import { compareJournals } from "../../replay/compare.ts"
import type { Journal } from "../../replay/journal.ts"
import type { JournalEntry } from "../../replay/journal-entry.ts"
import type { JournalHeader } from "../../wire/journal.ts"
import type { ViewedTurn } from "../data.ts"

/** A journal among those that were forked from one another. */
export interface Branch {
  /** Its index in the page. */
  readonly turn: number
  /** The branch that it left; `undefined` for a journal that is not a fork of another one in the page. */
  readonly parent: number | undefined
  /** The first record that is not the parent's. */
  readonly at: number | undefined
  /** How many branches it is away from the first one. */
  readonly depth: number
}

/** Finds which journals are forks of which. A family begins with the journal that the others come from. */
export function branchesOf(turns: readonly Pick<ViewedTurn, "header">[]): readonly Branch[] {
  const indexOf = new Map(turns.map(({ header }, index) => [header.turnId, index]))
  const parentOf = (index: number): number | undefined => {
    const { forkedFrom } = turns[index]?.header ?? {}
    const parent = forkedFrom === undefined ? undefined : indexOf.get(forkedFrom.turnId)
    return parent === index ? undefined : parent
  }
  const branches: Branch[] = []
  const seen = new Set<number>()
  const visit = (index: number, parent: number | undefined, depth: number): void => {
    if (seen.has(index)) return
    seen.add(index)
    branches.push({ turn: index, parent, at: parent === undefined ? undefined : turns[index]?.header.forkedFrom?.record, depth })
    for (const [other] of turns.entries()) if (parentOf(other) === index) visit(other, index, depth + 1)
  }
  for (const [index] of turns.entries()) if (parentOf(index) === undefined) visit(index, undefined, 0)
  // Headers that name one another in a circle are not forks.
  for (const [index] of turns.entries()) visit(index, undefined, 0)
  return branches
}

/** The commands that fork a journal at a record. `word`: its path as a word of a shell. */
export function forkCommands(
  word: string,
  { number, record }: Pick<JournalEntry, "number" | "record">,
): readonly { readonly label: string; readonly command: string }[] {
  const fork = `turn-machine journal fork ${word} --at ${number} --out fork.json`
  const again = { label: "Ask again: the fork ends before this record, and resuming it performs the request once more", command: fork }
  const show = `turn-machine journal show ${word} --record ${number} > answer.json`
  if (record.type === "llm_complete")
    return [
      again,
      { label: "Give another answer of the model", command: `${fork} --text "…"` },
      { label: "Edit the recorded answer", command: `${show}\n${fork} --answer-file answer.json` },
    ]
  if ("id" in record) return [again, { label: "Edit the recorded answer", command: `${show}\n${fork} --answer-file answer.json` }]
  return [{ label: "The fork ends before this record", command: fork }]
}

/** The commands for a fork that was made. A journal of another program is resumed by that program. */
export function commandsAfterFork(
  word: string,
  { meta }: Pick<JournalHeader, "meta">,
): readonly { readonly label: string; readonly command: string }[] {
  const isOwn = typeof meta === "object" && meta !== null && "format" in meta && meta["format"] === "turn-machine/run"
  const compare = { label: "See both next to each other", command: `turn-machine journal view ${word} fork.json` }
  return isOwn ? [{ label: "Resume the fork", command: "turn-machine resume fork.json" }, compare] : [compare]
}

/** Two journals next to each other. */
export interface SideBySide {
  /** How many of the first records they share, the headers included. */
  readonly shared: number
  /** What differs in their headers. */
  readonly header: readonly string[]
  readonly why: string
}

/** Compares two journals. */
export function sideBySide(first: Journal, second: Journal): SideBySide {
  const { parting, header } = compareJournals(first, second)
  const paths = header.map(({ path }) => path)
  if (parting === undefined) return { shared: Math.min(first.entries.length, second.entries.length) + 1, header: paths, why: "They do not differ." }
  const number = Math.min(parting.first?.number ?? Number.POSITIVE_INFINITY, parting.second?.number ?? Number.POSITIVE_INFINITY)
  return { shared: number - 1, header: paths, why: WHY[parting.type] }
}

const WHY = {
  asked: "The turns make different requests from here on.",
  answered: "The same request has different answers.",
  length: "One continues where the other one ends.",
} as const
