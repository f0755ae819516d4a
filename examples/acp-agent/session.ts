import {
  type AgentContext,
  type AvailableCommand,
  type ContentBlock,
  methods,
  type PromptResponse,
  RequestError,
  type SessionModeState,
  type SessionUpdate,
} from "@agentclientprotocol/sdk"
import { chatDriver, chatProjector, type Outcome } from "turn-machine"
import { type Host, mergeToolboxes, syncTools } from "turn-machine/hosts"
import type { McpToolbox } from "turn-machine/hosts/mcp"
import {
  JudgedThread,
  readJudged,
  runThread,
  type SuspendedTurn,
  Thread,
  type ThreadEvent,
  type ThreadEventsOptions,
  type ThreadRest,
} from "turn-machine/hosts/thread"
import type { HeldCall } from "turn-machine/schemas"
import { commandsOf } from "./commands.ts"
import { goalCommand } from "./goal-command.ts"
import type { Model } from "./models.ts"
import { askClient, decisionOfMode, MODES, type Mode } from "./permissions.ts"
import { planOf } from "./plan.ts"
import { partsOf } from "./prompt-content.ts"
import { diffOf } from "./shown-calls.ts"
import type { Storage } from "./storage.ts"
import { toolsOf } from "./tools.ts"
import { goalInput, Updates } from "./updates.ts"
import { type ClientSide, type Workspace, workspaceOf } from "./workspace.ts"

const SYSTEM_PROMPT =
  "You are a coding agent in the user's editor. Paths are relative to the folder of the session. Read before you change, and be brief."
/** A person may be away for long. Then the run waits again. */
const DAY_MS = 86_400_000
const TITLE_CHARS = 80

export const COMMANDS: AvailableCommand[] = [
  {
    name: "goal",
    description: "Works on an objective over many turns, with a checklist, until a judge says that it is reached. Also: resume, pause, clear",
    input: { hint: "what to reach" },
  },
]

export interface SessionOptions {
  readonly cwd: string
  readonly side: ClientSide
  readonly storage: Storage
  readonly model: Model
  readonly servers: readonly McpToolbox[]
}

/** A session of a client: a thread, its tools, and what the client is sent of it. */
export class Session {
  readonly thread: Thread
  readonly #side: ClientSide
  readonly #storage: Storage
  readonly #model: Model
  readonly #servers: readonly McpToolbox[]
  readonly #workspace: Workspace
  readonly #host: Host
  readonly #updates: Updates
  /** Ids of messages that the client has shown before it sent them. */
  readonly #shown: Set<string>
  #mode: Mode = "ask"
  #cursor: string | undefined
  /** The questions that the client has not answered. */
  readonly #questions = new Map<string, AbortController>()
  /** The questions that have their answers. */
  readonly #answered = new Set<string>()
  /** Aborted by `cancel`. Every prompt after it has a new one. */
  #work = new AbortController()
  readonly #closing = new AbortController()
  #running: Promise<ThreadRest> | undefined
  #judged: JudgedThread | undefined
  #sending: Promise<void> = Promise.resolve()
  readonly #turnShown = new Map<string, () => void>()
  readonly #turnsShown = new Set<string>()
  /** Whether another process left an open turn, or an input that no turn received. */
  readonly #isLeft: boolean
  readonly #leftTurn: string | undefined

  private constructor(thread: Thread, host: Host, workspace: Workspace, updates: Updates, shown: Set<string>, options: SessionOptions) {
    this.thread = thread
    this.#host = host
    this.#workspace = workspace
    this.#updates = updates
    this.#shown = shown
    this.#side = options.side
    this.#storage = options.storage
    this.#model = options.model
    this.#servers = options.servers
    this.#leftTurn = thread.openTurn?.turnId
    this.#isLeft = thread.openTurn !== undefined || thread.queue().length > 0
  }

  /**
   * Opens the thread of a session, creating it if needed.
   * @throws {JournalStoreError} `in_use`: another process has it open
   */
  static async open({ cwd, side, storage, model, servers }: SessionOptions): Promise<Session> {
    const { attachments, store } = storage
    const shown = new Set<string>()
    const { contextWindow, prices, name, llmCall } = model
    const updates = new Updates({ cwd, attachments, contextWindow, prices, isShown: (id) => shown.has(id) })
    const workspace = workspaceOf(cwd, side)
    const onTerminal = (callId: string, terminalId: string): void => updates.showTerminal(callId, terminalId)
    const tools = mergeToolboxes([toolsOf({ workspace, run: commandsOf(side), attachments, onTerminal }), ...servers])
    const host: Host = { llmCall, tools, syncExecutionSurface: syncTools(tools, SYSTEM_PROMPT) }
    const thread = await Thread.open(store, side.sessionId, {
      config: () => ({
        driver: chatDriver(),
        projector: chatProjector,
        model: name,
        systemPrompt: SYSTEM_PROMPT,
        tools: tools.specs,
        syncExecutionSurface: true,
      }),
      approvals: tools.approvals,
      policy: { endedBy: "judge" },
      // The client may have started other servers, or the user chosen another model, since the session was used last.
      resume: { reconfigure: true },
      meta: { cwd },
      waitMs: storage.waitMs,
    })
    return new Session(thread, host, workspace, updates, shown, { cwd, side, storage, model, servers })
  }

  get #client(): AgentContext {
    return this.#side.client
  }

  get #id(): string {
    return this.#side.sessionId
  }

  get modes(): SessionModeState {
    return { currentModeId: this.#mode, availableModes: [...MODES] }
  }

  /** @throws {RequestError} invalid params: there is no such mode */
  setMode(id: string): void {
    const mode = MODES.find((each) => each.id === id)
    if (mode === undefined)
      throw RequestError.invalidParams({ modeId: id }, `There is no mode "${id}"; the modes are ${MODES.map(({ id }) => id).join(", ")}.`)
    this.#mode = mode.id
  }

  /** Sends all that the session has: the conversation, its calls, and the plan. */
  async replay(): Promise<void> {
    for await (const event of this.#events({ live: false })) await this.#show(event)
    await this.#sendPlan()
  }

  /** Reads what the session has without sending it, so that the client is sent only what is new. */
  async skipReplay(): Promise<void> {
    for await (const event of this.#events({ live: false })) await this.#updates.of(event)
  }

  /** Sends from now on what happens, and continues what another process left: an open turn, and inputs that no turn received. */
  begin(): void {
    void this.#follow()
    this.#send({ sessionUpdate: "available_commands_update", availableCommands: COMMANDS })
    if (!this.#isLeft) return
    void this.#run().catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#log("the session cannot be continued", error)
    })
  }

  /**
   * Runs the user's prompt until the thread rests. While it runs, another prompt is received by the running turn at its next checkpoint.
   * @throws {RequestError} invalid params: the prompt is empty or has a block that is not accepted; internal error: the turn failed
   */
  async prompt(blocks: readonly ContentBlock[]): Promise<PromptResponse> {
    if (this.#work.signal.aborted) {
      await this.#running?.catch(() => {})
      this.#work = new AbortController()
    }
    const { signal } = this.#work
    const command = goalCommand(blocks)
    if (command !== undefined) {
      if (command.type === "start") this.#shown.add(goalInput(command.objective))
      const refused = (await this.thread.command(command)).find((output) => output.type === "refused")
      if (refused !== undefined) {
        this.#say(refused.message)
        await this.#sending
        return { stopReason: "end_turn" }
      }
    } else {
      const parts = await partsOf(blocks, this.#storage.attachments)
      const { inputId } = await this.thread.say(parts)
      this.#shown.add(inputId)
      this.#sendTitle(blocks)
    }
    const rest = await this.#run()
    await this.#sending
    if (signal.aborted) return { stopReason: "cancelled" }
    if (command !== undefined || this.thread.goal !== null) {
      this.#say(rest.reason)
      await this.#sending
    }
    return { stopReason: stopReasonOf(rest.outcome) }
  }

  /** Ends the running turn, the judge, and every question. Inputs that no turn has received are taken back. */
  async cancel(): Promise<void> {
    for (const question of this.#questions.values()) question.abort()
    if (this.#running === undefined && this.thread.queue().length === 0) return
    await this.thread.interrupt("The user stopped the turn.")
    this.#work.abort()
    for (const { inputId } of this.thread.queue()) await this.thread.retract(inputId)
  }

  /** Closes the thread. Its turn stays open, and is continued when the session is loaded. */
  async close(): Promise<void> {
    this.#closing.abort()
    for (const question of this.#questions.values()) question.abort()
    await this.#judged?.close()
    await this.thread.close()
    await this.#running?.catch(() => {})
    await Promise.all(this.#servers.map((server) => server.close()))
  }

  #run(): Promise<ThreadRest> {
    this.#running ??= this.#runUntilRest().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #runUntilRest(): Promise<ThreadRest> {
    const { signal } = this.#work
    for (;;) {
      const rest = await runThread(this.thread, this.#host, {
        signal,
        maxWaitMs: DAY_MS,
        between: () => this.#judge(),
        onSuspended: (turn) => this.#askLeft(turn),
      })
      await this.#judged?.close()
      this.#judged = undefined
      const { openTurn, lastTurn } = this.thread
      if (rest.type === "suspended" && !this.#closing.signal.aborted && openTurn !== undefined) continue
      if (lastTurn !== undefined) await this.#shownTurn(lastTurn.turnId)
      // A prompt may have arrived while the run returned.
      if (signal.aborted || this.thread.queue().length === 0) return rest
    }
  }

  async #judge() {
    if (this.thread.goal === null) return undefined
    this.#judged ??= await JudgedThread.open(this.#storage.store, this.thread, {
      judge: { model: this.#model.name },
      host: this.#host,
      signal: this.#work.signal,
      onChecklist: (state) => {
        const plan = planOf(state)
        if (plan !== undefined) this.#send(plan)
      },
    })
    return this.#judged.between()
  }

  /** Sends what happens until the thread is closed. */
  async #follow(): Promise<void> {
    try {
      for await (const event of this.#events({ after: this.#cursor })) {
        await this.#show(event)
        if (event.type === "approval_requested") this.#ask(event.turnId, event.held)
        if (event.type === "approval_decided") this.#questions.get(keyOf(event))?.abort()
        if (event.type === "turn_ended") {
          for (const [key, question] of this.#questions) if (key.startsWith(`${event.turnId}\n`)) question.abort()
          this.#turnShown.get(event.turnId)?.()
          this.#turnsShown.add(event.turnId)
        }
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#log("the events of the session cannot be read", error)
    }
  }

  /** Resolves when the client was sent the end of a turn. */
  async #shownTurn(turnId: string): Promise<void> {
    if (this.#turnsShown.has(turnId) || this.#closing.signal.aborted) return
    await new Promise<void>((resolve) => this.#turnShown.set(turnId, resolve))
    this.#turnShown.delete(turnId)
  }

  /** The events of the thread. What is read later continues after them. */
  async *#events(options: ThreadEventsOptions): AsyncGenerator<ThreadEvent, void, undefined> {
    for await (const event of this.thread.events(options)) {
      if ("cursor" in event) this.#cursor = event.cursor
      yield event
    }
  }

  async #show(event: ThreadEvent): Promise<void> {
    for (const update of await this.#updates.of(event)) this.#send(update)
    if (event.type === "turn_ended") this.#turnsShown.add(event.turnId)
    await this.#sending
  }

  /** Asks about the calls that another process left. The events of the others come while the turn runs. */
  #askLeft({ turnId, held }: SuspendedTurn): void {
    if (turnId === this.#leftTurn) for (const call of held) this.#ask(turnId, call)
  }

  #ask(turnId: string, held: HeldCall): void {
    const key = keyOf({ turnId, requestId: held.requestId })
    if (this.#questions.has(key) || this.#answered.has(key)) return
    const question = new AbortController()
    this.#questions.set(key, question)
    void this.#decide(turnId, held, question.signal)
      .catch((error: unknown) => {
        if (!question.signal.aborted && !this.#closing.signal.aborted) this.#log("a decision could not be recorded", error)
      })
      .finally(() => this.#questions.delete(key))
  }

  async #decide(turnId: string, held: HeldCall, signal: AbortSignal): Promise<void> {
    const decision =
      decisionOfMode(this.#mode, held) ??
      (await askClient(this.#client, { sessionId: this.#id, held, toolCall: await this.#asked(turnId, held), signal }))
    if (signal.aborted) return
    if (decision === "cancelled") return this.cancel()
    this.#answered.add(keyOf({ turnId, requestId: held.requestId }))
    const [result] = await this.thread.decide([decision], { turnId })
    if (result?.status === "refused") this.#log("a decision was refused", result.message)
  }

  /** What the client shows of a call that it is asked about: what a file would become, before it does. */
  async #asked(turnId: string, { callId, toolName, args }: HeldCall) {
    const { path } = (typeof args === "object" && args !== null ? args : {}) as { readonly path?: unknown }
    const oldText = toolName === "write_file" && typeof path === "string" ? await this.#workspace.read(path).catch(() => undefined) : undefined
    const diff = diffOf(this.#workspace.cwd, toolName, args, oldText)
    const toolCallId = this.#updates.idOf(turnId, callId) ?? callId
    return { toolCallId, status: "pending" as const, rawInput: args, ...(diff !== undefined && { content: [diff] }) }
  }

  async #sendPlan(): Promise<void> {
    const plan = planOf(await readJudged(this.#storage.store, this.thread.threadId))
    if (plan !== undefined) this.#send(plan)
    await this.#sending
  }

  #sendTitle(blocks: readonly ContentBlock[]): void {
    if (this.thread.turns > 0) return
    const title = titleOf(blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join(" "))
    if (title !== undefined) this.#send({ sessionUpdate: "session_info_update", title, updatedAt: new Date().toISOString() })
  }

  /** Words of the agent itself, not of the model: they are not part of the conversation. */
  #say(text: string): void {
    this.#send({ sessionUpdate: "agent_message_chunk", content: { type: "text", text }, messageId: `note-${Date.now()}` })
  }

  /** Updates are sent one after another. A client that is gone ends the connection, and with it the session. */
  #send(update: SessionUpdate): void {
    this.#sending = this.#sending.then(() => this.#client.notify(methods.client.session.update, { sessionId: this.#id, update })).catch(() => {})
  }

  #log(what: string, why: unknown): void {
    console.error(`${this.#id}: ${what}:`, why)
  }
}

function keyOf({ turnId, requestId }: { readonly turnId: string; readonly requestId: string }): string {
  return `${turnId}\n${requestId}`
}

/** A title of one line; `undefined` if the text has none. */
export function titleOf(text: string): string | undefined {
  const line = text.replace(/\s+/g, " ").trim()
  if (line === "") return undefined
  return line.length <= TITLE_CHARS ? line : `${line.slice(0, TITLE_CHARS - 1)}…`
}

/**
 * How a turn ended, in the words of the protocol.
 * @throws {RequestError} internal error: it failed
 */
function stopReasonOf(outcome: Outcome | undefined): PromptResponse["stopReason"] {
  if (outcome?.type !== "stopped") return "end_turn"
  const { stop } = outcome
  const { error } = stop
  switch (stop.type) {
    case "cancelled":
      return "cancelled"
    case "max_tokens":
      return "max_tokens"
    case "max_iterations":
    case "deadline":
      return "max_turn_requests"
    default:
      if (error?.terminalReason === "output_limit") return "max_tokens"
      if (error?.terminalReason === "refusal" || error?.terminalReason === "content_filter") return "refusal"
      throw RequestError.internalError(
        { stop: stop.type, kind: error?.failureKind ?? error?.kind, code: error?.code },
        error?.userMessage ?? "The turn failed.",
      )
  }
}
