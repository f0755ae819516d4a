import { resolve } from "node:path"
import { countItems, isTerminal, oneLine as oneRow } from "../../drivers/checklist/checklist.ts"
import { decisionReasonText } from "../../drivers/checklist/decision.ts"
import { evidenceText } from "../../drivers/checklist/wording.ts"
import type { ThreadTurn } from "../../hosts/thread/thread.ts"
import type { HeldCall } from "../../wire/approval.ts"
import type { ChecklistItem, ChecklistState } from "../../wire/checklist.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { Goal, GoalCheckResult, GoalOutput, GoalStatus } from "../../wire/goal.ts"
import { waitingLines, waitingText } from "../approvals/commands.ts"
import { serverLine } from "../mcp/servers.ts"
import { modelText } from "../model/model-settings.ts"
import { pricesText } from "../model/prices.ts"
import { DEFAULT_PROVIDER } from "../model/providers.ts"
import { RunScreen } from "../run/run-screen.ts"
import { cutToColumns } from "../terminal/columns.ts"
import { formatCount, oneLine, plainText, plural, seconds, sentence } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { INDENT, Screen } from "../terminal/screen.ts"
import { type Style, styler, widthOf } from "../terminal/style.ts"
import type { RequestResult, ResolvedRequest } from "./control/requests.ts"
import { contractRows, leftOf, nextCommand, statusStyle, statusWord, usedOf, waitText } from "./goal-format.ts"
import type { GoalEnd, GoalReporter, GoalStart, GoalSuspension, Ruling, Waiting } from "./goal-reporter.ts"
import type { GoalSettings } from "./goal-settings.ts"

/** How much of the output of a failed check is shown. */
const TAIL_LINES = 8

/** Shows a goal as text: each turn like a run, changes of its checklist, and on a terminal a status line with its usage. */
export class GoalScreen implements GoalReporter {
  readonly #io: Pick<Io, "stdout" | "env" | "cwd">
  readonly #style: (style: Style, text: string) => string
  readonly #screen: Screen
  readonly #run: RunScreen
  readonly #state: string
  #goal: Goal | null = null
  #estimated = false
  #out = ""
  /** The goal's folder, as it is shown. */
  #place = ""
  #turn = 0
  readonly #since = Date.now()
  #shown: readonly ChecklistItem[] = []
  #until: number | undefined
  #warned = false
  /** A status that is not shown yet. */
  #changedTo: GoalStatus | undefined

  /**
   * `state`: the flag that names the goal's folder, with a space before it; empty where it is the default. `showsQuestions`: see
   * {@link RunScreen}.
   */
  constructor(io: Pick<Io, "stdout" | "env" | "cwd">, state: string, { showsQuestions = false }: { readonly showsQuestions?: boolean } = {}) {
    this.#io = io
    this.#style = styler(io)
    this.#state = state
    this.#screen = new Screen(io, () => this.#live())
    this.#run = new RunScreen(io, { screen: this.#screen, showsQuestions })
  }

  started(
    { run: { dir, out, model }, meta }: GoalSettings,
    { goal, state, resumed, checklist, isDefaultBudget, isWatching, watched, servers = [] }: GoalStart,
  ): void {
    this.#goal = goal
    this.#place = this.#screen.shortPath(state)
    this.#shown = checklist?.goal?.checklist ?? []
    this.#out = out
    this.#estimated = model.type === "embedded"
    this.#warned = goal?.usageEstimated === true
    const budgets = goal === null ? [] : leftOf(goal)
    const { judge, checks = [], hard } = meta
    const judgeAt = judgeText(meta)
    const which = isDefaultBudget === true ? " (default; change it with --budget-tokens N or none)" : hard === true ? " (hard)" : ""
    this.#fields([
      ["folder", oneLine(dir)],
      ["goal", oneLine(goal?.objective ?? "none")],
      ...contractRows(goal?.contract),
      ["model", modelText(model)],
      ...(meta.contextTokens === undefined ? [] : [["window", `${formatCount(meta.contextTokens)} tokens`] as const]),
      ...(meta.prices === undefined ? [] : [["prices", pricesText(meta.prices)] as const]),
      ...(judge === "none" ? [] : [["judge", `${judge}${judgeAt}`] as const]),
      ...checks.map((command, index) => [index === 0 ? "checks" : "", oneLine(command)] as const),
      ...servers.map((server, index) => [index === 0 ? "servers" : "", serverLine(server)] as const),
      ...(budgets.length === 0 ? [] : [[resumed ? "left" : "budget", `${budgets.join(", ")}${which}`] as const]),
      ["state", `${this.#screen.shortPath(state)}${resumed && isWatching !== true ? " (resumed)" : ""}`],
      ...(watched === undefined ? [] : [["run by", oneLine(watched)] as const]),
    ])
  }

  turn({ number, resumed }: ThreadTurn & { readonly number: number; readonly resumed: boolean }): void {
    this.#showStatus()
    this.#turn = number
    this.#until = undefined
    this.#screen.line("")
    const name = `Turn ${number}${resumed ? " (resumed)" : ""}`
    this.#screen.heading(name, this.#goal === null ? "" : `· ${usedOf(this.#goal).join(", ")}`)
  }

  event(event: TurnEvent): void {
    this.#showStatus()
    if (event.type === "done") this.#run.turnEnded()
    // A run reports a failed model call at its end; a goal may retry.
    else if (event.type === "error" && event.envelope?.kind === "llm_provider") this.#screen.line(`   ${this.#style("red", oneLine(event.message))}`)
    else this.#run.event(event)
  }

  goal(output: GoalOutput): void {
    if (output.type === "goal_cleared") this.#goal = null
    if (output.type !== "goal_updated") return
    const before = this.#goal
    this.#goal = output.goal
    if (output.goal.usageEstimated === true && !this.#warned && !this.#estimated) {
      this.#warned = true
      this.#field("usage", "is estimated: the endpoint reported none for a call.")
    }
    if (before !== null && before.objective !== output.goal.objective) this.#field("goal", oneLine(output.goal.objective))
    if (before !== null && before.status !== output.goal.status) this.#changedTo = output.goal.status
  }

  /** Shows a new status, unless the end follows, which shows it itself. */
  #showStatus(): void {
    const status = this.#changedTo
    this.#changedTo = undefined
    if (status !== undefined) this.#field("goal", this.#style(statusStyle(status), statusWord(status)))
  }

  checklist({ goal }: ChecklistState, decision: Ruling | undefined): void {
    const items = goal?.checklist ?? []
    const before = new Map(this.#shown.map((item) => [item.id, item]))
    this.#shown = items
    const changed = items.flatMap((item, index) => (sameItem(before.get(item.id), item) ? [] : [{ item, number: index + 1 }]))
    const gone = [...before.values()].filter(({ id }) => items.every((item) => item.id !== id))
    if (decision === undefined && changed.length === 0 && gone.length === 0) return
    this.#showStatus()
    const { total, pending } = countItems(items)
    this.#screen.line("")
    // A judge without a list has only its words.
    const count = total === 0 && decision !== undefined ? [] : [`${total - pending} of ${plural(total, "item")} settled`]
    const reason = decision === undefined ? [] : [sentence(decisionReasonText(decision.reason))]
    this.#field(decision === undefined ? "list" : "judge", [...count, ...reason].join(". "))
    for (const { item, number } of changed) this.#item(item, number)
    for (const { text } of gone) this.#screen.line(`   ${this.#style("dim", `removed: ${oneRow(oneLine(text))}`)}`)
  }

  judging(): void {
    this.#showStatus()
    this.#screen.wait("judging")
  }

  checksStarted(): void {
    this.#showStatus()
    this.#run.turnEnded()
    this.#screen.line("")
    this.#screen.line(this.#style("dim", "checks"))
  }

  checking(name: string): void {
    this.#screen.wait(`running ${oneLine(name)}`)
  }

  checked({ name, ok, exitCode, tail }: GoalCheckResult): void {
    const mark = ok ? this.#style("green", "✓") : this.#style("red", "✗")
    const how = ok ? "passed" : `failed${exitCode === undefined ? "" : ` with exit code ${exitCode}`}`
    this.#screen.line(`${INDENT}${mark} ${oneLine(name)} ${this.#style(ok ? "green" : "red", how)}`)
    if (ok) return
    const lines = plainText(tail)
      .split("\n")
      .filter((line) => line.trim() !== "")
    for (const line of lines.slice(-TAIL_LINES))
      this.#screen.line(`${INDENT}  ${this.#style("dim", cutToColumns(line.replaceAll("\t", "  ").trimEnd(), this.#width() - 6))}`)
  }

  checks(): void {}

  waiting(wait: Waiting): void {
    this.#showStatus()
    this.#field("wait", waitText(wait))
    this.#until = wait.until
    this.#screen.wait("waiting")
  }

  notice(text: string): void {
    this.#showStatus()
    this.#run.turnEnded()
    this.#screen.line(oneLine(text))
  }

  requested(request: ResolvedRequest | undefined, { ok, message }: RequestResult): void {
    // The turn shows a decision itself.
    if (ok && request !== undefined && "decide" in request) return
    this.#showStatus()
    this.#field("request", ok ? oneLine(message) : `refused: ${oneLine(message)}`)
  }

  ended(facts: GoalEnd): void {
    this.close()
    const { goal, reason, notBefore } = facts
    this.#run.turnEnded()
    this.#screen.line("")
    const status = goal === null ? "no goal" : this.#style(statusStyle(goal.status), statusWord(goal.status))
    this.#fields([
      ["status", status],
      ...(goal?.status === "complete" ? [] : [["why", oneLine(reason)] as const]),
      ...(notBefore === undefined ? [] : [["until", new Date(notBefore).toLocaleString()] as const]),
      ...this.#figures(facts),
    ])
    if (goal?.status !== "complete") this.#screen.line(nextCommand(goal, this.#state))
  }

  interrupted(facts: GoalEnd): void {
    this.#showStatus()
    this.close()
    this.#run.turnEnded()
    this.#screen.line("")
    this.#fields([["status", this.#style(["bold", "yellow"], "stopped, can be resumed")], ...this.#figures(facts)])
    this.#screen.line(`Resume with: turn-machine goal resume${this.#state}`)
  }

  suspended(facts: GoalSuspension): void {
    this.#showStatus()
    this.close()
    this.#run.turnEnded()
    this.#screen.line("")
    const { held, pending } = facts
    this.#fields([["status", this.#style(["bold", "yellow"], waitingText(held.length, pending.length))], ...this.#figures(facts)])
    for (const line of waitingLines(held, pending, this.#place, this.#width())) this.#screen.line(line)
    this.#screen.line(`Then continue with: turn-machine goal resume${this.#state}`)
  }

  asking(call?: HeldCall): void {
    this.#run.asking(call)
  }

  failed(): void {
    this.close()
    this.#run.turnEnded()
  }

  close(): void {
    this.#screen.endText()
  }

  #figures({ goal, turns, files }: GoalEnd): readonly (readonly [string, string])[] {
    if (goal === null) return []
    const { total, pending } = countItems(this.#shown)
    return [
      ["work", `${plural(turns, "turn")}, ${plural(goal.continuations, "continuation")}`],
      ["used", `${usedOf(goal).join(", ")}${this.#estimated || goal.usageEstimated === true ? " (tokens estimated)" : ""}`],
      ...(total === 0 ? [] : [["list", `${total - pending} of ${plural(total, "item")} settled`] as const]),
      ...files.map((file, index) => [index === 0 ? "written" : "", this.#screen.shortPath(resolve(this.#out, file))] as const),
    ]
  }

  /** The goal's figures for the status line. Adds the time since the last recorded usage. */
  #live(): string {
    const goal = this.#goal
    const until = this.#until === undefined ? "" : `${seconds(Math.max(0, Math.ceil((this.#until - Date.now()) / 1_000)))} · `
    if (goal === null) return until
    const { status, secondsUsed, updatedAt } = goal
    const running = status === "active" ? Math.max(0, Math.floor((Date.now() - Math.max(updatedAt, this.#since)) / 1_000)) : 0
    const used = usedOf({ ...goal, secondsUsed: secondsUsed + running }).map((figure) => figure.replace(" of ", "/"))
    return `${until}${statusWord(status)} · ${used.join(" · ")} · turn ${this.#turn}`
  }

  #item(item: ChecklistItem, number: number): void {
    const mark = item.status === "pending" ? "·" : item.status === "completed" ? this.#style("green", "✓") : this.#style("yellow", "!")
    const width = this.#width()
    this.#screen.line(`   ${mark} ${cutToColumns(`${String(number).padStart(2)} ${oneRow(oneLine(item.text))}`, width - 6)}`)
    if (item.evidence !== undefined && isTerminal(item)) {
      this.#screen.line(`        ${this.#style("dim", cutToColumns(oneRow(oneLine(evidenceText(item.evidence))), width - 9))}`)
    }
  }

  #width(): number {
    return Math.min(widthOf(this.#io.stdout), 160)
  }

  #field(name: string, text: string): void {
    this.#screen.fields([[name, text]])
  }

  #fields(fields: readonly (readonly [string, string])[]): void {
    this.#screen.fields(fields)
  }
}

function sameItem(left: ChecklistItem | undefined, right: ChecklistItem): boolean {
  return left !== undefined && left.status === right.status && left.text === right.text
}

/** The judge's model, where it is not the goal's. */
function judgeText({ judgeBaseUrl: baseUrl, judgeModel: name, judgeProvider: provider = DEFAULT_PROVIDER }: GoalSettings["meta"]): string {
  if (name === undefined) return ""
  return `, ${baseUrl === undefined ? oneLine(name) : modelText({ type: "endpoint", name, baseUrl, provider })}`
}
