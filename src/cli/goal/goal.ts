import type { InputTime } from "../../wire/thread.ts"
import { cutToColumns } from "../terminal/columns.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, plainJson } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { plainIo } from "../terminal/output-flags.ts"
import { widthOf } from "../terminal/style.ts"
import { findCommand, type GoalCommandName, readGoalArgs } from "./command-line.ts"
import { readContract } from "./contract.ts"
import type { GoalRequest } from "./control/requests.ts"
import { sendRequest } from "./control/send-request.ts"
import { folderOf, printResult, stateFlag } from "./folder-flags.ts"
import { inputText } from "./goal-format.ts"
import { goalLines } from "./goal-reporter.ts"
import { GoalScreen } from "./goal-screen.ts"
import { GOAL_COMMAND_HELP, GOAL_HELP } from "./help.ts"
import { resumeGoal, startGoal } from "./start-goal.ts"
import { showStatus } from "./status.ts"
import { watchGoal } from "./watch.ts"

const COMMANDS: Readonly<Record<GoalCommandName, (args: readonly string[], io: Io) => Promise<number>>> = {
  start: startGoal,
  resume: resumeGoal,
  status,
  watch,
  pause,
  say,
  queue,
  retract,
  edit,
  clear,
}

/** `turn-machine goal`. Returns the exit code. @throws {CliError} */
export async function goal(given: readonly string[], io: Io): Promise<number> {
  const { name, args } = findCommand(given)
  if (name === "help" || (name === "start" && isHelp(args))) return print(GOAL_HELP, io)
  if (name !== "start" && isHelp(args)) return print(GOAL_COMMAND_HELP[name], io)
  return COMMANDS[name](args, io)
}

/** Whether help was asked for, also among flags that are wrong. */
function isHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--")
  return (end < 0 ? args : args.slice(0, end)).some((arg) => arg === "--help" || arg === "-h")
}

async function pause(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("pause", args)
  return request("pause", flags, words, io, { type: "pause", ...(flags.now === true && { now: true }) })
}

async function clear(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("clear", args)
  return request("clear", flags, words, io, { type: "clear" })
}

async function edit(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("edit", args)
  const objective = words.join(" ").trim()
  if (objective === "" && (words.length > 0 || flags.contract === undefined))
    throw new CliError('goal edit needs the new objective, or a contract: turn-machine goal edit "what to achieve".')
  const contract = flags.contract === undefined ? undefined : flags.contract === "none" ? null : await readContract(flags.contract, io.cwd)
  const changes = { ...(objective !== "" && { objective }), ...(contract !== undefined && { contract }) }
  return request("edit", flags, [], io, { type: "edit", ...changes })
}

async function say(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("say", args)
  const text = words.join(" ").trim()
  if (text === "") throw new CliError('goal say needs a text: turn-machine goal say "what the model should know".')
  const { when } = flags
  if (when !== undefined && !isInputTime(when)) throw new CliError(`--when must be now, turn_end or next_turn, not ${oneLine(when)}.`)
  return request("say", flags, [], io, { type: "say", text, ...(when !== undefined && { when }) })
}

const INPUT_TIMES = ["now", "turn_end", "next_turn"] as const

function isInputTime(text: string): text is InputTime {
  return INPUT_TIMES.some((time) => time === text)
}

async function retract(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("retract", args)
  const [inputId] = words
  if (inputId === undefined || words.length > 1)
    throw new CliError("goal retract needs one id, as in: turn-machine goal retract user-3. See: turn-machine goal queue")
  return request("retract", flags, [], io, { type: "retract", inputId })
}

async function queue(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("queue", args)
  if (words.length > 0) throw new CliError("goal queue takes no words.")
  const folder = await folderOf(flags, io)
  const { queue: inputs } = await folder.readExisting()
  if (flags.json === true) {
    io.stdout.write(`${plainJson({ type: "goal_queue", inputs })}\n`)
    return 0
  }
  if (inputs.length === 0) io.stdout.write("Nothing waits for a turn.\n")
  const width = Math.max(0, ...inputs.map(({ inputId }) => oneLine(inputId).length))
  for (const { inputId, when, message } of inputs) {
    const row = `${oneLine(inputId).padEnd(width)}  ${when.padEnd("next_turn".length)}  ${oneLine(inputText(message))}`
    io.stdout.write(`${cutToColumns(row, widthOf(io.stdout))}\n`)
  }
  return 0
}

const NO_GOAL_TO: { readonly [name: string]: string } = { say: " to say it to", retract: ", so nothing waits for it" }

async function request(
  name: "pause" | "clear" | "edit" | "say" | "retract",
  flags: { readonly state?: string },
  words: readonly string[],
  io: Io,
  given: GoalRequest,
): Promise<number> {
  if (words.length > 0) throw new CliError(`goal ${name} takes no words. If they are an objective: turn-machine goal -- "${name} …"`)
  const folder = await folderOf(flags, io)
  const stored = await folder.readExisting()
  if (stored.goal === null && stored.commands.length === 0)
    return printResult({ ok: false, message: `The folder has no goal${NO_GOAL_TO[name] ?? ` to ${name}`}.` }, io)
  return printResult(await sendRequest(folder, stored.known, given), io)
}

async function status(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("status", args)
  if (words.length > 0) throw new CliError("goal status takes no words.")
  const folder = await folderOf(flags, io)
  await showStatus(folder, await folder.readExisting(), io, { json: flags.json ?? false, all: flags.all ?? false, state: stateFlag(flags) })
  return 0
}

async function watch(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("watch", args)
  if (words.length > 0) throw new CliError("goal watch takes no words.")
  const folder = await folderOf(flags, io)
  await folder.readExisting()
  return watchGoal(folder, flags.json === true ? goalLines(io.stdout) : new GoalScreen(flags.plain === true ? plainIo(io) : io, stateFlag(flags)), io)
}

function print(text: string, io: Io): number {
  printHelp(text, io)
  return 0
}
