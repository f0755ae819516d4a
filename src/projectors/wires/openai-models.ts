/** What a model of OpenAI accepts, as far as its name says. */
export interface OpenAiModelRules {
  /** Whether the model reasons. `undefined`: the name is not one of OpenAI's. */
  readonly reasons: boolean | undefined
  /** Whether a model that reasons accepts `temperature` and `top_p` with the effort `none`. */
  readonly samplesWithoutEffort: boolean
}

const GPT = /^gpt-(\d+)(?:\.(\d+))?(?:[-:](.+))?$/
const NEVER_REASONS = /^(?:gpt-3|gpt-4|chatgpt-)/
const ALWAYS_REASONS = /^(?:o\d+(?:[-:]|$)|codex-mini|computer-use)/

/**
 * Reads the name of a model, also of one that was tuned (`ft:`) or that a gateway names with its provider (`openai/gpt-5`).
 * @see https://platform.openai.com/docs/guides/latest-model#gpt-5-1-parameter-compatibility (2026-11)
 * @see https://github.com/pydantic/pydantic-ai/issues/3326 (2026-11): `gpt-5-chat-latest` does not reason
 */
export function openAiModelRules(model: string): OpenAiModelRules {
  const name = model.replace(/^.*\//, "").replace(/^ft:/, "").toLowerCase()
  if (NEVER_REASONS.test(name)) return { reasons: false, samplesWithoutEffort: true }
  if (ALWAYS_REASONS.test(name)) return { reasons: true, samplesWithoutEffort: false }
  const [found, major = "0", minor, variant = ""] = GPT.exec(name) ?? []
  if (found === undefined) return { reasons: undefined, samplesWithoutEffort: true }
  const isChat = minor === undefined && variant.startsWith("chat")
  return { reasons: !isChat, samplesWithoutEffort: isChat || (major === "5" && minor !== undefined) }
}
