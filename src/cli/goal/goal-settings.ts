import { realpath } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { CommandSyntaxError, splitCommand } from "../../hosts/node/split-command.ts"
import type { SetGoal } from "../../wire/goal.ts"
import { DEFAULT_RETRIES } from "../model/help.ts"
import { checkUrl, checkVariable, isAtHome, keyVariable, type ModelChoice, readKey, readProvider, splitNamed } from "../model/model-settings.ts"
import { publishedPrices } from "../model/prices.ts"
import { DEFAULT_PROVIDER, PROVIDERS } from "../model/providers.ts"
import { type Flags, RUN_FLAGS, type RunSettings, resolveRun, workOf } from "../run/run-settings.ts"
import { readCount, readSeconds } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import type { Confirmed } from "../trust/confirm.ts"
import { isInside } from "../workspace/folder.ts"
import { type GoalMeta, runMetaOf } from "./goal-config.ts"

const { compact: _compact, "no-check": _check, ...SHARED } = RUN_FLAGS

export const GOAL_FLAGS = {
  ...SHARED,
  "budget-tokens": { type: "string" },
  "budget-time": { type: "string" },
  "budget-cost": { type: "string" },
  "max-continuations": { type: "string" },
  hard: { type: "boolean" },
  contract: { type: "string" },
  judge: { type: "string" },
  "judge-model": { type: "string" },
  "judge-provider": { type: "string" },
  "judge-base-url": { type: "string" },
  "judge-api-key-env": { type: "string" },
  check: { type: "string", multiple: true },
} as const

/** The token budget of a goal at an endpoint that was started without a budget. */
export const DEFAULT_BUDGET_TOKENS = 200_000

/** Milliseconds of one call of a judge that has an endpoint. */
const JUDGE_TIMEOUT_MS = 60_000
const MAX_CHECKS = 20
const MAX_CHECK_CHARS = 1_000

export type { Flags }
export type GoalFlags = Flags<typeof GOAL_FLAGS>

/** The settings of a goal, with defaults filled in and paths resolved. */
export interface GoalSettings {
  readonly run: RunSettings
  readonly meta: GoalMeta
  /** The judge's model; the goal's where no other was given. `undefined` without a judge. */
  readonly judge: ModelChoice | undefined
  /** Whether the flags of this command give the settings, so that they must be recorded as the user's. */
  readonly areGiven: boolean
}

/**
 * Resolves the settings of a goal from the flags and, on resume, the confirmed settings.
 * @throws {CliError} a setting is invalid, missing, or differs from the stored one
 */
export async function resolveGoal(flags: GoalFlags, io: Pick<Io, "cwd" | "env">, confirmed?: Confirmed<GoalMeta>): Promise<GoalSettings> {
  const known = confirmed?.meta
  const run = await resolveRun(flags, [], io, confirmed && { ...confirmed, meta: runMetaOf(confirmed.meta, "") })
  const id = known === undefined ? crypto.randomUUID() : known.id
  // Commands, endpoints and keys of a goal that is not known to be the user's come from the flags alone.
  const own = confirmed?.when === "before" ? known : undefined
  const checks = resolveChecks(flags, own)
  const judge = resolveJudge(flags, known)
  const model = judge === "none" ? refuseJudgeFlags(flags) : resolveJudgeModel(flags, own, run.model, io)
  const hard = resolveHard(flags, known)
  const meta: GoalMeta = {
    format: "turn-machine/goal",
    version: 1,
    ...(id !== undefined && { id }),
    ...workOf(run),
    maxIterations: run.maxIterations,
    ...(run.contextTokens !== undefined && { contextTokens: run.contextTokens }),
    ...resolveContinuations(flags, known),
    judge,
    ...model?.meta,
    ...(checks.length > 0 && { checks: [...checks] }),
    ...(hard && { hard }),
    ...goalPrices(flags, known, run, model?.choice),
  }
  const areGiven = confirmed?.when !== "before" || run.mcp.isChanged || JSON.stringify(checks) !== JSON.stringify(confirmed.meta.checks ?? [])
  return { run, meta, judge: model?.choice, areGiven }
}

/**
 * Refuses folders that overlap: the goal would read, replace or complete its own state or reports.
 * @throws {CliError}
 */
export async function checkOverlaps({ run: { dir, out } }: GoalSettings, state: string): Promise<void> {
  const outPath = await realPathOf(out)
  const pairs: readonly (readonly [outer: string, outerFlag: string, inner: string, innerFlag: string])[] = [
    [state, "--state", dir, "--dir"],
    [state, "--state", outPath, "--out"],
    [outPath, "--out", state, "--state"],
    [outPath, "--out", dir, "--dir"],
  ]
  for (const [outer, outerFlag, inner, innerFlag] of pairs) {
    if (!isInside(outer, inner)) continue
    const how = outer === inner ? "the same folder" : `inside ${outerFlag} ${oneLine(outer)}`
    throw new CliError(`${innerFlag} ${oneLine(inner)} and ${outerFlag} must not overlap: it is ${how}. Pass another folder with ${outerFlag}.`)
  }
}

/** The path that a folder, which need not exist, has without links. */
async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch {
    return dirname(path) === path ? path : join(await realPathOf(dirname(path)), basename(path))
  }
}

/** The budgets of a new goal. `isDefault`: no flag gives one, and the goal has an endpoint. @throws {CliError} */
export function resolveBudgets(flags: GoalFlags, { prices, hard }: GoalMeta, models: Pick<GoalSettings, "run" | "judge">): GoalBudgets {
  const given = givenBudgets(flags)
  if (given.costBudgetMicros !== undefined && prices === undefined)
    throw new CliError("--budget-cost needs the prices of the model: --price input,output[,cached[,written]], in US dollars per million tokens.")
  const isPaid = models.run.model.type === "endpoint" || models.judge?.type === "endpoint"
  const isDefault = isPaid && Object.keys(given).length === 0
  const budgets = isDefault ? { tokenBudget: DEFAULT_BUDGET_TOKENS } : given
  if (hard === true && typeof budgets.tokenBudget !== "number") throw new CliError("--hard needs a token budget: --budget-tokens N.")
  return { isDefault, budgets }
}

/** The budgets that flags give, with `null` for none. @throws {CliError} */
export function givenBudgets(flags: GoalFlags): GoalBudgets["budgets"] {
  const { "budget-tokens": tokens, "budget-time": time, "budget-cost": cost } = flags
  return {
    ...(tokens !== undefined && { tokenBudget: tokens === "none" ? null : readCount("--budget-tokens", tokens, 1, 1_000_000_000_000) }),
    ...(time !== undefined && { secondsBudget: readSeconds("--budget-time", time) }),
    ...(cost !== undefined && { costBudgetMicros: readMicros("--budget-cost", cost) }),
  }
}

export interface GoalBudgets {
  readonly isDefault: boolean
  readonly budgets: Pick<SetGoal, "tokenBudget" | "secondsBudget" | "costBudgetMicros">
}

/** The commands of the flags; without flags, those that the user gave before. @throws {CliError} */
function resolveChecks({ check }: GoalFlags, known: GoalMeta | undefined): readonly string[] {
  if (check === undefined) return known?.checks ?? []
  const commands = check.map((command) => command.trim())
  if (commands.length > MAX_CHECKS) throw new CliError(`A goal has at most ${MAX_CHECKS} checks, not ${commands.length}.`)
  for (const [index, command] of commands.entries()) {
    if (command === "") throw new CliError('--check is empty. Pass a command, such as --check "npm test".')
    if (command.length > MAX_CHECK_CHARS) throw new CliError(`A command of --check has at most ${MAX_CHECK_CHARS} characters. Put it into a script.`)
    if (/[\0\r\n]/.test(command)) throw new CliError("A command of --check is one line. Put several into a script.")
    checkSyntax(command)
    if (commands.indexOf(command) !== index) throw new CliError(`--check ${oneLine(command)} was given twice.`)
  }
  return commands
}

/** @throws {CliError} the command cannot run without a shell */
function checkSyntax(command: string): void {
  try {
    splitCommand(command)
  } catch (error) {
    if (!(error instanceof CommandSyntaxError)) throw error
    throw new CliError(`--check cannot be used: ${error.message} For example: --check "sh -c '…'", or a script.`)
  }
}

function resolveHard({ hard }: GoalFlags, known: GoalMeta | undefined): true | undefined {
  if (known !== undefined && hard === true && known.hard !== true) throw differsFromStored("kind of budget", "--hard")
  return hard === true || known?.hard === true ? true : undefined
}

const JUDGE_FLAGS = ["judge-model", "judge-provider", "judge-base-url", "judge-api-key-env"] as const

function refuseJudgeFlags(flags: GoalFlags): undefined {
  for (const flag of JUDGE_FLAGS) if (flags[flag] !== undefined) throw new CliError(`--${flag} needs a judge: --judge checklist or --judge freeform.`)
}

interface JudgeModel {
  readonly choice: ModelChoice
  readonly meta: Pick<GoalMeta, "judgeModel" | "judgeProvider" | "judgeBaseUrl" | "judgeApiKeyEnv">
}

/** The judge's model: the goal's, another one at the goal's endpoint, or one at an endpoint of its own, which gets only its own key. */
function resolveJudgeModel(flags: GoalFlags, known: GoalMeta | undefined, model: ModelChoice, { env }: Pick<Io, "env">): JudgeModel {
  const given = givenJudge(flags, known, model)
  const { name = known?.judgeModel } = given
  const provider = given.provider ?? known?.judgeProvider ?? DEFAULT_PROVIDER
  // Without an address, a provider that is named is meant where it serves its API.
  const isNamed = given.provider !== undefined && given.baseUrl === undefined && known?.judgeBaseUrl === undefined
  const baseUrl = given.baseUrl ?? known?.judgeBaseUrl ?? (isNamed ? PROVIDERS[provider].baseUrl : undefined)
  const isKnown = name === known?.judgeModel && baseUrl === known?.judgeBaseUrl && provider === (known?.judgeProvider ?? DEFAULT_PROVIDER)
  if (known !== undefined && !isKnown) throw differsFromStored("judge's model", "--judge-model, --judge-provider and --judge-base-url")
  const limits = { timeoutMs: JUDGE_TIMEOUT_MS }
  if (baseUrl === undefined) {
    if (flags["judge-api-key-env"] !== undefined)
      throw new CliError("--judge-api-key-env needs the judge's endpoint: --judge-provider NAME or --judge-base-url URL.")
    if (model.type === "embedded") {
      if (name !== undefined) throw new CliError(`--judge-model ${oneLine(name)} needs an endpoint: --judge-provider NAME or --judge-base-url URL.`)
      return { choice: model, meta: {} }
    }
    return { choice: { ...model, ...limits, name: name ?? model.name }, meta: name === undefined ? {} : { judgeModel: name } }
  }
  checkUrl(baseUrl, "--judge-base-url")
  if (name === undefined) {
    const flag = given.baseUrl === undefined ? `--judge-provider ${provider}` : "--judge-base-url"
    throw new CliError(`${flag} needs the model's name at the endpoint: --judge-model NAME.`)
  }
  const apiKeyEnv = flags["judge-api-key-env"] ?? known?.judgeApiKeyEnv ?? (isNamed ? keyVariable(provider, env) : undefined)
  if (apiKeyEnv !== undefined) checkVariable(apiKeyEnv, "--judge-api-key-env")
  const retries = model.type === "endpoint" ? model.retries : DEFAULT_RETRIES
  const key = apiKeyEnv === undefined ? {} : { apiKeyEnv, apiKey: readKey(apiKeyEnv, env) }
  return {
    choice: { type: "endpoint", provider, name, baseUrl, ...key, ...limits, retries },
    meta: {
      judgeModel: name,
      judgeBaseUrl: baseUrl,
      ...(provider !== DEFAULT_PROVIDER && { judgeProvider: provider }),
      ...(apiKeyEnv !== undefined && { judgeApiKeyEnv: apiKeyEnv }),
    },
  }
}

/** What the flags say of the judge's model. A provider before its name counts unless the goal's model is at an address of its own. */
function givenJudge(flags: GoalFlags, known: GoalMeta | undefined, model: ModelChoice) {
  const { "judge-model": name, "judge-provider": named, "judge-base-url": baseUrl } = flags
  const provider = named === undefined ? undefined : readProvider(named, "--judge-provider")
  const isElsewhere = model.type === "endpoint" && !isAtHome(model)
  const isWholeName = (isElsewhere && provider === undefined) || baseUrl !== undefined || name === known?.judgeModel
  return { name, provider, baseUrl, ...(name !== undefined && !isWholeName && splitNamed(name, provider, "--judge-model")) }
}

function resolveContinuations(flags: GoalFlags, known: GoalMeta | undefined): Pick<GoalMeta, "maxContinuations"> {
  const given = flags["max-continuations"]
  const cap = given === undefined ? undefined : readCount("--max-continuations", given, 1, 10_000)
  if (known !== undefined && cap !== undefined && cap !== known.maxContinuations)
    throw differsFromStored("limit of continuations", "--max-continuations")
  const limit = known === undefined ? cap : known.maxContinuations
  return limit === undefined ? {} : { maxContinuations: limit }
}

function resolveJudge(flags: GoalFlags, known: GoalMeta | undefined): GoalMeta["judge"] {
  const { judge } = flags
  if (judge !== undefined && judge !== "none" && judge !== "checklist" && judge !== "freeform")
    throw new CliError(`--judge takes checklist, freeform or none, not "${oneLine(judge)}".`)
  if (known !== undefined && judge !== undefined && judge !== known.judge) throw differsFromStored("judge", "--judge")
  return judge ?? known?.judge ?? "none"
}

/** The prices of a goal and of its judge. They do not change on resume, because what was used before has its cost already. */
function goalPrices(
  { price }: GoalFlags,
  known: GoalMeta | undefined,
  { model, prices }: RunSettings,
  judge: ModelChoice | undefined,
): Pick<GoalMeta, "prices" | "judgePrices"> {
  if (known !== undefined) {
    if (price !== undefined && JSON.stringify(prices) !== JSON.stringify(known.prices)) throw differsFromStored("price", "--price")
    const { judgePrices, prices: stored } = known
    return { ...(stored !== undefined && { prices: stored }), ...(judgePrices !== undefined && { judgePrices }) }
  }
  if (prices === undefined) return {}
  const isOther =
    judge !== undefined && judge.type === "endpoint" && (model.type === "embedded" || judge.name !== model.name || judge.baseUrl !== model.baseUrl)
  // Prices of the flag are those of all calls.
  if (price !== undefined || !isOther) return { prices }
  const judgePrices = publishedPrices(judge)
  // A cost without the judge's would be a wrong one.
  return judgePrices === undefined ? {} : { prices, judgePrices }
}

function differsFromStored(what: string, flags: string): CliError {
  return new CliError(`The goal was started with another ${what}. To resume it, omit ${flags}; for a new goal, pass another --state.`)
}

/** Parses an amount of money, with at most six decimals, in millionths. @throws {CliError} */
export function readMicros(flag: string, text: string): number {
  const micros = /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Math.round(Number(text) * 1_000_000) : Number.NaN
  if (micros > 0) return micros
  throw new CliError(`${flag} takes an amount above 0, such as 0.50, not "${oneLine(text)}".`)
}
