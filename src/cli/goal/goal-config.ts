import { chatDriver } from "../../drivers/chat.ts"
import type { JudgeConfig } from "../../drivers/checklist/judge.ts"
import { judgedDriver } from "../../hosts/judge/judged-thread.ts"
import type { ThreadOptions } from "../../hosts/thread/thread.ts"
import { toolbox } from "../../hosts/tools/toolbox.ts"
import { judgeValidation } from "../../schemas/checklist.ts"
import type { LlmFailure, LlmRequest, TokenUsage } from "../../schemas/llm.ts"
import type { ToolSpec } from "../../schemas/tool.ts"
import { runConfig } from "../run/run-config.ts"
import { Folder } from "../workspace/folder.ts"
import { OutFolder } from "../workspace/out-folder.ts"
import { fileTools } from "../workspace/tools.ts"
import { costOf, type GoalMeta } from "./goal-meta.ts"

const WORK = `You pursue a goal over several turns. In each turn do one piece of it: look, write what you found into the output folder, and end the turn with a few sentences on what is written so far and what is left.`
const ENDS_IT = `When nothing is left, call update_goal with the status "complete".`
const JUDGED = `A judge settles after each turn what of the goal is reached, from what your answer shows. You have no tool for that: where something says to call update_goal, say in your answer what is done and where it can be seen.`

/** What the turns of a goal have in common: the same for the same facts, in whichever process. */
export function goalOptions(meta: GoalMeta, tools: readonly ToolSpec[] = recordedTools(meta)): ThreadOptions {
  const judged = meta.judge !== "none"
  const config = runConfig(meta, tools)
  return {
    config: {
      ...config,
      driver: judged ? judgedDriver(chatDriver()) : config.driver,
      sessionId: "goal",
      systemPrompt: `${config.systemPrompt}\n\n${WORK} ${judged ? JUDGED : ENDS_IT}`,
    },
    policy: meta.maxContinuations === undefined ? {} : { maxContinuations: meta.maxContinuations },
    goal: { errorOf, ...(meta.prices !== undefined && { costMicros: costOf(meta.prices) }) },
    ...(meta.baseUrl !== undefined && { lostUsage }),
    meta,
  }
}

/** The limit of continuations is the goal's; the judge has none of its own. */
const UNLIMITED_TURNS = 1_000_000

/** How the goal's judge works, whoever opens it. */
export function judgeConfig({ model }: GoalMeta): JudgeConfig {
  return { model, sessionId: "goal:judge", defaultMaxTurns: UNLIMITED_TURNS, validation: judgeValidation }
}

/** Where turns are only read: their tools are named, and never run. */
function recordedTools(meta: GoalMeta): readonly ToolSpec[] {
  return toolbox(fileTools(new Folder(meta.dir), new OutFolder(meta.out))).specs
}

/** An account without room is nothing that trying again mends, and no fault of the goal's. */
function errorOf({ message, retryable, code = "" }: LlmFailure): { readonly kind: "usage_limit" | "transient" | "other"; readonly message: string } {
  const outOfMoney = /^insufficient_quota$|^billing_|credit_balance|spend_limit/.test(code)
  return { kind: outOfMoney ? "usage_limit" : retryable ? "transient" : "other", message }
}

/** Four characters to a token, for a prompt whose answer was lost with its process. */
function lostUsage({ messages, tools }: LlmRequest): TokenUsage {
  return { inputTokens: Math.ceil(JSON.stringify([messages, tools]).length / 4), cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
}
