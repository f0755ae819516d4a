import { resolve } from "node:path"
import { checkDefault } from "../run/run-settings.ts"
import { readArgs, readCount } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, shellWord } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { confirmedText } from "../trust/confirm.ts"
import { OwnStates } from "../trust/own-states.ts"
import type { GoalRequest } from "./control/requests.ts"
import { sendRequest } from "./control/send-request.ts"
import { GoalFolder, type StoredGoal } from "./goal-folder.ts"
import type { GoalReporter } from "./goal-reporter.ts"
import { goalLines } from "./goal-reporter.ts"
import { GoalRunner } from "./goal-runner.ts"
import { GoalScreen } from "./goal-screen.ts"
import { type Flags, GOAL_FLAGS, type GoalFlags, type GoalSettings, readMicros, readSeconds, resolveBudgets, resolveGoal } from "./goal-settings.ts"
import { DEFAULT_OBJECTIVE, DEFAULT_STATE, GOAL_HELP } from "./help.ts"
import { showStatus } from "./status.ts"

const HELP = "turn-machine goal --help"
const STATE_FLAGS = { state: { type: "string" }, help: { type: "boolean", short: "h" } } as const
const RESUME_FLAGS = {
  ...GOAL_FLAGS,
  "add-tokens": { type: "string" },
  "add-time": { type: "string" },
  "add-cost": { type: "string" },
  "no-run": { type: "boolean" },
} as const

const COMMANDS: Readonly<Record<string, (args: readonly string[], io: Io) => Promise<number>>> = {
  status,
  pause: (args, io) => request(args, io, "pause"),
  clear: (args, io) => request(args, io, "clear"),
  edit: (args, io) => request(args, io, "edit"),
  resume: resumeGoal,
}

/** `turn-machine goal`. Returns the exit code. @throws {CliError} */
export async function goal(args: readonly string[], io: Io): Promise<number> {
  const [first = "", ...rest] = args
  const command = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined
  return command === undefined ? start(args, io) : command(rest, io)
}

async function start(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, GOAL_FLAGS, HELP)
  if (flags.help === true) return help(io)
  const given = words.join(" ").trim()
  if (words.length > 0 && given === "") throw new CliError("The objective is empty. Describe what to achieve, or omit it for the default.")
  const folder = await folderOf(flags, io)
  const stored = await folder.read()
  if (stored !== undefined && stored.goal !== null) {
    if (flags.resume !== true) {
      const { status } = stored.goal
      const ways =
        status === "complete" ? "Remove it with goal clear" : "Resume it with goal resume, change it with goal edit or remove it with goal clear"
      throw new CliError(`${folder.shown} already has a goal (${status.replaceAll("_", " ")}). ${ways}, or pass another folder with --state.`)
    }
    if (given !== "" && given !== stored.goal.objective)
      throw new CliError("The goal in the folder has another objective. Omit the objective to resume; to change it, use goal edit.")
    return runAgain(flags, io)
  }
  const settings = await settle(folder, stored, flags, io)
  const budgets = resolveBudgets(flags, settings.meta)
  const runner = await GoalRunner.open(folder, settings, { takeOver: flags["take-over"] ?? false })
  try {
    await runner.command({ type: "set", objective: given === "" ? DEFAULT_OBJECTIVE : given, ...budgets })
    return await runner.run(reporterOf(flags, io), io, false)
  } finally {
    await runner.close()
  }
}

async function resumeGoal(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, RESUME_FLAGS, HELP)
  if (flags.help === true) return help(io)
  if (words.length > 0) throw new CliError('goal resume takes no words. To change the objective: turn-machine goal edit "new objective".')
  return runAgain(flags, io)
}

async function runAgain(flags: Flags<typeof RESUME_FLAGS>, io: Io): Promise<number> {
  const more = {
    ...(flags["add-tokens"] !== undefined && { addTokens: readCount("--add-tokens", flags["add-tokens"], 1, 1_000_000_000_000) }),
    ...(flags["add-time"] !== undefined && { addSeconds: readSeconds("--add-time", flags["add-time"]) }),
    ...(flags["add-cost"] !== undefined && { addCostMicros: readMicros("--add-cost", flags["add-cost"]) }),
  }
  const resume: GoalRequest = { type: "resume", ...more }
  const folder = await folderOf(flags, io)
  const stored = await folder.readExisting()
  // A complete goal with items that were reopened or added since can be resumed.
  const isOpen = stored.checklist?.goal?.checklist.some((item) => item.status === "pending") === true
  const isComplete = stored.goal?.status === "complete" && Object.keys(more).length === 0 && !isOpen
  const isWanted = !isComplete && (Object.keys(more).length > 0 || stored.goal?.status !== "active" || stored.commands.length > 0)
  if (stored.goal === null && stored.commands.length === 0)
    throw new CliError(`The goal in ${folder.path} was cleared. Start a new one: turn-machine goal "what to achieve".`)
  // A complete goal may still have an open turn, interrupted after it marked the goal complete.
  if (isComplete && stored.openTurn === undefined) {
    io.stdout.write("The goal is complete.\n")
    return 0
  }
  if (flags["no-run"] === true || (isWanted && (await folder.runner()) !== undefined))
    return printResult(await sendRequest(folder, stored.known, resume), io)

  const settings = await settle(folder, stored, flags, io)
  if (hasBudgets(flags)) throw new CliError("The budgets of a started goal cannot be replaced. To extend them: --add-tokens, --add-time, --add-cost.")
  const runner = await GoalRunner.open(folder, settings, { takeOver: flags["take-over"] ?? false })
  try {
    if (isWanted) {
      const answer = await runner.handle(resume)
      if (!answer.ok) throw new CliError(answer.message)
    }
    return await runner.run(reporterOf(flags, io), io, true)
  } finally {
    await runner.close()
  }
}

/** Resolves the settings of a goal. Those of a stored goal that the user confirms now are shown. @throws {CliError} */
async function settle(folder: GoalFolder, stored: StoredGoal | undefined, flags: GoalFlags, io: Io): Promise<GoalSettings> {
  const confirmed = stored && (await folder.confirm(stored, flags))
  const settings = await resolveGoal(flags, io, confirmed)
  if (confirmed?.when === "now") io.stderr.write(`turn-machine: ${confirmedText(settings.meta)}\n`)
  return settings
}

function hasBudgets(flags: GoalFlags): boolean {
  return flags["budget-tokens"] !== undefined || flags["budget-time"] !== undefined || flags["budget-cost"] !== undefined
}

async function request(args: readonly string[], io: Io, type: "pause" | "clear" | "edit"): Promise<number> {
  const { values: flags, words } = readArgs(args, STATE_FLAGS, HELP)
  if (flags.help === true) return help(io)
  const objective = words.join(" ").trim()
  if (type === "edit" && objective === "") throw new CliError('goal edit needs the new objective: turn-machine goal edit "what to achieve".')
  if (type !== "edit" && words.length > 0) throw new CliError(`goal ${type} takes no words.`)
  const folder = await folderOf(flags, io)
  const stored = await folder.readExisting()
  if (type !== "edit" && stored.goal === null && stored.commands.length === 0)
    return printResult({ ok: false, message: `The folder has no goal to ${type}.` }, io)
  return printResult(await sendRequest(folder, stored.known, type === "edit" ? { type, objective } : { type }), io)
}

async function status(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, { ...STATE_FLAGS, json: { type: "boolean" } }, HELP)
  if (flags.help === true) return help(io)
  if (words.length > 0) throw new CliError("goal status takes no words.")
  const folder = await folderOf(flags, io)
  await showStatus(folder, await folder.readExisting(), io, { json: flags.json ?? false, state: stateFlag(flags) })
  return 0
}

/** Prints the result of a request. Returns the exit code. */
export function printResult({ ok, message }: { readonly ok: boolean; readonly message: string }, io: Io): number {
  if (ok) io.stdout.write(`${oneLine(message)}\n`)
  else io.stderr.write(`turn-machine: ${oneLine(message)}\n`)
  return ok ? 0 : 1
}

export async function folderOf(flags: { readonly state?: string | undefined }, io: Io): Promise<GoalFolder> {
  const path = resolve(io.cwd, flags.state ?? DEFAULT_STATE)
  if (flags.state === undefined) await checkDefault(path, "--state")
  return GoalFolder.find(path, new OwnStates(io.env))
}

function stateFlag({ state }: { readonly state?: string | undefined }): string {
  return state === undefined ? "" : ` --state ${shellWord(oneLine(state))}`
}

function reporterOf(flags: GoalFlags, io: Io): GoalReporter {
  return flags.json === true ? goalLines(io.stdout) : new GoalScreen(io, stateFlag(flags))
}

function help(io: Io): number {
  io.stdout.write(GOAL_HELP)
  return 0
}
