import type { Report } from "./program/main.ts"

/** What one runtime did, for the table in docs/edge.md. */
export interface Row {
  readonly name: string
  readonly version: string
  readonly command: string
  /** Milliseconds until the program was loaded and answered. */
  readonly startMs: number
  readonly checks: number
}

/** The table of the runtimes. */
export function drawRuntimes(rows: readonly Row[]): string {
  return table(
    ["runtime", "version", "started as", "checks", "start"],
    rows.map(({ name, version, command, checks, startMs }) => [name, version, command, String(checks), `${(startMs / 1_000).toFixed(1)} s`]),
  )
}

/** The rows of the groups whose names do not say what is checked. */
const ROWS: { readonly [group: string]: string } = {
  "requests of the chat and code drivers only grow at their end (law 11)": "property: requests only grow at their end",
  "an answer": "property: an answer is rendered part by part as it came",
  "what is cached does not show": "property: a request does not depend on what the projector has cached",
  "every earlier turn value can be continued, at any time and in any order": "property: every earlier turn value can be continued",
}

/** The table of what ran in each of them. */
export function drawChecks({ groups }: Report): string {
  return table(
    ["what ran", "checks"],
    groups.map(({ name, checks }) => [ROWS[name] ?? name, String(checks)]),
  )
}

/** A table of runtimes without what differs from machine to machine: versions and times. */
export function withoutMeasures(text: string): string {
  return text.replaceAll(/^\|(.*?)\|(.*?)\|(.*)\|(.*?)\|$/gm, (line, name: string, _version: string, rest: string) =>
    line.includes("---") ? line : `|${name}|${rest}|`,
  )
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n")
}
