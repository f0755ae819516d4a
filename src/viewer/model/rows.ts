import type { JournalEntry } from "../../replay/journal-entry.ts"
import { type OutlineRow, outlineRow } from "../../replay/outline.ts"
import type { Outcome } from "../../wire/event.ts"
import type { JournalHeader } from "../../wire/journal.ts"
import { count, duration, plural, words } from "./format.ts"
import { inertLine } from "./inert.ts"
import type { Filter } from "./link.ts"

/** One record in the list of a page. */
export interface Row {
  /** Counted from 1, the header. */
  readonly number: number
  /** The index of its entry; -1 for the header. */
  readonly index: number
  readonly at: number | undefined
  readonly kind: RowKind
  /** What happened, in a few words. */
  readonly title: string
  /** The beginning of what was said, or of the result. */
  readonly detail: string
  readonly failed: boolean
  /** Whether the record changes the turn. */
  readonly changes: boolean
  /** Tokens of a model call: input, cached, output. */
  readonly tokens?: { readonly input: number; readonly cached: number; readonly output: number }
}

export type RowKind = "start" | "model" | "tools" | "wait" | "save" | "host" | "note" | "end"

/** The rows of a journal. */
export function rowsOf(header: JournalHeader, entries: readonly JournalEntry[]): readonly Row[] {
  return [
    rowOf(outlineRow({ number: 1, record: header }, undefined), -1),
    ...entries.map((entry, index) => rowOf(outlineRow(entry, undefined), index)),
  ]
}

function rowOf(row: OutlineRow, index: number): Row {
  const { number, at, failed } = row
  const usage = row.type === "llm_complete" ? row.usage : undefined
  return {
    number,
    index,
    at,
    ...factsOf(row),
    failed,
    changes: row.changesTurn,
    ...(usage !== undefined && { tokens: { input: usage.inputTokens, cached: usage.cachedInputTokens, output: usage.outputTokens } }),
  }
}

type Facts = Pick<Row, "kind" | "title" | "detail">

function factsOf(row: OutlineRow): Facts {
  switch (row.type) {
    case "header":
      return { kind: "start", title: "Turn starts", detail: plural(row.messageCount, "message") }
    case "llm_complete":
      return modelFacts(row)
    case "tool_results": {
      const [first] = row.results
      if (first === undefined) return { kind: "tools", title: "No results", detail: "" }
      const failed = row.results.filter(({ output }) => output.status !== "success").length
      const title =
        row.results.length === 1 ? inertLine(first.toolName, 80) : `${plural(row.results.length, "tool")}${failed > 0 ? `, ${failed} failed` : ""}`
      return {
        kind: "tools",
        title,
        detail: row.results.length === 1 ? resultText(first) : inertLine(row.results.map(({ toolName }) => toolName).join(", ")),
      }
    }
    case "tool_decisions":
      return {
        kind: "wait",
        title: plural(row.decisions.length, "decision"),
        detail: inertLine(
          row.decisions.map(({ decision, requestId, by }) => `${decision} ${requestId}${by === undefined ? "" : ` by ${by}`}`).join(", "),
        ),
      }
    case "tool_pending":
      return { kind: "wait", title: "Continues outside", detail: inertLine(`call ${row.callId} as ${row.token}`) }
    case "exec_result":
      if (!row.ran) return { kind: "tools", title: "Code did not run", detail: inertLine(row.error ?? "") }
      return { kind: "tools", title: "Code ran", detail: inertLine(row.error ?? duration(row.durationMs ?? 0)) }
    case "execution_surface_synced":
      if (row.error !== undefined) return { kind: "host", title: "Prompt and tools not updated", detail: inertLine(row.error) }
      return {
        kind: "save",
        title: "Prompt and tools",
        detail: row.toolCount === undefined ? "unchanged" : `updated: ${plural(row.toolCount, "tool")}`,
      }
    case "checkpoint_delivery":
      return row.delivered.length === 0
        ? { kind: "save", title: "Checkpoint", detail: "" }
        : { kind: "host", title: "Delivery", detail: row.delivered.map((name) => deliveredNames[name] ?? name).join(", ") }
    case "interruption":
      return { kind: "host", title: `Host: ${row.command.type}`, detail: "reason" in row.command ? inertLine(row.command.reason ?? "") : "" }
    case "snapshot":
      return { kind: "note", title: "Snapshot", detail: `iteration ${row.iteration}` }
    case "opened":
      return { kind: "note", title: "Resumed by another process", detail: "" }
    case "traced":
      return { kind: "note", title: "In a span", detail: inertLine(row.trace) }
    case "reconfigured":
      return { kind: "note", title: "Another configuration", detail: inertLine(`${row.driver.name} ${row.driver.version}`) }
    case "call_started":
      return { kind: "note", title: "Call starts", detail: inertLine(row.callId ?? "code") }
    case "child_granted":
      return { kind: "note", title: "Tokens reserved", detail: inertLine(`${row.lease} for the child of ${row.callId}`) }
    case "effect":
      return { kind: "note", title: "Requested", detail: words(row.effect) }
    case "end":
      return { kind: "end", title: outcomeText(row.outcome), detail: outcomeDetail(row.outcome) }
  }
}

const deliveredNames: { readonly [name: string]: string | undefined } = {
  __proto__: undefined,
  userMessages: "the user's messages",
  messages: "messages",
  transientMessages: "transient messages",
  turnCauses: "causes",
  events: "events",
}

function modelFacts({ error, purpose, calls, text, terminalReason }: Extract<OutlineRow, { type: "llm_complete" }>): Facts {
  const side = purpose === undefined ? "" : `${inertLine(words(purpose), 40)}: `
  if (error !== undefined) return { kind: "model", title: `${side}model call failed`, detail: inertLine(error) }
  const cut = terminalReason === "stop" || terminalReason === "tool_use" || terminalReason === "unknown" ? "" : ` (${words(terminalReason)})`
  const detail = inertLine(text)
  if (calls.length === 0) return { kind: "model", title: `${side}Model answers${cut}`, detail }
  const counts = new Map<string, number>()
  for (const name of calls) counts.set(name, (counts.get(name) ?? 0) + 1)
  const names = [...counts].map(([name, times]) => (times === 1 ? name : `${name} ×${times}`)).join(", ")
  return { kind: "model", title: `${side}Model calls ${inertLine(names, 80)}${cut}`, detail }
}

function resultText({ output }: Extract<OutlineRow, { type: "tool_results" }>["results"][number]): string {
  if (output.status === "failure") return inertLine(output.failure.message)
  if (output.status === "cancelled") return inertLine(output.message)
  return inertLine(typeof output.value === "string" ? output.value : beginningOf(output.value))
}

/** Results can be large, and the list shows a line of each. */
function beginningOf(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > 400 ? text.slice(0, 400) : text
}

/** How a turn ended, in words. */
export function outcomeText(outcome: Outcome): string {
  return outcome.type === "stopped" ? `stopped: ${words(outcome.stop.type)}` : words(outcome.type)
}

function outcomeDetail(outcome: Outcome): string {
  if (outcome.type === "stopped") return inertLine(outcome.stop.error?.userMessage ?? "")
  if (outcome.type === "agent_frame_switch") return inertLine(outcome.frameId)
  return outcome.finish.type === "assistant_message" ? inertLine(outcome.finish.text) : inertLine(beginningOf(outcome.finish.value))
}

/** Whether a row belongs to a filter. `broken`: the records whose requests do not begin with the one before. */
export function isShown({ kind, failed, number }: Row, filter: Filter, broken: ReadonlySet<number>): boolean {
  switch (filter) {
    case "all":
      return true
    case "model":
      return kind === "model"
    case "tools":
      return kind === "tools"
    case "waits":
      return kind === "wait" || kind === "host"
    case "failed":
      return failed
    case "breaks":
      return broken.has(number)
  }
}

/** Finds the records of a journal that contain a text, in any case. It remembers the text of each record that it has read. */
export class Search {
  readonly #records: readonly (() => unknown)[]
  readonly #texts: string[] = []

  constructor(header: JournalHeader, entries: readonly JournalEntry[]) {
    // A snapshot repeats the conversation.
    this.#records = [
      () => header,
      ...entries.map(
        ({ record }) =>
          () =>
            record.type === "snapshot" ? "" : record,
      ),
    ]
  }

  /** Whether the `place`-th record, from 0 for the header, contains the text, which is in lower case. */
  has(place: number, query: string): boolean {
    this.#texts[place] ??= textsIn(this.#records[place]?.()).toLowerCase()
    return this.#texts[place].includes(query)
  }
}

/** All texts and names in a value, as they are, and not as JSON writes them. */
function textsIn(value: unknown): string {
  const found: string[] = []
  const walk = (part: unknown): void => {
    if (typeof part === "string") found.push(part)
    else if (typeof part === "number") found.push(String(part))
    else if (Array.isArray(part)) for (const item of part) walk(item)
    else if (typeof part === "object" && part !== null)
      for (const [name, item] of Object.entries(part)) {
        found.push(name)
        walk(item)
      }
  }
  walk(value)
  return found.join("\n")
}

/** The records of a list that a reader sees, of many: `first` to `end`, with one screen more on each side. */
export function visibleRange(scrollTop: number, height: number, rowHeight: number, rows: number): { readonly first: number; readonly end: number } {
  const screen = Math.ceil(height / rowHeight) + 1
  const top = Math.floor(scrollTop / rowHeight)
  const first = Math.max(0, Math.min(top - Math.ceil(screen / 2), rows - screen))
  return { first, end: Math.min(rows, Math.max(top, 0) + screen + Math.ceil(screen / 2)) }
}

/** `1,200 in, 3,400 cached, 80 out`. */
export function tokensText({ input, cached, output }: NonNullable<Row["tokens"]>): string {
  return `${count(input)} in, ${count(cached)} cached, ${count(output)} out`
}
