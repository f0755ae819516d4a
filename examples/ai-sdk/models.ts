import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { fallback, type Host } from "turn-machine/hosts"
import { aiSdkModel } from "turn-machine/hosts/ai-sdk"

/** Claude, and a model of another provider for the times when Claude is overloaded. Without an address the packages reach their providers. */
export function models(baseURL: string, apiKey: string): Pick<Host, "llmCall"> {
  const anthropic = createAnthropic({ baseURL, apiKey })
  const spare = createOpenAICompatible({ name: "spare", baseURL, apiKey, supportsStructuredOutputs: true, includeUsage: true })
  // The name of the model is that of the turn's config.
  return fallback([aiSdkModel(anthropic, { maxRetries: 0 }), aiSdkModel(spare("small"))])
}
