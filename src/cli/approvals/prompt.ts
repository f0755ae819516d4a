import type { Decision, HeldCall } from "../../wire/approval.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io, Terminal } from "../terminal/io.ts"
import { heading } from "../terminal/output-flags.ts"
import { type Style, styler } from "../terminal/style.ts"
import { editArgs } from "./edit-args.ts"
import { foldWords, heldLines } from "./held-lines.ts"

/** What a person answered. `suspend`: they decide later. `gone`: the question is no longer open. */
export type Answer = { readonly type: "decision"; readonly decision: Decision } | { readonly type: "suspend" | "gone" }

export interface PromptOptions {
  /** Why a decision cannot be made later; `undefined` if it can. */
  readonly notLater?: string
  /** How far "always" reaches. */
  readonly always: "turn" | "thread"
  /** Who decides. */
  readonly by: string | undefined
}

/** A question about a held call. `number` of `total` are in the batch. */
export interface Question {
  readonly number: number
  readonly total: number
  /** Aborted when the question is no longer open. A reason that is a string is shown. */
  readonly signal: AbortSignal
}

type Key = { readonly key: string; readonly label: string; readonly help: string }

const MOST_COLUMNS = 120
const LEAST_COLUMNS = 24

/** Asks a person about held calls in a terminal, one at a time. */
export class ApprovalPrompt {
  readonly #terminal: Terminal
  readonly #env: Io["env"]
  readonly #options: PromptOptions
  readonly #style: (style: Style, text: string) => string

  constructor(terminal: Terminal, env: Io["env"], options: PromptOptions) {
    this.#terminal = terminal
    this.#env = env
    this.#options = options
    this.#style = styler({ stdout: terminal.output, env })
  }

  /** Asks about one call. A call that expires while it is asked about is decided as `expired`. */
  async ask(call: HeldCall, { number, total, signal }: Question): Promise<Answer> {
    const { requestId, digest, ask } = call
    const by = this.#options.by
    const decide = (
      verdict:
        | Pick<Extract<Decision, { decision: "approve" }>, "decision" | "scope">
        | { decision: "reject"; message?: string }
        | { decision: "edit"; args: HeldCall["args"] }
        | { decision: "expired" },
    ): Answer => ({
      type: "decision",
      decision: { requestId, digest, ...(by !== undefined && verdict.decision !== "expired" && { by }), ...verdict } as Decision,
    })
    const expiry = new AbortController()
    const timer =
      ask.expiresAt === undefined ? undefined : setTimeout(() => expiry.abort(), Math.min(2_147_483_647, Math.max(0, ask.expiresAt - Date.now())))
    const closed = AbortSignal.any([signal, expiry.signal])
    const closedAnswer = (): Answer | undefined => {
      if (signal.aborted) {
        this.#say(typeof signal.reason === "string" ? signal.reason : "The question is no longer open.")
        return { type: "gone" }
      }
      if (!expiry.signal.aborted) return undefined
      this.#say("Expired: the call does not run.")
      return decide({ decision: "expired" })
    }
    const keys = this.#keys(call)
    let show = (): void => this.#show(call, number, total, keys, false)
    try {
      for (;;) {
        const pressed = await this.#terminal.key(show, closed)
        const over = closedAnswer()
        if (over !== undefined) return over
        // A key with Enter, or one of a paste: only a single letter counts.
        const letter = pressed === undefined ? "s" : /^(.)[\r\n]*$/u.exec(pressed)?.[1]?.toLowerCase()
        const key = keys.find((known) => known.key === letter)?.key
        const repeat = (): void => this.#menu(keys)
        show = repeat
        switch (key) {
          case "y":
            this.#chosen("approved")
            return decide({ decision: "approve" })
          case "a":
            this.#chosen(
              this.#options.always === "turn"
                ? "approved, and every later call of this tool in this run"
                : "approved, and every later call of this tool for this goal",
            )
            return decide({ decision: "approve", scope: this.#options.always })
          case "n": {
            this.#chosen("reject")
            const message = await this.#terminal.line("Reason for the model (may be empty): ", "", closed)
            const since = closedAnswer()
            if (since !== undefined) return since
            if (message === undefined) break
            return decide({ decision: "reject", ...(message.trim() !== "" && { message: message.trim() }) })
          }
          case "e": {
            this.#chosen("edit")
            const edited = await editArgs(
              call.args,
              call.toolName,
              { terminal: this.#terminal, env: this.#env, say: (line) => this.#say(line) },
              closed,
            )
            const since = closedAnswer()
            if (since !== undefined) return since
            if (edited === undefined) break
            this.#say(edited.isChanged ? "The call runs with the edited arguments." : "Nothing was changed: approved.")
            return decide(edited.isChanged ? { decision: "edit", args: edited.args } : { decision: "approve" })
          }
          case "v":
            this.#chosen("view")
            show = () => this.#show(call, number, total, keys, true)
            break
          case "s":
            if (this.#options.notLater === undefined) {
              this.#chosen("decide later")
              return { type: "suspend" }
            }
            this.#say(this.#options.notLater)
            break
          default:
            this.#write(["", ...keys.flatMap(({ key: name, help }) => hanging(`  ${name}  `, help, this.#width()))])
        }
      }
    } finally {
      clearTimeout(timer)
    }
  }

  #keys({ ask: { allow, scopes } }: HeldCall): readonly Key[] {
    const { always, notLater } = this.#options
    const where = always === "turn" ? "in this run" : "for this goal"
    return [
      ...(allow.includes("approve") ? [{ key: "y", label: "approve", help: "the call runs as it is shown" }] : []),
      ...(allow.includes("reject") ? [{ key: "n", label: "reject", help: "the call does not run; you may give the model a reason" }] : []),
      ...(allow.includes("edit")
        ? [{ key: "e", label: "edit", help: "change the arguments in $VISUAL, $EDITOR or here, then run; unchanged: approve" }]
        : []),
      ...(allow.includes("approve") && scopes.includes(always)
        ? [{ key: "a", label: "always", help: `approve, and do not ask again about this tool ${where}` }]
        : []),
      { key: "v", label: "view all", help: "show every argument in full" },
      { key: "s", label: "later", help: notLater ?? "stop here and decide later, also in another terminal (Ctrl-D)" },
      { key: "?", label: "help", help: "show this; Ctrl-C stops" },
    ]
  }

  #show(call: HeldCall, number: number, total: number, keys: readonly Key[], full: boolean): void {
    const width = this.#width()
    const count = total > 1 ? ` ${number} of ${total}` : ""
    const { lines, isCut } = heldLines(call, { width, style: this.#style, full, now: Date.now() })
    this.#write(["", this.#style("bold", heading(`approval${count}`, width, this.#terminal)), ...lines, ""])
    if (isCut) this.#write([this.#style("dim", "Cut here. v shows all of it."), ""])
    this.#menu(keys)
  }

  #menu(keys: readonly Key[]): void {
    const words = keys.map(({ key, label }) => `[${key}]\u00a0${label.replace(" ", "\u00a0")}`).join(" ")
    this.#write(
      foldWords(words, this.#width())
        .map((line) => line.replaceAll(" ", "  ").replaceAll("\u00a0", " "))
        .flatMap((line) => foldWide(line, this.#width())),
    )
    this.#terminal.output.write("? ")
  }

  #chosen(what: string): void {
    this.#terminal.output.write(`${what}\n`)
  }

  #say(line: string): void {
    this.#write(foldWords(oneLine(line), this.#width()))
  }

  #write(lines: readonly string[]): void {
    this.#terminal.output.write(lines.map((line) => `${line}\n`).join(""))
  }

  /** Narrower than the terminal: at full width some terminals move to the next line. */
  #width(): number {
    const { columns = 0 } = this.#terminal.output
    return Math.max(LEAST_COLUMNS, Math.min(MOST_COLUMNS, columns === 0 ? 80 : columns) - 1)
  }
}

/** Folds a text after a label, with later lines below its first. */
function hanging(label: string, text: string, width: number): readonly string[] {
  return foldWords(text, width - label.length).map((line, index) => `${index === 0 ? label : " ".repeat(label.length)}${line}`)
}

/** Two spaces between keys may exceed the width, so that they are one again. */
function foldWide(line: string, width: number): readonly string[] {
  return line.length <= width ? [line] : [line.replaceAll("  ", " ")]
}
