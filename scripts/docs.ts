/**
 * Generates the marked regions of docs/protocol.md and docs/goals.md from the transition tables. With `--check` it writes nothing
 * and fails if a region is stale.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { pathToFileURL } from "node:url"
import * as z from "zod"
import { DEFAULT_GOAL_POLICY, REFERENCE_GOAL_POLICY } from "../src/drivers/goal/policy.ts"
import { GOAL_STANDINGS, GOAL_TRANSITIONS, type GoalCell } from "../src/drivers/goal/transitions.ts"
import { ANSWERS, PREPARATION, TRANSITIONS } from "../src/machine/transitions.ts"
import { AnswerableEffect, Effect } from "../src/schemas/effect.ts"
import { GoalPolicyData } from "../src/schemas/goal.ts"
import { Response } from "../src/schemas/response.ts"
import { regionOf, replaceRegion } from "./regions.ts"
import { shapesOf, tagsOf } from "./shapes.ts"

/** One way out of a state: its effect, the response to it, and the states that may follow. */
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

/** The states that a driver may choose, from the row that only asks the driver. */
const DRIVER_CHOICE: readonly string[] = TRANSITIONS.waiting_llm.llm_complete.next

/** A document with generated regions, and the headings that it must have. */
interface Drawn {
  readonly regions: { readonly [name: string]: () => string }
  readonly headings: readonly string[]
}

/** The documents, by path. */
export const DRAWN: { readonly "docs/protocol.md": Drawn; readonly "docs/goals.md": Drawn } = {
  "docs/protocol.md": {
    regions: { diagram: drawDiagram, transitions: drawTransitions, effects: drawEffects, responses: drawResponses },
    headings: Object.keys(TRANSITIONS).map((state) => `### ${code(state)}`),
  },
  "docs/goals.md": { regions: { statuses: drawGoalStatuses, policy: drawGoalPolicy }, headings: [] },
}
type DrawnFile = keyof typeof DRAWN

/** Returns the document with every region regenerated. @throws {Error} if a region or a heading is missing */
export function refresh(text: string, file: DrawnFile = "docs/protocol.md"): string {
  const { regions, headings } = DRAWN[file]
  for (const heading of headings) if (!text.includes(`\n${heading}\n`)) throw new Error(`${file} needs a heading "${heading}".`)
  return Object.entries(regions).reduce((changed, [name, draw]) => replaceRegion(file, changed, name, draw()), text)
}

/** Returns the names of the regions that differ from what would be generated now. */
export function staleRegions(text: string, file: DrawnFile = "docs/protocol.md"): readonly string[] {
  const drawn = refresh(text, file)
  return Object.keys(DRAWN[file].regions).filter((name) => regionOf(file, text, name) !== regionOf(file, drawn, name))
}

/** Rows that ask the driver share one box. Otherwise every waiting state would have an arrow to every other. */
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
  const rows = Object.keys(TRANSITIONS).flatMap((state) => {
    const name = `[${code(state)}](#${state})`
    const found = ROWS.filter((candidate) => candidate.state === state)
    if (found.length === 0) return [[name, "nothing", "nothing", "nothing"]]
    return found.map(({ effect, response, next }) => {
      const waitsFor = effect === undefined ? "nothing" : code(effect)
      return [name, waitsFor, response === undefined ? "a poll" : code(response), next.map(code).join(" · ")]
    })
  })
  return table(["state", "waits for the response to", "accepts", "next states"], rows)
}

function drawEffects(): string {
  const rows = shapesOf(Effect).map((shape) => {
    const type = literal(shape["type"])
    const answer = Object.entries(ANSWERS).find(([effect]) => effect === type)?.[1]
    return [code(type), fields(shape), answer === undefined ? "notification" : answer.map(code).join(", ")]
  })
  return table(["effect", "fields", "answered by"], rows)
}

function drawResponses(): string {
  const rows = shapesOf(Response).map((shape) => {
    const type = literal(shape["type"])
    return [code(type), fields(shape), code(effectAnsweredBy(type))]
  })
  return table(["response", "fields", "answers"], rows)
}

function effectAnsweredBy(response: string): string {
  const found = tagsOf(AnswerableEffect).find((effect) => (ANSWERS as Record<string, readonly string[]>)[effect]?.includes(response))
  if (found === undefined) throw new Error(`No effect is answered by ${response}.`)
  return found
}

function literal(schema: z.core.$ZodType | undefined): string {
  if (schema instanceof z.ZodLiteral) return String(schema.value)
  throw new Error("A wire value has a tag that is not a literal.")
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

/** The name of each row in the document. A row of the table without a name does not compile. */
const GOAL_CHANGES: { readonly [Change in keyof typeof GOAL_TRANSITIONS]: string } = {
  create_goal: "tool `create_goal`",
  complete_goal: "tool `update_goal` complete",
  block_goal: "tool `update_goal` blocked",
  claim_complete: "tool `update_goal` complete, with checks",
  set_active: "`set` active, `resume`",
  set_paused: "`set` paused",
  set_blocked: "`set` blocked",
  set_usage_limited: "`set` usage_limited",
  set_budget_limited: "`set` budget_limited",
  set_complete: "`set` complete",
  set_budget: "`set` a budget alone",
  set_objective: "`set` an objective alone",
  pause: "`pause`",
  complete: "`complete`",
  complete_with_checks: "`complete`, with checks that have not passed",
  wait: "`wait`",
  usage: "usage is charged",
  usage_limit: "a turn fails: usage limit",
  error: "a turn fails for good",
  interrupt: "a turn is interrupted",
  checks_passed: "the checks pass for a goal claimed complete",
  brake: "a brake acts",
  reactivate: 'the thread is loaded, `onResume: "reactivate"`',
}

function drawGoalStatuses(): string {
  const rows = Object.entries(GOAL_TRANSITIONS).map(([change, cells]) => {
    return [GOAL_CHANGES[change as keyof typeof GOAL_TRANSITIONS], ...cells.map(cellText)]
  })
  return table(["", ...GOAL_STANDINGS.map((standing) => (standing === "none" ? "no goal" : standing))], rows)
}

function cellText(cell: GoalCell): string {
  if (cell === "same") return "—"
  return cell === "in_budget" ? "active ¹" : cell
}

function drawGoalPolicy(): string {
  const switches = shapesOf(GoalPolicyData)
    .flatMap(Object.keys)
    .filter((name) => name !== "compat") as (keyof typeof DEFAULT_GOAL_POLICY)[]
  const shown = (value: unknown): string => (typeof value === "string" ? code(`"${value}"`) : String(value))
  const rows = switches.map((name) => [code(name), shown(DEFAULT_GOAL_POLICY[name]), shown(REFERENCE_GOAL_POLICY[name])])
  return table(["switch", "default", 'with `compat: "reference"`'], rows)
}

function main(args: readonly string[]): void {
  for (const file of Object.keys(DRAWN) as DrawnFile[]) {
    const text = readFileSync(file, "utf8")
    if (!args.includes("--check")) {
      writeFileSync(file, refresh(text, file))
      continue
    }
    const stale = staleRegions(text, file)
    if (stale.length === 0) continue
    process.stderr.write(`${file} is stale: its regions ${stale.join(", ")} differ from the sources. Run "npm run docs" and commit the file.\n`)
    process.exitCode = 1
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    main(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
