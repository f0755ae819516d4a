import { resolve } from "node:path"
import { readArgs, readCount } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, shellWord } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { readMicros, readSeconds } from "./amounts.ts"
import { deliver } from "./deliver.ts"
import { GoalFolder } from "./goal-folder.ts"
import { goalLines } from "./goal-lines.ts"
import type { GoalReporter } from "./goal-reporter.ts"
import { GoalScreen } from "./goal-screen.ts"
import { type Flags, GOAL_FLAGS, type GoalFlags, settleBudgets, settleGoal } from "./goal-settings.ts"
import { DEFAULT_OBJECTIVE, DEFAULT_STATE, GOAL_HELP } from "./help.ts"
import type { Order } from "./orders.ts"
import { Pursuit } from "./pursue.ts"
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
  pause: (args, io) => order(args, io, "pause"),
  clear: (args, io) => order(args, io, "clear"),
  edit: (args, io) => order(args, io, "edit"),
  resume: resumeGoal,
}

/** `turn-machine goal`. Gives the exit code. @throws {CliError} */
export async function goal(args: readonly string[], io: Io): Promise<number> {
  const [first = "", ...rest] = args
  const command = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined
  return command === undefined ? begin(args, io) : command(rest, io)
}

async function begin(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, GOAL_FLAGS, HELP)
  if (flags.help === true) return help(io)
  const given = words.join(" ").trim()
  if (words.length > 0 && given === "") throw new CliError("The objective is empty. Say in words what to achieve, or leave it out for the default.")
  const folder = await folderOf(flags, io)
  const kept = await folder.read()
  if (kept !== undefined && kept.goal !== null) {
    if (flags.resume !== true) {
      const { status: standing } = kept.goal
      const ways =
        standing === "complete"
          ? "give it up with goal clear"
          : "go on with it: turn-machine goal resume, change it with goal edit, or give it up with goal clear"
      throw new CliError(
        `${folder.shown} holds a goal already, which is ${standing.replaceAll("_", " ")}: ${ways}; or give another folder with --state.`,
      )
    }
    if (given !== "" && given !== kept.goal.objective)
      throw new CliError("The goal in the folder has another objective. Leave it out to go on; goal edit changes it.")
    return goOn(flags, io)
  }
  const settings = await settleGoal(flags, io, kept?.known)
  const budgets = settleBudgets(flags, settings.meta)
  const pursuit = await Pursuit.open(folder, settings, { takeOver: flags["take-over"] ?? false })
  try {
    await pursuit.command({ type: "set", objective: given === "" ? DEFAULT_OBJECTIVE : given, ...budgets })
    return await pursuit.run(reporterOf(flags, io), io, false)
  } finally {
    await pursuit.close()
  }
}

async function resumeGoal(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, RESUME_FLAGS, HELP)
  if (flags.help === true) return help(io)
  if (words.length > 0) throw new CliError('goal resume takes no words. To change the objective: turn-machine goal edit "new objective".')
  return goOn(flags, io)
}

async function goOn(flags: Flags<typeof RESUME_FLAGS>, io: Io): Promise<number> {
  const more = {
    ...(flags["add-tokens"] !== undefined && { addTokens: readCount("--add-tokens", flags["add-tokens"], 1, 1_000_000_000_000) }),
    ...(flags["add-time"] !== undefined && { addSeconds: readSeconds("--add-time", flags["add-time"]) }),
    ...(flags["add-cost"] !== undefined && { addCostMicros: readMicros("--add-cost", flags["add-cost"]) }),
  }
  const wanted: Order = { type: "resume", ...more }
  const folder = await folderOf(flags, io)
  const kept = await folder.readExisting()
  // An item that was taken back or added since is wanted still.
  const isOpen = kept.checklist?.goal?.checklist.some((item) => item.status === "pending") === true
  const isComplete = kept.goal?.status === "complete" && Object.keys(more).length === 0 && !isOpen
  const isWanted = !isComplete && (Object.keys(more).length > 0 || kept.goal?.status !== "active" || kept.commands.length > 0)
  if (kept.goal === null && kept.commands.length === 0)
    throw new CliError(`There is no goal in ${folder.path} any more. Begin one: turn-machine goal "what to achieve".`)
  // Its last turn may have been cut off, after it had said that all is done.
  if (isComplete && kept.openTurn === undefined) {
    io.stdout.write("The goal is complete.\n")
    return 0
  }
  if (flags["no-run"] === true || (isWanted && (await folder.runner()) !== undefined)) return say(await deliver(folder, kept.known, wanted), io)

  const settings = await settleGoal(flags, io, kept.known)
  if (settleHas(flags)) throw new CliError("A goal that was begun has its budgets. To give it more: --add-tokens, --add-time, --add-cost.")
  const pursuit = await Pursuit.open(folder, settings, { takeOver: flags["take-over"] ?? false })
  try {
    if (isWanted) {
      const answer = await pursuit.order(wanted)
      if (!answer.ok) throw new CliError(answer.message)
    }
    return await pursuit.run(reporterOf(flags, io), io, true)
  } finally {
    await pursuit.close()
  }
}

function settleHas(flags: GoalFlags): boolean {
  return flags["budget-tokens"] !== undefined || flags["budget-time"] !== undefined || flags["budget-cost"] !== undefined
}

async function order(args: readonly string[], io: Io, type: "pause" | "clear" | "edit"): Promise<number> {
  const { values: flags, words } = readArgs(args, STATE_FLAGS, HELP)
  if (flags.help === true) return help(io)
  const objective = words.join(" ").trim()
  if (type === "edit" && objective === "") throw new CliError('goal edit needs the new objective: turn-machine goal edit "what to achieve".')
  if (type !== "edit" && words.length > 0) throw new CliError(`goal ${type} takes no words.`)
  const folder = await folderOf(flags, io)
  const kept = await folder.readExisting()
  if (type === "clear" && kept.goal === null && kept.commands.length === 0) return say({ ok: false, message: "There is no goal to clear." }, io)
  return say(await deliver(folder, kept.known, type === "edit" ? { type, objective } : { type }), io)
}

async function status(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, { ...STATE_FLAGS, json: { type: "boolean" } }, HELP)
  if (flags.help === true) return help(io)
  if (words.length > 0) throw new CliError("goal status takes no words.")
  const folder = await folderOf(flags, io)
  await showStatus(folder, await folder.readExisting(), io, { json: flags.json ?? false, state: stateFlag(flags) })
  return 0
}

/** Tells what came of an order. */
export function say({ ok, message }: { readonly ok: boolean; readonly message: string }, io: Io): number {
  if (ok) io.stdout.write(`${oneLine(message)}\n`)
  else io.stderr.write(`turn-machine: ${oneLine(message)}\n`)
  return ok ? 0 : 1
}

export function folderOf(flags: { readonly state?: string | undefined }, io: Io): Promise<GoalFolder> {
  return GoalFolder.find(resolve(io.cwd, flags.state ?? DEFAULT_STATE))
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
