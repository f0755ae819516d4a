import { shownUrl } from "../run/run-settings.ts"
import type { Output } from "../terminal/io.ts"
import type { GoalReporter } from "./goal-reporter.ts"

/**
 * One JSON object per line: `goal_started`, then `turn_started`, the turns' own events, `goal_updated` and the other outputs of
 * the goal machine, `checklist` and `request` as they come, and at last exactly one of `goal_ended`, `goal_interrupted` and `goal_failed`.
 */
export function goalLines(output: Output): GoalReporter {
  const write = (value: object): void => void output.write(`${JSON.stringify(value)}\n`)
  return {
    started({ run: { dir, out, model }, meta: { judge, maxIterations } }, { goal, state, resumed, checklist }) {
      const endpoint = model.type === "endpoint" ? { baseUrl: shownUrl(model.baseUrl) } : {}
      write({
        type: "goal_started",
        goal,
        dir,
        out,
        model: model.name,
        ...endpoint,
        maxIterations,
        judge,
        state,
        resumed,
        items: checklist?.goal?.checklist,
      })
    },
    turn: (turn) => write({ type: "turn_started", ...turn }),
    event: write,
    goal(told) {
      if (told.type === "goal_updated" || told.type === "goal_cleared" || told.type === "metric") write(told)
    },
    checklist: ({ goal }, decision) => write({ type: "checklist", items: goal?.checklist ?? [], ...(decision !== undefined && { decision }) }),
    judging: () => write({ type: "judging" }),
    waiting: (until) => write({ type: "waiting", until }),
    asked: (order, answer) => write({ type: "request", ...(order !== undefined && { order }), answer }),
    ended: (facts) => write({ type: "goal_ended", status: facts.goal?.status ?? null, ...facts }),
    interrupted: (facts) => write({ type: "goal_interrupted", status: facts.goal?.status ?? null, ...facts }),
    failed: (message) => write({ type: "goal_failed", message }),
    close() {},
  }
}
