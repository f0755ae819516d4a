import { applyGoal } from "../../../src/drivers/goal/apply-goal.ts"
import { newGoalState } from "../../../src/drivers/goal/goal.ts"
import type { GoalPolicy } from "../../../src/drivers/goal/policy.ts"
import type { Goal, GoalCommand, GoalEvent, GoalInput, GoalOutput, GoalState } from "../../../src/schemas/goal.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { TokenUsage } from "../../../src/schemas/llm.ts"
import type { ToolOutput } from "../../../src/schemas/tool.ts"

type InputOf<Type extends GoalInput["type"]> = Extract<GoalInput, { type: Type }>

/** Cumulative usage of the thread: uncached input tokens and output tokens. */
export function used(inputTokens: number, outputTokens = 0, more: Partial<TokenUsage> = {}): TokenUsage {
  return { inputTokens, cachedInputTokens: 0, outputTokens, reasoningTokens: 0, ...more }
}

/** A goal machine with a method for each input. Times are milliseconds. */
export class Thread {
  state: GoalState
  readonly policy: GoalPolicy
  readonly events: GoalEvent[] = []
  at = 1000

  constructor(policy: GoalPolicy = {}, threadId = "t1") {
    this.policy = policy
    this.state = newGoalState(threadId)
  }

  give(input: GoalInput): readonly GoalOutput[] {
    const { state, outputs } = applyGoal(this.state, input, this.policy)
    this.state = state
    for (const output of outputs) if (output.type === "event") this.events.push(output.event)
    return outputs
  }

  get goal(): Goal {
    if (this.state.goal === null) throw new Error("There is no goal.")
    return this.state.goal
  }

  command(command: GoalCommand, turnId?: string): readonly GoalOutput[] {
    return this.give({ type: "command", at: this.at, command, ...(turnId !== undefined && { turnId }) })
  }

  starts(turnId: string, more: Partial<InputOf<"turn_started">> = {}): readonly GoalOutput[] {
    return this.give({ type: "turn_started", at: this.at, turnId, mode: "default", usage: used(0), origin: "user", ...more })
  }

  reports(turnId: string, usage: TokenUsage, costMicros?: number): readonly GoalOutput[] {
    return this.give({ type: "usage_reported", at: this.at, turnId, usage, ...(costMicros !== undefined && { costMicros }) })
  }

  tool(turnId: string): readonly GoalOutput[] {
    return this.give({ type: "tool_finished", at: this.at, turnId, callId: "c", toolName: "shell" })
  }

  calls(turnId: string, toolName: "create_goal" | "update_goal" | "get_goal", args: Json): ToolOutput {
    const answer = this.give({ type: "goal_tool_called", at: this.at, turnId, callId: "c", toolName, args }).at(-1)
    if (answer?.type !== "tool_result") throw new Error("A goal tool answers last.")
    return answer.output
  }

  finishes(turnId: string, toolCalls = 1, finalText?: string): readonly GoalOutput[] {
    return this.give({ type: "turn_finished", at: this.at, turnId, toolCalls, ...(finalText !== undefined && { finalText }) })
  }

  fails(turnId: string, kind: "usage_limit" | "transient" | "other", retryAt?: number): readonly GoalOutput[] {
    return this.give({ type: "turn_failed", at: this.at, turnId, error: { kind, message: "it broke", ...(retryAt !== undefined && { retryAt }) } })
  }

  idle(more: Partial<InputOf<"idle">> = {}): Extract<GoalOutput, { type: "continue" | "rest" }> {
    const answer = this.give({ type: "idle", at: this.at, mode: "default", queuedInput: false, nextTurnId: "next", ...more }).at(-1)
    if (answer?.type !== "continue" && answer?.type !== "rest") throw new Error("idle is answered last.")
    return answer
  }
}

/** Outputs in short form: events and metrics by name. */
export function names(outputs: readonly GoalOutput[]): readonly string[] {
  return outputs.map((output) => {
    if (output.type === "metric") return output.name
    if (output.type === "event") return `event ${output.event.cause}`
    if (output.type === "goal_updated") return `updated ${output.cause}`
    return output.type
  })
}
