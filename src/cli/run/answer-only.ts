import { plainJson, plainText } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { silenced } from "../terminal/output-flags.ts"
import type { Reporter } from "./reporter.ts"
import { RunScreen } from "./run-screen.ts"

/** Writes the answer and nothing else. What a person has to do before there is one goes to standard error. */
export function answerOnly(io: Io): Reporter {
  const { output, open } = silenced(io.stderr)
  const screen = new RunScreen({ ...io, stdout: output })
  return {
    started: (settings, facts) => screen.started(settings, facts),
    event() {},
    ended({ outcome }) {
      if (outcome.type !== "finished") return
      const { finish } = outcome
      io.stdout.write(`${finish.type === "assistant_message" ? plainText(finish.text) : plainJson(finish.value)}\n`)
    },
    paused(facts) {
      open()
      screen.paused(facts)
    },
    suspended(facts) {
      open()
      screen.suspended(facts)
    },
    asking() {},
    failed() {},
  }
}
