import type { Host } from "../../hosts/host.ts"
import { JudgedThread } from "../../hosts/judge/judged-thread.ts"
import { commandChecks } from "../../hosts/node/command-checks.ts"
import type { CheckRunner } from "../../hosts/thread/check-runner.ts"
import { type Guidance, type Interrupted, type RunThreadOptions, runThread, Thread, type ThreadRest } from "../../hosts/thread/thread.ts"
import { mergeToolboxes, syncTools } from "../../hosts/tools/merge-toolboxes.ts"
import { toolbox } from "../../hosts/tools/toolbox.ts"
import type { Json } from "../../json.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { GoalCheckResult, GoalCommand } from "../../wire/goal.ts"
import { Asker, gated, loginName, OutputGate } from "../approvals/asker.ts"
import { ApprovalPrompt } from "../approvals/prompt.ts"
import { type McpServers, startServers } from "../mcp/servers.ts"
import { SUSPENDED_EXIT_CODE } from "../run/help.ts"
import { writtenFiles } from "../run/reporter.ts"
import { hiddenFiles, modelHost } from "../run/run.ts"
import { StopMenu } from "../run/stop-menu.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { plainIo } from "../terminal/output-flags.ts"
import { EditFolder } from "../workspace/edit-folder.ts"
import { Folder, isInside } from "../workspace/folder.ts"
import { OutFolder } from "../workspace/out-folder.ts"
import { fileTools } from "../workspace/tools.ts"
import { newRequestId } from "./control/inbox.ts"
import { createRequestHandler } from "./control/request-handler.ts"
import type { GoalRequest, RequestResult } from "./control/requests.ts"
import { checksOf, costsOf, goalConfig, goalOptions, judgeConfig } from "./goal-config.ts"
import type { GoalFolder } from "./goal-folder.ts"
import type { GoalReporter } from "./goal-reporter.ts"
import type { GoalSettings } from "./goal-settings.ts"
import { judgeHost } from "./judge-host.ts"
import { OutLock } from "./out-lock.ts"

/** How often to check for requests from other terminals while a model or a tool works. */
const POLL_MS = 150

/** The longest wait in this process. A goal that waits longer rests, and can be resumed. */
const MAX_WAIT_MS = 24 * 3_600_000

/** Runs a goal in this process: its thread and its judge, open until {@link GoalRunner.close}. */
export class GoalRunner {
  readonly #folder: GoalFolder
  readonly #settings: GoalSettings
  readonly #thread: Thread
  readonly #host: Host
  readonly #out: OutLock
  readonly #servers: McpServers
  readonly #controller = new AbortController()
  /** Ends the judgement that runs, and no later one. */
  #judging = new AbortController()
  #judged: JudgedThread | undefined
  #reporter: GoalReporter | undefined
  #asker: Asker | undefined
  /** How many requests of the user were handled. */
  #handled = 0

  private constructor(folder: GoalFolder, settings: GoalSettings, thread: Thread, host: Host, out: OutLock, servers: McpServers) {
    this.#servers = servers
    this.#out = out
    this.#folder = folder
    this.#settings = settings
    this.#thread = thread
    this.#host = host
  }

  /**
   * Opens the goal exclusively, and with it its output folder. `isNew`: the folder's thread must be a new one.
   * @throws {CliError}
   */
  static async open(folder: GoalFolder, settings: GoalSettings, { takeOver = false, isNew = false }: OpenGoalOptions = {}): Promise<GoalRunner> {
    const { dir, out, force, model, contextTokens, approval, mcp } = settings.run
    const { meta } = settings
    const outFolder = new OutFolder(out, { replaceAny: force, reserved: folder.owns })
    const read = new Folder(dir, await hiddenFiles(dir, out, folder.owns))
    const edit = approval.edit === true ? new EditFolder(read, (path) => folder.owns(path) || isInside(out, path)) : undefined
    const opened: (() => Promise<void>)[] = []
    try {
      const servers = await startServers(mcp.servers, { cwd: dir, approve: approval.approve })
      opened.push(() => servers.close())
      const tools = mergeToolboxes([toolbox(fileTools(read, outFolder, edit)), ...servers.toolboxes])
      const options = goalOptions(meta, () => tools.specs)
      const host: Host = {
        ...modelHost(model, contextTokens),
        tools,
        syncExecutionSurface: syncTools(tools, goalConfig(meta, tools.specs).systemPrompt),
      }
      const lockOut = async (): Promise<OutLock> => {
        const lock = await OutLock.acquire(out, { takeOver })
        opened.push(() => lock.release())
        return lock
      }
      // A refused start leaves nothing behind. On resume, a goal that runs elsewhere is named before its output folder.
      const early = isNew ? await lockOut() : undefined
      // Recorded first: a process that dies in between must leave a goal that resumes without questions.
      if (settings.areGiven) await folder.record(meta)
      const thread = await Thread.open(folder.store, folder.threadId, { ...options, takeOver })
      opened.push(() => thread.close())
      if (isNew && (readId(thread.meta) !== meta.id || thread.turns > 0))
        throw new CliError(`${folder.shown} was given another goal at the same time. See: turn-machine goal status`)
      const lock = early ?? (await lockOut())
      const runner = new GoalRunner(folder, settings, thread, host, lock, servers)
      if (meta.judge !== "none") await runner.#openJudge(takeOver)
      return runner
    } catch (error) {
      for (const close of opened.reverse()) await close()
      throw folder.explain(error)
    }
  }

  /** Carries out a request. */
  async handle(request: GoalRequest): Promise<RequestResult> {
    const handler = this.#handler
    const resolved = handler.resolve(request)
    return typeof resolved === "string" ? { ok: false, message: resolved } : handler.apply(resolved, newRequestId())
  }

  /** Applies a command to the goal. @throws {CliError} the goal refuses it */
  async command(command: GoalCommand): Promise<void> {
    const refused = (await this.#thread.command(command)).find((output) => output.type === "refused")
    if (refused?.type === "refused") throw new CliError(refused.message)
  }

  /**
   * Runs turns until the goal rests or the user asks to stop; a stopped turn can be resumed. In a terminal, the first Ctrl-C asks what to do.
   * Returns the exit code.
   */
  async run(shown: GoalReporter, io: Io, { resumed, isDefaultBudget = false, isPlain = false }: RunFacts): Promise<number> {
    const gate = new OutputGate()
    const reporter = gated(shown, gate)
    const { terminal, env } = isPlain ? plainIo(io) : io
    const prompt = terminal && new ApprovalPrompt(terminal, env, { always: "thread", by: loginName(io) })
    const asker = new Asker({ prompt, gate, onAsking: (call) => shown.asking(call), untilFree: () => menu?.closed })
    this.#reporter = reporter
    this.#asker = asker
    let pause: () => void = () => {}
    const paused = new Promise<undefined>((resolvePaused) => {
      pause = () => resolvePaused(undefined)
    })
    let isStopping = false
    const stop = (): void => {
      isStopping = true
      pause()
    }
    const redirect = async (text: string): Promise<boolean> => {
      await this.#thread.redirect(text)
      return true
    }
    const menu = terminal && new StopMenu({ terminal, env, gate, onOpen: () => shown.asking(), stop, redirect, runs: "the goal" })
    const stopListening = io.onInterrupt((isFinal = false) => {
      if (isStopping) io.exit(1)
      else if (menu === undefined || menu.isOpen || isFinal || asker.isAsking) {
        stop()
        void menu?.close("Stopped.")
      } else menu.open()
    })
    const polling = setInterval(() => void this.#attend().catch(() => {}), POLL_MS)
    polling.unref()
    try {
      await this.#attend()
      await this.#confirmChecks()
      if (this.#thread.openTurn === undefined) await this.#thread.settle()
      const checklist = this.#judged?.state
      reporter.started(this.#settings, {
        goal: this.#thread.goal,
        state: this.#folder.path,
        resumed,
        checklist,
        isDefaultBudget,
        servers: this.#servers.shown,
      })
      const running = this.#runAll(reporter, () => isStopping)
      running.catch(() => {})
      const rest = await Promise.race([running, paused])
      await menu?.close("The goal rests.")
      if (rest !== undefined) return await this.#end(rest, reporter)
      asker.close("Stopped.")
      await this.close()
      // The journal is closed, so running and waiting work cannot be recorded and is aborted.
      this.#controller.abort("The user stopped the process.")
      reporter.interrupted({ ...this.#facts(), reason: "The user stopped the process.", exitCode: 1 })
      return 1
    } catch (thrown) {
      const error = this.#folder.explain(thrown)
      const failure = error instanceof CliError ? error : new CliError(`The goal failed: ${oneLine(String(error))}`, 1, { cause: error })
      reporter.failed(failure.message)
      throw failure
    } finally {
      clearInterval(polling)
      stopListening()
      await menu?.close("The goal rests.")
      reporter.close()
    }
  }

  /** Closes the goal. A running turn can be resumed. */
  async close(): Promise<void> {
    await this.#judged?.close()
    await this.#thread.close()
    await this.#servers.close()
    await this.#out.release()
  }

  /** The goal has the checks that the user gave to this program, whatever its log says. */
  async #confirmChecks(): Promise<void> {
    const { goal } = this.#thread
    const checks = checksOf(this.#settings.meta)
    if (goal === null || goal.status === "complete" || JSON.stringify(goal.checks ?? []) === JSON.stringify(checks)) return
    await this.#thread.command({ type: "set", checks: checks.length === 0 ? null : checks })
  }

  /** Runs the checks that the user gave, and no other. Each is shown when it ends. */
  #checkRunner(reporter: GoalReporter, isStopped: () => boolean): CheckRunner {
    const { meta, run: settings, judge } = this.#settings
    const confirmed = new Map(checksOf(meta).map((check) => [check.name, check]))
    const keys = [settings.model, judge].flatMap((model) => (model?.type === "endpoint" && model.apiKeyEnv !== undefined ? [model.apiKeyEnv] : []))
    // The commands of the user have the user's environment, except for the keys.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !keys.includes(name)))
    const run = commandChecks({ cwd: settings.dir, env: { ...env, TURN_MACHINE_OUT: settings.out } })
    return async ({ turnId, checks }, context) => {
      const known = checks.flatMap(({ name }) => confirmed.get(name) ?? [])
      if (!isStopped()) reporter.checksStarted(turnId, known)
      const results: GoalCheckResult[] = []
      for (const { name } of checks) {
        const check = confirmed.get(name)
        if (!isStopped()) reporter.checking(name)
        const [result] = check === undefined ? [unconfirmed(name)] : await run({ turnId, checks: [check] }, context)
        if (result === undefined || context.signal.aborted) break
        results.push(result)
        if (!isStopped()) reporter.checked(result)
      }
      if (!isStopped()) reporter.checks(turnId, results)
      return results
    }
  }

  async #runAll(reporter: GoalReporter, isStopped: () => boolean): Promise<ThreadRest> {
    const thread = this.#thread
    const judged = this.#judged
    const unlessStopped =
      <Given extends readonly unknown[]>(report: (...given: Given) => void) =>
      (...given: Given): void => {
        if (!isStopped()) report(...given)
      }
    const asker = this.#asker
    const host: Host = asker === undefined ? this.#host : { ...this.#host, decide: asker.decide }
    const show = unlessStopped((event: TurnEvent) => reporter.event(event))
    const options: RunThreadOptions = {
      signal: this.#controller.signal,
      suspend: true,
      attend: () => this.#attend(),
      checks: this.#checkRunner(reporter, isStopped),
      maxWaitMs: MAX_WAIT_MS,
      onEvent: (event) => {
        asker?.onEvent(event)
        show(event)
      },
      onGoal: unlessStopped((output) => reporter.goal(output)),
      onTurn: unlessStopped(({ machine: _machine, ...turn }) => reporter.turn({ ...turn, number: thread.turns })),
      onWaiting: unlessStopped(({ wait }) => reporter.waiting(wait)),
      ...(judged !== undefined && { between: () => this.#judge(judged) }),
    }
    for (;;) {
      const rest = await runThread(thread, host, options)
      const handled = this.#handled
      await this.#attend()
      // Another terminal resumed the goal, or said something, just before it rested.
      if (!thread.isCommanded && handled === this.#handled) return rest
    }
  }

  /** Judges the last turn, unless a command of the user comes first. */
  #judge(judged: JudgedThread): Promise<Guidance> | undefined {
    if (this.#thread.isCommanded) return undefined
    this.#judging = new AbortController()
    return judged.between()
  }

  /** Ends what runs now: a turn, checks or a judgement. */
  #interrupt(reason: string): Promise<Interrupted> {
    const interrupted = this.#thread.interrupt(reason)
    this.#judging.abort(reason)
    return interrupted
  }

  async #openJudge(takeOver: boolean): Promise<void> {
    const runner = this
    const { meta } = this.#settings
    this.#judged = await JudgedThread.open(this.#folder.store, this.#thread, {
      takeOver,
      /** Read at the start of each judgement. */
      get signal() {
        return AbortSignal.any([runner.#controller.signal, runner.#judging.signal])
      },
      host: judgeHost(this.#settings.judge ?? this.#settings.run.model),
      judge: judgeConfig(meta),
      ...(meta.judgePrices !== undefined && { costMicros: costsOf(meta.judgePrices) }),
      onChecklist: (state, decision) => this.#reporter?.checklist(state, decision),
      onJudging: () => this.#reporter?.judging(),
    })
  }

  get #handler(): ReturnType<typeof createRequestHandler> {
    return createRequestHandler(this.#thread, this.#judged, { interrupt: (reason) => this.#interrupt(reason) })
  }

  #attend(): Promise<void> {
    const handler = this.#handler
    return this.#folder.inbox.process({
      threadId: handler.threadId,
      resolve: (request) => handler.resolve(request),
      apply: async (resolved, key) => {
        const result = await handler.apply(resolved, key)
        this.#handled += 1
        this.#reporter?.requested(resolved, result)
        return result
      },
    })
  }

  async #end(rest: ThreadRest, reporter: GoalReporter): Promise<number> {
    const { reason, notBefore } = rest
    const facts = this.#facts()
    if (rest.type === "suspended") {
      const { held, pending } = rest
      await this.close()
      reporter.suspended({ ...facts, reason, held, pending, exitCode: SUSPENDED_EXIT_CODE })
      return SUSPENDED_EXIT_CODE
    }
    const exitCode = facts.goal?.status === "complete" ? 0 : 1
    reporter.ended({ ...facts, reason, ...(notBefore !== undefined && { notBefore }), exitCode })
    return exitCode
  }

  #facts(): { readonly goal: Thread["goal"]; readonly turns: number; readonly files: readonly string[] } {
    const { goal, turns, history } = this.#thread
    const files = writtenFiles(history.flatMap((record) => (record.type === "conversation" ? [record.message] : [])))
    return { goal, turns, files }
  }
}

export interface OpenGoalOptions {
  readonly takeOver?: boolean
  readonly isNew?: boolean
}

export interface RunFacts {
  readonly resumed: boolean
  /** The token budget is the default one. */
  readonly isDefaultBudget?: boolean
  /** Questions are asked as with `--plain`. */
  readonly isPlain?: boolean | undefined
}

/** A check that only the log of the goal has is not run. */
function unconfirmed(name: string): GoalCheckResult {
  return { name, ok: false, tail: "It was not run: it is not one of the commands that the user gave with --check." }
}

function readId(meta: Json | undefined): Json | undefined {
  return typeof meta === "object" && meta !== null ? (meta as { readonly [key: string]: Json })["id"] : undefined
}
