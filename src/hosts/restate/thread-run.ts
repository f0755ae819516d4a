import { lostUsageRecord } from "../../drivers/goal/deliveries.ts"
import { TurnError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import { undecidedCalls } from "../../machine/held.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import { begin } from "../../machine/step.ts"
import { errorEvent } from "../../machine/terminal.ts"
import type { TurnMachine as PureTurnMachine } from "../../machine/turn-machine.ts"
import { wireValidation } from "../../schemas/validation.ts"
import { cutMiddle } from "../../text.ts"
import { TurnMachine } from "../../validated-turn-machine.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { Checkpoint } from "../../wire/effect.ts"
import type { Outcome, TurnEvent } from "../../wire/event.ts"
import type { Goal, GoalOutput } from "../../wire/goal.ts"
import type { Response, ToolDecisions } from "../../wire/response.ts"
import type { InputTime } from "../../wire/thread.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import { type EffectContext, type Host, type RunLoop, ToolError, wrapHost } from "../host.ts"
import { type DecisionResult, type OutsideAnswerCode, outsideDecision } from "../journal/outside-answers.ts"
import type { CheckRunner } from "../thread/check-runner.ts"
import type { ThreadTurn } from "../thread/config.ts"
import type { OpenedTurn, RestFacts } from "../thread/loop-options.ts"
import { Thread, type ThreadOptions, type ThreadRest } from "../thread/thread.ts"
import { isCancellation, throughCancellation } from "./context.ts"
import { RestateRun, type RestateTurnOptions } from "./restate-run.ts"
import { type KnownHistory, restoreSegment } from "./segments.ts"
import {
  type ObjectClient,
  type ObjectSdk,
  readThroughCancellation,
  type StateReader,
  type StateWriter,
  stateOf,
  type ThreadContext,
} from "./thread-context.ts"
import { Inbox, type InboxEntry, type InboxItem, type InboxPlace, type InboxReply, isBefore, type TakenItems } from "./thread-inbox.ts"
import { objectStore, piecesOf } from "./thread-store.ts"

/** How the turns of a thread in Restate run. */
export interface ThreadRunOptions
  extends Pick<ThreadOptions, "config" | "goals" | "policy" | "mode" | "goal" | "turnDeadlineMs" | "continueInTurn" | "lostUsage">,
    Pick<RestateTurnOptions, "retry" | "segment" | "maxResultBytes" | "toolConcurrency" | "cancelGraceMs" | "isFatal" | "now"> {
  /** The name of the virtual object. */
  readonly name: string
  /** The executors of all turns. `save` is not called. */
  readonly host: Host
  /** Runs the checks of a goal that are commands. Each run is a step of the journal. Absent: a goal with such checks rests. */
  readonly checks?: CheckRunner
  /**
   * How long an invocation waits for the time of a goal's next continuation, in milliseconds. For a longer wait, the invocation ends, and the thread
   * runs again at that time. Default 600,000.
   */
  readonly maxWaitMs?: number
  /** Receives changes and metrics of the goal, as a step of the journal: each at least once. */
  readonly onGoal?: (output: GoalOutput) => unknown
  /** Receives events of turns, as in `restateTurn`. */
  readonly onEvent?: (event: TurnEvent, thread: { readonly key: string; readonly turnId: string }) => unknown
}

/** An input that no turn has received. */
export interface WaitingInput {
  readonly inputId: string
  readonly when: InputTime
  /** When it was said. Milliseconds since the epoch. */
  readonly at: number
}

/** What is known of a thread without its history. It is small, and a value of its own in the state of the object. */
export interface ThreadHead {
  /** When it was written. Milliseconds since the epoch. */
  readonly at: number
  /** The goal at the last end of a turn or command between turns. */
  readonly goal: Goal | null
  /** How many turns have begun. */
  readonly turns: number
  /** The turn that has begun and not ended. */
  readonly openTurn?: ThreadTurn
  /** The last turn that ended. A long text of its outcome is cut. */
  readonly lastTurn?: { readonly turnId: string; readonly outcome: Outcome }
  /** The inputs that no turn has received. */
  readonly queue: readonly WaitingInput[]
  /** The calls of the open turn that wait for a decision. */
  readonly held: readonly HeldCall[]
  /** The calls of the open turn that continue outside. */
  readonly pending: readonly ExternalCall[]
  /** The tokens of all turns that have ended. */
  readonly usage: TokenUsage
  /** Why the thread rests. Absent: it runs, or continues in another invocation. */
  readonly rest?: Omit<RestFacts, "outcome">
}

/** How far the open turn is. */
export interface TurnProgress {
  readonly turnId: string
  readonly iteration: number
  /** The tokens of all answers so far. */
  readonly usage: TokenUsage
  /** When its last answer came. Milliseconds since the epoch. */
  readonly at: number
}

/** The keys of the state. */
export const HEAD = "head"
export const PROGRESS = "progress"
const REST = "rest"

/** A rest has the whole text of its outcome. */
async function writeRest(state: StateReader & StateWriter, rest: ThreadRest): Promise<void> {
  const before = (await state.get<number>(REST)) ?? 0
  const pieces = piecesOf(JSON.stringify(rest))
  pieces.forEach((piece, index) => {
    state.set(`${REST}:${index}`, piece)
  })
  for (let index = pieces.length; index < before; index += 1) state.clear(`${REST}:${index}`)
  state.set(REST, pieces.length)
}

/** `undefined`: it is not there, or not whole. */
async function readRest(state: StateReader): Promise<ThreadRest | undefined> {
  const count = (await state.get<number>(REST)) ?? 0
  let text = ""
  for (let index = 0; index < count; index += 1) text += (await state.get<string>(`${REST}:${index}`)) ?? ""
  try {
    return JSON.parse(text) as ThreadRest
  } catch {
    return undefined
  }
}

/**
 * The last turn that began, and the invocation that runs it. `null`: it is stored, and any invocation may continue it. It stays when the turn ends: a
 * run that is killed before the log has the end must not leave a turn that looks as if it had not begun.
 */
type BegunTurn = { readonly turnId: string; readonly invocation: string | null }

const BEGUN = "begun"

/** What was decided in the last turn in which anything was. */
type DecidedCalls = { readonly turnId: string; readonly records: readonly ToolDecisions[] }

const DECIDED = "decided"

const LOST = "The invocation that ran the turn ended before it. What it did is not known here, so the turn does not run again."

/** What a run of the thread was asked for. */
export interface RunRequest {
  /** It runs for this item. If another run has recorded it and the thread rests, there is nothing to do. */
  readonly after?: InboxPlace
}

/** `continues`: the open turn continues in the next invocation. */
export type RunResult = { readonly type: "rested"; readonly rest: ThreadRest } | { readonly type: "continues" }

const DEFAULT_MAX_WAIT_MS = 600_000

/** The id of the thread of an object. Its turns, and so their idempotency keys, differ from those of all other objects. */
export function threadIdOf(name: string, key: string): string {
  return `${name}/${key}`
}

/** One invocation that runs a thread until it rests. */
export class ThreadRun {
  readonly #sdk: ObjectSdk
  readonly #ctx: ThreadContext
  /** The state of the object. A cancelled invocation still reads it. */
  readonly #state: StateReader & StateWriter
  readonly #options: ThreadRunOptions
  readonly #inbox: Inbox
  /** Aborted when a segment of a turn ends. */
  readonly #pause = new AbortController()
  /** Aborted when the invocation is cancelled. */
  readonly #stop = new AbortController()
  #at = 0
  #usage: TokenUsage = NO_USAGE
  #turn: OpenedTurn | undefined
  #machine: PureTurnMachine | undefined
  /** Answers from outside that came before the open turn ran. */
  #deferred: InboxEntry[] = []
  #counted: string | undefined
  /** Aborted when the open turn, which another invocation has left, is to end. */
  #lost: AbortController | undefined
  /** What that turn had used. */
  #lostUsage: TokenUsage | undefined
  #written = ""
  #steps = 0

  private constructor(sdk: ObjectSdk, ctx: ThreadContext, options: ThreadRunOptions) {
    this.#sdk = sdk
    this.#ctx = ctx
    this.#state = stateOf(ctx, this.#cancelled)
    this.#options = options
    this.#inbox = new Inbox(ctx, this.#state, options.name)
  }

  static run(sdk: ObjectSdk, ctx: ThreadContext, options: ThreadRunOptions, { after }: RunRequest): Promise<RunResult> {
    return new ThreadRun(sdk, ctx, options).#begin(after)
  }

  /** The invocation is cancelled: the open turn ends in order, and nothing else begins. */
  readonly #cancelled = (): void => this.#stop.abort()

  async #begin(after: RunRequest["after"]): Promise<RunResult> {
    const head = await this.#state.get<ThreadHead>(HEAD)
    const cursor = await this.#inbox.load()
    // What the run is for is recorded, and nothing waits.
    if (isBefore(after, cursor) && head?.rest !== undefined && head.queue.length === 0) {
      const rest = await readRest(this.#state)
      if (rest !== undefined) return { type: "rested", rest }
    }
    this.#usage = head?.usage ?? NO_USAGE
    this.#at = await readThroughCancellation(() => this.#ctx.date.now(), this.#cancelled)
    return this.#run()
  }

  async #run(): Promise<RunResult> {
    const { config, goals, policy, mode, goal, turnDeadlineMs, continueInTurn, lostUsage, name } = this.#options
    const thread = await Thread.open(objectStore(this.#state), threadIdOf(name, this.#ctx.key), {
      config,
      now: () => this.#now,
      ...definedOnly({ goals, policy, mode, goal, turnDeadlineMs, continueInTurn, lostUsage }),
      ...approvalOptions(this.#options),
    })
    this.#writeHead(thread)
    await this.#receive(thread)
    for (;;) {
      const rest = await this.#runThread(thread)
      if (this.#pause.signal.aborted) {
        this.#writeHead(thread)
        await thread.close()
        this.#client("send")["run"]?.({})
        return { type: "continues" }
      }
      if (rest.type === "suspended" && !this.#stop.signal.aborted) {
        this.#writeHead(thread)
        await this.#arrival(expiryOf(rest.held))
        await this.#expire(thread, rest.held)
        await this.#receive(thread)
        continue
      }
      if (!this.#stop.signal.aborted && (await this.#receive(thread)) > 0) continue
      const notBefore = this.#stop.signal.aborted ? undefined : rest.notBefore
      const { maxWaitMs = DEFAULT_MAX_WAIT_MS } = this.#options
      if (notBefore !== undefined && notBefore - this.#now <= maxWaitMs) {
        this.#writeHead(thread)
        await this.#arrival(notBefore)
        await this.#receive(thread)
        continue
      }
      const { lastTurn } = thread
      // An input that was sent again has the end of the turn that received it.
      const found: ThreadRest = rest.outcome === undefined && lastTurn !== undefined ? { ...rest, outcome: lastTurn.outcome } : rest
      // The head says that there is a rest.
      await writeRest(this.#state, found)
      this.#writeHead(thread, found)
      await thread.close()
      if (notBefore !== undefined) this.#client("send")["run"]?.({}, this.#sdk.rpc.sendOpts({ delay: Math.max(0, notBefore - this.#now) }))
      return { type: "rested", rest: found }
    }
  }

  /** The time as the journal has it: that of the last thing that was recorded. */
  get #now(): number {
    return Math.max(this.#at, this.#machine?.turn.position.at ?? 0)
  }

  #client(kind: "call" | "send"): { readonly [handler: string]: (parameter: unknown, options?: unknown) => unknown } {
    const definition = { name: this.#options.name }
    const client = kind === "call" ? this.#ctx.objectClient(definition, this.#ctx.key) : this.#ctx.objectSendClient(definition, this.#ctx.key)
    return client as ObjectClient
  }

  #runThread(thread: Thread): Promise<ThreadRest> {
    const { onGoal, checks, isFatal } = this.#options
    return thread.run(this.#host(thread), {
      maxWaitMs: 0,
      pause: this.#pause.signal,
      signal: this.#stop.signal,
      openTurn: (turn) => this.#open(turn),
      runTurn: this.#loop(thread),
      onTurn: () => this.#writeHead(thread),
      attend: async () => {
        // A turn is attended by its run.
        if (thread.openTurn === undefined) await this.#receive(thread)
      },
      ...(onGoal !== undefined && { onGoal: (output: GoalOutput) => this.#step("goal", async () => void (await onGoal(output))) }),
      ...(checks !== undefined && { checks: (request, context) => this.#step("checks", () => checks(request, context)) }),
      ...(isFatal !== undefined && { isFatal }),
    })
  }

  /** A step of the journal for what is not part of an effect. */
  async #step<Value>(what: string, action: () => Promise<Value>): Promise<Value> {
    this.#steps += 1
    return throughCancellation(this.#sdk, this.#ctx.run(`${what} ${this.#steps}`, action), this.#cancelled)
  }

  // --- turns -------------------------------------------------------------------------------------------------------------------------

  async #open(turn: OpenedTurn): Promise<{ readonly machine: PureTurnMachine; readonly resumed: boolean }> {
    const known = this.#turn?.turnId === turn.turnId ? this.#machine : undefined
    this.#turn = turn
    if (known !== undefined) return { machine: known, resumed: true }
    const { turnId } = turn
    const begun = await this.#state.get<BegunTurn>(BEGUN)
    const progress = await this.#state.get<TurnProgress>(PROGRESS)
    const { id: invocation } = this.#ctx.request()
    const stored = restoreSegment(this.#sdk, this.#state, withValidation(turn.config), turnId, historyOf(turn))
    // Another invocation left the turn. If that was while it stored a segment, nothing can be restored.
    const isLeft = begun?.turnId === turnId && begun.invocation !== null && begun.invocation !== invocation
    const restored = await (isLeft ? stored.catch(() => undefined) : stored)
    const machine = restored ?? beginTurn(turn)
    this.#machine = machine
    this.#lost = undefined
    if (isLeft || (begun?.turnId === turnId && begun.invocation === null && restored === undefined)) {
      this.#lost = new AbortController()
      this.#lostUsage = progress?.turnId === turnId ? usageSince(machine.usage, progress.usage) : undefined
    }
    this.#writeBegun({ turnId, invocation })
    return { machine, resumed: restored !== undefined }
  }

  #writeBegun(begun: BegunTurn): void {
    this.#state.set(BEGUN, begun)
  }

  /** Ends a turn that its invocation has left, before its work: what it did is not known. What it had used is charged as far as the state says. */
  #leave(machine: PureTurnMachine, lost: AbortController): void {
    // The turn of a goal begins with the first request.
    const { type } = machine.outstanding ?? {}
    if (type === "sync_execution_surface" || type === "checkpoint") return
    const { turnId = "" } = this.#turn ?? {}
    if (this.#lostUsage !== undefined && this.#options.goals !== false)
      machine.apply([{ type: "append_events", events: [lostUsageRecord(threadIdOf(this.#options.name, this.#ctx.key), turnId, this.#lostUsage)] }])
    this.#lostUsage = undefined
    lost.abort(new Error(LOST))
  }

  #loop(thread: Thread): RunLoop {
    return async (machine, host, { signal } = {}) => {
      const { turnId = "" } = this.#turn ?? {}
      const { retry, segment, maxResultBytes, toolConcurrency, cancelGraceMs, isFatal, now, onEvent } = this.#options
      for (const entry of this.#deferred.splice(0)) await this.#apply(thread, entry)
      const { key } = this.#ctx
      const options: RestateTurnOptions = {
        turnId,
        ...definedOnly({ retry, segment, maxResultBytes, toolConcurrency, cancelGraceMs, isFatal, now }),
        ...(onEvent !== undefined && { onEvent: (event: TurnEvent) => onEvent(event, { key, turnId }) }),
      }
      const run = new RestateRun(this.#sdk, this.#ctx, machine, host, options, {
        checkpoint: (effect) => this.#checkpoint(host, effect, signal),
        progress: (effect) => host.progress?.(effect),
        onEffect: (given) => this.#onEffect(host, given),
        mail: () => this.#inbox.arrival,
        onMail: async () => {
          this.#inbox.arrived()
          await this.#receive(thread)
        },
        ...(this.#turn !== undefined && { history: this.#turn.history }),
        ...(signal !== undefined && { signal: this.#lost?.signal ?? signal }),
      })
      const ended = await run.run()
      this.#at = this.#now
      if (ended.type === "done") {
        if (this.#counted !== turnId) this.#usage = addUsage(this.#usage, machine.usage)
        this.#counted = turnId
        // The invocation was cancelled: nothing more begins.
        if (run.isCancelled && this.#lost === undefined && signal?.aborted !== true) this.#stop.abort()
      } else if (run.isStored) {
        this.#writeBegun({ turnId, invocation: null })
        this.#pause.abort()
      }
      return ended
    }
  }

  async #checkpoint(host: Host, effect: Checkpoint, signal: AbortSignal = new AbortController().signal): Promise<Response> {
    const context: EffectContext = { effectId: effect.id, idempotencyKey: undefined, signal, emit: () => {} }
    const delivery = (await host.checkpoint?.(effect, context)) ?? {}
    const { turnId = "" } = this.#turn ?? {}
    if (this.#machine !== undefined) this.#writeProgress(turnId, this.#machine)
    return { type: "checkpoint_delivery", id: effect.id, at: this.#now, delivery }
  }

  #writeProgress(turnId: string, { iteration, usage }: PureTurnMachine): void {
    const progress: TurnProgress = { turnId, iteration, usage, at: this.#now }
    this.#state.set(PROGRESS, progress)
  }

  async #onEffect(host: Host, machine: PureTurnMachine): Promise<void> {
    if (this.#lost === undefined) await host.save?.(machine)
    else this.#leave(machine, this.#lost)
  }

  /** The host of the user. What the thread calls outside of an effect's step gets a step of its own. */
  #host(thread: Thread): Host {
    const { host, onEvent } = this.#options
    const { key } = this.#ctx
    const own: Host = wrapHost(host, {
      tools: {
        call: (next, call, context) => {
          // Only the check of a goal has no effect.
          if (context.effectId !== 0) return next(call, context)
          return this.#step(`check ${call.callId}`, async () => {
            try {
              return await next(call, context)
            } catch (error) {
              // It would be tried again, for ever. A check fails instead.
              if (error instanceof ToolError || this.#isFatal(error)) throw error
              throw new this.#sdk.TerminalError(messageOf(error))
            }
          })
        },
      },
      checkpoint: async (next, effect, context) => {
        if (host.checkpoint === undefined) return undefined
        const turnId = thread.openTurn?.turnId ?? ""
        const step = this.#ctx.run(`${effect.id} checkpoint`, async () => {
          try {
            return (await next(effect, context)) ?? null
          } catch (error) {
            if (this.#isFatal(error)) throw error
            const event = errorEvent(`Nothing was delivered at the checkpoint. ${String(error)}`, { kind: "checkpoint", code: "executor_threw" })
            await onEvent?.(event, { key, turnId })
            return null
          }
        })
        return (await throughCancellation(this.#sdk, step, this.#cancelled)) ?? undefined
      },
      progress: async (next, effect) => {
        if (host.progress !== undefined) await this.#step(`${effect.type} ${effect.recordsFrom}`, async () => void (await next(effect)))
      },
    })
    const { save: _save, ...rest } = own
    return rest
  }

  #isFatal(error: unknown): boolean {
    return error instanceof this.#sdk.RestateError || this.#options.isFatal?.(error) === true
  }

  // --- what arrives ------------------------------------------------------------------------------------------------------------------

  /** Waits until something arrives, or until a time. */
  async #arrival(until: number | undefined): Promise<void> {
    const arrival = this.#inbox.arrival.map(() => "arrival" as const)
    const time = until === undefined ? [] : [this.#ctx.sleep(Math.max(0, until - this.#now)).map(() => "time" as const)]
    try {
      const first = await this.#sdk.RestatePromise.race<"arrival" | "time">([arrival, ...time])
      if (first === "arrival") this.#inbox.arrived()
      else if (until !== undefined) this.#at = Math.max(this.#now, until)
    } catch (error) {
      if (!isCancellation(error)) throw error
      this.#cancelled()
    }
  }

  async #expire(thread: Thread, held: readonly HeldCall[]): Promise<void> {
    const due = held.filter(({ ask }) => ask.expiresAt !== undefined && ask.expiresAt <= this.#now)
    if (due.length > 0) await thread.decide(due.map(({ requestId, digest }) => ({ requestId, digest, decision: "expired" as const })))
  }

  /** Records everything that has arrived. Returns how much. */
  async #receive(thread: Thread): Promise<number> {
    let count = 0
    for (;;) {
      const taken: TakenItems = await this.#taken()
      for (const entry of taken.entries) await this.#apply(thread, entry)
      this.#inbox.recorded(taken)
      count += taken.entries.length
      if (taken.entries.length > 0) this.#writeHead(thread)
      else return count
    }
  }

  async #taken(): Promise<TakenItems> {
    for (;;) {
      try {
        return await this.#inbox.take()
      } catch (error) {
        // The cancellation of the invocation cancels its calls. What they would have handed out is still there.
        if ((error as { readonly code?: unknown }).code !== 409) throw error
        this.#cancelled()
      }
    }
  }

  async #apply(thread: Thread, entry: InboxEntry): Promise<void> {
    const { item, at, reply } = entry
    this.#at = Math.max(this.#now, at)
    if (this.#isEarly(thread, item)) {
      this.#deferred.push(entry)
      return
    }
    let result: InboxReply
    try {
      result = { ok: true, value: (await this.#result(thread, item, reply)) as Json }
    } catch (error) {
      // What a client sent must not fail the run: it would fail again in each attempt, and no other item would be received.
      if (this.#isFatal(error)) throw error
      result = { ok: false, code: error instanceof TurnError ? error.code : "invalid_request", message: messageOf(error) }
    }
    if (reply !== undefined) this.#ctx.resolveAwakeable(reply, result)
  }

  async #result(thread: Thread, item: InboxItem, id: string | undefined): Promise<unknown> {
    if (item.type === "decided") return this.#decide(thread, item)
    if (item.type === "answered" && !isForOpenTurn(thread, item)) return { status: "refused", ...whyNotOpen(thread, item.turnId) }
    return applyItem(thread, item, id)
  }

  /** Decides, and stores what was decided: the same decision again is stale, also when another invocation receives it. */
  async #decide(thread: Thread, item: Extract<InboxItem, { type: "decided" }>): Promise<readonly DecisionResult[]> {
    const { decisions, at, turnId } = item
    const isOpen = isForOpenTurn(thread, item)
    const results = isOpen ? await thread.decide(decisions, { at, turnId }) : undefined
    const known = await this.#state.get<DecidedCalls>(DECIDED)
    const open = thread.openTurn?.turnId
    const records = known !== null && (isOpen ? known.turnId === open : turnId === undefined || known.turnId === turnId) ? known.records : []
    const accepted = decisions.filter((_decision, index) => results?.[index]?.status === "accepted")
    if (open !== undefined && accepted.length > 0) {
      const record: ToolDecisions = { type: "tool_decisions", id: 0, at, decisions: accepted }
      this.#state.set<DecidedCalls>(DECIDED, { turnId: open, records: [...records, record] })
    }
    const otherwise = whyNotOpen(thread, turnId)
    return decisions.map((decision, index) => {
      const result = results?.[index]
      if (result !== undefined && result.status !== "refused") return result
      const earlier = outsideDecision(
        { batch: undefined, at: undefined, tools: { shown: [], now: undefined }, records, otherwise },
        decision,
        at,
      ).result
      return result === undefined || earlier.status === "stale" ? earlier : result
    })
  }

  /** Whether an answer is for the open turn, whose machine this invocation has not made yet. */
  #isEarly(thread: Thread, { type }: InboxItem): boolean {
    return (type === "decided" || type === "answered") && thread.openTurn !== undefined && thread.openTurn.turnId !== this.#turn?.turnId
  }

  // --- head --------------------------------------------------------------------------------------------------------------------------

  #writeHead(thread: Thread, rest?: ThreadRest): void {
    const { goal, turns, openTurn, lastTurn } = thread
    const { state } = this.#machine?.turn.position ?? {}
    const waits = openTurn !== undefined && openTurn.turnId === this.#turn?.turnId && state?.type === "waiting_tools" ? state : undefined
    const head = {
      goal,
      turns,
      ...(openTurn !== undefined && { openTurn }),
      ...(lastTurn !== undefined && { lastTurn: { turnId: lastTurn.turnId, outcome: shortOutcome(lastTurn.outcome) } }),
      queue: thread.queue().map(({ inputId, when, at }): WaitingInput => ({ inputId, when, at })),
      held: waits === undefined ? [] : undecidedCalls(waits),
      pending: waits?.pending ?? [],
      usage: this.#usage,
      ...(rest !== undefined && { rest: withoutOutcome(rest) }),
    }
    const text = JSON.stringify(head)
    if (text === this.#written) return
    this.#written = text
    this.#state.set<ThreadHead>(HEAD, { at: this.#now, ...head })
  }
}

function withoutOutcome({ reason, notBefore, wait }: ThreadRest): Omit<RestFacts, "outcome"> {
  return { reason, ...(notBefore !== undefined && { notBefore }), ...(wait !== undefined && { wait }) }
}

/** How much of the text of an outcome the head has, in UTF-16 units. */
const MAX_TEXT_CHARS = 1_000

function shortOutcome(outcome: Outcome): Outcome {
  if (outcome.type !== "finished") return outcome
  const { finish } = outcome
  if (finish.type === "assistant_message") return { type: "finished", finish: { ...finish, text: cutMiddle(finish.text, MAX_TEXT_CHARS) } }
  const text = JSON.stringify(finish.value) ?? ""
  return text.length <= MAX_TEXT_CHARS ? outcome : { type: "finished", finish: { ...finish, value: cutMiddle(text, MAX_TEXT_CHARS) } }
}

function isForOpenTurn({ openTurn }: Thread, { turnId }: { readonly turnId?: string }): boolean {
  return openTurn !== undefined && (turnId === undefined || turnId === openTurn.turnId)
}

/** Why an answer for a turn that is not open does not count. */
function whyNotOpen({ threadId, turns }: Thread, turnId: string | undefined): { readonly code: OutsideAnswerCode; readonly message: string } {
  const number = turnId === undefined ? turns : Number(turnId.slice(threadId.length + 1))
  const hasEnded = turns > 0 && (turnId === undefined || turnId === `${threadId}.${number}`) && number >= 1 && number <= turns
  return hasEnded ? { code: "turn_finished", message: "The turn has ended." } : { code: "turn_not_begun", message: "The thread has no such turn." }
}

function approvalOptions(options: object): Pick<ThreadOptions, "approvals" | "approvalTtlMs"> {
  const { approvals } = options as { readonly approvals?: { readonly policy?: ThreadOptions["approvals"]; readonly ttlMs?: number } }
  const { policy, ttlMs } = approvals ?? {}
  return { ...(policy !== undefined && { approvals: policy }), ...(ttlMs !== undefined && { approvalTtlMs: ttlMs }) }
}

/**
 * `id`: identifies the item. Where it has no key of its own, it is recorded under this one: a run that is killed between the record and the cursor
 * leaves the item to the next run, which must not record it again.
 */
async function applyItem(thread: Thread, item: Exclude<InboxItem, { type: "decided" }>, id: string | undefined): Promise<unknown> {
  switch (item.type) {
    case "said": {
      const { input, when, key = id, attachments } = item
      return thread.say(input, definedOnly({ when, key, attachments }))
    }
    case "commanded":
      return thread.command(item.command, definedOnly({ key: item.key ?? id }))
    case "happened":
      await thread.event(item.event, definedOnly({ key: item.key ?? id }))
      return null
    case "answered":
      return thread.answer(item.callId, item.answer, { at: item.at, turnId: item.turnId })
    case "retracted":
      return thread.retract(item.inputId)
    case "interrupted": {
      const wasRunning = thread.openTurn !== undefined
      return { ...(await thread.interrupt(item.reason)), wasRunning }
    }
  }
}

/** A machine that trusts the history of its thread, as that of a journal does. */
function beginTurn({ config, start, history }: OpenedTurn): PureTurnMachine {
  const checked = withValidation(config)
  const { messages, events = [], ...own } = start
  const added = { ...own, messages: messages.slice(history.messages), events: events.slice(history.events) }
  checked.validation?.start(added)
  const { validation: _checked, ...trusting } = checked
  return TurnMachine.of(checked, begin(trusting, start).turn)
}

/** The part of a turn that the log of the thread has, as a checkpoint has it: an event that is a message names its place. */
function historyOf({ start, history }: OpenedTurn): KnownHistory {
  const { messages, events = [] } = start
  return { messages: messages.slice(0, history.messages), events: events.slice(0, history.events) }
}

function withValidation(config: OpenedTurn["config"]): OpenedTurn["config"] {
  return { ...config, validation: config.validation ?? wireValidation }
}

function usageSince(before: TokenUsage, after: TokenUsage): TokenUsage {
  return {
    inputTokens: Math.max(0, after.inputTokens - before.inputTokens),
    cachedInputTokens: Math.max(0, after.cachedInputTokens - before.cachedInputTokens),
    outputTokens: Math.max(0, after.outputTokens - before.outputTokens),
    reasoningTokens: Math.max(0, after.reasoningTokens - before.reasoningTokens),
  }
}

function expiryOf(held: readonly HeldCall[]): number | undefined {
  const times = held.flatMap(({ ask }) => ask.expiresAt ?? [])
  return times.length === 0 ? undefined : Math.min(...times)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The members that are not `undefined`. */
function definedOnly<Given extends object>(given: Given): { [Name in keyof Given]?: Exclude<Given[Name], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never
}
