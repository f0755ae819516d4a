import { isBlank } from "../../text.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import { isRecord } from "../wires/values.ts"
import type { AnthropicMessage, AnthropicThinking } from "./body.ts"
import { isReasoning } from "./conversation.ts"
import type { ModelRules } from "./model.ts"

/** How a request asks its model to think. */
export interface ThinkingSettings {
  /** The value of `thinking`; absent: the model's own default. */
  readonly thinking?: unknown
  readonly effort?: string
  /** Whether the host asked for thinking, also where the messages do not allow it. Then no call is forced and nothing is sampled. */
  readonly isAsked: boolean
}

/** The provider refuses a smaller number of thinking tokens, and one that is not less than `max_tokens`. */
const LEAST_BUDGET = 1_024

/** Thinking tokens for efforts, for models that know no efforts. */
const BUDGETS: ReadonlyMap<string, number> = new Map(
  Object.entries({ minimal: LEAST_BUDGET, low: 2_048, medium: 8_192, high: 16_384, xhigh: 32_768, max: 32_768 }),
)

/** The provider's own word for an effort. It does not know `minimal`. */
const WORDS: ReadonlyMap<string, string> = new Map([["minimal", "low"]])

/**
 * Returns how a model thinks: as the host's own keys say, else as the effort `none`, the wire's options or another effort do.
 * @param own `thinking` among the host's own keys, which is sent as it is
 */
export function thinkingSettings(
  request: LlmRequest,
  own: unknown,
  option: AnthropicThinking | undefined,
  messages: readonly AnthropicMessage[],
  { maxTokens, rules }: { readonly maxTokens: number; readonly rules: ModelRules },
): ThinkingSettings {
  const effort = effortOf(request)
  const word = effort === undefined ? {} : effortWord(effort, rules)
  const asked = own ?? (effort === "none" && rules.canStopThinking ? ({ type: "disabled" } as const) : option) ?? budgetOf(effort, rules)
  if (asked === undefined) return { ...word, isAsked: false }
  const fitting = own === undefined ? withinLimit(asked as AnthropicThinking, maxTokens) : asked
  const cannotBegin = isRecord(fitting) && fitting["type"] === "enabled" && beganWithoutReasoning(messages)
  return { ...word, thinking: cannotBegin ? { type: "disabled" } : fitting, isAsked: isOn(fitting) }
}

function effortOf({ generation, modelVariant }: LlmRequest): string | undefined {
  const effort = generation.reasoningEffort ?? modelVariant
  return effort === undefined || isBlank(effort) ? undefined : effort
}

/** A model whose thinking cannot be turned off thinks as little as it can. */
function effortWord(effort: string, rules: ModelRules): { readonly effort?: string } {
  if (rules.effort !== "word") return {}
  if (effort === "none") return rules.canStopThinking ? {} : { effort: "low" }
  return { effort: WORDS.get(effort) ?? effort }
}

function budgetOf(effort: string | undefined, rules: ModelRules): AnthropicThinking | undefined {
  if (effort === undefined || rules.effort !== "budget") return undefined
  const tokens = /^\d{1,7}$/.test(effort) ? Math.max(Number(effort), LEAST_BUDGET) : BUDGETS.get(effort)
  return tokens === undefined ? undefined : { type: "enabled", budget_tokens: tokens }
}

/** A small answer has no room for thinking. */
function withinLimit(thinking: AnthropicThinking, maxTokens: number): AnthropicThinking {
  if (thinking.type !== "enabled" || thinking.budget_tokens < maxTokens) return thinking
  return maxTokens > LEAST_BUDGET ? { ...thinking, budget_tokens: maxTokens - 1 } : { type: "disabled" }
}

function isOn(thinking: unknown): boolean {
  return isRecord(thinking) && (thinking["type"] === "enabled" || thinking["type"] === "adaptive")
}

/**
 * Whether the tool loop at the end began with an answer without reasoning: it was cut off, or another model wrote it. Only the beginning counts:
 * a model that does not think between its calls has no reasoning in the later answers of a loop.
 * @see https://platform.claude.com/docs/en/build-with-claude/extended-thinking#toggling-thinking-modes-in-conversations (2026-11)
 */
function beganWithoutReasoning(messages: readonly AnthropicMessage[]): boolean {
  let index = messages.length - 1
  while (index > 0 && messages[index]?.content.some(({ type }) => type === "tool_result") === true) index -= 2
  const first = messages[index + 1]
  return first?.role === "assistant" && !isReasoning(first.content[0])
}
