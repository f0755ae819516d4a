import type { EvidenceTranscript } from "../../schemas/checklist.ts"
import type { Block, LlmFailure, LlmMessage, LlmResponse, OutputPart } from "../../schemas/llm.ts"
import { isBlank } from "../../text.ts"
import { readHistory } from "./history.ts"
import type { ChecklistSettings } from "./settings.ts"
import { readArguments } from "./verdict.ts"

type ToolCall = Extract<OutputPart, { type: "tool_call" }>

/** The first call of a tool in an answer. */
export function callOf({ parts }: LlmResponse, toolName: string): ToolCall | undefined {
  return parts.find((part): part is ToolCall => part.type === "tool_call" && part.toolName === toolName)
}

/** What an answer says in words. */
export function textOf({ parts, text }: LlmResponse): string {
  const said = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  return said === "" ? text : said
}

/** An answer that a provider broke off is no answer of the judge. */
export function endedBadly({ terminalReason, terminalDiagnostic }: LlmResponse): Pick<LlmFailure, "code" | "message"> | undefined {
  if (terminalReason !== "provider_error" && terminalReason !== "cancelled") return undefined
  return { code: terminalReason, message: terminalDiagnostic ?? "The answer was broken off." }
}

/**
 * The two messages that a reading adds to the exchange: the judge's own with all its calls, and the page. One page is given at a
 * time. Other calls get a result that says so, for providers refuse calls without one; the reference leaves them open.
 */
export function answerHistoryCall(
  settings: ChecklistSettings,
  transcript: EvidenceTranscript,
  response: LlmResponse,
  answered: ToolCall,
): readonly [LlmMessage, LlmMessage] {
  const args = readArguments(answered.toolName, answered.inputJson, settings)
  const page = args.ok ? readHistory(transcript, args.value, settings.historyPageChars) : { error: "The arguments are no JSON object." }
  const blocks: Block[] = []
  const results: Block[] = []
  const callIds = new Set<string>()
  for (const part of response.parts) {
    if (part.type === "text") {
      if (part.text !== "") blocks.push(part)
    } else if (part.type === "reasoning") {
      if (part.replay !== undefined) blocks.push(part)
    } else {
      const callId = settings.reference ? part.callId : freeCallId(part.callId, callIds)
      callIds.add(callId)
      blocks.push({ ...part, callId })
      const { toolName } = part
      if (part === answered) results.push({ type: "tool_result", callId, toolName, text: JSON.stringify(page) })
      else if (!settings.reference)
        results.push({ type: "tool_result", callId, toolName, text: JSON.stringify({ error: "One call at a time is answered." }) })
    }
  }
  return [
    { role: "assistant", blocks },
    { role: "user", blocks: results },
  ]
}

function freeCallId(callId: string, taken: ReadonlySet<string>): string {
  if (!isBlank(callId) && !taken.has(callId)) return callId
  let number = taken.size + 1
  while (taken.has(`call_${number}`)) number += 1
  return `call_${number}`
}
