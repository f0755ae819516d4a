import { cutMiddle } from "../../text.ts"
import type { Done } from "../../wire/effect.ts"
import type { Outcome } from "../../wire/event.ts"
import type { Message } from "../../wire/message.ts"
import type { ToolFailure, ToolOutput } from "../../wire/tool.ts"
import type { ToolAnswer } from "../host.ts"

/** The result of a call whose child has ended, with the tokens that the child used. */
export function childResult({ outcome, messages, usage }: Done): ToolAnswer {
  return { output: outputOf(outcome, messages), usage }
}

function outputOf(outcome: Outcome, messages: readonly Message[]): ToolOutput {
  if (outcome.type === "finished") {
    const { finish } = outcome
    return { status: "success", value: finish.type === "assistant_message" ? finish.text : finish.value }
  }
  const isCancelled = outcome.type === "stopped" && outcome.stop.type === "cancelled"
  if (isCancelled) return { status: "cancelled", message: withText("The subagent was cancelled.", messages), source: "cancellation" }
  const stop = outcome.type === "stopped" ? outcome.stop : undefined
  const why = stop?.error?.userMessage ?? ""
  const type = stop?.type ?? outcome.type
  const what = `The subagent stopped without a result: ${type}.${why === "" ? "" : ` ${why}`}`
  return { status: "failure", failure: childFailure(CLASSES[type] ?? "execution", `child_${type}`, withText(what, messages)) }
}

const CLASSES: { readonly [type: string]: ToolFailure["class"] } = {
  max_tokens: "resource_limit",
  max_iterations: "resource_limit",
  deadline: "timeout",
  provider_error: "external",
  runtime_error: "internal",
}

/** Characters of what a child said that the result of a stopped one repeats. */
const MOST_TEXT = 20_000

function withText(what: string, messages: readonly Message[]): string {
  const last = messages.findLast(({ role }) => role === "assistant")
  const text = (last?.parts ?? []).flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
  return text === "" ? what : `${what} Its last words:\n${cutMiddle(text, MOST_TEXT)}`
}

/** A failure of a child's call, whose cause is not the work itself. */
export function childFailure(type: ToolFailure["class"], code: string, message: string): ToolFailure {
  return { class: type, code, message, source: "runtime", retry: { type: "never" } }
}
