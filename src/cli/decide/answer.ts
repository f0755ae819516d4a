import { ToolError } from "../../hosts/host.ts"
import type { Json } from "../../json.ts"
import { readRunMeta, recordedConfig } from "../run/run-config.ts"
import { readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { clause, oneLine, plainJson } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import { inertLine } from "../terminal/inert.ts"
import type { Io } from "../terminal/io.ts"
import { argumentText, withJournal } from "./decide.ts"
import { findPending } from "./find-call.ts"
import { ANSWER_HELP } from "./help.ts"
import { findPlace, waitingTurns } from "./place.ts"

const FLAGS = { value: { type: "string" }, error: { type: "string" }, json: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const

/** `turn-machine answer`. Returns the exit code. @throws {CliError} */
export async function answer(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine answer --help")
  if (flags.help === true) {
    printHelp(ANSWER_HELP, io)
    return 0
  }
  const [word, name, ...rest] = words
  if (word === undefined || name === undefined || rest.length > 0)
    throw new CliError("answer takes a state file or a folder, and a call: turn-machine answer FILE CALL --value JSON.")
  if ((flags.value === undefined) === (flags.error === undefined))
    throw new CliError("answer needs the result of the call: either --value JSON or --error TEXT.")
  const place = await findPlace(word, io)
  const found = findPending(name, place, (await waitingTurns(place)).turns)
  const given =
    flags.value === undefined ? failure(flags.error ?? "") : { output: { status: "success", value: await jsonOf(flags.value, io) } as const }
  const {
    status,
    code,
    message = "",
  } = await withJournal(place, found.name, (journal) => {
    const meta = readRunMeta(journal.recorded?.header.meta)
    return journal.answer(found.call.callId, given, typeof meta === "object" ? { config: recordedConfig(meta) } : {})
  })
  const { callId, toolName } = found.call
  const exitCode = status === "refused" ? 1 : 0
  if (flags.json === true)
    io.stdout.write(
      `${plainJson({ type: "answer", status, callId, toolName, ...(code !== undefined && { code }), ...(message !== "" && { message }) })}\n`,
    )
  else if (status === "refused") throw new CliError(oneLine(message) || "The answer was refused.", 1)
  else
    io.stdout.write(
      `${status === "stale" ? "The same was answered before" : "Answered"}: ${inertLine(toolName)} (${inertLine(callId)}). The next run of the turn continues.\n`,
    )
  return exitCode
}

function failure(message: string): ToolError {
  return new ToolError({ class: "external", code: "failed_outside", message })
}

async function jsonOf(given: string, io: Io): Promise<Json> {
  try {
    return JSON.parse(await argumentText("--value", given, io)) as Json
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(
      `--value is not JSON: ${clause(error instanceof Error ? error.message : String(error)).slice(0, 200)}. A text needs quotes: --value '"done"'.`,
    )
  }
}
