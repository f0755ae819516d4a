import { relative, resolve, sep } from "node:path"
import type { Outcome, TurnEvent } from "../../schemas/event.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import { type RunSettings, shownUrl } from "../run/run-settings.ts"
import { cutText, formatCount, formatDuration, oneLine, plainText, plural, shellWord } from "./format.ts"
import type { Io } from "./io.ts"
import type { Reporter, RunEnd, RunPause } from "./reporter.ts"
import { isColoured, type Style, styler } from "./style.ts"
import type { Tally } from "./tally.ts"
import { toolLine } from "./tool-line.ts"
import { Wrap } from "./wrap.ts"

const INDENT = "   "
const CALL_WIDTH = 44
const RESULT_WIDTH = 22
// The cursor's place is remembered rather than counted: a terminal writes ^C of its own behind the status.
const SAVE_CURSOR = "\u001b7"
const RESTORE_CURSOR_AND_CLEAR = "\u001b8\u001b[K"

/** Shows a run as text: what the model says, each tool call, tokens, and a summary. In colour on a terminal that wants it. */
export class Screen implements Reporter {
  readonly #io: Pick<Io, "stdout" | "env" | "cwd">
  readonly #coloured: boolean
  readonly #style: (style: Style, text: string) => string
  #out = ""
  #estimated = false
  /** Where the text stands: at the beginning of a line, or behind what the model says. */
  #column: "start" | "text" = "start"
  #wrap = new Wrap(0, INDENT, 0)
  #status = ""
  #waiting = ""
  readonly #live: (() => string) | undefined
  #usage: TokenUsage | undefined

  /** `live`: what stands besides on the line that says what is going on. */
  constructor(io: Pick<Io, "stdout" | "env" | "cwd">, live?: () => string) {
    this.#io = io
    this.#live = live
    this.#coloured = isColoured(io)
    this.#style = styler(io)
  }

  started(settings: RunSettings, { state, resumedAt }: { readonly state?: string; readonly resumedAt?: number }): void {
    const { task, dir, out, model } = settings
    this.#out = out
    this.#estimated = model.type === "embedded"
    const resumed = resumedAt === undefined ? "" : ` (resumed at iteration ${resumedAt + 1})`
    this.#fields([
      ["folder", dir],
      ["task", oneLine(task)],
      ["model", model.type === "embedded" ? "embedded planner, no network" : `${oneLine(model.name)} at ${shownUrl(model.baseUrl)}`],
      ...(state === undefined ? [] : [["state", `${this.#short(state)}${resumed}`] as const]),
    ])
  }

  event(event: TurnEvent): void {
    switch (event.type) {
      case "llm_request":
        this.#endIteration()
        this.#line("")
        this.#begin(`${String(event.iteration + 1).padEnd(INDENT.length)}`)
        this.#wait("waiting for the model")
        break
      case "text_delta":
        this.#say(event.content)
        break
      case "llm_response":
        this.#endText()
        break
      case "token_usage":
        this.#usage = event.usage
        break
      case "tool_call_start":
        this.#endText()
        this.#wait(`running ${oneLine(event.name)}`)
        break
      case "tool_call": {
        this.#endText()
        const { ok, name, args, result, facts } = toolLine(event)
        const call = `${name} ${args}`.trim().padEnd(CALL_WIDTH)
        const mark = ok ? this.#style("green", "✓") : this.#style("red", "✗")
        this.#line(`${INDENT}${mark} ${call} ${ok ? result.padEnd(RESULT_WIDTH) : this.#style("red", result)} ${this.#style("dim", facts)}`)
        break
      }
      case "retry_status":
        this.#endText()
        this.#line(`${INDENT}${this.#style("yellow", `The model call failed: ${oneLine(event.reason)}`)}`)
        this.#line(`${INDENT}Attempt ${event.attempt + 1} of ${event.maxAttempts} in ${formatDuration(event.waitSeconds * 1_000)}.`)
        break
      case "message":
        this.#endText()
        this.#line(`${INDENT}${oneLine(event.text)}`)
        break
      case "error":
        // A model call that failed for good is told at the end, with what to do.
        if (event.envelope?.kind === "llm_provider") break
        this.#endText()
        this.#line(`${INDENT}${this.#style("red", oneLine(event.message))}`)
        break
    }
  }

  ended({ outcome, tally, durationMs, again }: RunEnd): void {
    this.#endIteration()
    if (again) this.#repeat(outcome)
    const finished = outcome.type === "finished"
    this.#summary(finished ? this.#style(["bold", "green"], "finished") : this.#style(["bold", "red"], wordsOf(outcome)), tally, durationMs)
  }

  paused({ state, tally, durationMs }: RunPause): void {
    this.#endIteration()
    this.#summary(this.#style(["bold", "yellow"], "stopped, can be resumed"), tally, durationMs)
    this.#line(`Go on with: turn-machine resume ${shellWord(this.#short(state))} (or the same command and --resume)`)
  }

  failed(): void {
    this.#endIteration()
  }

  /** A line of somebody else's, between two of the turn. */
  line(text: string): void {
    this.#endText()
    this.#line(text)
  }

  /** The turn is over, and a summary does not follow. */
  turnEnded(): void {
    this.#endIteration()
  }

  /** Says anew what is going on, as it is now; with a text: says that from now on. */
  wait(status: string = this.#waiting): void {
    if (status !== "") this.#wait(status)
  }

  #summary(outcome: string, tally: Tally, durationMs: number): void {
    const { iterations, modelCalls, toolCalls, usage, files } = tally
    this.#line("")
    this.#fields([
      ["outcome", outcome],
      [
        "work",
        `${plural(iterations, "iteration")}, ${plural(modelCalls, "model call")}, ${plural(toolCalls, "tool call")}, ${formatDuration(durationMs)}`,
      ],
      ["tokens", `${tokens(usage)}${this.#estimated ? " (estimated)" : ""}`],
      ...files.map((file, index) => [index === 0 ? "written" : "", this.#short(resolve(this.#out, file))] as const),
    ])
  }

  /** Shows the answer of a turn that was over before. */
  #repeat(outcome: Outcome): void {
    if (outcome.type !== "finished") return
    const { finish } = outcome
    this.#line("")
    this.#say(finish.type === "assistant_message" ? finish.text : JSON.stringify(finish.value))
    this.#endText()
  }

  #say(text: string): void {
    this.#clearStatus()
    if (this.#column === "start") this.#begin(INDENT)
    this.#io.stdout.write(this.#wrap.add(plainText(text)))
  }

  #begin(start: string): void {
    const { isTTY, columns = 0 } = this.#io.stdout
    this.#column = "text"
    this.#wrap = new Wrap(isTTY === true ? columns : 0, INDENT, start.length)
    this.#io.stdout.write(this.#style("bold", start))
  }

  #endText(): void {
    this.#clearStatus()
    if (this.#column === "text") this.#io.stdout.write("\n")
    this.#column = "start"
  }

  #endIteration(): void {
    this.#endText()
    if (this.#usage !== undefined) this.#line(`${INDENT}${this.#style("dim", `tokens ${tokens(this.#usage)}`)}`)
    this.#usage = undefined
  }

  #line(text: string): void {
    this.#clearStatus()
    this.#io.stdout.write(`${text}\n`)
  }

  #fields(fields: readonly (readonly [string, string])[]): void {
    for (const [name, value] of fields) this.#line(`${this.#style("dim", name.padEnd(8))} ${value}`)
  }

  /** A word about what is going on, on terminals only; it vanishes with the next output. */
  #wait(status: string): void {
    if (this.#io.stdout.isTTY !== true || !this.#coloured) return
    this.#clearStatus()
    this.#waiting = status
    const { columns = 0 } = this.#io.stdout
    const live = this.#live === undefined ? "" : ` · ${this.#live()}`
    // Never as wide as the terminal: the cursor would go to the next line.
    this.#status = cutText(
      `${this.#column === "start" ? INDENT : ""}${status} …${live}`,
      Math.max(20, columns === 0 ? 79 : columns - INDENT.length - 1),
    )
    this.#io.stdout.write(`${SAVE_CURSOR}${this.#style("dim", this.#status)}`)
  }

  #clearStatus(): void {
    this.#waiting = ""
    if (this.#status === "") return
    this.#status = ""
    this.#io.stdout.write(RESTORE_CURSOR_AND_CLEAR)
  }

  #short(path: string): string {
    const way = relative(this.#io.cwd, path)
    return oneLine(way === "" || way === ".." || way.startsWith(`..${sep}`) ? path : way)
  }
}

/** Tokens by bucket, in words. */
export function tokens({ inputTokens, cachedInputTokens, outputTokens }: TokenUsage): string {
  return `${formatCount(inputTokens)} in, ${formatCount(cachedInputTokens)} cached, ${formatCount(outputTokens)} out`
}

/** How a turn ended, in two or three words. */
export function wordsOf(outcome: Outcome): string {
  return outcome.type === "stopped" ? `stopped: ${outcome.stop.type.replaceAll("_", " ")}` : outcome.type.replaceAll("_", " ")
}
