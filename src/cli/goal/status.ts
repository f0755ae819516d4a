import { countItems, isTerminal, oneLine as oneRow } from "../../drivers/checklist/checklist.ts"
import { evidenceText, reasonText } from "../../drivers/checklist/wording.ts"
import { readGoal } from "../../drivers/goal/history.ts"
import type { ChecklistState } from "../../wire/checklist.ts"
import type { Goal, GoalCheckMemory, GoalCheckResult } from "../../wire/goal.ts"
import { plainHeld, waitingLines, waitingText } from "../approvals/commands.ts"
import { cutToColumns } from "../terminal/columns.ts"
import { oneLine, plainJson, plural } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { Screen } from "../terminal/screen.ts"
import { styler, widthOf } from "../terminal/style.ts"
import type { GoalFolder, StoredGoal } from "./goal-folder.ts"
import { contractRows, leftOf, nextCommand, statusStyle, statusWord, usedOf, waitText } from "./goal-format.ts"

/** Shows the status of a goal, also while another process runs it. */
export async function showStatus(
  folder: GoalFolder,
  stored: StoredGoal,
  io: Io,
  { json, all, state }: { readonly json: boolean; readonly all: boolean; readonly state: string },
): Promise<void> {
  const runner = await folder.runner()
  const requests = await folder.inbox.waiting()
  const { goal, turns, openTurn, commands, checklist, known } = stored
  const { memory } = readGoal(stored.history, stored.threadId).state
  const earlier = await folder.earlier()
  const place = new Screen(io).shortPath(folder.path)
  const waiting = openTurn === undefined ? [] : (await folder.waiting()).turns
  const held = waiting.flatMap((turn) => turn.held)
  const pending = waiting.flatMap((turn) => turn.pending)
  const since = waiting[0]?.since
  // When the account can be used again, as far as its provider said it.
  const until = goal?.status === "usage_limited" ? memory.limitEndsAt : undefined
  if (json) {
    const value = {
      type: "goal_status",
      goal,
      turns,
      openTurn: openTurn ?? null,
      commands,
      requests,
      runner: runner ?? null,
      checklist: checklist?.goal?.checklist ?? null,
      wait: memory.wait ?? null,
      until: until ?? null,
      checks: memory.checks ?? null,
      held: held.map((call) => plainHeld(call, place)),
      pending,
      heldSince: since ?? null,
      earlier: all ? earlier : earlier.length,
    }
    io.stdout.write(`${plainJson(value)}\n`)
    return
  }
  const style = styler(io)
  const screen = new Screen(io)
  const row = (name: string, value: string): void => screen.fields([[name, value]])
  if (goal === null) row("goal", "none")
  else {
    row("goal", oneLine(goal.objective))
    for (const [name, text] of contractRows(goal.contract)) row(name, text)
    row("status", style(statusStyle(goal.status), statusWord(goal.status)))
    if (goal.reason !== undefined) row("why", oneLine(goal.reason))
    if (until !== undefined) row("until", new Date(until).toLocaleString())
    if (goal.status === "active" && memory.wait !== undefined) row("wait", waitText(memory.wait))
    row("used", `${usedOf(goal).join(", ")}${goal.usageEstimated === true || known.baseUrl === undefined ? " (tokens estimated)" : ""}`)
    const left = leftOf(goal)
    if (left.length > 0) row("left", left.join(", "))
    row("work", `${plural(turns, "turn")}, ${plural(goal.continuations, "continuation")}${openTurn === undefined ? "" : `; turn ${turns} is open`}`)
  }
  if (goal !== null) showChecks(goal, memory.checks, openTurn !== undefined, row)
  row("run by", oneLine(runner ?? "no process"))
  if (held.length + pending.length > 0)
    row(
      "held",
      `turn ${turns} ${waitingText(held.length, pending.length)}${since === undefined ? "" : `, since ${new Date(since).toLocaleString()}`}`,
    )
  if (commands.length > 0) row("pending", `${commands.map(({ type }) => (type === "set" ? "edit" : type)).join(", ")}, at the next step of the turn`)
  if (requests > 0) row("waiting", `${plural(requests, "unhandled request")}`)
  if (goal !== null && checklist !== undefined && known.judge === "checklist") showList(checklist, io)
  if (goal !== null && checklist !== undefined && known.judge === "freeform") row("judge", verdictOf(checklist))
  if (earlier.length > 0)
    row("earlier", all ? plural(earlier.length, "goal") : `${plural(earlier.length, "goal")} (goal status --all${state} shows them)`)
  if (all) for (const { goal: before, isCleared, turns: count } of earlier) showEarlier(before, isCleared, count, io)
  if (held.length + pending.length > 0)
    for (const line of waitingLines(held, pending, place, Math.min(widthOf(io.stdout), 160))) io.stdout.write(`${line}\n`)
  if (runner === undefined && goal?.status !== "complete") io.stdout.write(`${nextCommand(goal, state)}\n`)
}

function showChecks(
  { checks = [], status }: Goal,
  memory: GoalCheckMemory | undefined,
  isOpen: boolean,
  row: (name: string, value: string) => void,
): void {
  for (const [index, { name }] of checks.entries()) {
    const failed = memory?.failing?.find((result) => result.name === name)
    const state =
      status === "complete" || memory?.passed !== undefined
        ? "passed"
        : memory?.due !== undefined
          ? "runs next"
          : failed !== undefined
            ? "failed"
            : `runs after the ${isOpen ? "" : "next "}turn`
    row(index === 0 ? "checks" : "", `${oneLine(name)}: ${state}${state === "failed" ? failureOf(failed) : ""}`)
  }
}

/** The exit code and the last line of a failed check. */
function failureOf(result: GoalCheckResult | undefined): string {
  const code = result?.exitCode === undefined ? "" : ` with exit code ${result.exitCode}`
  const line = (result?.tail ?? "").trim().split("\n").at(-1) ?? ""
  return line === "" ? code : `${code}: ${oneLine(line)}`
}

function verdictOf({ goal }: ChecklistState): string {
  if (goal?.lastVerdict === undefined) return "no verdict yet"
  const reason = goal.lastReason === undefined ? "" : `: ${reasonText(goal.lastReason)}`
  return oneLine(`${goal.lastVerdict.replaceAll("_", " ")}${reason}`)
}

function showEarlier({ objective, status, ...goal }: Goal, isCleared: boolean, turns: number, io: Io): void {
  const width = Math.min(widthOf(io.stdout), 160)
  const state = isCleared && status !== "complete" ? "cleared" : statusWord(status)
  const used = usedOf({ ...goal, objective, status }).join(", ")
  io.stdout.write(`   ${cutToColumns(`${state}: ${oneLine(objective)}`, width - 4)}\n`)
  io.stdout.write(`        ${styler(io)("dim", cutToColumns(`${plural(turns, "turn")}, ${used}`, width - 9))}\n`)
}

/** Shows the judge's list with its evidence. */
export function showList({ goal }: ChecklistState, io: Io): void {
  const style = styler(io)
  const items = goal?.checklist ?? []
  const { total, pending } = countItems(items)
  const progress = total === 0 ? "empty; the judge writes it at the end of a turn" : `${total - pending} of ${plural(total, "item")} settled`
  new Screen(io).fields([["list", progress]])
  const width = Math.min(widthOf(io.stdout), 160)
  for (const [index, item] of items.entries()) {
    const mark = item.status === "pending" ? "·" : item.status === "completed" ? style("green", "✓") : style("yellow", "!")
    io.stdout.write(`   ${mark} ${cutToColumns(`${String(index + 1).padStart(2)} ${oneRow(oneLine(item.text))}`, width - 6)}\n`)
    if (item.evidence !== undefined && isTerminal(item))
      io.stdout.write(`        ${style("dim", cutToColumns(oneRow(oneLine(evidenceText(item.evidence))), width - 9))}\n`)
  }
}
