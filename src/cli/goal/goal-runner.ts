import type { Host } from "../../hosts/host.ts"
import { JudgedThread } from "../../hosts/judge/judged-thread.ts"
import { type RunThreadOptions, runThread, Thread, type ThreadRest } from "../../hosts/thread/thread.ts"
import { toolbox } from "../../hosts/tools/toolbox.ts"
import { parseJson } from "../../json.ts"
import type { GoalCommand } from "../../schemas/goal.ts"
import { hiddenFiles, modelHost } from "../run/run.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { Folder } from "../workspace/folder.ts"
import { OutFolder, type Written } from "../workspace/out-folder.ts"
import { fileTools } from "../workspace/tools.ts"
import { goalOptions, judgeConfig } from "./goal-config.ts"
import { type GoalFolder, THREAD_ID } from "./goal-folder.ts"
import type { GoalReporter } from "./goal-reporter.ts"
import type { GoalSettings } from "./goal-settings.ts"
import { officeOf } from "./office.ts"
import type { Answer, Order } from "./orders.ts"

/** How often requests of other terminals are looked for while a model or a tool works. */
const LOOK_MS = 150

/** A goal in this process: its thread and its judge, held until it is closed. */
export class Pursuit {
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

  /** Takes hold of the goal. @throws {CliError} */
  static async open(folder: GoalFolder, settings: GoalSettings, { takeOver = false }: { readonly takeOver?: boolean } = {}): Promise<Pursuit> {
    const { dir, out, force, model } = settings.run
    const outFolder = new OutFolder(out, { replaceAny: force, reserved: folder.owns })
    const tools = toolbox(fileTools(new Folder(dir, await hiddenFiles(dir, out, folder.owns)), outFolder))
    const host: Host = { ...modelHost(model), tools }
    try {
      const thread = await Thread.open(folder.store, THREAD_ID, { ...goalOptions(settings.meta, tools.specs), takeOver })
      const pursuit = new Pursuit(folder, settings, thread, host)
      try {
        if (settings.meta.judge !== "none") await pursuit.#openJudge(takeOver)
        return pursuit
      } catch (error) {
        await thread.close()
        throw error
      }
    } catch (error) {
      throw folder.explain(error)
    }
  }

  /** Carries out what a person wants. */
  async order(order: Order): Promise<Answer> {
    const office = officeOf(this.#thread, this.#judged)
    const settled = office.settle(order)
    return typeof settled === "string" ? { ok: false, message: settled } : office.perform(settled)
  }

  /** Gives the thread a command that must not be refused. @throws {CliError} it is */
  async command(command: GoalCommand): Promise<void> {
    const refused = (await this.#thread.command(command)).find((output) => output.type === "refused")
    if (refused?.type === "refused") throw new CliError(refused.message)
  }

  /** Runs turns until the goal rests, or until the user asks to stop: then the turn is left as it stands. Gives the exit code. */
  async run(reporter: GoalReporter, io: Io, resumed: boolean): Promise<number> {
    this.#reporter = reporter
    let pause: () => void = () => {}
    const paused = new Promise<undefined>((resolvePaused) => {
      pause = () => resolvePaused(undefined)
    })
    let isAsked = false
    const stopListening = io.onInterrupt(() => {
      if (isAsked) io.exit(1)
      isAsked = true
      pause()
    })
    const looking = setInterval(() => void this.#attend().catch(() => {}), LOOK_MS)
    looking.unref()
    try {
      await this.#attend()
      if (this.#thread.openTurn === undefined) await this.#thread.settle()
      reporter.started(this.#settings, { goal: this.#thread.goal, state: this.#folder.path, resumed, checklist: this.#judged?.state })
      const running = this.#runAll(reporter, () => isAsked)
      running.catch(() => {})
      const rest = await Promise.race([running, paused])
      if (rest !== undefined) return this.#end(rest, reporter)
      await this.close()
      // Nothing is kept any more, so nothing is done any more; what waits or is under way need not go on.
      this.#controller.abort("The user stopped the process.")
      reporter.interrupted({ ...this.#facts(), reason: "The user stopped the process.", exitCode: 1 })
      return 1
    } catch (thrown) {
      const error = this.#folder.explain(thrown)
      const failure = error instanceof CliError ? error : new CliError(`The goal broke off: ${oneLine(String(error))}`, 1, { cause: error })
      reporter.failed(failure.message)
      throw failure
    } finally {
      clearInterval(looking)
      stopListening()
      reporter.close()
    }
  }

  /** Lets go of the goal. What runs is left as it stands. */
  async close(): Promise<void> {
    await this.#judged?.close()
    await this.#thread.close()
  }

  async #runAll(reporter: GoalReporter, isStopped: () => boolean): Promise<ThreadRest> {
    const thread = this.#thread
    const judged = this.#judged
    const unlessStopped =
      <Given extends readonly unknown[]>(tell: (...given: Given) => void) =>
      (...given: Given): void => {
        if (!isStopped()) tell(...given)
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
        await new Promise((done) => setTimeout(done, Math.min(LOOK_MS, Math.max(0, until - Date.now()))))
      },
      ...(judged !== undefined && { between: () => judged.between() }),
    }
    for (;;) {
      const rest = await runThread(thread, this.#host, options)
      await this.#attend()
      // Resumed from another terminal at the last moment.
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
    const office = officeOf(this.#thread, this.#judged)
    return this.#folder.inbox.take({
      settle: (order) => office.settle(order),
      perform: async (settled) => {
        const answer = await office.perform(settled)
        this.#reporter?.asked(settled, answer)
        return answer
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
    const files = new Set<string>()
    for (const record of history) {
      if (record.type !== "conversation") continue
      for (const part of record.message.parts) {
        const value = part.type === "tool_result" && part.toolName === "write_file" ? parseJson(part.text) : undefined
        if (typeof value === "object" && value !== null) files.add((value as unknown as Written).path)
      }
    }
    return { goal, turns, files: [...files] }
  }
}
