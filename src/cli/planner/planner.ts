import type { LlmMessage, LlmRequest, LlmResponse, OutputPart, TokenUsage } from "../../wire/llm.ts"
import { REPLACE_LINE } from "../workspace/tools.ts"
import { type Conversation, type GoalContext, readConversation, readGoalContext } from "./conversation.ts"
import { goalStep } from "./goal-step.ts"
import { readIntent } from "./intent.ts"
import { judge } from "./judge.ts"
import { type PlannedStep, WHAT_I_AM } from "./planned-step.ts"
import { type Replacement, readReplacement, replaceStep } from "./replace-step.ts"
import { searchSurvey } from "./search-survey.ts"
import { readSummary, summarize } from "./summary.ts"
import { nextStep } from "./survey.ts"
import { todoSurvey } from "./todo-survey.ts"

/**
 * The embedded model: a planner that uses the tools like a model would, without a network. Pure: it depends only on the
 * request, so any process can resume a turn and gets the same answers.
 */
export function plan(given: LlmRequest): LlmResponse {
  const { messages, callsBefore: before, isAskedForSummary } = readSummary(given.messages)
  const request = { ...given, messages }
  const { text, calls } = isAskedForSummary
    ? { text: summarize(messages, before), calls: [] }
    : (judge(request) ?? planForGoal(request) ?? decide(readConversation(messages), request))
  const parts: OutputPart[] = [{ type: "text", text }]
  calls.forEach(({ toolName, input }, index) => {
    parts.push({ type: "tool_call", callId: `call_${before + index + 1}`, toolName, inputJson: JSON.stringify(input) })
  })
  return { text, parts, usage: estimateUsage(given, parts), terminalReason: calls.length > 0 ? "tool_use" : "stop" }
}

/** The next step towards a goal; `undefined` if the turn has no goal. */
function planForGoal(request: LlmRequest): PlannedStep | undefined {
  const context = readGoalContext(request.messages)
  if (context === undefined) return undefined
  const ends = request.tools.some(({ name }) => name === "update_goal")
  // A judge asks for sections, so only the planner itself ends such a goal.
  const replacement = ends && canReplace(request) ? readReplacement(context.objective) : undefined
  return unable(request) ?? (replacement === undefined ? goalStep(context, ends) : replaceForGoal(replacement, context))
}

/** A goal that is a replacement is complete when every line was changed or refused, in one turn. */
function replaceForGoal(replacement: Replacement, { turn, isToEnd }: GoalContext): PlannedStep {
  const step = replaceStep(replacement, turn)
  if (step.calls.length === 0 && !turn.some(({ toolName }) => toolName === "update_goal"))
    return { text: step.text, calls: [{ toolName: "update_goal", input: { status: "complete" } }] }
  return isToEnd ? { text: "The budget is used up, so I stop here.", calls: [] } : step
}

function canReplace({ tools }: LlmRequest): boolean {
  return tools.some(({ name }) => name === REPLACE_LINE)
}

function decide({ task, exchanges }: Conversation, request: LlmRequest): PlannedStep {
  const without = unable(request)
  if (without !== undefined) return without

  const replacement = canReplace(request) ? readReplacement(task) : undefined
  if (replacement !== undefined) return replaceStep(replacement, exchanges)
  const intent = readIntent(task)
  switch (intent.type) {
    case "todo":
      return nextStep(todoSurvey(intent.markers), exchanges)
    case "search":
      return nextStep(searchSurvey(intent.phrases, task), exchanges)
    case "unclear":
      return {
        text: `${WHAT_I_AM} This task names no word to search for. Name TODO or FIXME, put a search text in "quotes", or use a language model with --base-url and --model.`,
        calls: [],
      }
  }
}

/** Names the missing tools; `undefined` if there are none. */
function unable({ tools }: LlmRequest): PlannedStep | undefined {
  const missing = ["list_files", "search_text", "read_file", "write_file"].filter((name) => tools.every((tool) => tool.name !== name))
  return missing.length === 0 ? undefined : { text: `${WHAT_I_AM} I cannot work here: I have no tool ${missing.join(", ")}.`, calls: [] }
}

/**
 * Estimates usage at four characters per token, rounded up. The part that the previous request had too counts as cached, as
 * with a provider that caches prompts.
 */
function estimateUsage({ messages, tools }: LlmRequest, parts: readonly OutputPart[]): TokenUsage {
  const lastAnswer = messages.findLastIndex((message) => message.role === "assistant")
  const toolLength = tools.length === 0 ? 0 : JSON.stringify(tools).length
  const before = lastAnswer < 0 ? 0 : toolLength + lengthOf(messages.slice(0, lastAnswer))
  const all = toolLength + lengthOf(messages)
  const outputLength = parts.reduce(
    (sum, part) => sum + (part.type === "tool_call" ? part.toolName.length + part.inputJson.length : (part.text ?? "").length),
    0,
  )
  const cachedInputTokens = Math.ceil(before / 4)
  return { inputTokens: Math.ceil(all / 4) - cachedInputTokens, cachedInputTokens, outputTokens: Math.ceil(outputLength / 4), reasoningTokens: 0 }
}

function lengthOf(messages: readonly LlmMessage[]): number {
  let length = 0
  for (const { blocks } of messages) {
    for (const block of blocks) {
      if (block.type === "tool_call") length += block.toolName.length + block.inputJson.length
      else if (block.type !== "image" && block.type !== "file") length += (block.text ?? "").length
    }
  }
  return length
}
