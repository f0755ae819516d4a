import type { Difference } from "../../errors.ts"
import { compareJournals, type JournalParting } from "../../replay/compare.ts"
import { outlineRow } from "../../replay/outline.ts"
import { readArgs } from "../terminal/args.ts"
import { cutToColumns } from "../terminal/columns.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, plainJson, plural } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { styler, widthOf } from "../terminal/style.ts"
import { DIFF_HELP } from "./help.ts"
import { damageOf, givenJournals, HELP_FLAG } from "./open.ts"
import { breakText, prefixesOf, prefixText } from "./prefixes.ts"
import { rowText } from "./rows.ts"
import { differingLines } from "./value-diff.ts"

const FLAGS = { json: { type: "boolean" }, ...HELP_FLAG } as const
const MOST_SHOWN = 8

/** `turn-machine journal diff`. Returns the exit code. @throws {CliError} */
export async function diffJournals(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine journal diff --help")
  if (flags.help === true) {
    printHelp(DIFF_HELP, io)
    return 0
  }
  const [first, second] = await givenJournals(words, 2, "diff", io)
  if (first === undefined || second === undefined) return 2
  // The lost records of a damaged journal cannot be compared, so calling the rest equal would mislead.
  for (const given of [first, second]) {
    const damage = damageOf(given)
    if (damage !== undefined) throw new CliError(damage)
  }
  const { header, parting, alike, fromEffect } = compareJournals(first.journal, second.journal)
  const differs = header.length > 0 || parting !== undefined
  const prefixes = { first: prefixesOf(first), second: prefixesOf(second) }
  if (flags.json === true) {
    const numbers = parting && {
      type: parting.type,
      first: parting.first?.number,
      second: parting.second?.number,
      differences: plainDifferences(parting.differences),
    }
    io.stdout.write(`${plainJson({ type: "diff", differs, header: plainDifferences(header), parting: numbers, alike, fromEffect, prefixes })}\n`)
    return differs ? 1 : 0
  }
  const width = widthOf(io.stdout)
  const line = (text: string): void => void io.stdout.write(`${text}\n`)
  const names = first.name === second.name ? (["first", "second"] as const) : ([first.name, second.name] as const)
  const list = (found: readonly Difference[]): void => {
    const shown = found.slice(0, MOST_SHOWN)
    for (const text of differingLines(shown, names, width)) line(text)
    if (found.length > shown.length) line(`  and ${plural(found.length - shown.length, "more place")}`)
  }
  for (const { name, historyFault } of [first, second]) if (historyFault !== undefined) line(`${name}: ${oneLine(historyFault.message)}`)
  if (fromEffect > 1) line(`A compaction dropped the records before effect ${fromEffect}; they are not compared.`)
  if (header.length > 0) {
    line("The turns started differently:")
    list(header)
  }
  const style = styler(io)
  if (!differs) line(style("green", "No difference."))
  line(`${plural(alike, "answer is", "answers are")} the same in both.`)
  if (parting !== undefined) {
    line(style("bold", partingText(parting, names)))
    list(parting.differences)
    const entries =
      parting.type === "answered"
        ? []
        : ([
            [first, parting.first],
            [second, parting.second],
          ] as const)
    for (const [given, entry] of entries)
      if (entry !== undefined) line(cutToColumns(`  ${given.name}: ${rowText(outlineRow(entry, undefined), typeof given.meta === "object")}`, width))
  }
  for (const [index, { breaks, ...rest }] of [prefixes.first, prefixes.second].entries()) {
    if (breaks.length === 0) continue
    line(cutToColumns(`${names[index]}: ${prefixText({ breaks, ...rest })}`, width))
    for (const found of breaks.slice(0, MOST_SHOWN)) line(cutToColumns(`  record ${found.record}: ${oneLine(breakText(found))}`, width))
    if (breaks.length > MOST_SHOWN) line(`  and ${plural(breaks.length - MOST_SHOWN, "more record")}`)
  }
  return differs ? 1 : 0
}

function partingText({ type, first, second }: JournalParting, names: readonly [string, string]): string {
  if (first === undefined || second === undefined) {
    const [ended, going, number] = first === undefined ? [names[0], names[1], second?.number] : [names[1], names[0], first.number]
    return `${ended} ends here; ${going} continues with record ${number}:`
  }
  if (type === "length")
    return `They diverge at record ${first.number} of ${names[0]} and record ${second.number} of ${names[1]}: different calls have results.`
  const place =
    first.number === second.number
      ? `record ${first.number} of both`
      : `record ${first.number} of ${names[0]} and record ${second.number} of ${names[1]}`
  const effect = "id" in first.record ? first.record.id : undefined
  if (type === "asked") return `They diverge at ${place}: the turns made different requests${effect === undefined ? "" : ` (effect ${effect})`}.`
  return `They diverge at ${place}: ${effect === undefined ? "the turn continued differently" : `effect ${effect} has different answers`}.`
}

/** An undefined value becomes null: JSON would omit it. */
function plainDifferences(found: readonly Difference[]): readonly object[] {
  return found.map(({ path, expected, received }) => ({ path, first: expected ?? null, second: received ?? null }))
}
