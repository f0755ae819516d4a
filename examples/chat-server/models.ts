import { anthropic, gemini, type Host, openAiCompatible, openAiResponses } from "turn-machine/hosts"
import { builtInModel } from "./built-in-model.ts"

/** A model and its name. */
export interface ChatModel {
  readonly name: string
  readonly llmCall: Host["llmCall"]
}

type Environment = Readonly<Record<string, string | undefined>>
type Make = (options: { readonly apiKey: string; readonly baseUrl?: string }) => Pick<Host, "llmCall">

const PROVIDERS: Readonly<Record<string, { readonly key: string; readonly model: string; readonly make: Make }>> = {
  openai: {
    key: "OPENAI_API_KEY",
    model: "gpt-5-mini",
    make: ({ apiKey, baseUrl = "https://api.openai.com/v1" }) => openAiCompatible({ apiKey, baseUrl }),
  },
  "openai-responses": { key: "OPENAI_API_KEY", model: "gpt-5-mini", make: openAiResponses },
  anthropic: { key: "ANTHROPIC_API_KEY", model: "claude-haiku-4-5", make: anthropic },
  gemini: { key: "GEMINI_API_KEY", model: "gemini-3.5-flash", make: gemini },
}

/**
 * The model that the environment names: `PROVIDER` is `openai`, `openai-responses`, `anthropic`, `gemini` or `built-in`; without it, that of the first
 * key that is set. `MODEL` and `BASE_URL` replace the provider's own. Without a key, the model is the built-in one.
 * @throws {Error} a provider that is unknown, or whose key is missing
 */
export function modelOf(env: Environment): ChatModel {
  const name = env["PROVIDER"] ?? Object.keys(PROVIDERS).find((each) => (env[PROVIDERS[each]?.key ?? ""] ?? "") !== "") ?? "built-in"
  if (name === "built-in") return { name: "built-in", llmCall: builtInModel(Number(env["WORD_MS"] ?? "40")) }
  const provider = Object.hasOwn(PROVIDERS, name) ? PROVIDERS[name] : undefined
  if (provider === undefined) throw new Error(`PROVIDER is ${name}. It must be built-in or one of ${Object.keys(PROVIDERS).join(", ")}.`)
  const { [provider.key]: apiKey = "", BASE_URL: baseUrl } = env
  // A server of your own, such as Ollama, needs no key.
  if (apiKey === "" && baseUrl === undefined) throw new Error(`Set ${provider.key} to your key.`)
  const { llmCall } = provider.make({ apiKey, ...(baseUrl !== undefined && { baseUrl }) })
  return { name: env["MODEL"] ?? provider.model, llmCall }
}
