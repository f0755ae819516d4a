import { CliError } from "../terminal/errors.ts"
import { cutText, oneLine, shellWord } from "../terminal/format.ts"
import { type KnownSettings, otherSettingsOf, type WorkSettings } from "./own-states.ts"

/** The flags that give the settings of a state again. */
export interface WorkFlags {
  readonly dir?: string | undefined
  readonly out?: string | undefined
  readonly model?: string | undefined
  readonly provider?: string | undefined
  readonly "base-url"?: string | undefined
  readonly "api-key-env"?: string | undefined
  readonly "judge-model"?: string | undefined
  readonly "judge-provider"?: string | undefined
  readonly "judge-base-url"?: string | undefined
  readonly "judge-api-key-env"?: string | undefined
  readonly check?: readonly string[] | undefined
  readonly mcp?: readonly string[] | undefined
  readonly "mcp-config"?: string | undefined
  readonly edit?: boolean | undefined
  readonly approve?: string | undefined
  readonly "approve-within"?: string | undefined
}

/** The settings of a state that the user has confirmed. */
export interface Confirmed<Meta> {
  readonly meta: Meta
  /** `before`: `meta` has the settings that the user gave when it was started. `now`: the flags give them, and `meta` does not count. */
  readonly when: "before" | "now"
}

/** What a refusal shows of a state that is not known. */
export interface Shown {
  /** Its name at the start of a sentence. */
  readonly name: string
  /** What the user wants to do with it, after "To". */
  readonly purpose?: string
  readonly task?: string
  /** What a resumed turn does first, where that is not a model call. */
  readonly next?: string | undefined
}

/**
 * Decides whose settings a resumed state has: those that the user gave when it was started, or, for a state that may have come with
 * its folder, the flags of this command. A state's own settings are never used.
 * @throws {CliError} the state is not known, and flags are missing
 */
export function confirm<Meta extends WorkSettings>(meta: Meta, known: KnownSettings, flags: WorkFlags, shown: Shown): Confirmed<Meta> {
  if ("settings" in known) {
    return { meta: { ...otherSettingsOf(meta), ...known.settings } as Meta, when: "before" }
  }
  const asked = askedBy(meta)
  const missing = asked.filter(({ flag }) => flags[flag] === undefined)
  if (missing.length === 0) return { meta, when: "now" }
  const list = (items: readonly string[]): string => (items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`)
  throw new CliError(
    `${shown.name} may have settings that are not yours: ${known.unknown}. To ${shown.purpose ?? "resume it"}, give them again: ${list([...new Set(missing.map(({ flag }) => `--${flag}`))])}.`,
    2,
    {
      details: [
        "It asks for:",
        ...asked.map(({ name, value }) => row(name, value)),
        ...(shown.task === undefined ? [] : [row("task", cutText(oneLine(shown.task), MAX_SHOWN))]),
        ...(shown.next === undefined ? [] : [row("next", cutText(oneLine(shown.next), MAX_SHOWN))]),
        `To accept exactly these settings, add: ${asked.map(({ flag, typed }) => `--${flag} ${typed}`.trimEnd()).join(" ")}`,
      ],
    },
  )
}

/** Describes the settings that the user has just confirmed, in a sentence. */
export function confirmedText({
  dir,
  out,
  model,
  baseUrl,
  provider,
  apiKeyEnv,
  judgeModel,
  judgeBaseUrl,
  judgeProvider,
  judgeApiKeyEnv,
  checks = [],
  mcp = [],
  mcpConfig,
  edit,
  approve,
}: WorkSettings): string {
  const endpoint = baseUrl === undefined ? "" : `, model ${oneLine(model)} at ${withoutQuery(baseUrl)}${spoken(provider)}`
  const key = apiKeyEnv === undefined ? "" : `, the key in $${oneLine(apiKeyEnv)}`
  const judge =
    judgeModel === undefined
      ? ""
      : `, judge ${oneLine(judgeModel)} at ${judgeBaseUrl === undefined ? "the same endpoint" : `${withoutQuery(judgeBaseUrl)}${spoken(judgeProvider)}`}`
  const judgeKey = judgeApiKeyEnv === undefined ? "" : `, its key in $${oneLine(judgeApiKeyEnv)}`
  const runs = checks.length === 0 ? "" : ` It runs after each turn: ${checks.map((command) => oneLine(command)).join("; ")}.`
  const started = [...mcp.map((command) => oneLine(command)), ...(mcpConfig === undefined ? [] : [`those of ${oneLine(mcpConfig)}`])]
  const servers = started.length === 0 ? "" : ` It starts MCP servers: ${started.join("; ")}.`
  const changes =
    edit !== true || approve === "never"
      ? ""
      : `, changes files in the folder that it reads ${approve === "auto" ? "without asking" : "after asking"}`
  return `Confirmed: it reads ${oneLine(dir)}, writes to ${oneLine(out)}${changes}${endpoint}${key}${judge}${judgeKey}.${runs}${servers}`
}

const MAX_SHOWN = 200

interface Asked {
  readonly flag: keyof WorkFlags
  readonly name: string
  readonly value: string
  /** The value as typed in a shell, or a placeholder. */
  readonly typed: string
}

function askedBy({
  dir,
  out,
  model,
  baseUrl,
  provider,
  apiKeyEnv,
  judgeModel,
  judgeBaseUrl,
  judgeProvider,
  judgeApiKeyEnv,
  checks = [],
  mcp = [],
  mcpConfig,
  edit,
  approve,
  approveWithinMs,
}: WorkSettings): readonly Asked[] {
  const one = (flag: keyof WorkFlags, name: string, value: string, placeholder: string): Asked => ({
    flag,
    name,
    value: cutText(oneLine(value), MAX_SHOWN),
    typed: typed(value, placeholder),
  })
  const url = (flag: keyof WorkFlags, name: string, value: string): Asked => ({
    ...one(flag, name, value, "URL"),
    value: cutText(withoutQuery(value), MAX_SHOWN),
  })
  return [
    one("dir", "reads", dir, "DIR"),
    one("out", "writes", out, "DIR"),
    ...(baseUrl === undefined
      ? []
      : [
          url("base-url", "endpoint", baseUrl),
          ...(provider === undefined ? [] : [one("provider", "provider", provider, "NAME")]),
          one("model", "model", model, "NAME"),
          ...(apiKeyEnv === undefined ? [] : [one("api-key-env", "key in", apiKeyEnv, "NAME")]),
        ]),
    ...(judgeBaseUrl === undefined ? [] : [url("judge-base-url", "judge at", judgeBaseUrl)]),
    ...(judgeProvider === undefined ? [] : [one("judge-provider", "its API", judgeProvider, "NAME")]),
    ...(judgeModel === undefined ? [] : [one("judge-model", "judge", judgeModel, "NAME")]),
    ...(judgeApiKeyEnv === undefined ? [] : [one("judge-api-key-env", "its key", judgeApiKeyEnv, "NAME")]),
    ...checks.map((command) => one("check", "runs", command, "COMMAND")),
    ...mcp.map((command) => one("mcp", "starts", command, "COMMAND")),
    ...(mcpConfig === undefined ? [] : [one("mcp-config", "starts", mcpConfig, "FILE")]),
    ...(edit === true ? [{ flag: "edit", name: "changes", value: "files in the folder that it reads", typed: "" } as const] : []),
    ...(approve === undefined ? [] : [one("approve", "approve", approve, "MODE")]),
    ...(approveWithinMs === undefined ? [] : [one("approve-within", "within", `${Math.ceil(approveWithinMs / 1_000)}s`, "T")]),
  ]
}

/** A line to copy must do nothing else in any shell, so unusual values are not part of it. Nor is a query, which may contain a key. */
function typed(value: string, placeholder: string): string {
  const isPlain = /^[\p{L}\p{N}\p{M}_./][\p{L}\p{N}\p{M} _./@+:,=~-]{0,500}$/u.test(value)
  return isPlain || (process.platform === "win32" && /^[\w .:\\-]{1,500}$/.test(value)) ? shellWord(value) : placeholder
}

function spoken(provider: string | undefined): string {
  return provider === undefined ? "" : ` (${provider})`
}

function withoutQuery(url: string): string {
  return oneLine(url).replace(/[?#].*$/, "")
}

function row(name: string, value: string): string {
  return `   ${name.padEnd(8)} ${value}`
}
