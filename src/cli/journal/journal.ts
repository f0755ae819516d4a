import { didYouMean } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, shellWord } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { viewJournals } from "../view/view.ts"
import { compactJournal } from "./compact.ts"
import { diffJournals } from "./diff.ts"
import { forkJournal } from "./fork.ts"
import { JOURNAL_HELP } from "./help.ts"
import { replayJournal } from "./replay.ts"
import { showJournal } from "./show.ts"

const COMMANDS: Readonly<Record<string, (args: readonly string[], io: Io) => Promise<number>>> = {
  show: showJournal,
  view: viewJournals,
  replay: replayJournal,
  diff: diffJournals,
  fork: forkJournal,
  compact: compactJournal,
}

/** `turn-machine journal`. Returns the exit code. @throws {CliError} */
export async function journal([name, ...rest]: readonly string[], io: Io): Promise<number> {
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    printHelp(JOURNAL_HELP, io)
    return 0
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command !== undefined) return command(rest, io)
  const names = Object.keys(COMMANDS)
  // A file name in place of the command most likely means `show`.
  if (/[./]/.test(name))
    throw new CliError(`Unknown command journal ${oneLine(name)}. To show that file: turn-machine journal show ${shellWord(oneLine(name))}`)
  throw new CliError(
    `Unknown command journal ${oneLine(name)}.${didYouMean(name, names)} The commands are: ${names.join(", ")}. See: turn-machine journal --help`,
  )
}
