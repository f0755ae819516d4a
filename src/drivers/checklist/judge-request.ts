import type { Evaluation, JudgeState } from "../../schemas/checklist.ts"
import type { LlmFailure, LlmMessage, LlmRequest } from "../../schemas/llm.ts"
import { renderItems } from "./checklist.ts"
import {
  DECOMPOSE_SYSTEM,
  decomposePrompt,
  evaluatePrompt,
  evaluateSystem,
  freeformPrompt,
  freeformSystem,
  historyNote,
  NO_HISTORY,
  shorten,
} from "./prompts.ts"
import { type ChecklistSettings, LIMITS } from "./settings.ts"
import { historyTool, historyToolName, SUBMIT_CHECKLIST, submitChecklistTool, UPDATE_CHECKLIST, updateChecklistTool } from "./tools.ts"

type ToolChoice = LlmRequest["toolChoice"]

/** The tool choices tried one after the other, the strictest first. The same number is tried whatever the tools are. */
function choices(forced: ToolChoice): readonly [ToolChoice, ToolChoice, ToolChoice] {
  return [forced, "required", "auto"]
}
export const LAST_ATTEMPT = 2

/** Codes of failures behind an answer that came: the request itself was taken. */
const ANSWERED: ReadonlySet<string> = new Set(["invalid_llm_response", "malformed_response"])

const REJECTIONS = ["tool_choice", "tool choice", "required", "function call", "unsupported", "not supported", "invalid", "400"] as const

/**
 * Whether a call seems to have failed because the provider does not take its tool choice. A fault that passes, a context that is
 * full and the like are none of it, whatever words they come in; the reference looks at the words alone.
 */
export function rejectsChoice({ reference }: ChecklistSettings, { code, message, retryable, terminalReason }: LlmFailure): boolean {
  if (!reference && (retryable || terminalReason !== "provider_error" || ANSWERED.has(code ?? ""))) return false
  const text = message.toLowerCase()
  return REJECTIONS.some((word) => text.includes(word))
}

export function decomposeRequest(settings: ChecklistSettings, { goal }: Evaluation, attempt: number): LlmRequest {
  return {
    ...base(settings, DECOMPOSE_SYSTEM, decomposePrompt(shorten(goal, LIMITS.goalToDecompose, settings.reference))),
    tools: [submitChecklistTool],
    toolChoice: choices({ toolName: SUBMIT_CHECKLIST })[attempt] ?? "auto",
    generation: { maxOutputTokens: settings.maxOutputTokens.decompose },
  }
}

/** Once the pages are used up only the verdict is offered, and forced. */
export function evaluateRequest(
  settings: ChecklistSettings,
  { goal, items, response, transcript }: Evaluation,
  { attempt, pagesLeft, exchange }: Pick<Extract<JudgeState, { type: "evaluating" }>, "attempt" | "pagesLeft" | "exchange">,
): LlmRequest {
  const { reference } = settings
  const toolName = historyToolName(reference)
  const history = transcript === undefined ? NO_HISTORY : historyNote(transcript.id, transcript.messages.length, toolName)
  const prompt = evaluatePrompt(
    shorten(goal, LIMITS.goal, reference),
    renderItems(items, { numbered: true }),
    shorten(response, LIMITS.response, reference),
    history,
  )
  const started = base(settings, evaluateSystem(toolName, !reference), prompt)
  const update = updateChecklistTool(!reference)
  return {
    ...started,
    messages: [...started.messages, ...exchange],
    tools: pagesLeft > 0 ? [historyTool(reference, settings.historyPageChars), update] : [update],
    toolChoice: choices(pagesLeft > 0 ? "required" : { toolName: UPDATE_CHECKLIST })[attempt] ?? "auto",
    generation: { maxOutputTokens: settings.maxOutputTokens.evaluate },
  }
}

export function freeformRequest(settings: ChecklistSettings, { goal, response }: Evaluation): LlmRequest {
  const { reference } = settings
  return {
    ...base(
      settings,
      freeformSystem(!reference),
      freeformPrompt(shorten(goal, LIMITS.goal, reference), shorten(response, LIMITS.response, reference)),
    ),
    tools: [],
    toolChoice: "none",
    generation: { maxOutputTokens: settings.maxOutputTokens.freeform },
  }
}

function base(
  { model, modelVariant, sessionId }: ChecklistSettings,
  system: string,
  user: string,
): Omit<LlmRequest, "tools" | "toolChoice" | "generation"> {
  return {
    model,
    ...(modelVariant !== undefined && { modelVariant }),
    messages: [said("system", system), said("user", user)],
    attachments: [],
    ...(sessionId !== undefined && { sessionId }),
  }
}

function said(role: LlmMessage["role"], text: string): LlmMessage {
  return { role, blocks: [{ type: "text", text }] }
}
