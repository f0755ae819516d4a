import { realpath } from "node:fs/promises"
import { resolve } from "node:path"
import { type Host, LlmCallError, type Suspended } from "../../hosts/host.ts"
import { memoryJournalStore } from "../../hosts/journal/memory.ts"
import { TurnJournal } from "../../hosts/journal/turn-journal.ts"
import { runTurn } from "../../hosts/run/run-turn.ts"
import { redirectRun } from "../../hosts/run/wake-run.ts"
import { type LiveToolbox, mergeToolboxes, syncTools } from "../../hosts/tools/merge-toolboxes.ts"
import { toolbox } from "../../hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../machine/config.ts"
import { estimateTokens } from "../../machine/usage-estimate.ts"
import { userMessage } from "../../machine/user-message.ts"
import { TurnMachine } from "../../validated-turn-machine.ts"
import type { Done } from "../../wire/effect.ts"
import type { ErrorEnvelope, Outcome, TurnEvent } from "../../wire/event.ts"
import type { LlmRequest, LlmResponse } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { Asker, gated, loginName, OutputGate } from "../approvals/asker.ts"
import { ApprovalPrompt } from "../approvals/prompt.ts"
import { hasServers } from "../mcp/mcp-fields.ts"
import { type ShownServer, startServers } from "../mcp/servers.ts"
import { endpointHost, type ModelChoice, shownUrl } from "../model/model-settings.ts"
import { plan } from "../planner/planner.ts"
import { readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, plainJson, plainText } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import { interruptible } from "../terminal/interrupts.ts"
import type { Io } from "../terminal/io.ts"
import { checkOutputFlags, plainIo, silentUntil } from "../terminal/output-flags.ts"
import { type Confirmed, confirm, confirmedText } from "../trust/confirm.ts"
import { OwnStates } from "../trust/own-states.ts"
import { EditFolder } from "../workspace/edit-folder.ts"
import { Folder, isInside } from "../workspace/folder.ts"
import { OutFolder } from "../workspace/out-folder.ts"
import { fileTools } from "../workspace/tools.ts"
import { RESUME_HELP, RUN_HELP, SUSPENDED_EXIT_CODE } from "./help.ts"
import { jsonLines, type Reporter, type RunTotals, totalsOf } from "./reporter.ts"
import type { RunMeta } from "./run-config.ts"
import { runConfig, runStart } from "./run-config.ts"
import { RunScreen, showsQuestions } from "./run-screen.ts"
import { RUN_FLAGS, type RunFlags, type RunSettings, resolveRun, workOf } from "./run-settings.ts"
import { type OpenOptions, RunState } from "./run-state.ts"
import { StopMenu, type StopMenuOptions } from "./stop-menu.ts"

/** `turn-machine run`. Returns the exit code. @throws {CliError} */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, RUN_FLAGS, "turn-machine run --help")
  if (flags.help === true) {
    printHelp(RUN_HELP, io)
    return 0
  }
  if (flags.resume === true && flags.state === undefined) throw new CliError("--resume needs the state file: --state FILE.")
  if (flags["no-check"] === true && flags.resume !== true) throw new CliError("--no-check applies only to a resumed turn; add --resume.")
  for (const flag of ["compact", "take-over"] as const) {
    if (flags[flag] === true && flags.state === undefined) throw new CliError(`--${flag} needs a state file: --state FILE.`)
  }
  const again = flags.state === undefined ? "Run the same command again." : "Run the same command again, with --resume."
  return interruptible(io, `Stopped before the turn began. ${again}`, (own) => perform(flags, words, own))
}

/** `turn-machine resume FILE`: like `run --state FILE --resume`, but the file must contain a turn. @throws {CliError} */
export async function resumeRun(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, RUN_FLAGS, "turn-machine resume --help")
  if (flags.help === true) {
    printHelp(RESUME_HELP, io)
    return 0
  }
  const [file = flags.state, ...task] = words
  if (file === undefined) throw new CliError("resume needs the state file: turn-machine resume FILE.")
  if (flags.state !== undefined && flags.state !== file) throw new CliError("resume takes one state file: turn-machine resume FILE.")
  const given = { ...flags, state: file, resume: true }
  return interruptible(io, "Stopped before the turn was resumed. Run the same command again.", (own) => perform(given, task, own, true))
}

async function perform(flags: RunFlags, words: readonly string[], io: Io, mustExist = false): Promise<number> {
  checkOutputFlags(flags)
  const state =
    flags.state === undefined ? undefined : await RunState.find(resolve(io.cwd, flags.state), flags.resume ?? false, new OwnStates(io.env))
  if (mustExist && state?.saved === undefined)
    throw new CliError(`There is no turn to resume in ${resolve(io.cwd, flags.state ?? "")}. Start one: turn-machine run --state FILE.`)
  const confirmed = state === undefined ? undefined : await confirmRun(state, flags)
  const settings = await resolveRun(flags, words, io, confirmed, state?.isOver)
  if (confirmed?.when === "now") io.stderr.write(`turn-machine: ${confirmedText(workOf(settings))}\n`)
  checkAsking(settings, state !== undefined, io)
  const reporter = reporterOf(flags, io)
  if (flags.resume === true && state?.saved === undefined)
    io.stderr.write(`turn-machine: ${oneLine(flags.state ?? "")} has no turn yet; starting a new one.\n`)
  try {
    return await new Run(settings, state, reporter, io, flags.plain === true ? plainIo(io) : io).perform({
      takeOver: flags["take-over"] ?? false,
      checkEffects: flags["no-check"] !== true,
      compact: flags.compact ?? false,
      recordSettings: confirmed?.when === "now" || settings.mcp.isChanged,
    })
  } finally {
    await state?.close()
  }
}

function reporterOf(flags: RunFlags, io: Io): Reporter {
  if (flags.json === true) return jsonLines(io.stdout)
  if (flags.quiet === true) return answerOnly(io)
  return new RunScreen(flags.plain === true ? plainIo(io) : io, { showsQuestions: showsQuestions(io) })
}

/** Writes the answer and nothing else. What a person has to do before there is one goes to standard error. */
function answerOnly(io: Io): Reporter {
  return silentUntil<Reporter>(io.stderr, (stdout) => new RunScreen({ ...io, stdout }), ["paused", "suspended"], {
    ended({ outcome }) {
      if (outcome.type !== "finished") return
      const { finish } = outcome
      io.stdout.write(`${finish.type === "assistant_message" ? plainText(finish.text) : plainJson(finish.value)}\n`)
    },
  })
}

/** A held call that no person can decide about would lose the turn. @throws {CliError} */
function checkAsking({ approval: { edit, approve }, mcp }: RunSettings, hasState: boolean, io: Io): void {
  const asks =
    edit === true ? "--edit asks before each change" : hasServers(mcp.fields) ? "--mcp asks before each call that may change something" : undefined
  if (asks === undefined || approve !== undefined || hasState || io.terminal !== undefined) return
  throw new CliError(`${asks}, and there is no terminal to ask in. To decide later, pass --state FILE; otherwise --approve auto or --approve never.`)
}

/** Decides which settings a saved turn resumes with. @throws {CliError} it may be of another user, and flags are missing */
async function confirmRun(state: RunState, flags: RunFlags): Promise<Confirmed<RunMeta> | undefined> {
  const { saved, shown } = state
  if (saved === undefined) return undefined
  const known = await state.known()
  return confirm(saved, known, flags, { name: shown, task: saved.task, next: "settings" in known ? undefined : state.pendingCalls })
}

type ErrorEvent = Extract<TurnEvent, { type: "error" }>

/** Runs one turn in this process, from its start or from its saved state. */
class Run {
  readonly #settings: RunSettings
  readonly #state: RunState | undefined
  readonly #reporter: Reporter
  readonly #io: Io
  readonly #startedAt = performance.now()
  readonly #asker: Asker
  /** Makes the menu of a run that can be asked about. */
  readonly #makeMenu: (actions: Pick<StopMenuOptions, "stop" | "redirect">) => StopMenu | undefined
  #menu: StopMenu | undefined
  #lastError: ErrorEvent | undefined

  /** Questions are asked in the terminal of `asking`, which is `io` or a plain form of it. */
  constructor(settings: RunSettings, state: RunState | undefined, reporter: Reporter, io: Io, asking: Io) {
    const { terminal, env } = asking
    const gate = new OutputGate()
    this.#settings = settings
    this.#state = state
    this.#reporter = gated(reporter, gate)
    this.#io = io
    const notLater = state === undefined ? { notLater: "To decide later, start the run with a state file: --state FILE." } : {}
    const prompt = terminal && new ApprovalPrompt(terminal, env, { always: "turn", by: loginName(io), ...notLater })
    this.#asker = new Asker({ prompt, gate, onAsking: (call) => reporter.asking(call), untilFree: () => this.#menu?.closed })
    this.#makeMenu = (actions) => terminal && new StopMenu({ terminal, env, gate, onOpen: () => reporter.asking(), ...actions })
  }

  async perform(options: OpenOptions): Promise<number> {
    const state = this.#state
    const { dir, out, force, model, contextTokens } = this.#settings
    const owns = state?.owns ?? (() => false)
    const outFolder = new OutFolder(out, { replaceAny: force, reserved: owns })
    const folder = new Folder(dir, await hiddenFiles(dir, out, owns))
    const edit = this.#settings.approval.edit === true ? new EditFolder(folder, (path) => owns(path) || isInside(out, path)) : undefined
    const servers = await startServers(this.#settings.mcp.servers, { cwd: dir, approve: this.#settings.approval.approve })
    try {
      const tools = mergeToolboxes([toolbox(fileTools(folder, outFolder, edit)), ...servers.toolboxes])
      const host: Host = { ...modelHost(model, contextTokens), tools, decide: this.#asker.decide }
      return await this.#performWith(host, tools, servers.shown, options)
    } finally {
      await servers.close()
    }
  }

  async #performWith(host: Host, tools: LiveToolbox, servers: readonly ShownServer[], options: OpenOptions): Promise<number> {
    const state = this.#state
    // Opened before anything is shown or run, so a state file that cannot be written fails here.
    const { machine, journal, config } = await this.#open(tools.specs, options)
    this.#reporter.started(this.#settings, {
      ...(state !== undefined && { state: state.path }),
      ...(state?.saved !== undefined && { resumedAt: machine.iteration }),
      ...(servers.length > 0 && { servers }),
    })
    try {
      if (machine.outcome !== undefined) {
        await state?.journal?.settled(machine)
        return this.#end(machine, machine.outcome, true)
      }
      const synced: Host = { ...host, syncExecutionSurface: syncTools(tools, config.systemPrompt ?? "") }
      const result = await this.#runOrPause(machine, synced, journal)
      if (result === "paused") return 1
      return result.type === "suspended" ? this.#suspended(machine, result) : this.#end(machine, result.outcome, false)
    } catch (thrown) {
      const error = state?.explain(thrown) ?? thrown
      const failure = error instanceof CliError ? error : new CliError(`The run failed: ${oneLine(String(error))}`, 1, { cause: error })
      this.#reporter.failed(failure.message)
      throw failure
    }
  }

  /** Starts or resumes the turn. Calls of servers must not run twice, so that a turn without a state file has a journal in memory. */
  async #open(
    tools: readonly ToolSpec[],
    options: OpenOptions,
  ): Promise<{ readonly machine: TurnMachine; readonly journal: TurnJournal | undefined; readonly config: TurnConfig }> {
    const { task, maxIterations, contextTokens, prices } = this.#settings
    const window = { ...(contextTokens !== undefined && { contextTokens }), ...(prices !== undefined && { prices }) }
    const meta: RunMeta = { format: "turn-machine/run", version: 2, task, ...workOf(this.#settings), maxIterations, ...window }
    const config = runConfig(meta, tools)
    const start = runStart(task)
    if (this.#state !== undefined) {
      const machine = await this.#state.open(config, start, meta, options)
      return { machine, journal: this.#state.journal, config }
    }
    if (!hasServers(meta)) return { machine: new TurnMachine(config, start), journal: undefined, config }
    const journal = await TurnJournal.open(memoryJournalStore(), "run")
    return { machine: await journal.begin(config, start), journal, config }
  }

  /**
   * Runs the turn until it ends, nothing but undecided calls is left, or the user asks to stop. With a state file, a stopped turn can be
   * resumed; without one, it is cancelled and ends. In a terminal, the first Ctrl-C asks what to do, and the run continues until that is chosen.
   */
  async #runOrPause(machine: TurnMachine, host: Host, journal: TurnJournal | undefined): Promise<Done | Suspended | "paused"> {
    const controller = new AbortController()
    let pause: () => void = () => {}
    const paused = new Promise<"paused">((resolve) => {
      pause = () => resolve("paused")
    })
    let isStopping = false
    const stop = (): void => {
      isStopping = true
      if (this.#state === undefined) controller.abort("The user stopped the turn.")
      else pause()
    }
    // The id of the message counts the messages until then.
    const redirect = (text: string): Promise<boolean> => redirectRun(machine, () => [userMessage(text, { after: machine.messages })])
    const menu = this.#makeMenu({ stop, redirect })
    this.#menu = menu
    const stopListening = this.#io.onInterrupt((isFinal = false) => {
      if (isStopping) this.#io.exit(1)
      else if (menu === undefined || menu.isOpen || isFinal || this.#asker.isAsking) {
        stop()
        void menu?.close("Stopped.")
      } else menu.open()
    })
    try {
      const onEvent = (event: TurnEvent): void => {
        this.#asker.onEvent(event)
        if (isStopping && this.#state !== undefined) return
        if (event.type === "error") this.#lastError = event
        this.#reporter.event(event)
      }
      const ended = runTurn(machine, host, { signal: controller.signal, suspend: true, onEvent, ...(journal !== undefined && { journal }) })
      ended.catch(() => {})
      const result = await Promise.race([ended, paused])
      await menu?.close("The run has ended.")
      if (result === "paused") {
        this.#asker.close("Stopped.")
        await this.#state?.close()
        this.#reporter.paused({ state: this.#state?.path ?? "", totals: this.#totals(machine), durationMs: this.#elapsedMs() })
      }
      return result
    } finally {
      stopListening()
      await menu?.close("The run has ended.")
    }
  }

  /** Reports the calls that a person must decide about before the turn continues. */
  async #suspended(machine: TurnMachine, { held, pending }: Suspended): Promise<number> {
    const { path = "" } = this.#state ?? {}
    await this.#state?.close()
    this.#reporter.suspended({ state: path, held, pending, totals: this.#totals(machine), durationMs: this.#elapsedMs() })
    return SUSPENDED_EXIT_CODE
  }

  #end(machine: TurnMachine, outcome: Outcome, again: boolean): number {
    const exitCode = outcome.type === "finished" ? 0 : 1
    const totals = this.#totals(machine)
    this.#reporter.ended({ outcome, totals, durationMs: this.#elapsedMs(), exitCode, again })
    if (outcome.type !== "finished") this.#io.stderr.write(`turn-machine: ${oneLine(this.#whyStopped(outcome, totals.iterations))}\n`)
    return exitCode
  }

  /** Says in one line why a turn stopped and what to do. */
  #whyStopped(outcome: Outcome, iterations: number): string {
    const { model } = this.#settings
    const why = this.#lastError === undefined ? "" : ` ${this.#lastError.message.replace(/^LLM error: /, "").replace(/\.?$/, ".")}`
    if (outcome.type !== "stopped") return "The turn was handed over to another agent, which this command cannot run."
    switch (outcome.stop.type) {
      case "cancelled":
        return "The turn was cancelled. To stop and resume a turn, use --state FILE."
      case "max_iterations":
        return `The turn reached its limit of ${iterations} iterations before it finished. Start a new run with a higher --max-iterations.`
      case "provider_error": {
        const again = this.#state === undefined ? "run the command again" : "run the same command with --resume"
        const { code, terminalReason } = this.#lastError?.envelope ?? {}
        if (model.type === "embedded") {
          const isWindow = terminalReason === "context_overflow"
          return `The embedded planner failed.${why}${isWindow ? " Start a new run with more --context-tokens, or ask for less." : ""}`
        }
        const failed = `The model call to ${shownUrl(model.baseUrl)} failed.${why}`
        if (terminalReason === "content_filter" || terminalReason === "refusal") return `${why} Rephrase the task in a new run.`
        if (terminalReason === "context_overflow") return `${failed} Ask for less in one task, or use a model with a larger context.`
        if (code === "empty_response") return `${why} A retry may help: ${again}.`
        if (code === "timeout" || code === "idle_timeout") return `${failed} Raise --timeout-ms or check the URL, then ${again}.`
        return `${failed} ${adviceOf(this.#lastError?.envelope, again)}`
      }
      case "incomplete":
        return "The model's answer was cut off at its length limit. Ask for less in one task."
      default:
        return `The turn stopped (${outcome.stop.type.replaceAll("_", " ")}).${why}`
    }
  }

  #totals(machine: TurnMachine): RunTotals {
    return totalsOf(machine, this.#settings.prices)
  }

  /** Milliseconds spent on the turn in this process and earlier ones. */
  #elapsedMs(): number {
    return (this.#state?.workedMs ?? 0) + performance.now() - this.#startedAt
  }
}

/** What to do after a failed model call that another attempt may repair. `again`: how to make it. */
function adviceOf({ code, failureKind, retryAt }: Partial<ErrorEnvelope> = {}, again: string): string {
  if (failureKind === "rate_limit" || failureKind === "usage_limit" || failureKind === "overloaded")
    return `${retryAt === undefined ? "Later" : `After ${new Date(retryAt).toLocaleString()}`}, ${again}.`
  if (code === "stream_truncated") return `To try it once more, ${again}.`
  return `Check the URL, --model and the key, then ${again}.`
}

/** The host's model call for a chosen model. `contextTokens`: the window of the embedded model, which refuses longer requests. */
export function modelHost(model: ModelChoice, contextTokens?: number): Pick<Host, "llmCall"> {
  if (model.type === "embedded") return { llmCall: async ({ request }) => planWithin(request, contextTokens) }
  return endpointHost(model)
}

/** @throws {LlmCallError} the request is longer than the window */
function planWithin(request: LlmRequest, contextTokens: number | undefined): LlmResponse {
  const tokens = contextTokens === undefined ? 0 : estimateTokens(request)
  if (contextTokens === undefined || tokens <= contextTokens) return plan(request)
  const message = `The request has about ${tokens} tokens; the window has ${contextTokens}.`
  throw new LlmCallError({ message, retryable: false, kind: "context_overflow", terminalReason: "context_overflow" })
}

/** Says which files a walk omits: the output folder, the state and its lock, and temporary files. */
export async function hiddenFiles(dir: string, out: string, isState: (path: string) => boolean): Promise<(path: string) => boolean> {
  const outPath = await realpath(out).catch(() => out)
  const apart = outPath !== dir && isInside(dir, outPath)
  return (path) => isState(path) || (apart && path === outPath) || path.endsWith(".turn-machine-tmp")
}
