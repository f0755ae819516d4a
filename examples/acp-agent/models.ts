import { type AttachmentStore, anthropic, gemini, type Host, openAiCompatible, openAiResponses, pricesOf, type TokenPrices } from "turn-machine/hosts"
import { scriptedModel } from "./scripted-model.ts"

/** The model of all sessions. */
export interface Model extends Pick<Host, "llmCall"> {
  readonly name: string
  /** Tokens. Absent: unknown, and the client is not shown how full it is. */
  readonly contextWindow?: number | undefined
  readonly prices?: TokenPrices | undefined
}

/**
 * The model that the environment names. With a key of a provider, its model; `MODEL` names another one. With `MODEL_BASE_URL`, an endpoint that
 * speaks Chat Completions, such as Ollama. Without any, a scripted model, to try the agent.
 */
export function modelOf(env: NodeJS.ProcessEnv, attachments: AttachmentStore): Model {
  const { MODEL: named, MODEL_BASE_URL: baseUrl, ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY } = env
  const size = Number(env["MODEL_CONTEXT_WINDOW"])
  const contextWindow = Number.isInteger(size) && size > 0 ? size : undefined
  const model = (name: string, { llmCall }: Pick<Host, "llmCall">): Model => ({ name, llmCall, contextWindow, prices: pricesOf(name) })
  if (baseUrl !== undefined) {
    const key = env["MODEL_API_KEY"]
    return { ...model(named ?? "default", openAiCompatible({ baseUrl, attachments, ...(key !== undefined && { apiKey: key }) })), prices: undefined }
  }
  if (ANTHROPIC_API_KEY !== undefined)
    return model(
      named ?? "claude-opus-5",
      anthropic({ apiKey: ANTHROPIC_API_KEY, attachments, wire: { thinking: { type: "adaptive" }, maxTokens: 16_000 } }),
    )
  if (OPENAI_API_KEY !== undefined) return model(named ?? "gpt-5", openAiResponses({ apiKey: OPENAI_API_KEY, attachments }))
  if (GEMINI_API_KEY !== undefined) return model(named ?? "gemini-3.5-flash", gemini({ apiKey: GEMINI_API_KEY, attachments }))
  return scriptedModel(Number(env["WORD_MS"] ?? "30"))
}
