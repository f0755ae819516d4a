import type { Io } from "../terminal/io.ts"
import { silenced } from "../terminal/output-flags.ts"
import type { GoalReporter } from "./goal-reporter.ts"
import { GoalScreen } from "./goal-screen.ts"

/** Writes how the goal ended, and nothing before. */
export function endOnly(io: Pick<Io, "stdout" | "env" | "cwd">, state: string): GoalReporter {
  const { output, open } = silenced(io.stdout)
  const screen = new GoalScreen({ ...io, stdout: output }, state)
  const nothing = (): void => {}
  return {
    started: (settings, facts) => screen.started(settings, facts),
    turn: nothing,
    event: nothing,
    goal: (output) => screen.goal(output),
    checklist: (state, decision) => screen.checklist(state, decision),
    judging: nothing,
    checksStarted: nothing,
    checking: nothing,
    checked: nothing,
    checks: nothing,
    waiting: nothing,
    notice: nothing,
    requested: nothing,
    asking: nothing,
    suspended(facts) {
      open()
      screen.suspended(facts)
    },
    ended(facts) {
      open()
      screen.ended(facts)
    },
    interrupted(facts) {
      open()
      screen.interrupted(facts)
    },
    failed: () => screen.close(),
    close: () => screen.close(),
  }
}
