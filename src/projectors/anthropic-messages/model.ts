/**
 * What a model accepts, as far as its name says. A Claude model whose version is not known counts as the newest; any other model is one at a
 * compatible endpoint.
 * @see https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-7#sampling-parameters-removed (2026-11)
 * @see https://platform.claude.com/docs/en/build-with-claude/effort, https://platform.claude.com/docs/en/build-with-claude/extended-thinking (2026-11)
 */
export interface ModelRules {
  /** `temperature` and `top_p`. Models since Claude Opus 4.7 refuse both. */
  readonly acceptsSampling: boolean
  /** What is asked of it where the request names no limit, in tokens. */
  readonly maxTokens: number
  /** How a reasoning effort is sent: as a word, as a number of thinking tokens, or not at all, because the model does not think. */
  readonly effort: "word" | "budget" | "none"
  /** Whether thinking can be turned off. */
  readonly canStopThinking: boolean
  /** Whether a call may be forced while nothing is said of thinking. Some models that always think refuse it. */
  readonly acceptsForcedCalls: boolean
  /** Whether the form of the answer can be enforced. Models of other providers, and Claude models before Opus 4.1 and 4.5, do not know it. */
  readonly enforcesOutput: boolean
}

/** The version is one or two numbers, at Anthropic with a hyphen between them. A date may follow. */
const VERSION = /claude-(?:[a-z]+-)?v?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/i
const ALWAYS_THINKS = /claude-(?:(?:opus|sonnet)-5[-.]5|fable-5)(?!\d)/i
const NEVER_FORCED = /claude-(?:(?:opus|sonnet)-5[-.]5|fable-5[-.]1)(?!\d)/i

export function rulesOf(model: string): ModelRules {
  const isClaude = /claude/i.test(model)
  const [, major, minor = "0"] = VERSION.exec(model) ?? []
  const version = major === undefined ? Number.POSITIVE_INFINITY : Number(major) * 100 + Number(minor)
  return {
    maxTokens: version < 305 ? 4_096 : version < 307 ? 8_192 : 32_000,
    acceptsSampling: !isClaude || version < 407,
    effort: !isClaude || version >= 406 || /opus-4[-.]5/i.test(model) ? "word" : version >= 307 ? "budget" : "none",
    canStopThinking: !ALWAYS_THINKS.test(model),
    acceptsForcedCalls: !NEVER_FORCED.test(model),
    enforcesOutput: isClaude && (version >= 405 || /opus-4[-.]1(?!\d)/i.test(model)),
  }
}
