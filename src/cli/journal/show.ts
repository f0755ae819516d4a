import { type JournalOutline, journalOutline, type OutlineRow } from "../../replay/outline.ts"
import { resume } from "../../replay/replay.ts"
import type { TurnMachine } from "../../validated-turn-machine.ts"
import type { JournalRecord } from "../../wire/journal.ts"
import { storedModelText } from "../model/model-settings.ts"
import { recordedConfig } from "../run/run-config.ts"
import { tokensText } from "../run/run-screen.ts"
import { readArgs } from "../terminal/args.ts"
import { cutToColumns } from "../terminal/columns.ts"
import { CliError } from "../terminal/errors.ts"
import { formatBytes, formatDuration, oneLine, plainJson, plural, shellWord } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { Screen } from "../terminal/screen.ts"
import { styler, widthOf } from "../terminal/style.ts"
import { childrenOf, childText, parentText, type ShownChild } from "./children.ts"
import { SHOW_HELP } from "./help.ts"
import { damageOf, type GivenJournal, givenJournals, HELP_FLAG, readRecordNumber } from "./open.ts"
import { plainBreak, prefixText } from "./prefixes.ts"
import { rowText } from "./rows.ts"
import { resumeCommand, type TurnStatus, turnStatusOf, turnStatusText } from "./turn-status.ts"

const MOST_FIELD_LINES = 4
/** Narrower terminals get fewer columns, so that there is room for what happened. */
const WIDTH_WITH_SIZES = 72
const WIDTH_WITH_TIMES = 48

const FLAGS = { record: { type: "string" }, json: { type: "boolean" }, ...HELP_FLAG } as const

/** `turn-machine journal show`. Returns the exit code. @throws {CliError} */
export async function showJournal(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine journal show --help")
  if (flags.help === true) {
    printHelp(SHOW_HELP, io)
    return 0
  }
  const [given] = await givenJournals(words, 1, "show", io)
  if (given === undefined) return 2
  if (flags.record !== undefined) io.stdout.write(`${plainJson(recordOf(given, flags.record), 2)}\n`)
  else {
    const children = await childrenOf(given.path, given.journal.header)
    if (flags.json === true) writeJson(given, children, io)
    else writeTable(given, children, io)
  }
  const damage = damageOf(given)
  if (damage === undefined) return 0
  throw new CliError(damage, 1)
}

function recordOf({ journal }: GivenJournal, text: string): JournalRecord {
  const number = readRecordNumber("--record", text, journal)
  const record = number === 1 ? journal.header : journal.entries.find((entry) => entry.number === number)?.record
  if (record === undefined)
    throw new CliError(`A compaction dropped record ${number}; the first remaining record is ${journal.entries[0]?.number ?? 1}.`)
  return record
}

/** The turn after its last record, if this program wrote the journal. */
function machineOf({ journal, meta }: GivenJournal): TurnMachine | undefined {
  if (typeof meta !== "object") return undefined
  try {
    return resume(journal, recordedConfig(meta), { checkEffects: false })
  } catch {
    return undefined
  }
}

/** A replay computes the requests if this program wrote the journal. */
function outlineOf({ journal, lineBytes, meta }: GivenJournal): JournalOutline {
  if (typeof meta !== "object") return journalOutline(journal, lineBytes)
  try {
    return journalOutline(journal, lineBytes, recordedConfig(meta))
  } catch {
    return journalOutline(journal, lineBytes)
  }
}

function statusOf(given: GivenJournal): TurnStatus {
  const end = given.journal.entries.at(-1)?.record
  return end?.type === "end" ? { type: "ended", outcome: end.outcome } : turnStatusOf(machineOf(given))
}

/** The bytes after the last complete line of an undamaged journal. */
function tornBytes({ unfinishedBytes, damage }: GivenJournal): number {
  return damage === undefined ? unfinishedBytes : 0
}

function writeTable(given: GivenJournal, children: readonly ShownChild[], io: Io): void {
  const style = styler(io)
  const width = widthOf(io.stdout)
  const line = (text: string): void => void io.stdout.write(`${text}\n`)
  const { journal, meta, name, bytes } = given
  const { header, entries } = journal
  const outline = outlineOf(given)
  const isOurs = typeof meta === "object"
  const status = statusOf(given)
  const command = typeof meta === "object" && given.damage === undefined ? resumeCommand(status, name) : undefined
  const fields: [string, string][] = [
    ["journal", `${name}, ${plural(entries.length + 1, given.damage === undefined ? "record" : "whole record")}, ${formatBytes(bytes)}`],
    ["turn", `${oneLine(header.turnId)}${header.at === undefined ? "" : `, started ${dateOf(header.at)} ${clockOf(header.at)}`}`],
    ["driver", `${oneLine(header.driver.name)} version ${header.driver.version}`],
  ]
  if (typeof meta === "object") fields.push(["model", storedModelText(meta)], ["task", oneLine(meta.task)])
  else fields.push(["writer", `not turn-machine run: ${meta}`])
  const { forkedFrom, dropped, parent, base } = header
  if (parent !== undefined) fields.push(["parent", parentText(parent)])
  if (base !== undefined) fields.push(["log", logText(given)])
  if (forkedFrom !== undefined) fields.push(["forked", `from turn ${oneLine(forkedFrom.turnId)} at record ${forkedFrom.record}`])
  if (dropped !== undefined) fields.push(["dropped", `${plural(dropped, "record")}, by a compaction; the totals do not count them`])
  fields.push(
    ["state", turnStatusText(status)],
    ...(typeof meta === "object" && status.type === "waiting" && status.held !== undefined
      ? [["decide", `turn-machine approvals ${shellWord(name)}`] as [string, string]]
      : []),
    ...(command === undefined ? [] : [["resume", command] as [string, string]]),
    [
      "work",
      `${plural(outline.modelCalls, "model call")}, ${plural(outline.toolCalls, "tool call")}, ${formatDuration(outline.workedMs)} in ${plural(outline.processes, "process", "processes")}`,
    ],
    ["tokens", tokensText(outline.usage)],
  )
  const prefix = prefixText(outline.prefix)
  if (prefix !== undefined) fields.push(["prefix", prefix])
  for (const child of children) fields.push(["child", childText(child)])
  // A command is not cut, so that it can be copied.
  new Screen(io).fields(fields.map(([field, value]) => [field, cutToColumns(value, MOST_FIELD_LINES * (width - 9))]))
  line("")
  const numberWidth = Math.max(2, String(outline.rows.at(-1)?.number ?? 1).length)
  const [hasSizes, hasTimes] = [width >= WIDTH_WITH_SIZES, width >= WIDTH_WITH_TIMES]
  const columns = (time: string, effect: string, size: string): string =>
    `${hasTimes ? `${time.padEnd(8)}  ` : ""}${hasSizes ? `${effect.padStart(6)}  ${size.padStart(7)}  ` : ""}`
  const title = `${"no".padStart(numberWidth)}  ${columns("time", "effect", "size")}what happened`
  line(style("dim", cutToColumns(`${title}${hasSizes ? " (tokens: input/cached/output)" : ""}`, width)))
  let date = header.at === undefined ? "" : dateOf(header.at)
  const waited = waits(outline.rows)
  for (const row of outline.rows) {
    const { number, at, effectId, bytes } = row
    if (at !== undefined && dateOf(at) !== date) {
      date = dateOf(at)
      line(style("dim", `${"".padStart(numberWidth)}  ${date}`))
    }
    const facts = `${String(number).padStart(numberWidth)}  ${columns(at === undefined ? "-" : clockOf(at), String(effectId ?? "-"), formatBytes(bytes ?? 0))}`
    const shown = cutToColumns(rowText(row, isOurs, waited.get(number)), width - facts.length)
    io.stdout.write(`${facts}${row.failed ? style("red", shown) : row.changesTurn ? shown : style("dim", shown)}\n`)
  }
  const torn = tornBytes(given)
  if (torn > 0) line(cutToColumns(`The file ends with ${formatBytes(torn)} of an unfinished line, which is ignored.`, width))
}

/** `t.thread, up to record 5: 3 messages`, and why they are not known. */
function logText({ journal: { header }, historyFault }: GivenJournal): string {
  const { log = "", records = 0, messages = 0 } = header.base ?? {}
  const found = `${oneLine(log)}, up to record ${records}: ${plural(messages, "message")}`
  return historyFault === undefined ? found : `${found}. ${oneLine(historyFault.message)}`
}

function writeJson(given: GivenJournal, children: readonly ShownChild[], io: Io): void {
  const write = (value: object): void => void io.stdout.write(`${plainJson(value)}\n`)
  const { journal, meta, path, damage, bytes } = given
  const { rows, outcome: _, turnId, driver, at, forkedFrom, dropped, ...totals } = outlineOf(given)
  const run = typeof meta === "object" ? { run: meta } : {}
  write({
    type: "journal",
    path,
    turnId,
    driver,
    at,
    forkedFrom,
    dropped,
    parent: journal.header.parent,
    base: journal.header.base,
    ...run,
    records: journal.entries.length + 1,
    bytes: bytes,
    standing: statusOf(given),
    ...totals,
    tornBytes: tornBytes(given),
  })
  const waited = waits(rows)
  for (const row of rows) write(plainRow(row, typeof meta === "object", waited.get(row.number)))
  for (const child of children) write({ type: "child", ...child })
  if (damage !== undefined) write({ type: "damage", code: damage.code, record: damage.record, message: damage.message })
}

/** How long calls waited for their decisions, in milliseconds, by the number of the record: since the answer that asked for them. */
function waits(rows: readonly OutlineRow[]): ReadonlyMap<number, number> {
  const waited = new Map<number, number>()
  let asked: number | undefined
  for (const { type, number, at } of rows) {
    if (type === "llm_complete" || type === "header") asked = at
    if (type === "tool_decisions" && asked !== undefined && at !== undefined) waited.set(number, Math.max(0, at - asked))
  }
  return waited
}

function plainRow(row: OutlineRow, isOurs: boolean, waitedMs: number | undefined): object {
  const { number, type, at, effectId, bytes } = row
  const line = { type: "record", number, kind: type, at, effectId, bytes, text: rowText(row, isOurs, waitedMs) }
  if (row.type === "tool_decisions") return { ...line, decisions: row.decisions, ...(waitedMs !== undefined && { waitedMs }) }
  if (row.type === "tool_results") return { ...line, tools: row.results.map(({ toolName: name, output: { status } }) => ({ name, status })) }
  if (row.type !== "llm_complete") return line
  const { prefixBreak, purpose } = row
  const prefix = prefixBreak === undefined ? {} : { prefix: plainBreak(prefixBreak) }
  const facts = { ...line, ...(purpose !== undefined && { purpose }) }
  return row.error === undefined ? { ...facts, calls: row.calls, usage: row.usage, ...prefix } : { ...facts, ...prefix }
}

function dateOf(at: number): string {
  const time = new Date(at)
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`
}

function clockOf(at: number): string {
  const time = new Date(at)
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`
}

function two(count: number): string {
  return String(count).padStart(2, "0")
}
