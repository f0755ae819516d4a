/**
 * Draws the transition table into docs/protocol.md. `tsx scripts/docs.ts` writes the marked regions anew and leaves the text
 * around them alone; with `--check` it writes nothing and fails if a region is stale.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { pathToFileURL } from "node:url"
import * as z from "zod"
import { ANSWERS, PREPARATION, TRANSITIONS } from "../src/machine/transitions.ts"
import { AnswerableEffect, Effect } from "../src/schemas/effect.ts"
import { Response } from "../src/schemas/response.ts"

const FILE = "docs/protocol.md"

/** One way out of a state: what is asked for, what answers it, and where that may lead. */
interface Row {
  readonly state: string
  readonly effect?: string
  readonly response?: string
  readonly next: readonly string[]
}

const ROWS: readonly Row[] = Object.keys(TRANSITIONS).flatMap((state): readonly Row[] => {
  const preparation: { readonly next: readonly string[] } | undefined = Object.entries(PREPARATION).find(([name]) => name === state)?.[1]
  if (preparation !== undefined) return [{ state, next: preparation.next }]
  const rules: Readonly<Record<string, { readonly next: readonly string[] }>> = TRANSITIONS[state as keyof typeof TRANSITIONS]
  return Object.entries(rules).map(([response, { next }]) => ({ state, effect: effectAnsweredBy(response), response, next }))
})

/** Where a driver may lead a turn: what the row says that does nothing but ask it. */
const DRIVER_CHOICE: readonly string[] = TRANSITIONS.waiting_llm.llm_complete.next

/** The text of docs/protocol.md with every region drawn anew. @throws {Error} if a region is missing, or a state has no heading */
export function refresh(text: string): string {
  for (const state of Object.keys(TRANSITIONS)) {
    if (!text.includes(`\n### \`${state}\`\n`)) throw new Error(`${FILE} does not explain the state ${state}: it needs a heading "### \`${state}\`".`)
  }
  return Object.entries(REGIONS).reduce((changed, [name, draw]) => replaceRegion(changed, name, draw()), text)
}

/** Which regions are not as they would be drawn now. */
export function staleRegions(text: string): readonly string[] {
  const drawn = refresh(text)
  return Object.keys(REGIONS).filter((name) => regionOf(text, name) !== regionOf(drawn, name))
}

const REGIONS = { diagram: drawDiagram, transitions: drawTransitions, effects: drawEffects, responses: drawResponses }

/** Rows that ask the driver meet in one box, or every waiting state would have an arrow to every other. */
function drawDiagram(): string {
  const edges = ROWS.flatMap(({ state, response, next }) => {
    const label = response ?? "poll"
    const asksDriver = DRIVER_CHOICE.every((target) => next.includes(target))
    const others = asksDriver ? next.filter((target) => !DRIVER_CHOICE.includes(target)) : next
    return [...(asksDriver ? [`${state} --> driver: ${label}`] : []), ...others.map((target) => `${state} --> ${target}: ${label}`)]
  })
  const choices = DRIVER_CHOICE.map((target) => {
    const effect = ROWS.find(({ state }) => state === target)?.effect
    return effect === undefined ? `driver --> ${target}` : `driver --> ${target}: ${effect}`
  })
  const lines = ["[*] --> preparing", ...edges, ...choices, "finished --> [*]"]
  return [
    "```mermaid",
    "stateDiagram-v2",
    ...["direction LR", 'state "the driver decides" as driver', ...lines].map((line) => `  ${line}`),
    "```",
  ].join("\n")
}

function drawTransitions(): string {
  const rows = Object.keys(TRANSITIONS).map((state) => {
    const row = ROWS.find((candidate) => candidate.state === state)
    const taken = row?.response === undefined ? (row === undefined ? "nothing" : "a poll") : code(row.response)
    return [
      `[${code(state)}](#${state})`,
      row?.effect === undefined ? "nothing" : code(row.effect),
      taken,
      row?.next.map(code).join(" · ") ?? "nothing",
    ]
  })
  return table(["state", "waits for the answer to", "takes", "and is next in"], rows)
}

function drawEffects(): string {
  const rows = Effect.options.map(({ shape }) => {
    const type = literal(shape.type)
    const answer = Object.entries(ANSWERS).find(([effect]) => effect === type)?.[1]
    return [code(type), fields(shape), answer === undefined ? "told, no answer" : code(answer)]
  })
  return table(["effect", "fields", "answered by"], rows)
}

function drawResponses(): string {
  const rows = Response.options.map(({ shape }) => {
    const type = literal(shape.type)
    return [code(type), fields(shape), code(effectAnsweredBy(type))]
  })
  return table(["response", "fields", "answers"], rows)
}

function effectAnsweredBy(response: string): string {
  const found = AnswerableEffect.options
    .map(({ shape }) => literal(shape.type))
    .find((effect) => (ANSWERS as Record<string, string>)[effect] === response)
  if (found === undefined) throw new Error(`No effect is answered by ${response}.`)
  return found
}

function literal(schema: z.core.$ZodType): string {
  if (schema instanceof z.ZodLiteral) return String(schema.value)
  throw new Error("A wire value is tagged with something that is no literal.")
}

function fields(shape: Readonly<Record<string, z.core.$ZodType>>): string {
  const names = Object.entries(shape).filter(([name]) => name !== "type")
  return names.map(([name, schema]) => code(schema._zod.optin === "optional" ? `${name}?` : name)).join(", ")
}

function code(text: string): string {
  return `\`${text}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n")
}

function regionOf(text: string, name: string): string {
  const [before, after] = marks(name)
  const start = text.indexOf(before)
  const end = text.indexOf(after)
  if (start < 0 || end < start)
    throw new Error(`${FILE} has no region "${name}": it begins with ${before} and ends with ${after}, each on a line of its own.`)
  return text.slice(start + before.length, end)
}

function replaceRegion(text: string, name: string, drawn: string): string {
  const [before, after] = marks(name)
  const region = regionOf(text, name)
  return text.replace(`${before}${region}${after}`, () => `${before}\n\n${drawn}\n\n${after}`)
}

function marks(name: string): readonly [string, string] {
  return [`<!-- generated: ${name} -->`, `<!-- end: ${name} -->`]
}

function main(args: readonly string[]): void {
  const text = readFileSync(FILE, "utf8")
  if (!args.includes("--check")) {
    writeFileSync(FILE, refresh(text))
    return
  }
  const stale = staleRegions(text)
  if (stale.length === 0) return
  process.stderr.write(
    `${FILE} is stale: what is drawn there (${stale.join(", ")}) is not what the sources say. Run "npm run docs" and commit the file.\n`,
  )
  process.exitCode = 1
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    main(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
