import { plural } from "../terminal/format.ts"
import type { ReplacedLine } from "../workspace/edit-folder.ts"
import type { SearchResult } from "../workspace/text-search.ts"
import { REPLACE_LINE } from "../workspace/tools.ts"
import type { Exchange } from "./conversation.ts"
import type { PlannedStep } from "./planned-step.ts"

/** A text to replace with another one. */
export interface Replacement {
  readonly from: string
  readonly to: string
}

/** The most lines that are changed in one turn, and in one batch of calls. */
const MAX_CHANGES = 120
const CHANGES_AT_ONCE = 12
/** Longer lines are found only in part. */
const MAX_LINE = 300

const QUOTED = `"([^"\\n]+)"|“([^”\\n]+)”|'([^'\\n]+)'|\`([^\`\\n]+)\``
const REPLACE = new RegExp(`\\b(?:replace|rename|change)\\b[^"“'\`]*(?:${QUOTED})[^"“'\`]*?\\b(?:with|by|to|into)\\s+(?:${QUOTED})`, "iu")

/** Reads a task such as `Replace "colour" with "color"`; `undefined` for any other. */
export function readReplacement(task: string): Replacement | undefined {
  const [from, to] = (REPLACE.exec(task)?.slice(1) ?? []).filter((found) => found !== undefined)
  return from === undefined || to === undefined || from === to ? undefined : { from, to }
}

/** The next step of a replacement: search, change the lines in batches, answer. A change that the user refused is not asked for again. */
export function replaceStep({ from, to }: Replacement, exchanges: readonly Exchange[]): PlannedStep {
  const search = exchanges.find(({ toolName }) => toolName === "search_text")
  if (search === undefined)
    return { text: `I search for "${from}".`, calls: [{ toolName: "search_text", input: { texts: [from], wholeWord: false, ignoreCase: false } }] }
  if (!search.result.ok) return answer(`I could not search, so I changed nothing: ${search.result.message}`)
  const { matches, totalMatches } = search.result.value as unknown as SearchResult
  const lines = matches.filter(({ text }) => text.length < MAX_LINE).slice(0, MAX_CHANGES)
  const changes = exchanges.filter(({ toolName }) => toolName === REPLACE_LINE)
  const next = lines.slice(changes.length, changes.length + CHANGES_AT_ONCE)
  if (next.length > 0) {
    const calls = next.map(({ path, line, text }) => ({
      toolName: REPLACE_LINE,
      input: { path, line, oldText: text, newText: text.replaceAll(from, to) },
    }))
    return {
      text: `${plural(lines.length - changes.length, "line")} ${lines.length - changes.length === 1 ? "has" : "have"} "${from}". I change ${next.length === 1 ? "it" : "them"}.`,
      calls,
    }
  }
  if (totalMatches === 0) return answer(`No file has "${from}". I changed nothing.`)
  const done = changes.filter(({ result }) => result.ok && (result.value as unknown as ReplacedLine).status !== undefined)
  const open = changes.filter((change) => !done.includes(change))
  const reasons = open.map(({ input, result }) => `${placeOf(input)}: ${result.ok ? "no result" : (result.message.split("\n")[0] ?? "")}`)
  const rest = totalMatches - lines.length
  return answer(
    [
      `I replaced "${from}" with "${to}" in ${plural(done.length, "line")}${open.length === 0 && rest === 0 ? "" : ` of ${totalMatches}`}.`,
      ...(reasons.length === 0 ? [] : [`Not changed:\n${reasons.map((reason) => `- ${reason}`).join("\n")}`]),
      ...(rest > 0 ? [`${plural(rest, "line")} ${rest === 1 ? "is" : "are"} too long or too many for one turn.`] : []),
    ].join("\n"),
  )
}

function placeOf(input: Exchange["input"]): string {
  const { path, line } = input as { readonly path?: unknown; readonly line?: unknown }
  return `${String(path)}:${String(line)}`
}

function answer(text: string): PlannedStep {
  return { text, calls: [] }
}
