import type { Evaluation, JudgeState } from "../../wire/checklist.ts"
import type { Generation, LlmFailure, LlmMessage, LlmRequest } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { renderItems } from "./checklist.ts"
import {
  type Circumstances,
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

type ToolChoice = LlmRequest["toolChoice"]

/** The tool choices to try in order, strictest first. Their number does not depend on the tools. */
function choices(forced: ToolChoice): readonly [ToolChoice, ToolChoice, ToolChoice] {
  return [forced, "required", "auto"]
}
export const LAST_ATTEMPT = 2

/** Codes of failures after an answer arrived: the provider accepted the request. */
const ANSWERED: ReadonlySet<string> = new Set(["invalid_llm_response", "malformed_response"])

/** Codes of failures because something does not exist: mostly the model, but also an endpoint that supports the tool choice. */
const MISSING: ReadonlySet<string> = new Set(["404", "http_404", "model_not_found", "not_found", "not_found_error", "NOT_FOUND"])

const CHOICE = ["tool_choice", "tool choice", "function call"] as const
const REJECTIONS = ["tool_choice", "tool choice", "required", "function call", "unsupported", "not supported", "invalid", "400"] as const

/**
 * Whether a call seems to have failed because the provider does not support its tool choice. Transient errors, a full context, a wrong
 * key, an empty account and the like never count, whatever their message says; the reference looks at the message only.
 */
export function rejectsChoice({ reference }: ChecklistSettings, failure: LlmFailure): boolean {
  const { code = "", kind = "invalid_request", message, retryable, terminalReason } = failure
  if (!reference && (retryable || terminalReason !== "provider_error" || kind !== "invalid_request" || ANSWERED.has(code))) return false
  const text = message.toLowerCase()
  const words = !reference && (MISSING.has(code) || text.includes("answered 404")) ? CHOICE : REJECTIONS
  return words.some((word) => text.includes(word))
}

export function decomposeRequest(settings: ChecklistSettings, evaluation: Evaluation, attempt: number): LlmRequest {
  const goal = shorten(evaluation.goal, LIMITS.goalToDecompose, settings.reference)
  return {
    ...base(settings, DECOMPOSE_SYSTEM, decomposePrompt(goal, circumstances(settings, evaluation).contract)),
    tools: [submitChecklistTool],
    toolChoice: choices({ toolName: SUBMIT_CHECKLIST })[attempt] ?? "auto",
    generation: generation(settings, "decompose"),
  }
}

/** Once no pages are left, only the verdict tool is offered, and it is forced. */
export function evaluateRequest(
  settings: ChecklistSettings,
  evaluation: Evaluation,
  { attempt, pagesLeft, exchange }: Pick<Extract<JudgeState, { type: "evaluating" }>, "attempt" | "pagesLeft" | "exchange">,
): LlmRequest {
  const { reference } = settings
  const { goal, items, response, transcript } = evaluation
  const toolName = historyToolName(reference)
  const history =
    transcript === undefined
      ? NO_HISTORY
      : historyNote(transcript.id, transcript.messages.length, toolName, reference ? undefined : transcript.lastTurn)
  const prompt = evaluatePrompt(
    shorten(goal, LIMITS.goal, reference),
    renderItems(items, { numbered: true }),
    shorten(response, LIMITS.response, reference),
    history,
    circumstances(settings, evaluation),
  )
  const started = base(settings, evaluateSystem(toolName, !reference), prompt)
  const update = updateChecklistTool(!reference)
  return {
    ...started,
    messages: [...started.messages, ...exchange],
    tools: pagesLeft > 0 ? [historyTool(reference, settings.historyPageChars), update] : [update],
    toolChoice: choices(pagesLeft > 0 ? "required" : { toolName: UPDATE_CHECKLIST })[attempt] ?? "auto",
    generation: generation(settings, "evaluate"),
  }
}

export function freeformRequest(settings: ChecklistSettings, evaluation: Evaluation): LlmRequest {
  const { reference } = settings
  const goal = shorten(evaluation.goal, LIMITS.goal, reference)
  const response = shorten(evaluation.response, LIMITS.response, reference)
  return {
    ...base(settings, freeformSystem(!reference), freeformPrompt(goal, response, circumstances(settings, evaluation))),
    tools: [],
    toolChoice: "none",
    generation: generation(settings, "freeform"),
  }
}

/** Of what the user said, the latest messages are shown. */
function circumstances({ reference }: ChecklistSettings, { contract, said }: Evaluation): Circumstances {
  if (reference) return {}
  return {
    ...(contract !== undefined && { contract: shorten(contract, LIMITS.contract, false) }),
    ...(said !== undefined && { said: said.slice(-LIMITS.said).map((text) => shorten(text, LIMITS.saidText, false)) }),
  }
}

/** The same evidence should give the same verdict, so the temperature is 0. */
function generation({ temperature, maxOutputTokens }: ChecklistSettings, call: keyof ChecklistSettings["maxOutputTokens"]): Generation {
  return { maxOutputTokens: maxOutputTokens[call], ...(temperature !== undefined && { temperature }) }
}

function base(
  { model, modelVariant, sessionId }: ChecklistSettings,
  system: string,
  user: string,
): Omit<LlmRequest, "tools" | "toolChoice" | "generation"> {
  return {
    model,
    ...(modelVariant !== undefined && { modelVariant }),
    messages: [textMessage("system", system), textMessage("user", user)],
    attachments: [],
    ...(sessionId !== undefined && { sessionId }),
  }
}

function textMessage(role: LlmMessage["role"], text: string): LlmMessage {
  return { role, blocks: [{ type: "text", text }] }
}

export const SUBMIT_CHECKLIST = "submit_checklist"
export const UPDATE_CHECKLIST = "update_checklist"

/** The name of the history tool. Under `compat: "reference"` it has the reference's name and arguments. */
export function historyToolName(reference: boolean): string {
  return reference ? "read_file" : "read_history"
}

const itemList = (description: string) => ({
  type: "array",
  description,
  items: { type: "object", properties: { text: { type: "string", description: "The criterion, one statement." } }, required: ["text"] },
})

const submitChecklistTool: ToolSpec = {
  name: SUBMIT_CHECKLIST,
  description: "Hands in the criteria by which the goal will be judged.",
  inputSchema: {
    type: "object",
    properties: { items: itemList("The criteria, each a single statement about the finished work that can be checked.") },
    required: ["items"],
  },
}

/** `waits`: includes the verdicts `blocked`, `asked_to_stop` and `wait`. */
function updateChecklistTool(waits: boolean): ToolSpec {
  return {
    name: UPDATE_CHECKLIST,
    description: "Gives your verdict on the list and ends the evaluation.",
    inputSchema: {
      type: "object",
      properties: {
        updates: {
          type: "array",
          description: "A ruling for each open item that is settled now. Items that stay open are left out.",
          items: {
            type: "object",
            properties: {
              index: { type: "integer", description: "The item's number in the list." },
              status: { type: "string", enum: ["completed", "impossible"] },
              evidence: { type: "string", description: "One sentence: what in the output shows it." },
            },
            required: ["index", "status", "evidence"],
          },
        },
        new_items: itemList("Criteria that the list should have had from the start. Mostly empty."),
        reason: { type: "string", description: "One sentence on where the goal stands." },
        ...(waits && {
          verdict: { type: "string", enum: ["continue", "blocked", "asked_to_stop", "wait"], description: "How the agent should go on." },
          wait_seconds: { type: "number", description: "With wait: in how many seconds to look again." },
          wait_for: { type: "string", description: "With wait: the name of the event that ends it." },
        }),
      },
      required: ["updates", "new_items", "reason"],
    },
  }
}

function historyTool(reference: boolean, pageChars: number): ToolSpec {
  const name = historyToolName(reference)
  const description = `Shows the conversation, at most ${pageChars} characters at a time. To read on, pass the \`next\` of the page before.`
  const transcript = reference ? "path" : "transcript"
  const place = reference
    ? {
        offset: { type: "integer", description: "Number of the first message to show.", default: 1 },
        limit: { type: "integer", description: "How many messages to show at most.", default: 400 },
      }
    : { cursor: { type: "string", description: "Where to begin: a message's number, or the `next` of a page. Left out: the first message." } }
  const properties = { [transcript]: { type: "string", description: "The transcript, as named in the task." }, ...place }
  return { name, description, inputSchema: { type: "object", properties, required: [transcript] } }
}
