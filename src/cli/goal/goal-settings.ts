import type { GoalCommand } from "../../wire/goal.ts"
import { RUN_FLAGS, type RunSettings, resolveRun, workOf } from "../run/run-settings.ts"
import { readCount } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import type { Confirmed } from "../trust/confirm.ts"
import { type GoalMeta, runMetaOf } from "./goal-config.ts"

const { compact: _compact, "no-check": _check, ...SHARED } = RUN_FLAGS

export const GOAL_FLAGS = {
  ...SHARED,
  "budget-tokens": { type: "string" },
  "budget-time": { type: "string" },
  "budget-cost": { type: "string" },
  "price-in": { type: "string" },
  "price-out": { type: "string" },
  "price-cached": { type: "string" },
  "max-continuations": { type: "string" },
  judge: { type: "string" },
} as const

/** The values of parsed flags. */
export type Flags<Specs extends Readonly<Record<string, { readonly type: "string" | "boolean" }>>> = {
  readonly [Name in keyof Specs]?: Specs[Name]["type"] extends "boolean" ? boolean : string
}
export type GoalFlags = Flags<typeof GOAL_FLAGS>

/** The settings of a goal, with defaults filled in and paths resolved. */
export interface GoalSettings {
  readonly run: RunSettings
  readonly meta: GoalMeta
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
  const meta: GoalMeta = {
    format: "turn-machine/goal",
    version: 1,
    ...(id !== undefined && { id }),
    ...workOf(run),
    maxIterations: run.maxIterations,
    ...resolveContinuations(flags, known),
    judge: resolveJudge(flags, known),
    ...resolvePrices(flags, known),
  }
  return { run, meta, areGiven: confirmed?.when !== "before" }
}

/** The budgets of a new goal. @throws {CliError} */
export function resolveBudgets(flags: GoalFlags, { prices }: GoalMeta): Omit<Extract<GoalCommand, { type: "start" }>, "type" | "objective"> {
  const { "budget-tokens": tokens, "budget-time": time, "budget-cost": cost } = flags
  if (cost !== undefined && prices === undefined) throw new CliError("--budget-cost needs prices per million tokens: --price-in and --price-out.")
  return {
    ...(tokens !== undefined && { tokenBudget: readCount("--budget-tokens", tokens, 1, 1_000_000_000_000) }),
    ...(time !== undefined && { secondsBudget: readSeconds("--budget-time", time) }),
    ...(cost !== undefined && { costBudgetMicros: readMicros("--budget-cost", cost) }),
  }
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
  if (judge !== undefined && judge !== "none" && judge !== "checklist")
    throw new CliError(`--judge takes checklist or none, not "${oneLine(judge)}".`)
  if (known !== undefined && judge !== undefined && judge !== known.judge) throw differsFromStored("judge", "--judge")
  return judge ?? known?.judge ?? "none"
}

function resolvePrices(flags: GoalFlags, known: GoalMeta | undefined): Pick<GoalMeta, "prices"> {
  const { "price-in": priceIn, "price-out": priceOut, "price-cached": priceCached } = flags
  if (priceIn === undefined && priceOut === undefined && priceCached === undefined) return known?.prices === undefined ? {} : { prices: known.prices }
  if (priceIn === undefined || priceOut === undefined) throw new CliError("Pass both prices per million tokens: --price-in and --price-out.")
  const given = readPrice("--price-in", priceIn)
  const prices = {
    in: given,
    out: readPrice("--price-out", priceOut),
    cached: priceCached === undefined ? given : readPrice("--price-cached", priceCached),
  }
  const same = known === undefined || JSON.stringify(known.prices) === JSON.stringify(prices)
  if (!same) throw differsFromStored("price", "--price-in and --price-out")
  return { prices }
}

function differsFromStored(what: string, flags: string): CliError {
  return new CliError(`The goal was started with another ${what}. To resume it, omit ${flags}; for a new goal, pass another --state.`)
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, min: 60, h: 3_600, d: 86_400 }

/** Parses a duration such as `90s`, `10m` or `1h30m`, in seconds. @throws {CliError} */
export function readSeconds(flag: string, text: string): number {
  const parts = /^(?:\d{1,9}(?:s|min|m|h|d))+$/.test(text) ? text.matchAll(/(\d+)(s|min|m|h|d)/g) : []
  let seconds = 0
  for (const [, count, unit = ""] of parts) seconds += Number(count) * (UNIT_SECONDS[unit] ?? 0)
  if (seconds > 0 && Number.isSafeInteger(seconds)) return seconds
  throw new CliError(`${flag} takes a duration with a unit, such as 90s, 10m or 1h30m, not "${oneLine(text)}".`)
}

/** Parses an amount of money, with at most six decimals, in millionths. @throws {CliError} */
export function readMicros(flag: string, text: string): number {
  const micros = /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Math.round(Number(text) * 1_000_000) : Number.NaN
  if (micros > 0) return micros
  throw new CliError(`${flag} takes an amount above 0, such as 0.50, not "${oneLine(text)}".`)
}

/** Parses a price per million tokens, which may be 0. @throws {CliError} */
export function readPrice(flag: string, text: string): number {
  if (/^\d{1,6}(?:\.\d{1,6})?$/.test(text)) return Number(text)
  throw new CliError(`${flag} takes a price per million tokens, such as 1.25, not "${oneLine(text)}".`)
}
