import * as z from "zod"
import type { Json } from "../../json.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import { type RunMeta, workFields } from "../run/run-meta.ts"
import { oneLine } from "../terminal/format.ts"

const Price = z.number().nonnegative()

/** What a goal was begun with, as it stands in the header of its log. Of a key, only the name of its variable is in it. */
export const GoalMeta = z.strictObject({
  format: z.literal("turn-machine/goal"),
  version: z.literal(1),
  ...workFields,
  maxContinuations: z.int().positive().exactOptional(),
  judge: z.enum(["none", "checklist"]),
  /** For a million tokens. */
  prices: z.strictObject({ in: Price, out: Price, cached: Price }).exactOptional(),
})
export type GoalMeta = Readonly<z.infer<typeof GoalMeta>>

/** What a header's `meta` says about a goal, or why it says nothing, in words that can follow "…, because". */
export function readGoalMeta(meta: Json | undefined): GoalMeta | string {
  const { format, version } = (typeof meta === "object" && meta !== null ? meta : {}) as { readonly format?: Json; readonly version?: Json }
  if (format !== "turn-machine/goal") return "another program wrote it"
  if (version !== 1) return `it has version ${oneLine(JSON.stringify(version) ?? "none")}, and this program reads version 1`
  const result = GoalMeta.safeParse(meta)
  if (result.success) return result.data
  return `at "${result.error.issues[0]?.path.join("/") ?? ""}" it does not hold what it should`
}

/** The part of it that a run has as well. */
export function runMetaOf({ dir, out, model, baseUrl, apiKeyEnv, maxIterations }: GoalMeta, task: string): RunMeta {
  return {
    format: "turn-machine/run",
    version: 2,
    task,
    dir,
    out,
    model,
    ...(baseUrl !== undefined && { baseUrl }),
    ...(apiKeyEnv !== undefined && { apiKeyEnv }),
    maxIterations,
  }
}

/** What tokens cost, in millionths; the price of a million tokens is that of one in millionths. */
export function costOf(prices: NonNullable<GoalMeta["prices"]>): (usage: TokenUsage) => number {
  return ({ inputTokens, cachedInputTokens, outputTokens }) =>
    Math.round(inputTokens * prices.in + cachedInputTokens * prices.cached + outputTokens * prices.out)
}
