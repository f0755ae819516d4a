import type { GoalCommand } from "../../schemas/goal.ts"
import { RUN_FLAGS, type RunSettings, settleRun } from "../run/run-settings.ts"
import { readCount } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { readMicros, readPrice, readSeconds } from "./amounts.ts"
import { type GoalMeta, runMetaOf } from "./goal-meta.ts"

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

/** What flags come to when they are read. */
export type Flags<Specs extends Readonly<Record<string, { readonly type: "string" | "boolean" }>>> = {
  readonly [Name in keyof Specs]?: Specs[Name]["type"] extends "boolean" ? boolean : string
}
export type GoalFlags = Flags<typeof GOAL_FLAGS>

/** What a goal is to be pursued with. */
export interface GoalSettings {
  readonly run: RunSettings
  readonly meta: GoalMeta
}

/**
 * Settles what a goal is pursued with, from the flags and, where it was begun before, what was kept then.
 * @throws {CliError} something given is wrong, missing, or not what was kept
 */
export async function settleGoal(flags: GoalFlags, io: Pick<Io, "cwd" | "env">, known?: GoalMeta): Promise<GoalSettings> {
  const run = await settleRun(flags, [], io, known && runMetaOf(known, ""))
  const { dir, out, model, maxIterations } = run
  const meta: GoalMeta = {
    format: "turn-machine/goal",
    version: 1,
    dir,
    out,
    model: model.name,
    ...(model.type === "endpoint" && { baseUrl: model.baseUrl, ...(model.apiKeyEnv !== undefined && { apiKeyEnv: model.apiKeyEnv }) }),
    maxIterations,
    ...settleCap(flags, known),
    judge: settleJudge(flags, known),
    ...settlePrices(flags, known),
  }
  return { run, meta }
}

/** The budgets of a new goal. @throws {CliError} */
export function settleBudgets(flags: GoalFlags, { prices }: GoalMeta): Omit<Extract<GoalCommand, { type: "start" }>, "type" | "objective"> {
  const { "budget-tokens": tokens, "budget-time": time, "budget-cost": cost } = flags
  if (cost !== undefined && prices === undefined)
    throw new CliError("--budget-cost needs to know what tokens cost: --price-in and --price-out, for a million tokens each.")
  return {
    ...(tokens !== undefined && { tokenBudget: readCount("--budget-tokens", tokens, 1, 1_000_000_000_000) }),
    ...(time !== undefined && { secondsBudget: readSeconds("--budget-time", time) }),
    ...(cost !== undefined && { costBudgetMicros: readMicros("--budget-cost", cost) }),
  }
}

function settleCap(flags: GoalFlags, known: GoalMeta | undefined): Pick<GoalMeta, "maxContinuations"> {
  const given = flags["max-continuations"]
  const cap = given === undefined ? undefined : readCount("--max-continuations", given, 1, 10_000)
  if (known !== undefined && cap !== undefined && cap !== known.maxContinuations) throw notTheSame("limit of continuations", "--max-continuations")
  const settled = known === undefined ? cap : known.maxContinuations
  return settled === undefined ? {} : { maxContinuations: settled }
}

function settleJudge(flags: GoalFlags, known: GoalMeta | undefined): GoalMeta["judge"] {
  const { judge } = flags
  if (judge !== undefined && judge !== "none" && judge !== "checklist") throw new CliError(`--judge is checklist or none, not "${oneLine(judge)}".`)
  if (known !== undefined && judge !== undefined && judge !== known.judge) throw notTheSame("judge", "--judge")
  return judge ?? known?.judge ?? "none"
}

function settlePrices(flags: GoalFlags, known: GoalMeta | undefined): Pick<GoalMeta, "prices"> {
  const { "price-in": priceIn, "price-out": priceOut, "price-cached": priceCached } = flags
  if (priceIn === undefined && priceOut === undefined && priceCached === undefined) return known?.prices === undefined ? {} : { prices: known.prices }
  if (priceIn === undefined || priceOut === undefined)
    throw new CliError("Prices are given together: --price-in and --price-out, for a million tokens each.")
  const given = readPrice("--price-in", priceIn)
  const prices = {
    in: given,
    out: readPrice("--price-out", priceOut),
    cached: priceCached === undefined ? given : readPrice("--price-cached", priceCached),
  }
  const same = known === undefined || JSON.stringify(known.prices) === JSON.stringify(prices)
  if (!same) throw notTheSame("price", "--price-in and --price-out")
  return { prices }
}

function notTheSame(what: string, flags: string): CliError {
  return new CliError(`The goal was begun with another ${what}. To go on with it leave ${flags} out; for a new goal give another --state.`)
}
