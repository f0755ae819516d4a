import * as z from "zod"
import { judgeValidation } from "../../checks/judge.ts"
import type { JudgeConfig } from "../../drivers/checklist/judge.ts"
import { costOf } from "../../hosts/models/prices.ts"
import type { ThreadOptions } from "../../hosts/thread/thread.ts"
import type { Json } from "../../json.ts"
import type { TurnConfig } from "../../machine/config.ts"
import { NO_USAGE } from "../../machine/limits.ts"
import { estimateTokens } from "../../machine/usage-estimate.ts"
import type { GoalCheck } from "../../wire/goal.ts"
import type { LlmRequest, TokenUsage } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { hasServers } from "../mcp/mcp-fields.ts"
import { modelFields } from "../model/model-fields.ts"
import { StoredPrices } from "../model/prices.ts"
import { type RunMeta, recordedTools, runConfig, workFields } from "../run/run-config.ts"
import { oneLine } from "../terminal/format.ts"

/** The settings of a goal in the header of its log. It names the variable of an API key, never the key. */
export const GoalMeta = z.strictObject({
  format: z.literal("turn-machine/goal"),
  version: z.literal(1),
  /** A random value, by which the user's record of the goal is found. */
  id: z.string().exactOptional(),
  ...workFields,
  maxContinuations: z.int().positive().exactOptional(),
  judge: z.enum(["none", "checklist", "freeform"]),
  /** The judge's model, where it is not the goal's. Without a URL, it is at the same endpoint and has the same key. */
  judgeModel: z.string().exactOptional(),
  judgeBaseUrl: z.string().exactOptional(),
  judgeProvider: modelFields.provider,
  judgeApiKeyEnv: z.string().exactOptional(),
  /** Commands that must pass before the goal is complete. */
  checks: z.array(z.string()).exactOptional(),
  /** No model call starts that could cross the token budget. */
  hard: z.literal(true).exactOptional(),
  /** Those of the judge's model, where they are not the goal's. */
  judgePrices: StoredPrices.exactOptional(),
})
export type GoalMeta = Readonly<z.infer<typeof GoalMeta>>

/** Reads the settings of a goal from a header's `meta`; a string says why it has none. */
export function readGoalMeta(meta: Json | undefined): GoalMeta | string {
  const { format, version } = (typeof meta === "object" && meta !== null ? meta : {}) as { readonly format?: Json; readonly version?: Json }
  if (format !== "turn-machine/goal") return "another program wrote it"
  if (version !== 1) return `it has version ${oneLine(JSON.stringify(version) ?? "none")}, and this program reads version 1`
  const result = GoalMeta.safeParse(meta)
  if (result.success) return result.data
  return `its settings are invalid at "${result.error.issues[0]?.path.join("/") ?? ""}"`
}

/** The settings that a goal shares with a run. */
export function runMetaOf(meta: GoalMeta, task: string): RunMeta {
  const shared: readonly string[] = Object.keys(workFields)
  const work = Object.fromEntries(Object.entries(meta).filter(([name]) => shared.includes(name)))
  return { format: "turn-machine/run", version: 2, task, ...(work as Omit<RunMeta, "format" | "version" | "task">) }
}

const WORK = `You pursue a goal over several turns. In each turn do one piece of it: look, write what you found into the output folder, and end the turn with a few sentences on what is written so far and what is left.`
const ENDS_IT = `When nothing is left, call update_goal with the status "complete".`
const JUDGED = `A judge settles after each turn what of the goal is reached, from what your answer shows. You have no tool for that: say in your answer what is done and where it can be seen.`

/** The configuration of a goal's turns: equal in every process for the same settings and tools. */
export function goalConfig(meta: GoalMeta, tools: readonly ToolSpec[]): TurnConfig & { readonly systemPrompt: string } {
  const config = runConfig(meta, tools)
  const judged = meta.judge !== "none"
  return { ...config, sessionId: "goal", systemPrompt: `${config.systemPrompt}\n\n${WORK} ${judged ? JUDGED : ENDS_IT}` }
}

/** The thread options of a goal: equal in every process for the same settings. `tools`: those that the host has at the beginning of a turn. */
export function goalOptions(meta: GoalMeta, tools: () => readonly ToolSpec[] = () => recordedTools(meta)): ThreadOptions {
  const judged = meta.judge !== "none"
  return {
    // The tools of MCP servers may be others in each turn.
    config: hasServers(meta) ? () => goalConfig(meta, tools()) : goalConfig(meta, tools()),
    policy: {
      ...(meta.maxContinuations !== undefined && { maxContinuations: meta.maxContinuations }),
      ...(judged && { endedBy: "judge" }),
      ...(meta.hard === true && { hardBudget: true }),
    },
    goal: { ...(meta.prices !== undefined && { costMicros: costsOf(meta.prices) }) },
    ...(meta.baseUrl !== undefined && { lostUsage }),
    meta,
  }
}

/** The goal limits continuations, so the judge has no limit. */
const UNLIMITED_TURNS = 1_000_000

/** The configuration of the goal's judge: equal in every process. */
export function judgeConfig({ model, judgeModel = model, judge }: GoalMeta): JudgeConfig {
  return { model: judgeModel, judge, sessionId: "goal:judge", defaultMaxTurns: UNLIMITED_TURNS, validation: judgeValidation }
}

/** The checks of a goal. The command is the name, so that each is unique; the name of a long command is its beginning and its number. */
export function checksOf({ checks = [] }: Pick<GoalMeta, "checks">): readonly CommandCheck[] {
  return checks.map((command, index) => ({ name: checkName(command, index + 1), command }))
}

/** The longest name of a check, in UTF-16 units. */
const MAX_NAME_CHARS = 100

function checkName(command: string, number: number): string {
  if (command.length <= MAX_NAME_CHARS) return command
  const end = `… (check ${number})`
  // The cut may be inside of a pair of surrogates.
  return `${command.slice(0, MAX_NAME_CHARS - end.length).replace(/[\ud800-\udbff]$/, "")}${end}`
}

export type CommandCheck = Extract<GoalCheck, { readonly command: unknown }>

/** The cost of tokens in millionths, at some prices. */
export function costsOf(prices: StoredPrices): (usage: TokenUsage) => number {
  return (usage) => costOf(usage, prices)
}

/** Estimates the usage of a call whose answer was lost with its process. */
function lostUsage(request: LlmRequest): TokenUsage {
  return { ...NO_USAGE, inputTokens: estimateTokens(request), estimated: true }
}
