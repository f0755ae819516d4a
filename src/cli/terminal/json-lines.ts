import { shownUrl } from "../run/run-settings.ts"
import type { Output } from "./io.ts"
import type { Reporter } from "./reporter.ts"

/**
 * One JSON object per line: `run_started`, then the turn's own events as they come, and at last exactly one of `run_ended`,
 * `run_paused` and `run_failed`. The `type`s do not change between versions; keys may be added.
 */
export function jsonLines(output: Output): Reporter {
  const write = (value: object): void => void output.write(`${JSON.stringify(value)}\n`)
  return {
    started({ task, dir, out, model, maxIterations }, { state, resumedAt }) {
      const endpoint = model.type === "endpoint" ? { baseUrl: shownUrl(model.baseUrl) } : {}
      write({ type: "run_started", task, dir, out, model: model.name, ...endpoint, maxIterations, state, resumed: resumedAt !== undefined })
    },
    event: write,
    ended: ({ outcome, tally, durationMs, exitCode }) =>
      write({ type: "run_ended", outcome, ...tally, durationMs: Math.round(durationMs), exitCode }),
    paused: ({ state, tally, durationMs }) => write({ type: "run_paused", state, ...tally, durationMs: Math.round(durationMs) }),
    failed: (message) => write({ type: "run_failed", message }),
  }
}
