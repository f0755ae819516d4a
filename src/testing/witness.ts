import type { Difference } from "../errors.ts"
import type { LlmComplete, Response } from "../wire/response.ts"
import { shown } from "./difference.ts"
import type { TurnInput } from "./turn-input.ts"

/**
 * A law that an explored turn broke: which, where, and the shortest inputs that lead there. `path` is plain JSON: given to
 * `exploreTurn` as its `path`, it breaks the law again; given to `expectTurn` as its inputs, it plays the turn.
 */
export class ExplorationError extends Error {
  /** A key of `LAWS`, or the name of one of the caller's laws. */
  readonly law: string
  readonly where: string
  readonly difference: Difference | undefined
  readonly path: readonly TurnInput[]

  constructor(law: string, where: string, what: string, path: readonly TurnInput[], difference?: Difference, options?: ErrorOptions) {
    super(`${what}\n\n${describePath(path)}`, options)
    this.name = "ExplorationError"
    this.law = law
    this.where = where
    this.difference = difference
    this.path = path
  }
}

/** The inputs line by line: first in words, then as JSON to replay. */
function describePath(path: readonly TurnInput[]): string {
  const words = path.filter(({ type }) => type !== "poll").map((input, index) => `  ${index + 1}. ${describe(input)}`)
  const json = path.map((input) => `  ${JSON.stringify(input)}`).join(",\n")
  return ["The shortest way there:", "  The turn starts.", ...words, "To replay it, pass these inputs as `path`:", `[\n${json}\n]`].join("\n")
}

const LENGTH = 60

function describe(input: TurnInput): string {
  switch (input.type) {
    case "respond":
      return describeResponse(input.response)
    case "cancel":
      return input.partial === undefined
        ? "The host cancels the turn."
        : `The host cancels the turn after the model said ${shown(input.partial.text, LENGTH)}.`
    case "fail":
      return "The host fails the turn."
    case "finish":
      return `The host finishes the turn: ${shown(input.outcome, LENGTH)}.`
    case "apply":
      return `The host applies ${input.actions.map(({ type }) => type).join(", ")}.`
    case "redirect":
      return `The user redirects the turn${input.partial === undefined ? "" : ` after the model said ${shown(input.partial.text, LENGTH)}`}${input.answer === undefined ? "" : `, with ${describeResponse(input.answer)}`}.`.replace(
        /\.\.$/,
        ".",
      )
    case "poll":
      return "The host polls."
  }
}

function describeResponse(response: Response): string {
  switch (response.type) {
    case "execution_surface_synced":
      return response.result.ok
        ? `The surface is synced${response.result.update === undefined ? "" : ", with an update"}.`
        : "The surface cannot be synced."
    case "llm_complete":
      return describeAnswer(response.result)
    case "tool_results":
      return `Results: ${response.results.map(({ callId, output }) => `${callId} ${output.status}${output.control === undefined ? "" : ` (${output.control.type})`}`).join(", ")}.`
    case "tool_decisions":
      return `Decisions: ${response.decisions.map(({ requestId, decision }) => `${requestId} ${decision}`).join(", ")}.`
    case "tool_pending":
      return `The call ${response.callId} continues outside.`
    case "exec_result":
      return response.result.ok ? `The code ran: ${shown(response.result.value, LENGTH)}.` : `The code did not run: ${response.result.error}`
    case "checkpoint_delivery": {
      const delivered = Object.entries(response.delivery).flatMap(([name, list]) => (list?.length ? [`${list.length} ${name}`] : []))
      return `The checkpoint delivers ${delivered.join(", ") || "nothing"}.`
    }
  }
}

function describeAnswer(result: LlmComplete["result"]): string {
  if (!result.ok) {
    const said = result.partial === undefined ? "" : ` after the model said ${shown(result.partial.text, LENGTH)}`
    return `The model call fails${said}: ${result.error.message}`
  }
  const { text, parts, terminalReason } = result.response
  const calls = parts.flatMap((part) => (part.type === "tool_call" ? [`${part.toolName}(${part.inputJson})`] : []))
  const called = calls.length === 0 ? "" : ` and calls ${calls.join(", ")}`
  return `The model says ${shown(text, LENGTH)}${called} (${terminalReason}).`
}
