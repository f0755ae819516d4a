import { readFile, realpath } from "node:fs/promises"
import { resolve } from "node:path"
import { JournalError, TurnError } from "../../errors.ts"
import { JournalStoreError } from "../../hosts/journal/store.ts"
import { TurnJournal } from "../../hosts/journal/turn-journal.ts"
import { fileReason } from "../../hosts/node/file-error.ts"
import type { Json } from "../../json.ts"
import type { ApprovalScope, Decision } from "../../wire/approval.ts"
import { loginName } from "../approvals/asker.ts"
import { editArgs, readArgs as readCallArgs } from "../approvals/edit-args.ts"
import { decisionWords } from "../approvals/words.ts"
import type { RequestResult } from "../goal/control/requests.ts"
import { sendRequest } from "../goal/control/send-request.ts"
import { DEFAULT_STATE } from "../goal/help.ts"
import { checkLock, storeRefusal } from "../run/journal-file.ts"
import { readRunMeta, recordedConfig } from "../run/run-config.ts"
import { didYouMean, readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, plainJson, plural, shellWord } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import { inertLine } from "../terminal/inert.ts"
import type { Io } from "../terminal/io.ts"
import { type FoundCall, findHeld } from "./find-call.ts"
import { DECIDE_HELP } from "./help.ts"
import { type ApprovalPlace, findPlace, waitingTurns } from "./place.ts"

const FLAGS = {
  message: { type: "string" },
  args: { type: "string" },
  scope: { type: "string" },
  by: { type: "string" },
  note: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const

const CHOICES = ["approve", "reject", "edit"] as const
const SCOPES = ["call", "turn", "thread"] as const satisfies readonly ApprovalScope[]
type Choice = (typeof CHOICES)[number]

interface DecideFlags {
  readonly message?: string
  readonly args?: string
  readonly scope?: string
  readonly by?: string
  readonly note?: string
}

/** The result of a decision. */
type Decided = Pick<RequestResult, "message"> & { readonly status: "accepted" | "stale" | "refused"; readonly code?: string }

/** `turn-machine decide`. Returns the exit code. @throws {CliError} */
export async function decide(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine decide --help")
  if (flags.help === true) {
    printHelp(DECIDE_HELP, io)
    return 0
  }
  const [word, name, given, ...rest] = words
  if (word === undefined || name === undefined || given === undefined || rest.length > 0)
    throw new CliError("decide takes a state file or a goal's folder, a call and a decision: turn-machine decide FILE CALL approve|reject|edit.")
  const choice = readChoice(given)
  checkFlags(choice, flags)
  const place = await findPlace(word, io)
  const { turns } = await waitingTurns(place)
  const call = await findHeld(name, place, turns)
  const decision = await decisionOf(choice, call, flags, io)
  const decided = await record(place, call, decision)
  const left = (await waitingTurns(place)).turns.reduce((sum, { held }) => sum + held.length, 0)
  return show(decided, { place, call, decision, left }, flags.json === true, io)
}

function readChoice(text: string): Choice {
  const choice = CHOICES.find((known) => known === text)
  if (choice !== undefined) return choice
  throw new CliError(`Unknown decision ${oneLine(text)}.${didYouMean(text, CHOICES)} The decisions are: ${CHOICES.join(", ")}.`)
}

/** Refuses flags that would be ignored. */
function checkFlags(choice: Choice, { message, args, scope }: DecideFlags): void {
  if (message !== undefined && choice !== "reject")
    throw new CliError("--message belongs to reject: it tells the model why. For the record of any decision: --note TEXT.")
  if (args !== undefined && choice !== "edit") throw new CliError("--args belongs to edit: turn-machine decide FILE CALL edit --args JSON.")
  if (scope !== undefined && choice === "edit") throw new CliError("--scope belongs to approve and reject: edited arguments are for one call.")
  if (scope !== undefined && !SCOPES.some((known) => known === scope))
    throw new CliError(`--scope takes ${SCOPES.join(", ")}, not "${oneLine(scope)}".${didYouMean(scope, SCOPES)}`)
}

async function decisionOf(choice: Choice, call: FoundCall, flags: DecideFlags, io: Io): Promise<Decision> {
  const { by = loginName(io), note, message } = flags
  const scope = flags.scope as ApprovalScope | undefined
  const facts = {
    requestId: call.requestId,
    digest: call.digest,
    ...(by !== undefined && by !== "" && { by }),
    ...(note !== undefined && { note }),
  }
  const reach = scope === undefined || scope === "call" ? {} : { scope }
  switch (choice) {
    case "approve":
      return { ...facts, decision: "approve", ...reach }
    case "reject":
      return { ...facts, decision: "reject", ...(message !== undefined && { message }), ...reach }
    case "edit": {
      const args = flags.args === undefined ? await edited(call, io) : await givenArgs(flags.args, io)
      return args === undefined ? { ...facts, decision: "approve" } : { ...facts, decision: "edit", args }
    }
  }
}

/** Lets the user edit the arguments. `undefined`: they are unchanged. */
async function edited(
  { held, toolName = held?.toolName ?? "" }: FoundCall & { readonly toolName?: string },
  { terminal, env }: Io,
): Promise<Json | undefined> {
  if (held === undefined) throw new CliError("The call was decided before, so its arguments cannot be edited.")
  if (terminal === undefined) throw new CliError("edit needs the arguments: --args JSON, --args @FILE, or --args - to read them from standard input.")
  const say = (line: string): void => void terminal.output.write(`${line}\n`)
  const result = await editArgs(held.args, toolName, { terminal, env, say }, new AbortController().signal)
  if (result === undefined) throw new CliError("Nothing was decided.", 1)
  return result.isChanged ? result.args : undefined
}

async function givenArgs(text: string, io: Io): Promise<Json> {
  const read = readCallArgs(await argumentText("--args", text, io))
  if ("problem" in read) throw new CliError(`--args cannot be used. ${read.problem}`)
  return read.args
}

/** The text of an argument: as it is, of a file after `@`, or for `-` of standard input. @throws {CliError} */
export async function argumentText(flag: string, given: string, { cwd, readInput }: Pick<Io, "cwd" | "readInput">): Promise<string> {
  if (given === "-") return (await readInput?.()) ?? ""
  if (!given.startsWith("@")) return given
  try {
    return await readFile(resolve(cwd, given.slice(1)), "utf8")
  } catch (error) {
    throw new CliError(`${flag} ${oneLine(given)} cannot be read: ${fileReason(error)}.`)
  }
}

/** Records a decision: through the process that runs a goal, or in the journal of the turn. */
async function record(place: ApprovalPlace, { name, turnId }: FoundCall, decision: Decision): Promise<Decided> {
  const { goal } = place
  if (goal !== undefined) {
    const { known } = await goal.readExisting()
    const { ok, message, status, code } = await sendRequest(goal, known, { type: "decide", turnId, decision })
    return { status: status ?? (ok ? "accepted" : "refused"), message, ...(code !== undefined && { code }) }
  }
  return withJournal(place, name, async (journal) => {
    const meta = readRunMeta(journal.recorded?.header.meta)
    const [result] = await journal.decide([decision], typeof meta === "object" ? { config: recordedConfig(meta) } : {})
    return { status: result?.status ?? "refused", message: result?.message ?? "", ...(result?.code !== undefined && { code: result.code }) }
  })
}

/** Opens a journal of a place for an answer. @throws {CliError} a process has it open, or it cannot be used */
export async function withJournal<Result>(place: ApprovalPlace, name: string, work: (journal: TurnJournal) => Promise<Result>): Promise<Result> {
  const { store, shown, isFile } = place
  try {
    // The file, or the journal of a child beside it.
    if (isFile) await checkLock(await realpath(name))
    // Another decision takes a moment; a run that has the journal open takes as long as it takes.
    const journal = await TurnJournal.open(store, name, { waitMs: 2_000 })
    try {
      return await work(journal)
    } finally {
      await journal.close()
    }
  } catch (error) {
    if (error instanceof JournalStoreError && error.code === "in_use") {
      const { pid } = error.owner ?? {}
      throw new CliError(
        `${shown} is in use by ${pid === undefined ? "another process" : `process ${pid}`}. Decide in its terminal, or stop it with Ctrl-C and decide then.`,
        2,
        { cause: error },
      )
    }
    if (error instanceof JournalStoreError) throw storeRefusal(shown, error, "try again")
    if (error instanceof JournalError || error instanceof TurnError)
      throw new CliError(`${shown} cannot be used: ${oneLine(error.message)}`, 2, { cause: error })
    throw error
  }
}

interface ShownDecision {
  readonly place: ApprovalPlace
  readonly call: FoundCall
  readonly decision: Decision
  /** How many calls still wait. */
  readonly left: number
}

function show({ status, code, message }: Decided, { place, call, decision, left }: ShownDecision, isJson: boolean, io: Io): number {
  const { requestId, callId, held } = call
  const isLate = code === "approval_expired"
  const exitCode = status === "refused" || isLate ? 1 : 0
  if (isJson) {
    const value = {
      type: "decision",
      status,
      requestId,
      callId,
      ...(held !== undefined && { toolName: held.toolName }),
      decision: isLate ? "expired" : decision.decision,
      ...(code !== undefined && { code }),
      ...(message !== "" && { message }),
      left,
    }
    io.stdout.write(`${plainJson(value)}\n`)
    return exitCode
  }
  const name = `${held === undefined ? "" : `${inertLine(held.toolName)} `}(${inertLine(callId)})`
  if (status === "refused") throw new CliError(oneLine(message) || "The decision was refused.", 1)
  if (isLate) throw new CliError(`Too late: the time to decide about ${name} is over, so the call does not run.`, 1)
  const words = decisionWords(decision.decision)
  io.stdout.write(
    status === "stale"
      ? `The same was decided before: ${words} ${name}. Nothing changed.\n`
      : `${words.charAt(0).toUpperCase()}${words.slice(1)}: ${name}.\n`,
  )
  io.stdout.write(`${nextStep(place, left, message)}\n`)
  return exitCode
}

function nextStep({ shown, goal, isRun }: ApprovalPlace, left: number, message: string): string {
  if (left > 0) return `${plural(left, "more call")} ${left === 1 ? "waits" : "wait"} for a decision: turn-machine approvals ${shellWord(shown)}`
  if (goal === undefined) return isRun ? `Continue with: turn-machine resume ${shellWord(shown)}` : "The next run of the turn continues."
  // The process that runs the goal says what it does.
  return message === "" ? `Continue with: turn-machine goal resume${shown === DEFAULT_STATE ? "" : ` --state ${shellWord(shown)}`}` : oneLine(message)
}
