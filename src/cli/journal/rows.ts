import type { JournalEntry } from "../../replay/journal.ts"
import type { JournalRecord } from "../../schemas/journal.ts"
import type { LlmResponse, TokenUsage } from "../../schemas/llm.ts"
import type { CompletedToolCall } from "../../schemas/tool.ts"
import { cutText, formatCount, formatDuration, oneLine, plural } from "../terminal/format.ts"
import { wordsOf } from "../terminal/screen.ts"
import { toolLine } from "../terminal/tool-line.ts"
import { timeOf } from "./journal-times.ts"

/** One record as `journal show` tells it. */
export interface Row {
  readonly number: number
  /** The record's type. */
  readonly kind: JournalRecord["type"]
  readonly at: number | undefined
  /** The effect that it answers, or is about. */
  readonly effectId: number | undefined
  readonly bytes: number
  /** `bad`: something failed; `aside`: it changes nothing in the turn. */
  readonly tone: "plain" | "bad" | "aside"
  /** In words, on one line. */
  readonly text: string
  /** Of a model's answer: what it calls, and what it took. */
  readonly calls?: readonly string[]
  readonly usage?: TokenUsage
  /** Of tool results: each tool with what came of it. */
  readonly tools?: readonly { readonly name: string; readonly status: CompletedToolCall["output"]["status"] }[]
}

export function rowOf({ number, record }: Pick<JournalEntry, "number" | "record">, bytes: number, isOurs: boolean): Row {
  const effectId = "id" in record ? record.id : "effectId" in record ? record.effectId : undefined
  const text = oneLine(textOf(record, isOurs))
  return { number, kind: record.type, at: timeOf(record), effectId, bytes, tone: toneOf(record), text, ...factsOf(record) }
}

function factsOf(record: JournalRecord): Pick<Row, "calls" | "usage" | "tools"> {
  if (record.type === "tool_results") return { tools: record.results.map(({ toolName: name, output: { status } }) => ({ name, status })) }
  if (record.type !== "llm_complete" || !record.result.ok) return {}
  const { parts, usage } = record.result.response
  return { calls: callsOf(parts), usage }
}

function callsOf(parts: LlmResponse["parts"]): readonly string[] {
  return parts.flatMap((part) => (part.type === "tool_call" ? [part.toolName] : []))
}

function toneOf(record: JournalRecord): Row["tone"] {
  switch (record.type) {
    case "snapshot":
    case "opened":
    case "call_started":
    case "effect":
      return "aside"
    case "llm_complete":
    case "exec_result":
    case "execution_surface_synced":
      return record.result.ok ? "plain" : "bad"
    case "tool_results":
      return record.results.some(({ output }) => output.status !== "success") ? "bad" : "plain"
    case "interruption":
      return "bad"
    case "end":
      return record.outcome.type === "finished" ? "plain" : "bad"
    default:
      return "plain"
  }
}

function textOf(record: JournalRecord, isOurs: boolean): string {
  switch (record.type) {
    case "header":
      return `the turn begins with ${plural(record.start.messages.length, "message")}`
    case "llm_complete":
      return modelText(record)
    case "tool_results":
      return record.results.length === 0 ? "no tool results" : record.results.map((call) => toolText(call, isOurs)).join(" · ")
    case "exec_result":
      if (!record.result.ok) return `✗ the code could not be run: ${record.result.error}`
      return `the code ran in ${formatDuration(record.result.value.durationMs)}${record.result.value.error === undefined ? "" : `, with an error: ${record.result.value.error}`}`
    case "execution_surface_synced":
      if (!record.result.ok) return `✗ prompt and tools could not be renewed: ${record.result.error}`
      return record.result.update === undefined
        ? "prompt and tools are as before"
        : `prompt and tools were renewed: ${plural(record.result.update.tools.length, "tool")}`
    case "checkpoint_delivery": {
      const delivered = Object.entries(record.delivery).filter(([, value]) => value.length > 0)
      return delivered.length === 0 ? "checkpoint" : `checkpoint, delivered: ${delivered.map(([key]) => key).join(", ")}`
    }
    case "interruption": {
      const { interruption } = record
      if (interruption.type === "cancel") return `the turn is cancelled${interruption.reason === undefined ? "" : `: ${interruption.reason}`}`
      return interruption.type === "finish" ? `the host ends the turn: ${wordsOf(interruption.outcome)}` : `the host orders: ${interruption.type}`
    }
    case "snapshot":
      return `snapshot at iteration ${record.checkpoint.iteration + 1}`
    case "opened":
      return "taken up by another process"
    case "call_started":
      return `call ${record.callId} is begun`
    case "effect":
      return `asked for: ${record.effect.type}`
    case "end":
      return `the turn ends: ${wordsOf(record.outcome)}`
  }
}

function modelText({ result }: Extract<JournalRecord, { type: "llm_complete" }>): string {
  if (!result.ok) return `✗ the model call failed: ${result.error.message}`
  const { text, parts, usage, terminalReason } = result.response
  const calls = callsOf(parts)
  const cut =
    terminalReason === "stop" || terminalReason === "tool_use" || terminalReason === "unknown" ? "" : ` (${terminalReason.replaceAll("_", " ")})`
  const what = calls.length === 0 ? "model answers" : `model calls ${counted(calls)}`
  const { inputTokens, cachedInputTokens, outputTokens } = usage
  const tokens = `${formatCount(inputTokens)}/${formatCount(cachedInputTokens)}/${formatCount(outputTokens)} tokens`
  return `${what}${cut}, ${tokens}${text.trim() === "" ? "" : `: ${cutText(text.trim(), 500)}`}`
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
  // Of a tool by the same name in another program nobody knows here what it answers.
  const line = toolLine({ type: "tool_call", callId, name: isOurs || output.status !== "success" ? name : `${name}()`, args, output, durationMs })
  const result = line.result === "done" ? "" : `: ${line.result}`
  return `${`${mark} ${isOurs ? line.name : name} ${line.args}`.trimEnd()}${result}`
}
