import { realpath } from "node:fs/promises"
import { resolve } from "node:path"
import { chatDriver } from "../drivers/chat.ts"
import { CheckpointError } from "../errors.ts"
import { toolbox } from "../hosts/define-tool.ts"
import type { Host } from "../hosts/host.ts"
import { openAiCompatible } from "../hosts/openai-compatible.ts"
import { runTurn } from "../hosts/run-turn.ts"
import type { TurnConfig } from "../machine/turn.ts"
import { chatProjector } from "../projectors/chat.ts"
import type { Outcome, TurnEvent } from "../schemas/event.ts"
import { TurnMachine } from "../turn-machine.ts"
import { readArgs } from "./args.ts"
import { CliError } from "./errors.ts"
import { Folder, isInside } from "./folder.ts"
import { oneLine } from "./format.ts"
import { RUN_HELP } from "./help.ts"
import type { Io } from "./io.ts"
import { jsonLines } from "./json-lines.ts"
import { OutFolder } from "./out-folder.ts"
import { plan } from "./planner/planner.ts"
import type { Reporter } from "./reporter.ts"
import { type ModelChoice, RUN_FLAGS, type RunSettings, settleRun, shownUrl } from "./run-settings.ts"
import { Screen } from "./screen.ts"
import { damaged, type SavedRun, StateFile } from "./state-file.ts"
import { tallyOf } from "./tally.ts"
import { fileTools } from "./tools.ts"

const SYSTEM_PROMPT = `You work on the files of one folder with the tools you are given.
Paths are relative to that folder; nothing outside of it can be read. What you write goes to a separate output folder, so no file that you read is changed.
Ask for several tools in one answer where they do not wait for each other. Where a tool says that something was cut, ask for the rest if it matters.
When you are done, answer in a few sentences with what you found and where you wrote it. Say what you could not do; do not guess.`

/** `turn-machine run`. Gives the exit code. @throws {CliError} */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, RUN_FLAGS, "turn-machine run --help")
  if (flags.help === true) {
    io.stdout.write(RUN_HELP)
    return 0
  }
  if (flags.resume === true && flags.state === undefined) throw new CliError("--resume needs the state file to go on with: --state FILE.")
  const state = flags.state === undefined ? undefined : await StateFile.claim(resolve(io.cwd, flags.state), flags.resume ?? false)
  try {
    const settings = await settleRun(flags, words, io, state?.saved)
    const reporter = flags.json === true ? jsonLines(io.stdout) : new Screen(io)
    if (flags.resume === true && state?.saved === undefined)
      io.stderr.write(`turn-machine: There is no state file ${flags.state} yet; the turn begins.\n`)
    return await new Run(settings, state, reporter, io).perform()
  } finally {
    await state?.close()
  }
}

type ErrorEvent = Extract<TurnEvent, { type: "error" }>

/** One turn in this process, from its beginning or from where it was saved. */
class Run {
  readonly #settings: RunSettings
  readonly #state: StateFile | undefined
  readonly #reporter: Reporter
  readonly #io: Io
  readonly #startedAt = performance.now()
  #lastError: ErrorEvent | undefined

  constructor(settings: RunSettings, state: StateFile | undefined, reporter: Reporter, io: Io) {
    this.#settings = settings
    this.#state = state
    this.#reporter = reporter
    this.#io = io
  }

  async perform(): Promise<number> {
    const reserved = this.#state?.files ?? []
    const { dir, out, force, model } = this.#settings
    const outFolder = new OutFolder(out, { replaceAny: force, reserved })
    const folder = new Folder(dir, await hiddenFiles(dir, out, reserved))
    const tools = toolbox(fileTools(folder, outFolder))
    const machine = this.#machine({ ...this.#config(), tools: tools.specs })
    const host: Host = { ...modelHost(model), toolCall: tools.toolCall, save: (saved) => this.#save(saved) }

    // Before anything is shown or done: a state that cannot be saved should be known now.
    if (!machine.done) await this.#save(machine)
    this.#reporter.started(this.#settings, {
      ...(this.#state !== undefined && { state: this.#state.path }),
      ...(this.#state?.saved !== undefined && { resumedAt: machine.iteration }),
    })
    if (machine.outcome !== undefined) return this.#end(machine, machine.outcome, true)
    try {
      const { outcome } = await this.#runOrPause(machine, host)
      return outcome === undefined ? 1 : this.#end(machine, outcome, false)
    } catch (error) {
      const failure = error instanceof CliError ? error : new CliError(`The run broke off: ${oneLine(String(error))}`, 1, { cause: error })
      this.#reporter.failed(failure.message)
      throw failure
    }
  }

  #config(): Omit<TurnConfig, "tools"> {
    const { model, maxIterations } = this.#settings
    return {
      driver: chatDriver(),
      projector: chatProjector,
      model: model.name,
      sessionId: "run",
      systemPrompt: SYSTEM_PROMPT,
      maxIterations,
      generation: {},
      syncExecutionSurface: false,
      autonomous: true,
      emitLlmTrace: false,
    }
  }

  #machine(config: TurnConfig): TurnMachine {
    const saved = this.#state?.saved
    if (this.#state === undefined || saved === undefined) {
      return new TurnMachine(config, {
        messages: [{ id: "task", role: "user", parts: [{ id: "task.p0", type: "text", text: this.#settings.task }] }],
      })
    }
    try {
      return TurnMachine.restore(config, saved.checkpoint)
    } catch (error) {
      if (error instanceof CheckpointError) throw damaged(this.#state.path, oneLine(error.message).replace(/\.$/, ""))
      throw error
    }
  }

  /**
   * Runs the turn until it is over, or until the user asks to stop. With a state file the turn is then left as it stands,
   * to be resumed; without one it is cancelled, and so comes to its end.
   */
  async #runOrPause(machine: TurnMachine, host: Host): Promise<{ readonly outcome?: Outcome }> {
    const controller = new AbortController()
    let pause: () => void = () => {}
    const paused = new Promise<Record<string, never>>((resolve) => {
      pause = () => resolve({})
    })
    let asked = false
    const stopListening = this.#io.onInterrupt(() => {
      if (asked) this.#io.exit(1)
      asked = true
      if (this.#state === undefined) controller.abort("The user stopped the turn.")
      else pause()
    })
    try {
      const onEvent = (event: TurnEvent): void => {
        if (asked && this.#state !== undefined) return
        if (event.type === "error") this.#lastError = event
        this.#reporter.event(event)
      }
      const ended = runTurn(machine, host, { signal: controller.signal, onEvent })
      ended.catch(() => {})
      const result = await Promise.race([ended, paused])
      if (this.#state !== undefined && result.outcome === undefined) {
        await this.#state.close()
        this.#reporter.paused({ state: this.#state.path, tally: tallyOf(machine), durationMs: this.#elapsedMs() })
      }
      return result
    } finally {
      stopListening()
    }
  }

  #end(machine: TurnMachine, outcome: Outcome, again: boolean): number {
    const exitCode = outcome.type === "finished" ? 0 : 1
    const tally = tallyOf(machine)
    this.#reporter.ended({ outcome, tally, durationMs: this.#elapsedMs(), exitCode, again })
    if (outcome.type !== "finished") this.#io.stderr.write(`turn-machine: ${oneLine(this.#whyStopped(outcome, tally.iterations))}\n`)
    return exitCode
  }

  /** Says why a turn stopped and what to do, in one line. */
  #whyStopped(outcome: Outcome, iterations: number): string {
    const { model } = this.#settings
    const why = this.#lastError === undefined ? "" : ` ${this.#lastError.message.replace(/^LLM error: /, "").replace(/\.?$/, ".")}`
    if (outcome.type !== "stopped") return "The turn went over to another agent, which this command cannot run."
    switch (outcome.stop.type) {
      case "cancelled":
        return "The turn was cancelled. With --state FILE a turn can be stopped and resumed."
      case "max_iterations":
        return `The turn reached its limit of ${iterations} iterations before it was done. Allow more with --max-iterations, in a new run.`
      case "provider_error": {
        if (model.type === "embedded") return `The embedded planner failed.${why}`
        const again = this.#state === undefined ? "run the command again" : "run the same command with --resume"
        const { code, terminalReason } = this.#lastError?.envelope ?? {}
        const failed = `The model call to ${shownUrl(model.baseUrl)} failed.${why}`
        if (terminalReason === "content_filter") return `${why} Put the task in other words, in a new run.`
        if (terminalReason === "context_overflow") return `${failed} Ask for less in one task, or take a model with a larger context.`
        if (code === "empty_response") return `${why} Another try may help: ${again}.`
        if (code === "timeout" || code === "idle_timeout") return `${failed} Allow more with --timeout-ms, or check the address, then ${again}.`
        return `${failed} Check the address, --model and the key, then ${again}.`
      }
      case "incomplete":
        return "The model's answer was cut off at its length limit. Ask for less in one task."
      default:
        return `The turn stopped (${outcome.stop.type.replaceAll("_", " ")}).${why}`
    }
  }

  async #save(machine: TurnMachine): Promise<void> {
    if (this.#state === undefined || failedModelCall(machine)) return
    const { task, dir, out, model, maxIterations } = this.#settings
    const saved: SavedRun = {
      format: "turn-machine/run",
      version: 1,
      task,
      dir,
      out,
      model: model.name,
      ...(model.type === "endpoint" && { baseUrl: model.baseUrl, ...(model.apiKeyEnv !== undefined && { apiKeyEnv: model.apiKeyEnv }) }),
      maxIterations,
      elapsedMs: this.#elapsedMs(),
      checkpoint: machine.checkpoint(),
    }
    await this.#state.save(saved)
  }

  /** Milliseconds spent on the turn in this process and in those before it. */
  #elapsedMs(): number {
    return (this.#state?.saved?.elapsedMs ?? 0) + performance.now() - this.#startedAt
  }
}

/** Such a turn stays saved as it was before the call, so that resuming it tries the call again. */
function failedModelCall({ outcome }: TurnMachine): boolean {
  return outcome?.type === "stopped" && outcome.stop.type === "provider_error"
}

function modelHost(model: ModelChoice): Pick<Host, "llmCall"> {
  if (model.type === "embedded") return { llmCall: async ({ request }) => plan(request) }
  const { baseUrl, apiKey, name, timeoutMs, retries } = model
  return openAiCompatible({ baseUrl, ...(apiKey !== undefined && { apiKey }), model: name, timeoutMs, idleTimeoutMs: timeoutMs, maxRetries: retries })
}

/** What a search must not find besides reports: the output folder, and the state with what stands beside it. */
async function hiddenFiles(dir: string, out: string, state: readonly string[]): Promise<(path: string) => boolean> {
  const outPath = await realpath(out).catch(() => out)
  const apart = outPath !== dir && isInside(dir, outPath)
  return (path) => state.includes(path) || (apart && path === outPath) || path.endsWith(".turn-machine-tmp")
}
