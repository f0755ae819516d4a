import type { OutlineRow } from "../../replay/outline.ts"
import type { Decision } from "../../wire/approval.ts"
import type { Message } from "../../wire/message.ts"
import type { CompletedToolCall } from "../../wire/tool.ts"
import { decisionWords } from "../approvals/words.ts"
import { outcomeText } from "../run/run-screen.ts"
import { toolLine } from "../run/tool-line.ts"
import { cutText, formatCount, formatDuration, oneLine, plural } from "../terminal/format.ts"
import { inertJson } from "../terminal/inert.ts"
import { breakText } from "./prefixes.ts"

/**
 * Describes a record on one line.
 * @param isOurs whether `turn-machine run` wrote the journal, so that its tools are known here
 * @param waitedMs of decisions: how long the calls waited
 */
export function rowText(row: OutlineRow, isOurs: boolean, waitedMs?: number): string {
  return oneLine(textOf(row, isOurs, waitedMs))
}

function textOf(row: OutlineRow, isOurs: boolean, waitedMs: number | undefined): string {
  switch (row.type) {
    case "header":
      return `the turn starts with ${plural(row.messageCount, "message")}`
    case "llm_complete":
      return modelText(row)
    case "tool_results":
      return row.results.length === 0 ? "no tool results" : row.results.map((result) => toolText(result, isOurs)).join(" · ")
    case "tool_decisions":
      return `${row.decisions.map(decisionText).join(" · ")}${waitedMs === undefined ? "" : `, after ${formatDuration(waitedMs)}`}`
    case "tool_pending":
      return `call ${row.callId} continues outside as ${row.token}`
    case "exec_result":
      if (!row.ran) return `✗ the code could not run: ${row.error}`
      return `the code ran in ${formatDuration(row.durationMs ?? 0)}${row.error === undefined ? "" : `, with an error: ${row.error}`}`
    case "execution_surface_synced":
      if (row.error !== undefined) return `✗ prompt and tools could not be updated: ${row.error}`
      return row.toolCount === undefined ? "prompt and tools unchanged" : `prompt and tools updated: ${plural(row.toolCount, "tool")}`
    case "checkpoint_delivery":
      return row.delivered.length === 0 ? "checkpoint" : `checkpoint, delivered: ${row.delivered.join(", ")}`
    case "interruption":
      return commandText(row.command)
    case "snapshot":
      return `snapshot at iteration ${row.iteration}`
    case "opened":
      return "resumed by another process"
    case "traced":
      return `runs in the span ${row.trace}`
    case "reconfigured":
      return `continued under another configuration, driver ${row.driver.name} ${row.driver.version}`
    case "call_started":
      return row.callId === undefined ? "code started" : `call ${row.callId} started`
    case "child_granted":
      return `${row.lease} tokens reserved for the child of call ${row.callId}`
    case "effect":
      return `requested: ${row.effect}`
    case "end":
      return `the turn ends: ${outcomeText(row.outcome)}`
  }
}

/** A decision, with the arguments that the call runs with, what the model reads, and the note of the one who decided. */
function decisionText(decision: Decision): string {
  const { requestId, by, note } = decision
  const callId = requestId.slice(requestId.indexOf(":") + 1)
  const scope = "scope" in decision && decision.scope !== undefined && decision.scope !== "call" ? ` for the ${decision.scope}` : ""
  const args = decision.decision === "edit" ? ` ${cutText(inertJson(decision.args), 200)}` : ""
  const message = decision.decision === "reject" && decision.message !== undefined ? `: ${cutText(decision.message, 200)}` : ""
  return `${callId} ${decisionWords(decision.decision)}${args}${scope}${by === undefined ? "" : ` by ${by}`}${message}${note === undefined ? "" : ` (note: ${cutText(note, 200)})`}`
}

function modelText({ purpose, error, text, calls, usage, terminalReason, prefixBreak }: Extract<OutlineRow, { type: "llm_complete" }>): string {
  const prefix = prefixBreak === undefined ? "" : ` (${breakText(prefixBreak)})`
  if (error !== undefined || usage === undefined) return `✗ the ${purpose === undefined ? "model call" : `${purpose} call`} failed${prefix}: ${error}`
  const cut =
    terminalReason === "stop" || terminalReason === "tool_use" || terminalReason === "unknown" ? "" : ` (${terminalReason.replaceAll("_", " ")})`
  const what =
    purpose === "compaction"
      ? "compaction: the model summarizes the conversation"
      : calls.length === 0
        ? "model answers"
        : `model calls ${counted(calls)}`
  const { inputTokens, cachedInputTokens, outputTokens } = usage
  const tokens = `${formatCount(inputTokens)}/${formatCount(cachedInputTokens)}/${formatCount(outputTokens)} tokens`
  return `${what}${cut}, ${tokens}${prefix}${text.trim() === "" ? "" : `: ${cutText(text.trim(), 500)}`}`
}

/** `read_file ×3, search_text`. */
function counted(names: readonly string[]): string {
  return [...new Set(names)]
    .map((name) => {
      const count = names.filter((other) => other === name).length
      return count === 1 ? name : `${name} ×${count}`
    })
    .join(", ")
}

function toolText({ callId, toolName: name, args, output, durationMs }: CompletedToolCall, isOurs: boolean): string {
  const mark = output.status === "success" ? "✓" : "✗"
  // A tool of the same name in another program may return other values, so `name()` avoids the known names.
  const line = toolLine({ type: "tool_call", callId, name: isOurs || output.status !== "success" ? name : `${name}()`, args, output, durationMs })
  const result = line.result === "done" ? "" : `: ${line.result}`
  return `${`${mark} ${isOurs ? line.name : name} ${line.args}`.trimEnd()}${result}`
}

function commandText(command: Extract<OutlineRow, { type: "interruption" }>["command"]): string {
  switch (command.type) {
    case "cancel":
      return `the host cancels the turn${command.reason === undefined ? "" : `: ${command.reason}`}`
    case "finish":
      return `the host ends the turn: ${outcomeText(command.outcome)}`
    case "redirect":
      return `the user redirects the turn: ${cutText(saidIn(command.messages), 500)}`
    default:
      return `the host commands: ${command.type}`
  }
}

/** The texts of messages, on one line. */
function saidIn(messages: readonly Message[]): string {
  return messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === "text" ? [part.text.trim()] : [`(${part.type})`]))).join(" ")
}
