import { resolve } from "node:path"
import type { HeldCall } from "../../wire/approval.ts"
import type { Outcome, TurnEvent } from "../../wire/event.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import { callName, waitingLines, waitingText } from "../approvals/commands.ts"
import { foldWords, heldLine } from "../approvals/held-lines.ts"
import { decisionWords } from "../approvals/words.ts"
import { serverLine } from "../mcp/servers.ts"
import { modelText } from "../model/model-settings.ts"
import { costText, pricesText, type StoredPrices } from "../model/prices.ts"
import { columnsOf, cutToColumns, padToColumns } from "../terminal/columns.ts"
import { formatCount, formatDuration, oneLine, plural, shellWord } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { INDENT, Screen } from "../terminal/screen.ts"
import { widthOf } from "../terminal/style.ts"
import { isUnreported, type Reporter, type RunEnd, type RunPause, type RunStart, type RunSuspension, type RunTotals } from "./reporter.ts"
import type { RunSettings } from "./run-settings.ts"
import { type ToolLine, toolLine } from "./tool-line.ts"

/** Terminals narrower than this get no columns in the lines of tool calls. */
const LEAST_WIDTH = 80
const CALL_WIDTH = 44
const RESULT_WIDTH = 22
/** Such as `12.3 kB, 293 ms`. */
const FACTS_WIDTH = 15
const LEAST_RESULT = 8

export interface RunScreenOptions {
  readonly screen?: Screen
  readonly showsQuestions?: boolean
}

/** Whether the output is on the terminal in which a person is asked. */
export function showsQuestions({ terminal, stdout }: Pick<Io, "terminal" | "stdout">): boolean {
  return terminal !== undefined && stdout.isTTY === true
}

/** Shows a run as text: what the model says, each tool call, tokens, and a summary. In colour on a terminal that supports it. */
export class RunScreen implements Reporter {
  readonly #screen: Screen
  readonly #stdout: Io["stdout"]
  #out = ""
  #estimated = false
  #prices: StoredPrices | undefined
  #usage: TokenUsage | undefined
  readonly #showsQuestions: boolean
  /** The calls that were asked about here, by the ids of their requests. */
  readonly #asked = new Set<string>()
  /** The tool calls that run, by their ids. */
  readonly #running = new Map<string, { readonly name: string; readonly since: number }>()

  /** `showsQuestions`: the terminal of the output also shows the questions about held calls, so that they are not announced. */
  constructor(io: Pick<Io, "stdout" | "env" | "cwd">, { screen = new Screen(io), showsQuestions = false }: RunScreenOptions = {}) {
    this.#screen = screen
    this.#showsQuestions = showsQuestions
    this.#stdout = io.stdout
  }

  started(settings: RunSettings, { state, resumedAt, servers = [] }: RunStart): void {
    const { task, dir, out, model, contextTokens, prices } = settings
    this.#out = out
    this.#prices = prices
    this.#estimated = model.type === "embedded"
    const resumed = resumedAt === undefined ? "" : ` (resumed at iteration ${resumedAt + 1})`
    this.#screen.fields([
      ["folder", oneLine(dir)],
      ["task", oneLine(task)],
      ["model", modelText(model)],
      ...(contextTokens === undefined ? [] : [["window", `${formatCount(contextTokens)} tokens`] as const]),
      ...(prices === undefined ? [] : [["prices", pricesText(prices)] as const]),
      ...servers.map((server, index) => [index === 0 ? "servers" : "", serverLine(server)] as const),
      ...(state === undefined ? [] : [["state", `${this.#screen.shortPath(state)}${resumed}`] as const]),
    ])
  }

  event(event: TurnEvent): void {
    this.#show(event)
    // The others of its batch may still run.
    if (event.type === "tool_call") this.#waitForCalls()
  }

  #waitForCalls(): void {
    const calls = [...this.#running.values()]
    const [first, ...others] = calls
    if (first === undefined) return
    const names = [...new Set(calls.map(({ name }) => name))].join(", ")
    this.#screen.wait(others.length === 0 ? `running ${names}` : `running ${calls.length} calls: ${names}`, first.since)
  }

  #show(event: TurnEvent): void {
    const screen = this.#screen
    switch (event.type) {
      case "llm_request":
        this.#running.clear()
        this.turnEnded()
        if (event.purpose !== undefined) {
          screen.wait(event.purpose === "compaction" ? "summarizing the conversation" : `waiting for the model (${oneLine(event.purpose)})`)
          break
        }
        screen.line("")
        screen.begin(`${String(event.iteration + 1).padEnd(INDENT.length - 1)} `)
        screen.wait("waiting for the model")
        break
      case "text_delta":
        screen.text(event.content)
        break
      case "llm_response":
        screen.endText()
        break
      case "token_usage":
        this.#usage = event.usage
        break
      case "tool_call_start":
        screen.endText()
        this.#running.set(event.callId ?? event.name, { name: oneLine(event.name), since: Date.now() })
        this.#waitForCalls()
        break
      case "tool_progress":
        if (this.#running.has(event.callId)) screen.detail(progressText(event))
        break
      case "tool_call":
        this.#running.delete(event.callId ?? event.name)
        this.#toolCall(toolLine(event))
        break
      case "approval_requested":
        if (this.#showsQuestions) break
        screen.line(`${INDENT}${screen.style("yellow", "?")} ${heldLine(event.held, this.#width - INDENT.length - 2, callName(event.held))}`)
        break
      case "approval_decided": {
        if (this.#showsQuestions && this.#asked.delete(event.requestId)) break
        const by = event.by === undefined ? "" : ` by ${oneLine(event.by)}`
        const text = `${oneLine(event.callId)}  ${oneLine(event.name)} ${decisionWords(event.decision)}${by}`
        screen.line(`${INDENT}${screen.style("dim", cutToColumns(text, this.#width - INDENT.length))}`)
        break
      }
      case "tool_pending":
        screen.line(`${INDENT}${cutToColumns(`${oneLine(event.name)} continues outside as ${oneLine(event.token)}`, this.#width - INDENT.length)}`)
        break
      case "retry_status":
        screen.line(`${INDENT}${screen.style("yellow", `The model call failed: ${oneLine(event.reason)}`)}`)
        screen.line(`${INDENT}Attempt ${event.attempt + 1} of ${event.maxAttempts} in ${formatDuration(event.waitSeconds * 1_000)}.`)
        break
      case "message":
        // What a call before it used comes first.
        if (event.kind === "compaction") this.turnEnded()
        screen.line(`${INDENT}${oneLine(event.text)}`)
        break
      case "error":
        // A model call that failed for good is reported at the end, with what to do.
        if (event.envelope?.kind !== "llm_provider") screen.line(`${INDENT}${screen.style("red", oneLine(event.message))}`)
        break
    }
  }

  /** One line, in columns where the terminal is wide enough, or the call and below it the result. A failure is not cut. */
  #toolCall({ ok, name, args, result, facts }: ToolLine): void {
    const { style } = this.#screen
    const room = this.#width - INDENT.length - 2
    const call = `${name} ${args}`.trim()
    const mark = ok ? style("green", "✓") : style("red", "✗")
    const shown = (text: string): string => (ok ? text : style("red", text))
    const callColumn = padToColumns(call, Math.min(CALL_WIDTH, room - RESULT_WIDTH - FACTS_WIDTH - 2))
    const inColumns = [`${callColumn} `, ok ? `${padToColumns(result, RESULT_WIDTH)} ` : `${result}  `] as const
    for (const [first, second] of [...(this.#width >= LEAST_WIDTH ? [inColumns] : []), [`${call}  `, `${result}  `] as const]) {
      if (columnsOf(`${first}${second}${facts}`) > room) continue
      this.#screen.line(`${INDENT}${mark} ${first}${shown(second)}${style("dim", facts)}`)
      return
    }
    this.#screen.line(`${INDENT}${mark} ${cutToColumns(call, room)}`)
    const lines = ok ? [cutToColumns(result, Math.max(LEAST_RESULT, room - columnsOf(facts) - 2))] : foldWords(result, Math.max(LEAST_RESULT, room))
    const isOwnLine = columnsOf(`${lines.at(-1) ?? ""}  ${facts}`) > room
    for (const [index, line] of lines.entries()) {
      const isLast = index === lines.length - 1 && !isOwnLine
      this.#screen.line(`${INDENT}  ${shown(line)}${isLast ? `  ${style("dim", facts)}` : ""}`)
    }
    if (isOwnLine) this.#screen.line(`${INDENT}  ${style("dim", facts)}`)
  }

  /** That of a terminal may change. */
  get #width(): number {
    return widthOf(this.#stdout)
  }

  ended({ outcome, totals, durationMs, again }: RunEnd): void {
    this.turnEnded()
    if (again) this.#repeat(outcome)
    const finished = outcome.type === "finished"
    const style = this.#screen.style
    this.#summary(finished ? style(["bold", "green"], "finished") : style(["bold", "red"], outcomeText(outcome)), totals, durationMs)
  }

  paused({ state, totals, durationMs }: RunPause): void {
    this.turnEnded()
    this.#summary(this.#screen.style(["bold", "yellow"], "stopped, can be resumed"), totals, durationMs)
    this.#screen.line(`Resume with: turn-machine resume ${shellWord(this.#screen.shortPath(state))} (or the same command with --resume)`)
  }

  suspended({ state, held, pending, totals, durationMs }: RunSuspension): void {
    this.turnEnded()
    this.#summary(this.#screen.style(["bold", "yellow"], waitingText(held.length, pending.length)), totals, durationMs)
    for (const line of waitingLines(held, pending, this.#screen.shortPath(state), this.#width)) this.#screen.line(line)
    this.#screen.line(`Then continue with: turn-machine resume ${shellWord(this.#screen.shortPath(state))} (or the same command with --resume)`)
  }

  asking(call?: HeldCall): void {
    if (call !== undefined) this.#asked.add(call.requestId)
    this.turnEnded()
  }

  failed(): void {
    this.turnEnded()
  }

  /** Ends the output of an iteration, without a summary. */
  turnEnded(): void {
    this.#screen.endText()
    if (this.#usage !== undefined) this.#screen.line(`${INDENT}${this.#screen.style("dim", usageText(this.#usage))}`)
    this.#usage = undefined
  }

  #summary(outcome: string, totals: RunTotals, durationMs: number): void {
    const { iterations, modelCalls, toolCalls, usage, files } = totals
    const unreported = isUnreported(totals)
    const cost = unreported ? undefined : costText(usage, this.#prices)
    this.#screen.line("")
    this.#screen.fields([
      ["outcome", outcome],
      [
        "work",
        `${plural(iterations, "iteration")}, ${plural(modelCalls, "model call")}, ${plural(toolCalls, "tool call")}, ${formatDuration(durationMs)}`,
      ],
      ["tokens", unreported ? "not reported" : `${tokensText(usage)}${this.#estimated ? " (estimated)" : ""}`],
      ...(cost === undefined ? [] : [["cost", cost] as const]),
      ...files.map((file, index) => [index === 0 ? "written" : "", this.#screen.shortPath(resolve(this.#out, file))] as const),
    ])
  }

  /** Shows the answer of a turn that an earlier process finished. */
  #repeat(outcome: Outcome): void {
    if (outcome.type !== "finished") return
    const { finish } = outcome
    this.#screen.line("")
    this.#screen.text(finish.type === "assistant_message" ? finish.text : JSON.stringify(finish.value))
    this.#screen.endText()
  }
}

/** Token counts by bucket. */
export function tokensText({ inputTokens, cachedInputTokens, outputTokens }: TokenUsage): string {
  return `${formatCount(inputTokens)} in, ${formatCount(cachedInputTokens)} cached, ${formatCount(outputTokens)} out`
}

/** The tokens of one call. */
function usageText(usage: TokenUsage): string {
  const { inputTokens, cachedInputTokens, outputTokens } = usage
  return inputTokens + cachedInputTokens + outputTokens === 0 ? "tokens not reported" : `tokens ${tokensText(usage)}`
}

/** How a turn ended, in two or three words. */
export function outcomeText(outcome: Outcome): string {
  return outcome.type === "stopped" ? `stopped: ${outcome.stop.type.replaceAll("_", " ")}` : outcome.type.replaceAll("_", " ")
}

/** How far a tool call has come, such as `3 of 10, copying`. */
function progressText({ message, progress, total }: Extract<TurnEvent, { type: "tool_progress" }>): string {
  const share = progress === undefined ? [] : [total === undefined ? String(progress) : `${progress} of ${total}`]
  return oneLine([...share, ...(message === undefined ? [] : [message])].join(", "))
}
