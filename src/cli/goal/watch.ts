import { stat } from "node:fs/promises"
import { join } from "node:path"
import { journalLineValidation } from "../../checks/records.ts"
import { readGoal } from "../../drivers/goal/history.ts"
import { goalChanges } from "../../drivers/goal/thread.ts"
import { readJournalParts } from "../../hosts/journal/parts.ts"
import { judgeName, logName } from "../../hosts/journal/thread-names.ts"
import type { ThreadTurn } from "../../hosts/thread/thread.ts"
import type { ChecklistState } from "../../wire/checklist.ts"
import type { Goal, GoalCheckMemory, GoalOutput, GoalWait } from "../../wire/goal.ts"
import type { JournalRecord } from "../../wire/journal.ts"
import { firstDecision, waitingText } from "../approvals/commands.ts"
import type { ModelChoice } from "../model/model-settings.ts"
import { DEFAULT_PROVIDER } from "../model/providers.ts"
import { writtenFiles } from "../run/reporter.ts"
import type { Io } from "../terminal/io.ts"
import type { GoalMeta } from "./goal-config.ts"
import type { GoalFolder, StoredGoal } from "./goal-folder.ts"
import type { GoalEnd, GoalReporter } from "./goal-reporter.ts"
import type { GoalSettings } from "./goal-settings.ts"
import { recordEvents } from "./record-events.ts"

/** How often the stored records are looked at. */
const POLL_MS = 250

/**
 * `turn-machine goal watch`: follows a goal that another process runs, from what is stored. Opens nothing, so that it never holds that
 * process up. Ends when the goal rests or the user asks to stop. Returns the exit code.
 */
export async function watchGoal(folder: GoalFolder, reporter: GoalReporter, io: Io): Promise<number> {
  let stop: () => void = () => {}
  const stopped = new Promise<"stopped">((resolve) => {
    stop = () => resolve("stopped")
  })
  const stopListening = io.onInterrupt(stop)
  const watch = new Watch(folder, reporter)
  try {
    for (;;) {
      const end = await watch.look()
      if (end !== undefined) {
        reporter.ended(end)
        return end.exitCode
      }
      const pause = new Promise<"next">((resolve) => setTimeout(() => resolve("next"), POLL_MS))
      if ((await Promise.race([pause, stopped])) === "stopped") {
        reporter.notice("Stopped watching. The goal is not affected.")
        return 0
      }
    }
  } finally {
    stopListening()
    reporter.close()
  }
}

/** What of a goal was shown so far. */
class Watch {
  readonly #folder: GoalFolder
  readonly #reporter: GoalReporter
  #signature = ""
  #stored: StoredGoal | undefined
  /** How many records of the history were shown. */
  #history = 0
  #goal: Goal | null = null
  #turn = 0
  /** The last shown record of that turn's journal. */
  #record = 0
  #iteration = 0
  #checklist = ""
  #checks: GoalCheckMemory | undefined
  #wait: string | undefined
  /** The tools of held calls that were shown, by request. */
  readonly #held = new Map<string, string>()
  /** Whether the user knows that no process runs the goal. */
  #isAlone = false

  constructor(folder: GoalFolder, reporter: GoalReporter) {
    this.#folder = folder
    this.#reporter = reporter
  }

  /** Shows what is new. Returns how the goal ended, or rests; `undefined` while it may continue. */
  async look(): Promise<GoalEnd | undefined> {
    // Asked first: what a process stored before it ended is then read below.
    const runner = await this.#folder.runner()
    const signature = await this.#signatureNow()
    if (signature !== this.#signature) {
      this.#signature = signature
      await this.#show(runner)
    }
    const stored = this.#stored
    if (stored === undefined || runner !== undefined) {
      this.#isAlone = false
      return undefined
    }
    const { goal, settled } = stored
    if (goal === null || goal.status !== "active" || settled?.status !== "active") return this.#end(stored)
    if (!this.#isAlone) this.#reporter.notice("No process runs the goal now. Waiting for one; to run it here: turn-machine goal resume")
    this.#isAlone = true
    return undefined
  }

  /** Changes with the stored files that belong to the goal now. */
  async #signatureNow(): Promise<string> {
    const { threadId, path } = this.#folder
    const turn = `${threadId}.${Math.max(1, this.#stored?.turns ?? 1)}`
    const found = await Promise.all([logName(threadId), judgeName(threadId), turn].map((name) => stat(join(path, name)).catch(() => undefined)))
    return found.map((file) => (file === undefined ? "-" : `${file.ino}:${file.size}:${file.mtimeMs}`)).join(" ")
  }

  async #show(runner: string | undefined): Promise<void> {
    const stored = await this.#folder.readExisting()
    const { turns, openTurn, history, threadId, goal, checklist } = stored
    const { memory } = readGoal(history, threadId).state
    if (this.#stored === undefined) {
      // What happened before the watch began is not repeated, except for the open turn.
      this.#turn = openTurn === undefined ? turns : turns - 1
      this.#record = Number.POSITIVE_INFINITY
      this.#history = history.length
      this.#goal = goal
      this.#checks = memory.checks
      this.#checklist = JSON.stringify(checklist)
      this.#reporter.started(shownSettings(stored.known), {
        goal,
        state: this.#folder.path,
        resumed: turns > 0,
        checklist,
        isWatching: true,
        watched: runner,
      })
    }
    this.#stored = stored
    const outputs = [...goalChanges(history.slice(this.#history), threadId, this.#goal)]
    this.#history = history.length
    this.#goal = goal
    /** Shows what came before a turn, or all that is left. */
    const showUntil = (number: number): void => {
      for (let [next] = outputs; next !== undefined && turnOf(next) < number; [next] = outputs) {
        this.#reporter.goal(next)
        outputs.shift()
      }
    }
    await this.#showTurns(stored, (number) => {
      showUntil(number)
      this.#showChecks(memory.checks, goal)
      this.#showList(checklist)
    })
    showUntil(Number.POSITIVE_INFINITY)
    this.#showChecks(memory.checks, goal)
    this.#showList(checklist)
    await this.#showHeld(stored)
    this.#showWait(goal?.status === "active" ? memory.wait : undefined)
  }

  #showWait(wait: GoalWait | undefined): void {
    const shown = JSON.stringify(wait)
    if (wait !== undefined && shown !== this.#wait) this.#reporter.waiting(wait)
    this.#wait = shown
  }

  #showList(checklist: ChecklistState | undefined): void {
    const list = JSON.stringify(checklist)
    if (list !== this.#checklist && checklist !== undefined) {
      const { lastVerdict: verdict, lastReason: reason } = checklist.goal ?? {}
      const before = this.#checklist === "" ? undefined : (JSON.parse(this.#checklist) as typeof checklist).goal
      const isRuling = verdict !== undefined && reason !== undefined && before?.revision !== checklist.goal?.revision
      this.#reporter.checklist(checklist, isRuling ? { verdict, reason } : undefined)
    }
    this.#checklist = list
  }

  /** Shows the calls that wait for a decision, each once, with the command that decides. */
  async #showHeld({ openTurn }: StoredGoal): Promise<void> {
    if (openTurn === undefined) return
    const { turns } = await this.#folder.waiting()
    const held = turns.flatMap((turn) => turn.held.map((call) => ({ key: `${turn.turnId}:${call.requestId}`, call })))
    const news = held.filter(({ key }) => !this.#held.has(key))
    for (const { key, call } of news) {
      this.#held.set(key, call.toolName)
      this.#reporter.event({ type: "approval_requested", held: call })
    }
    const [first] = news
    if (first !== undefined)
      this.#reporter.notice(`The turn ${waitingText(held.length, 0)}. Decide with: ${firstDecision(this.#folder.path, first.call)}`)
  }

  /** Shows the new records of the turn that was shown last, and all of later turns. */
  async #showTurns({ turns, openTurn, threadId }: StoredGoal, before: (number: number) => void): Promise<void> {
    for (let number = Math.max(1, this.#turn); number <= turns; number += 1) {
      const turnId = `${threadId}.${number}`
      const parts = await this.#folder.store.read(turnId)
      const { journal } = parts === undefined ? { journal: undefined } : await readJournalParts(parts, journalLineValidation)
      if (number > this.#turn) {
        before(number)
        const turn: ThreadTurn =
          number === turns && openTurn !== undefined ? openTurn : { turnId, origin: "continuation", startedAt: journal?.header.at ?? 0 }
        this.#reporter.turn({ ...turn, number, resumed: false })
        this.#turn = number
        this.#record = 0
        this.#iteration = journal?.header.start.iterationOffset ?? 0
      }
      for (const { number: record, record: content } of journal?.entries ?? []) {
        if (record <= this.#record) continue
        this.#record = record
        this.#showRecord(content, turnId)
      }
    }
  }

  #showRecord(record: JournalRecord, turnId: string): void {
    const toolOf = (requestId: string): string | undefined => this.#held.get(`${turnId}:${requestId}`)
    for (const event of recordEvents(record, this.#iteration, toolOf)) this.#reporter.event(event)
    if (record.type === "llm_complete" && record.purpose === undefined) this.#iteration += 1
  }

  #showChecks(checks: GoalCheckMemory | undefined, goal: Goal | null): void {
    const before = this.#checks
    this.#checks = checks
    const names = goal?.checks ?? []
    if (checks?.due !== undefined && checks.due !== before?.due) {
      this.#reporter.checksStarted(checks.due, names)
      for (const { name } of names) this.#reporter.checking(name)
    }
    if (checks?.due !== undefined || before?.due === undefined) return
    const failing = new Map((checks?.failing ?? []).map((result) => [result.name, result]))
    const results = names.map(({ name }) => failing.get(name) ?? { name, ok: true, tail: "" })
    for (const result of results) this.#reporter.checked(result)
    this.#reporter.checks(before.due, results)
  }

  #end({ goal, turns, history }: StoredGoal): GoalEnd {
    const files = writtenFiles(history.flatMap((record) => (record.type === "conversation" ? [record.message] : [])))
    const reason = goal?.reason ?? (goal === null ? "The goal was cleared." : `The goal is ${goal.status.replaceAll("_", " ")}.`)
    return { goal, reason, turns, files, exitCode: goal?.status === "complete" ? 0 : 1 }
  }
}

/** The number of the turn that changed a goal; 0 for a change between turns. */
function turnOf(output: GoalOutput): number {
  return output.type === "goal_updated" && output.turnId !== undefined ? Number(output.turnId.split(".").at(-1)) : 0
}

/** The settings of a goal as they are shown. */
function shownSettings(meta: GoalMeta): GoalSettings {
  const { dir, out, model: name, baseUrl, provider = DEFAULT_PROVIDER, maxIterations, contextTokens, edit, prices } = meta
  const model: ModelChoice =
    baseUrl === undefined ? { type: "embedded", name: "embedded" } : { type: "endpoint", provider, name, baseUrl, timeoutMs: 0, retries: 0 }
  return {
    run: {
      task: "",
      dir,
      out,
      force: false,
      model,
      maxIterations,
      contextTokens,
      prices,
      approval: { ...(edit === true && { edit }) },
      mcp: { fields: {}, servers: [], isChanged: false },
    },
    meta,
    judge: undefined,
    areGiven: false,
  }
}
