import { answer } from "./decide/answer.ts"
import { approvals } from "./decide/approvals.ts"
import { decide } from "./decide/decide.ts"
import { goal } from "./goal/goal.ts"
import { subgoal } from "./goal/subgoal.ts"
import { journal } from "./journal/journal.ts"
import { HELP } from "./run/help.ts"
import { resumeRun, run } from "./run/run.ts"
import { didYouMean, readArgs } from "./terminal/args.ts"
import { CliError } from "./terminal/errors.ts"
import { oneLine, plainText } from "./terminal/format.ts"
import { printHelp } from "./terminal/help.ts"
import type { Io } from "./terminal/io.ts"
import { version } from "./terminal/version.ts"

/** Runs one command with its arguments. Returns the exit code. */
type Command = (args: readonly string[], io: Io) => Promise<number>

const COMMANDS: Readonly<Record<string, Command>> = { run, resume: resumeRun, goal, subgoal, approvals, decide, answer, journal }

/** Runs the command line and returns its exit code. Errors are one line on stderr, and rarely lines of details below it. */
export async function cli(args: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(args, io)
  } catch (error) {
    const failure = error instanceof CliError ? error : new CliError(`Unexpected error: ${String(error)}`, 1)
    io.stderr.write(`turn-machine: ${oneLine(failure.message)}\n`)
    for (const line of failure.details) io.stderr.write(`${plainText(line)}\n`)
    return failure.exitCode
  }
}

async function dispatch([name, ...rest]: readonly string[], io: Io): Promise<number> {
  if (name === undefined || name === "help") {
    printHelp(HELP, io)
    return 0
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command !== undefined) return command(rest, io)
  const names = Object.keys(COMMANDS)
  if (!name.startsWith("-")) {
    throw new CliError(`Unknown command ${oneLine(name)}.${didYouMean(name, names)} The commands are: ${names.join(", ")}. See: turn-machine --help`)
  }
  const { values } = readArgs(
    [name, ...rest],
    { help: { type: "boolean", short: "h" }, version: { type: "boolean", short: "v" } },
    "turn-machine --help",
  )
  if (values.version === true && values.help !== true) io.stdout.write(`${version()}\n`)
  else printHelp(HELP, io)
  return 0
}
