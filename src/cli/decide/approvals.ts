import { decideCommand, plainHeld } from "../approvals/commands.ts"
import { heldLines } from "../approvals/held-lines.ts"
import type { WaitingTurn } from "../approvals/waiting.ts"
import { readArgs } from "../terminal/args.ts"
import { cutToColumns } from "../terminal/columns.ts"
import { CliError } from "../terminal/errors.ts"
import { formatDuration, plainJson, plural, shellWord } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import { inertLine } from "../terminal/inert.ts"
import type { Io } from "../terminal/io.ts"
import { styler, widthOf } from "../terminal/style.ts"
import { findHeld } from "./find-call.ts"
import { APPROVALS_HELP } from "./help.ts"
import { type ApprovalPlace, findPlace, waitingTurns } from "./place.ts"

const FLAGS = { json: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const
const MOST_COLUMNS = 120

/** `turn-machine approvals`. Returns the exit code. @throws {CliError} */
export async function approvals(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine approvals --help")
  if (flags.help === true) {
    printHelp(APPROVALS_HELP, io)
    return 0
  }
  const [word, call, ...rest] = words
  if (word === undefined || rest.length > 0)
    throw new CliError("approvals takes a state file of a run or a folder of a goal, and at most one call. See: turn-machine approvals --help")
  const place = await findPlace(word, io)
  const { turns, problems } = await waitingTurns(place)
  const shown = call === undefined ? turns : await onlyCall(call, place, turns)
  if (flags.json === true) writeJson(place, shown, problems, io)
  else writeText(place, shown, io, call !== undefined)
  if (problems.length === 0) return 0
  throw new CliError(`${plural(problems.length, "journal")} in ${place.shown} cannot be read.`, 1, {
    details: problems.map((problem) => `   ${problem}`),
  })
}

async function onlyCall(word: string, place: ApprovalPlace, turns: readonly WaitingTurn[]): Promise<readonly WaitingTurn[]> {
  const { held, name } = await findHeld(word, place, turns)
  const turn = turns.find((known) => known.name === name)
  if (held === undefined || turn === undefined) throw new CliError(`The call ${inertLine(word)} was decided before.`)
  return [{ ...turn, held: [held], pending: [] }]
}

function writeText(place: ApprovalPlace, turns: readonly WaitingTurn[], io: Io, full: boolean): void {
  const style = styler(io)
  const width = Math.min(widthOf(io.stdout), MOST_COLUMNS)
  const now = Date.now()
  const line = (text: string): void => void io.stdout.write(`${text}\n`)
  const waiting = turns.filter(({ held, pending }) => held.length + pending.length > 0)
  if (waiting.length === 0) {
    line(`No call in ${place.shown} waits for a decision.`)
    return
  }
  let isAnyCut = false
  for (const { name, held, pending, since, parent } of waiting) {
    const where = place.isFile || place.goal !== undefined ? place.shown : `${place.shown}/${inertLine(name)}`
    const time = since === undefined ? "" : `, since ${new Date(since).toLocaleString()} (${formatDuration(Math.max(0, now - since))})`
    for (const [index, call] of held.entries()) {
      if (index > 0) line("")
      const of = parent === undefined ? "" : `, in a subagent of ${inertLine(parent.turnId)}`
      const count = held.length > 1 ? ` ${index + 1} of ${held.length}` : ""
      line(style("bold", cutToColumns(`Waits for a decision${count}${of}${time}`, width)))
      const { lines, isCut } = heldLines(call, { width, style, full, now })
      isAnyCut ||= isCut
      for (const text of lines) line(text)
      line("")
      for (const decision of call.ask.allow) {
        const more = decision === "edit" ? " --args JSON" : ""
        line(`  ${decideCommand(where, call, decision)}${more}`)
      }
    }
    for (const { callId, toolName, token, note } of pending) {
      line("")
      line(style("bold", cutToColumns(`Waits for a result from outside${time}`, width)))
      line(
        cutToColumns(
          `  ${inertLine(toolName)}, call ${inertLine(callId)}, as ${inertLine(token)}${note === undefined ? "" : `: ${inertLine(note)}`}`,
          width,
        ),
      )
      line(`  turn-machine answer ${shellWord(where)} ${shellWord(inertLine(callId))} --value JSON`)
    }
  }
  if (isAnyCut) line(`\nLong arguments are cut. To show all of a call: turn-machine approvals ${shellWord(place.shown)} CALL`)
}

function writeJson(place: ApprovalPlace, turns: readonly WaitingTurn[], problems: readonly string[], io: Io): void {
  const write = (value: object): void => void io.stdout.write(`${plainJson(value)}\n`)
  for (const { name, turnId, held, pending, since, parent } of turns) {
    const where = place.isFile || place.goal !== undefined ? place.shown : `${place.shown}/${name}`
    for (const call of held)
      write({ type: "held", turnId, ...(parent !== undefined && { parent }), ...(since !== undefined && { since }), ...plainHeld(call, where) })
    for (const call of pending) write({ type: "pending", turnId, ...(since !== undefined && { since }), ...call })
  }
  write({
    type: "approvals",
    path: place.path,
    held: turns.reduce((sum, { held }) => sum + held.length, 0),
    pending: turns.reduce((sum, { pending }) => sum + pending.length, 0),
    problems,
  })
}
