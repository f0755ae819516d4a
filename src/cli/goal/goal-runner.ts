import type { Host } from "../../hosts/host.ts"
import { JudgedThread } from "../../hosts/judge/judged-thread.ts"
import { type RunThreadOptions, runThread, Thread, type ThreadRest } from "../../hosts/thread/thread.ts"
import { toolbox } from "../../hosts/tools/toolbox.ts"
import type { GoalCommand } from "../../wire/goal.ts"
import { writtenFiles } from "../run/reporter.ts"
import { hiddenFiles, modelHost } from "../run/run.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { Folder } from "../workspace/folder.ts"
import { OutFolder } from "../workspace/out-folder.ts"
import { fileTools } from "../workspace/tools.ts"
import { createRequestHandler } from "./control/request-handler.ts"
import type { GoalRequest, RequestResult } from "./control/requests.ts"
import { goalOptions, judgeConfig } from "./goal-config.ts"
import { type GoalFolder, THREAD_ID } from "./goal-folder.ts"
import type { GoalReporter } from "./goal-reporter.ts"
import type { GoalSettings } from "./goal-settings.ts"

/** How often to check for requests from other terminals while a model or a tool works. */
const POLL_MS = 150

/** Runs a goal in this process: its thread and its judge, open until {@link GoalRunner.close}. */
export class GoalRunner {
  readonly #folder: GoalFolder
  readonly #settings: GoalSettings
  readonly #thread: Thread
  readonly #host: Host
  readonly #controller = new AbortController()
  #judged: JudgedThread | undefined
  #reporter: GoalReporter | undefined

  private constructor(folder: GoalFolder, settings: GoalSettings, thread: Thread, host: Host) {
    this.#folder = folder
    this.#settings = settings
    this.#thread = thread
    this.#host = host
  }

  /** Opens the goal exclusively. @throws {CliError} */
  static async open(folder: GoalFolder, settings: GoalSettings, { takeOver = false }: { readonly takeOver?: boolean } = {}): Promise<GoalRunner> {
    const { dir, out, force, model } = settings.run
    const outFolder = new OutFolder(out, { replaceAny: force, reserved: folder.owns })
    const tools = toolbox(fileTools(new Folder(dir, await hiddenFiles(dir, out, folder.owns)), outFolder))
    const host: Host = { ...modelHost(model), tools }
    try {
      // Recorded first: a process that dies in between must leave a goal that resumes without questions.
      if (settings.areGiven) await folder.record(settings.meta)
      const thread = await Thread.open(folder.store, THREAD_ID, { ...goalOptions(settings.meta, tools.specs), takeOver })
      const runner = new GoalRunner(folder, settings, thread, host)
      try {
        if (settings.meta.judge !== "none") await runner.#openJudge(takeOver)
        return runner
      } catch (error) {
        await thread.close()
        throw error
      }
    } catch (error) {
      throw folder.explain(error)
    }
  }

  /** Carries out a request. */
  async handle(request: GoalRequest): Promise<RequestResult> {
    const handler = createRequestHandler(this.#thread, this.#judged)
    const resolved = handler.resolve(request)
    return typeof resolved === "string" ? { ok: false, message: resolved } : handler.apply(resolved)
  }

  /** Applies a command to the goal. @throws {CliError} the goal refuses it */
  async command(command: GoalCommand): Promise<void> {
    const refused = (await this.#thread.command(command)).find((output) => output.type === "refused")
    if (refused?.type === "refused") throw new CliError(refused.message)
  }

  /** Runs turns until the goal rests or the user asks to stop; a stopped turn can be resumed. Returns the exit code. */
  async run(reporter: GoalReporter, io: Io, resumed: boolean): Promise<number> {
    this.#reporter = reporter
    let pause: () => void = () => {}
    const paused = new Promise<undefined>((resolvePaused) => {
      pause = () => resolvePaused(undefined)
    })
    let isStopping = false
    const stopListening = io.onInterrupt(() => {
      if (isStopping) io.exit(1)
      isStopping = true
      pause()
    })
    const polling = setInterval(() => void this.#attend().catch(() => {}), POLL_MS)
    polling.unref()
    try {
      await this.#attend()
      if (this.#thread.openTurn === undefined) await this.#thread.settle()
      reporter.started(this.#settings, { goal: this.#thread.goal, state: this.#folder.path, resumed, checklist: this.#judged?.state })
      const running = this.#runAll(reporter, () => isStopping)
      running.catch(() => {})
      const rest = await Promise.race([running, paused])
      if (rest !== undefined) return this.#end(rest, reporter)
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
      reporter.close()
    }
  }

  /** Closes the goal. A running turn can be resumed. */
  async close(): Promise<void> {
    await this.#judged?.close()
    await this.#thread.close()
  }

  async #runAll(reporter: GoalReporter, isStopped: () => boolean): Promise<ThreadRest> {
    const thread = this.#thread
    const judged = this.#judged
    const unlessStopped =
      <Given extends readonly unknown[]>(report: (...given: Given) => void) =>
      (...given: Given): void => {
        if (!isStopped()) report(...given)
      }
    let waitsUntil = 0
    const options: RunThreadOptions = {
      signal: this.#controller.signal,
      attend: () => this.#attend(),
      onEvent: unlessStopped((event) => reporter.event(event)),
      onGoal: unlessStopped((output) => reporter.goal(output)),
      onTurn: unlessStopped(({ machine: _machine, ...turn }) => reporter.turn({ ...turn, number: thread.turns })),
      wait: async (until) => {
        if (until !== waitsUntil) reporter.waiting(until)
        waitsUntil = until
        await new Promise((done) => setTimeout(done, Math.min(POLL_MS, Math.max(0, until - Date.now()))))
      },
      ...(judged !== undefined && { between: () => judged.between() }),
    }
    for (;;) {
      const rest = await runThread(thread, this.#host, options)
      await this.#attend()
      // Another terminal resumed the goal just before it rested.
      if (!thread.isCommanded) return rest
    }
  }

  async #openJudge(takeOver: boolean): Promise<void> {
    this.#judged = await JudgedThread.open(this.#folder.store, this.#thread, {
      takeOver,
      host: this.#host,
      judge: judgeConfig(this.#settings.meta),
      onChecklist: (state, decision) => this.#reporter?.checklist(state, decision),
      onJudging: () => this.#reporter?.judging(),
    })
  }

  #attend(): Promise<void> {
    const handler = createRequestHandler(this.#thread, this.#judged)
    return this.#folder.inbox.process({
      resolve: (request) => handler.resolve(request),
      apply: async (resolved) => {
        const result = await handler.apply(resolved)
        this.#reporter?.requested(resolved, result)
        return result
      },
    })
  }

  #end(rest: ThreadRest, reporter: GoalReporter): number {
    const { reason, notBefore } = rest
    const facts = this.#facts()
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
