import { isDeepStrictEqual } from "node:util"
import { goalRecord, readGoal } from "../../drivers/goal/history.ts"
import { changeGoal } from "../../drivers/goal/thread.ts"
import type { SetGoal } from "../../wire/goal.ts"
import { showsQuestions } from "../run/run-screen.ts"
import { readCount, readSeconds } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { interruptible } from "../terminal/interrupts.ts"
import type { Io } from "../terminal/io.ts"
import { checkOutputFlags, plainIo, silentUntil } from "../terminal/output-flags.ts"
import { confirmedText } from "../trust/confirm.ts"
import { type COMMAND_FLAGS, readGoalArgs } from "./command-line.ts"
import { readContract } from "./contract.ts"
import type { GoalRequest } from "./control/requests.ts"
import { sendRequest } from "./control/send-request.ts"
import { folderOf, printResult, stateFlag } from "./folder-flags.ts"
import { checksOf } from "./goal-config.ts"
import type { GoalFolder, StoredGoal } from "./goal-folder.ts"
import { statusWord } from "./goal-format.ts"
import { type GoalReporter, goalLines } from "./goal-reporter.ts"
import { GoalRunner } from "./goal-runner.ts"
import { GoalScreen } from "./goal-screen.ts"
import {
  checkOverlaps,
  type Flags,
  type GoalFlags,
  type GoalSettings,
  givenBudgets,
  readMicros,
  resolveBudgets,
  resolveGoal,
} from "./goal-settings.ts"
import { DEFAULT_OBJECTIVE } from "./help.ts"

/** `turn-machine goal "objective"`. Returns the exit code. @throws {CliError} */
export async function startGoal(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("start", args)
  checkOutputFlags(flags)
  const given = words.join(" ").trim()
  if (words.length > 0 && given === "") throw new CliError("The objective is empty. Describe what to achieve, or omit it for the default.")
  const folder = await folderOf(flags, io)
  const stored = await folder.read()
  const present = stored?.settled ?? null
  if (present !== null && flags.resume === true) {
    if (given !== "" && given !== present.objective)
      throw new CliError("The goal in the folder has another objective. Omit the objective to resume; to change it, use goal edit.")
    return resumed(flags, io)
  }
  if (present !== null && present.status !== "complete")
    throw new CliError(
      `${folder.shown} already has a goal (${statusWord(present.status)}). Resume it with goal resume, change it with goal edit or remove it with goal clear, or pass another folder with --state.`,
    )
  const stopped = "Stopped before the goal began. Run the same command again, with --resume."
  return interruptible(io, stopped, (own) => begin(folder, stored, given === "" ? DEFAULT_OBJECTIVE : given, flags, own))
}

/** Begins a goal in a thread of its own. A refused one leaves nothing behind. */
async function begin(found: GoalFolder, stored: StoredGoal | undefined, objective: string, flags: GoalFlags, io: Io): Promise<number> {
  // The folder may have come with a project, so its settings do not count for a new goal either.
  const confirmed = stored && (await found.confirmNext(stored, flags))
  const contract = flags.contract === undefined ? undefined : await readContract(flags.contract, io.cwd)
  const settings = await resolveGoal(flags, io)
  await checkOverlaps(settings, found.path)
  const { budgets, isDefault } = resolveBudgets(flags, settings.meta, settings)
  const checks = checksOf(settings.meta)
  const command: SetGoal = {
    type: "set",
    objective,
    ...budgets,
    ...(contract !== undefined && { contract }),
    ...(checks.length > 0 && { checks }),
  }
  const folder = stored === undefined ? found : found.next()
  const { outputs } = changeGoal({ threadId: folder.threadId, history: [] }, { type: "command", at: Date.now(), command })
  const refused = outputs.find((output) => output.type === "refused")
  if (refused?.type === "refused") throw new CliError(refused.message)
  if (confirmed?.when === "now") showConfirmed(settings, io)
  await folder.inbox.refuseAll()
  const runner = await GoalRunner.open(folder, settings, { takeOver: flags["take-over"] ?? false, isNew: true })
  try {
    await runner.command(command)
    return await runner.run(reporterOf(flags, io), io, { resumed: false, isDefaultBudget: isDefault, isPlain: flags.plain })
  } finally {
    await runner.close()
  }
}

/** `turn-machine goal resume`. Returns the exit code. @throws {CliError} */
export async function resumeGoal(args: readonly string[], io: Io): Promise<number> {
  const { flags, words } = readGoalArgs("resume", args)
  checkOutputFlags(flags)
  if (words.length > 0) throw new CliError('goal resume takes no words. To change the objective: turn-machine goal edit "new objective".')
  return resumed(flags, io)
}

function resumed(flags: Flags<typeof COMMAND_FLAGS.resume>, io: Io): Promise<number> {
  return interruptible(io, "Stopped before the goal was resumed. Run the same command again.", (own) => runAgain(flags, own))
}

async function runAgain(flags: Flags<typeof COMMAND_FLAGS.resume>, io: Io): Promise<number> {
  const more = {
    ...(flags["add-tokens"] !== undefined && { addTokens: readCount("--add-tokens", flags["add-tokens"], 1, 1_000_000_000_000) }),
    ...(flags["add-time"] !== undefined && { addSeconds: readSeconds("--add-time", flags["add-time"]) }),
    ...(flags["add-cost"] !== undefined && { addCostMicros: readMicros("--add-cost", flags["add-cost"]) }),
  }
  const resume: GoalRequest = { type: "resume", ...more }
  const folder = await folderOf(flags, io)
  const stored = await folder.readExisting()
  await checkTerms(stored, flags, io)
  // A complete goal with items that were reopened or added since can be resumed.
  const isOpen = stored.checklist?.goal?.checklist.some((item) => item.status === "pending") === true
  const isComplete = stored.goal?.status === "complete" && Object.keys(more).length === 0 && !isOpen
  const isWaiting = readGoal(stored.history, stored.threadId).state.memory.wait !== undefined
  const isWanted = !isComplete && (Object.keys(more).length > 0 || stored.goal?.status !== "active" || stored.commands.length > 0 || isWaiting)
  if (stored.settled === null) throw new CliError(`The goal in ${folder.path} was cleared. Start a new one: turn-machine goal "what to achieve".`)
  // A complete goal may still have an open turn, interrupted after it marked the goal complete, and words of the user that came too late for it.
  if (isComplete && stored.openTurn === undefined && stored.undelivered.length === 0) {
    io.stdout.write("The goal is complete.\n")
    return 0
  }
  if (flags["no-run"] === true || (isWanted && (await folder.runner()) !== undefined))
    return printResult(await sendRequest(folder, stored.known, resume), io)

  const confirmed = await folder.confirm(stored, flags)
  const settings = await resolveGoal(flags, io, confirmed)
  await checkOverlaps(settings, folder.path)
  if (confirmed.when === "now") showConfirmed(settings, io)
  const runner = await GoalRunner.open(folder, settings, { takeOver: flags["take-over"] ?? false })
  try {
    if (isWanted) {
      const answer = await runner.handle(resume)
      if (!answer.ok) throw new CliError(answer.message)
    }
    return await runner.run(reporterOf(flags, io), io, { resumed: true, isPlain: flags.plain })
  } finally {
    await runner.close()
  }
}

/** Shows the settings that the user has just confirmed, before anything is sent or run. */
function showConfirmed({ meta }: GoalSettings, io: Io): void {
  io.stderr.write(`turn-machine: ${confirmedText(meta)}\n`)
}

/**
 * Refuses budgets and a contract that differ from those of the goal. The same ones are accepted, so that a command with `--resume` can be
 * repeated after a crash at any moment; also those that the goal began with, if it was extended since.
 */
async function checkTerms({ history, settled, threadId }: StoredGoal, flags: GoalFlags, io: Io): Promise<void> {
  const began = history.map((record) => goalRecord(record, threadId)).find((event) => event?.type === "goal" && event.goal !== null)
  const goals = [settled, began?.type === "goal" ? began.goal : null].filter((goal) => goal !== null)
  const given = givenBudgets(flags)
  for (const name of ["tokenBudget", "secondsBudget", "costBudgetMicros"] as const)
    if (given[name] !== undefined && !goals.some((goal) => goal[name] === given[name]))
      throw new CliError("The budgets of a started goal cannot be replaced. To extend them: --add-tokens, --add-time, --add-cost.")
  if (flags.contract === undefined) return
  const contract = await readContract(flags.contract, io.cwd)
  if (!goals.some((goal) => isDeepStrictEqual(goal.contract, contract)))
    throw new CliError("The goal has another contract. To replace it: turn-machine goal edit --contract FILE.")
}

function reporterOf(flags: GoalFlags, io: Io): GoalReporter {
  if (flags.json === true) return goalLines(io.stdout)
  const screen = (screenIo: Pick<Io, "stdout" | "env" | "cwd">): GoalScreen =>
    new GoalScreen(screenIo, stateFlag(flags), { showsQuestions: showsQuestions(io) })
  if (flags.quiet === true) return silentUntil(io.stdout, (stdout) => screen({ ...io, stdout }), ["ended", "interrupted", "suspended"])
  return screen(flags.plain === true ? plainIo(io) : io)
}
