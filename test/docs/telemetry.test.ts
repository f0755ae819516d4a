import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { INSTRUMENTS } from "../../src/hosts/opentelemetry/metrics.ts"

const ROOT = fileURLToPath(new URL("../../", import.meta.url))
const PAGE = readFileSync(`${ROOT}docs/telemetry.md`, "utf8")
const SOURCES = ["chunks", "content", "conventions", "endings", "index", "metrics", "spans", "traced-host", "traced-turn"]

/** The rows of the table whose head begins with a word, as cells without backticks. */
function table(head: string): readonly (readonly string[])[] {
  const lines = PAGE.split("\n")
  const start = lines.findIndex((line) => line.startsWith(`| ${head} |`))
  const rest = lines.slice(start + 2)
  const rows = rest.slice(
    0,
    rest.findIndex((line) => !line.startsWith("|")),
  )
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim().replaceAll("`", "")),
  )
}

/** What names of metrics begin with in the sources. */
const PREFIXES = new Set(["gen_ai.invoke_agent", "gen_ai.client.inference", "gen_ai.client.operation"])

/** All names of attributes, metrics and events in the sources. */
function named(): ReadonlySet<string> {
  const text = SOURCES.map((name) => readFileSync(`${ROOT}src/hosts/opentelemetry/${name}.ts`, "utf8")).join("\n")
  const names = [...text.matchAll(/"((?:gen_ai|turn_machine|server|error)\.[\w.]+)"/g)].map(([, name = ""]) => name)
  return new Set(names.filter((name) => !PREFIXES.has(name)))
}

describe("docs/telemetry.md", () => {
  test("lists every metric, with its kind and unit", () => {
    const listed = table("metric").map(([name, kind, unit]) => [name, kind, unit])
    expect(listed.sort()).toEqual(
      Object.entries(INSTRUMENTS)
        .map(([name, { instrument, unit }]) => [name, instrument, unit])
        .sort(),
    )
  })

  test("names every attribute and event of the sources, and no other", () => {
    const known = named()
    const [attributes, events, metrics] = ["attribute", "event", "metric"].map((head) => table(head).map(([name = ""]) => name))
    const missing = [...known].filter((name) => !PAGE.includes(`\`${name}\``))
    expect(missing).toEqual([])
    const inSources = new Set([...known, ...(metrics ?? [])])
    expect([...(attributes ?? []), ...(events ?? [])].filter((name) => !inSources.has(name))).toEqual([])
    const inPage = [...PAGE.matchAll(/`((?:gen_ai|turn_machine|server|error)\.[\w.]+\w)`/g)].map(([, name = ""]) => name)
    // Of goals, the page has the whole names of metrics and of the one tag.
    const NOT_OURS = ["gen_ai.client.inference.operation.details", "turn_machine.goal.status"]
    expect(inPage.filter((name) => !inSources.has(name) && !NOT_OURS.includes(name))).toEqual([])
  })
})
