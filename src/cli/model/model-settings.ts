import type { Host } from "../../hosts/host.ts"
import { didYouMean, readCount } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { DEFAULT_RETRIES, DEFAULT_TIMEOUT_MS } from "./help.ts"
import { DEFAULT_PROVIDER, isProviderName, PROVIDER_NAMES, PROVIDERS, type ProviderName, splitModel } from "./providers.ts"

export const MODEL_FLAGS = {
  model: { type: "string" },
  provider: { type: "string" },
  "base-url": { type: "string" },
  "api-key-env": { type: "string" },
  "timeout-ms": { type: "string" },
  retries: { type: "string" },
} as const
export type ModelFlags = { readonly [Name in keyof typeof MODEL_FLAGS]?: string }

/** A model at an endpoint. */
export interface EndpointChoice {
  readonly type: "endpoint"
  /** What the endpoint speaks. */
  readonly provider: ProviderName
  readonly name: string
  readonly baseUrl: string
  readonly apiKeyEnv?: string
  readonly apiKey?: string
  readonly timeoutMs: number
  readonly retries: number
}

export type ModelChoice = { readonly type: "embedded"; readonly name: "embedded" } | EndpointChoice

/** The stored settings of a model. */
export interface ModelMeta {
  readonly model: string
  /** Absent: it is the embedded model. */
  readonly baseUrl?: string
  /** Absent: {@link DEFAULT_PROVIDER}. */
  readonly provider?: ProviderName
  readonly apiKeyEnv?: string
}

/**
 * Resolves the model from the flags and, on resume, the saved settings.
 * @param known the saved settings, if they are the user's
 * @throws {CliError} a flag is invalid, missing, or differs from the saved setting
 */
export function resolveModel(flags: ModelFlags, env: Io["env"], saved: ModelMeta | undefined, known: ModelMeta | undefined): ModelChoice {
  const given = givenModel(flags, saved)
  checkAsSaved(given, saved, known)
  const provider = given.provider ?? known?.provider ?? DEFAULT_PROVIDER
  // Without an address, a provider that is named is meant where it serves its API.
  const isNamed = given.provider !== undefined && given.baseUrl === undefined && known?.baseUrl === undefined
  const baseUrl = given.baseUrl ?? known?.baseUrl ?? (isNamed ? PROVIDERS[provider].baseUrl : undefined)
  const name = given.name ?? saved?.model ?? (baseUrl === undefined ? "embedded" : undefined)

  if (baseUrl === undefined) return embedded(name ?? "", flags)
  checkUrl(baseUrl)
  if (name === undefined || name === "embedded")
    throw new CliError(
      given.provider === undefined
        ? "--base-url needs the model's name at the endpoint: --model NAME."
        : `--provider ${given.provider} needs the name of a model: --model NAME.`,
    )
  const apiKeyEnv = flags["api-key-env"] ?? known?.apiKeyEnv ?? (isNamed ? keyVariable(provider, env) : undefined)
  if (apiKeyEnv !== undefined) checkVariable(apiKeyEnv)
  return {
    type: "endpoint",
    provider,
    name,
    baseUrl,
    ...(apiKeyEnv !== undefined && { apiKeyEnv }),
    timeoutMs: flags["timeout-ms"] === undefined ? DEFAULT_TIMEOUT_MS : readCount("--timeout-ms", flags["timeout-ms"], 1, 2_000_000_000),
    retries: flags.retries === undefined ? DEFAULT_RETRIES : readCount("--retries", flags.retries, 0, 100),
  }
}

interface GivenModel {
  readonly name?: string | undefined
  readonly provider?: ProviderName | undefined
  readonly baseUrl?: string | undefined
}

/** What the flags say. A provider before the model's name counts unless an address is given: elsewhere it may be a vendor's name. */
function givenModel({ model, provider: named, "base-url": baseUrl }: ModelFlags, saved: ModelMeta | undefined): GivenModel {
  const provider = named === undefined ? undefined : readProvider(named)
  const isWholeName = baseUrl !== undefined || model === saved?.model
  return { name: model, provider, baseUrl, ...(model !== undefined && !isWholeName && splitNamed(model, provider)) }
}

/** Splits the name of a model as {@link splitModel}, where its provider may be named by a flag, too. @throws {CliError} the two differ */
export function splitNamed(model: string, provider: ProviderName | undefined, flag = "--model"): ReturnType<typeof splitModel> {
  const split = splitModel(model)
  if (split === undefined || provider === undefined || provider === split.provider) return split
  throw new CliError(`${flag.replace("model", "provider")} ${provider} and ${flag} ${oneLine(model)} name two providers. Omit one of them.`)
}

/** @throws {CliError} the name is not of a provider */
export function readProvider(text: string, flag = "--provider"): ProviderName {
  if (isProviderName(text)) return text
  const names = `${PROVIDER_NAMES.slice(0, -1).join(", ")} or ${PROVIDER_NAMES.at(-1)}`
  const hint = didYouMean(text, PROVIDER_NAMES)
  throw new CliError(
    `${flag} takes ${names}, not "${oneLine(text)}".${hint === "" ? ` For an OpenAI-compatible endpoint, pass ${flag.replace("provider", "base-url")}.` : hint}`,
  )
}

/** The model cannot change on resume: another one would have answered otherwise. */
function checkAsSaved(given: GivenModel, saved: ModelMeta | undefined, known: ModelMeta | undefined): void {
  if (saved === undefined) return
  const { provider: savedProvider = DEFAULT_PROVIDER } = saved
  if (given.name !== undefined && given.name !== saved.model) throw differsFromSaved("model", saved.model, "--model")
  const isOther = known === undefined ? saved.baseUrl === undefined : given.baseUrl !== known.baseUrl
  if (given.baseUrl !== undefined && isOther)
    throw differsFromSaved("endpoint", saved.baseUrl === undefined ? "none" : shownUrl(saved.baseUrl), "--base-url")
  if (given.provider !== undefined && (given.provider !== savedProvider || saved.baseUrl === undefined))
    throw differsFromSaved("provider", saved.baseUrl === undefined ? "none" : savedProvider, "--provider")
}

function embedded(name: string, flags: ModelFlags): ModelChoice {
  if (name !== "embedded") {
    const shown = oneLine(name)
    throw new CliError(
      `--model ${shown} needs an endpoint: --provider ${PROVIDER_NAMES.join("|")}, or --base-url URL. Without one, use --model embedded.`,
    )
  }
  for (const flag of ["api-key-env", "timeout-ms", "retries"] as const) {
    if (flags[flag] !== undefined)
      throw new CliError(`--${flag} applies only to a model at an endpoint. Add --provider or --base-url, and --model, or omit --${flag}.`)
  }
  return { type: "embedded", name }
}

/** The variable that holds the provider's key. @throws {CliError} none is set */
export function keyVariable(provider: ProviderName, env: Io["env"]): string {
  const { keys }: { readonly keys: readonly string[] } = PROVIDERS[provider]
  const found = keys.find((name) => (env[name] ?? "").trim() !== "")
  if (found !== undefined) return found
  const [first = "", ...others] = keys
  const also = others.map((name) => `, nor is ${name}`).join("")
  throw new CliError(
    `The environment variable ${first} is not set or is empty${also}. Set it to your key: export ${first}=… If another variable holds the key, pass its name with --api-key-env.`,
  )
}

/** Reads the key, once the endpoint that it is sent to is settled. */
export function withKey(model: ModelChoice, env: Io["env"]): ModelChoice {
  return model.type === "embedded" || model.apiKeyEnv === undefined ? model : { ...model, apiKey: readKey(model.apiKeyEnv, env) }
}

/** The settings of a model as they are stored. */
export function modelMeta(model: ModelChoice): ModelMeta {
  const { name } = model
  if (model.type === "embedded") return { model: name }
  const { apiKeyEnv, baseUrl, provider } = model
  return {
    model: name,
    baseUrl,
    ...(provider !== DEFAULT_PROVIDER && { provider }),
    ...(apiKeyEnv !== undefined && { apiKeyEnv }),
  }
}

/** Whether an endpoint is where its provider serves its API, whose prices it then has. */
export function isAtHome({ baseUrl, provider }: Pick<EndpointChoice, "baseUrl" | "provider">): boolean {
  return baseUrl.replace(/\/+$/, "") === PROVIDERS[provider].baseUrl
}

/** The model client of an endpoint. */
export function endpointHost({ apiKey, baseUrl, name, provider, retries, timeoutMs }: EndpointChoice): Pick<Host, "llmCall"> {
  return PROVIDERS[provider].client({
    baseUrl,
    ...(apiKey !== undefined && { apiKey }),
    model: name,
    timeoutMs,
    idleTimeoutMs: timeoutMs,
    maxRetries: retries,
  })
}

/** A model and where it runs: `anthropic/claude-opus-5`, or with the address and, if that does not say it, what the endpoint speaks. */
export function modelText(model: Pick<EndpointChoice, "type" | "baseUrl" | "name" | "provider"> | { readonly type: "embedded" }): string {
  if (model.type === "embedded") return "embedded planner, no network"
  const { baseUrl, provider } = model
  const name = oneLine(model.name)
  if (isAtHome(model)) return `${provider}/${name}`
  return `${name} at ${shownUrl(baseUrl)}${provider === DEFAULT_PROVIDER ? "" : ` (${provider})`}`
}

/** The model of stored settings. */
export function storedModelText({ baseUrl, model: name, provider = DEFAULT_PROVIDER }: ModelMeta): string {
  return baseUrl === undefined ? oneLine(name) : modelText({ type: "endpoint", name, baseUrl, provider })
}

/** @throws {CliError} the URL is not of an endpoint, or has a secret in it. `flag`: the flag that gives it; its key's flag has the same start. */
export function checkUrl(baseUrl: string, flag = "--base-url"): void {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new CliError(`${flag} ${oneLine(baseUrl)} is not an http or https URL. Pass one like http://localhost:11434/v1.`)
  }
  // The message does not show the URL, which contains a secret.
  if (url.username !== "" || url.password !== "")
    throw new CliError(
      `${flag} must not contain a user name or password. Put the key into an environment variable and pass its name with ${flag.replace("base-url", "api-key-env")}.`,
    )
}

/** The URL of an endpoint without its query, which may contain a key. */
export function shownUrl(baseUrl: string): string {
  return oneLine(baseUrl).replace(/[?#].*$/, "")
}

/** @throws {CliError} the name is not of an environment variable */
export function checkVariable(name: string, flag = "--api-key-env"): void {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    // The message does not show the value, which may be the key itself.
    throw new CliError(`${flag} takes the name of an environment variable, such as OPENAI_API_KEY, not the key itself.`)
  }
}

/** @throws {CliError} the variable is not set, or is not a key */
export function readKey(name: string, env: Io["env"]): string {
  const key = env[name]?.trim() ?? ""
  if (key === "") throw new CliError(`The environment variable ${name} is not set or is empty. Set it to the key: export ${name}=…`)
  if (!/^[\x21-\x7e]+$/.test(key))
    throw new CliError(`The environment variable ${name} contains characters that keys do not have. Set it to the key alone.`)
  return key
}

/** A setting of a state file cannot be changed on resume. */
export function differsFromSaved(what: string, saved: string, flag: string): CliError {
  return new CliError(
    `The state file was written for another ${what} (${oneLine(saved)}). To resume it, omit ${flag === "task" ? "the task" : flag}; for a new run, pass another --state path.`,
  )
}
