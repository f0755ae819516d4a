import type { Goal, GoalMetricName, GoalOutput, GoalStatus } from "../../schemas/goal.ts"

type Metric = Extract<GoalOutput, { type: "metric" }>

/** What one write counts: `from` is the status before it, or `none` for a goal that is new. */
export function metricsOf(from: GoalStatus | "none", goal: Goal): readonly Metric[] {
  const metrics: Metric[] = []
  if (from === "none") metrics.push(metric("goal.created"))
  if (goal.status === from) return metrics
  if (goal.status === "active" && RESUMED_FROM.has(from)) metrics.push(GOAL_RESUMED)
  const counter = COUNTERS[goal.status]
  if (counter !== undefined) {
    const tags = { status: goal.status }
    metrics.push(metric(counter), metric("goal.token_count", goal.tokensUsed, tags), metric("goal.duration_s", goal.secondsUsed, tags))
  }
  return metrics
}

const RESUMED_FROM: ReadonlySet<string> = new Set<GoalStatus>(["paused", "blocked", "usage_limited"])

const COUNTERS: { readonly [Status in GoalStatus]?: GoalMetricName } = {
  blocked: "goal.blocked",
  usage_limited: "goal.usage_limited",
  budget_limited: "goal.budget_limited",
  complete: "goal.completed",
}

/** A goal goes on: by a command, or because its thread was taken up again. */
export const GOAL_RESUMED: Metric = metric("goal.resumed")

function metric(name: GoalMetricName, value = 1, tags: Metric["tags"] = {}): Metric {
  return { type: "metric", name, value, tags }
}
