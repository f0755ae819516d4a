import { countItems, isTerminal, oneLine as oneRow } from "../../drivers/checklist/checklist.ts"
import { evidenceText } from "../../drivers/checklist/wording.ts"
import type { ChecklistState } from "../../wire/checklist.ts"
import { cutText, oneLine, plainJson, plural } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { styler, widthOf } from "../terminal/style.ts"
import type { GoalFolder, StoredGoal } from "./goal-folder.ts"
import { leftOf, nextCommand, statusStyle, statusWord, usedOf } from "./goal-format.ts"

/** Shows the status of a goal, also while another process runs it. */
export async function showStatus(
  folder: GoalFolder,
  stored: StoredGoal,
  io: Io,
  { json, state }: { readonly json: boolean; readonly state: string },
): Promise<void> {
  const runner = await folder.runner()
  const requests = await folder.inbox.waiting()
  const { goal, turns, openTurn, commands, checklist } = stored
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
    }
    io.stdout.write(`${plainJson(value)}\n`)
    return
  }
  const style = styler(io)
  const row = (name: string, value: string): void => void io.stdout.write(`${style("dim", name.padEnd(8))} ${value}\n`)
  if (goal === null) row("goal", "none")
  else {
    row("goal", oneLine(goal.objective))
    row("status", style(statusStyle(goal.status), statusWord(goal.status)))
    if (goal.reason !== undefined) row("why", oneLine(goal.reason))
    row("used", usedOf(goal).join(", "))
    const left = leftOf(goal)
    if (left.length > 0) row("left", left.join(", "))
    row("work", `${plural(turns, "turn")}, ${plural(goal.continuations, "continuation")}${openTurn === undefined ? "" : `; turn ${turns} is open`}`)
  }
  row("run by", oneLine(runner ?? "no process"))
  if (commands.length > 0) row("pending", `${commands.map(({ type }) => type).join(", ")}, at the next step of the turn`)
  if (requests > 0) row("waiting", `${plural(requests, "unhandled request")}`)
  if (checklist !== undefined) showList(checklist, io)
  if (runner === undefined && goal?.status !== "complete") io.stdout.write(`${nextCommand(goal, state)}\n`)
}

/** Shows the judge's list with its evidence. */
export function showList({ goal }: ChecklistState, io: Io): void {
  const style = styler(io)
  const items = goal?.checklist ?? []
  const { total, pending } = countItems(items)
  const progress = total === 0 ? "empty; the judge writes it at the end of a turn" : `${total - pending} of ${plural(total, "item")} settled`
  io.stdout.write(`${style("dim", "list".padEnd(8))} ${progress}\n`)
  const width = Math.min(widthOf(io.stdout), 160)
  for (const [index, item] of items.entries()) {
    const mark = item.status === "pending" ? "·" : item.status === "completed" ? style("green", "✓") : style("yellow", "!")
    io.stdout.write(`   ${mark} ${cutText(`${String(index + 1).padStart(2)} ${oneRow(oneLine(item.text))}`, width - 6)}\n`)
    if (item.evidence !== undefined && isTerminal(item))
      io.stdout.write(`        ${style("dim", cutText(oneRow(oneLine(evidenceText(item.evidence))), width - 9))}\n`)
  }
}
