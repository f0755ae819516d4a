import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import { errorEvent } from "../../machine/terminal.ts"
import type { TurnMachine as PureTurnMachine } from "../../machine/turn-machine.ts"
import type { HeldCall } from "../../wire/approval.ts"
import type { Checkpoint } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { GoalOutput } from "../../wire/goal.ts"
import type { Response } from "../../wire/response.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import { type EffectContext, type Host, type RunLoop, ToolError, wrapHost } from "../host.ts"
import { Thread, type ThreadRest } from "../thread/thread.ts"
import { isCancellation, throughCancellation } from "./context.ts"
import { JournalClock } from "./journal-clock.ts"
import { RestateRun } from "./restate-run.ts"
import {
  type ObjectClient,
  type ObjectSdk,
  readThroughCancellation,
  type StateReader,
  type StateWriter,
  stateOf,
  type ThreadContext,
} from "./thread-context.ts"
import { HEAD, HeadWriter, PROGRESS, readRest, type ThreadHead, type TurnProgress, writeRest } from "./thread-head.ts"
import { Inbox, isBefore } from "./thread-inbox.ts"
import { ItemReceiver, messageOf } from "./thread-items.ts"
import { approvalOptions, definedOnly, type RunRequest, type RunResult, type ThreadRunOptions, threadIdOf } from "./thread-options.ts"
import { objectStore } from "./thread-store.ts"
import { ThreadTurns } from "./thread-turns.ts"
import type { RestateTurnOptions } from "./turn-options.ts"

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
  readonly #turns: ThreadTurns
  readonly #clock: JournalClock
  readonly #items: ItemReceiver
  readonly #head: HeadWriter
  #usage: TokenUsage = NO_USAGE
  /** The last turn whose usage is counted. */
  #counted: string | undefined
  #steps = 0

  private constructor(sdk: ObjectSdk, ctx: ThreadContext, options: ThreadRunOptions) {
    this.#sdk = sdk
    this.#ctx = ctx
    this.#state = stateOf(ctx, this.#cancelled)
    this.#options = options
    this.#inbox = new Inbox(ctx, this.#state, options.name)
    this.#turns = new ThreadTurns(sdk, ctx, this.#state, options)
    this.#clock = new JournalClock(() => this.#turns.machine)
    this.#head = new HeadWriter(this.#state)
    this.#items = new ItemReceiver(this.#inbox, this.#state, this.#turns, this.#clock, {
      reply: (id, result) => ctx.resolveAwakeable(id, result),
      received: (thread) => this.#writeHead(thread),
      cancelled: this.#cancelled,
      isFatal: (error) => this.#isFatal(error),
    })
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
    this.#clock.advance(await readThroughCancellation(() => this.#ctx.date.now(), this.#cancelled))
    return this.#run()
  }

  async #run(): Promise<RunResult> {
    const { config, goals, policy, mode, goal, turnDeadlineMs, continueInTurn, lostUsage, name } = this.#options
    const thread = await Thread.open(objectStore(this.#state), threadIdOf(name, this.#ctx.key), {
      config,
      now: () => this.#clock.now,
      ...definedOnly({ goals, policy, mode, goal, turnDeadlineMs, continueInTurn, lostUsage }),
      ...approvalOptions(this.#options),
    })
    this.#writeHead(thread)
    await this.#items.receive(thread)
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
        await this.#items.receive(thread)
        continue
      }
      if (!this.#stop.signal.aborted && (await this.#items.receive(thread)) > 0) continue
      const notBefore = this.#stop.signal.aborted ? undefined : rest.notBefore
      const { maxWaitMs = DEFAULT_MAX_WAIT_MS } = this.#options
      if (notBefore !== undefined && notBefore - this.#clock.now <= maxWaitMs) {
        this.#writeHead(thread)
        await this.#arrival(notBefore)
        await this.#items.receive(thread)
        continue
      }
      const { lastTurn } = thread
      // An input that was sent again has the end of the turn that received it.
      const found: ThreadRest = rest.outcome === undefined && lastTurn !== undefined ? { ...rest, outcome: lastTurn.outcome } : rest
      // The head says that there is a rest.
      await writeRest(this.#state, found)
      this.#writeHead(thread, found)
      await thread.close()
      if (notBefore !== undefined) this.#client("send")["run"]?.({}, this.#sdk.rpc.sendOpts({ delay: Math.max(0, notBefore - this.#clock.now) }))
      return { type: "rested", rest: found }
    }
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
      openTurn: (turn) => this.#turns.open(turn),
      runTurn: this.#loop(thread),
      onTurn: () => this.#writeHead(thread),
      attend: async () => {
        // A turn is attended by its run.
        if (thread.openTurn === undefined) await this.#items.receive(thread)
      },
      ...(onGoal !== undefined && { onGoal: (output: GoalOutput) => this.#step("goal", async () => void (await onGoal(output))) }),
      ...(checks !== undefined && { checks: (request, context) => this.#step("checks", () => checks(request, context)) }),
      ...(isFatal !== undefined && { isFatal }),
    })
  }

  #writeHead(thread: Thread, rest?: ThreadRest): void {
    const { turn, machine } = this.#turns
    this.#head.write(thread, { turnId: turn?.turnId, machine, usage: this.#usage, now: this.#clock.now }, rest)
  }

  /** A step of the journal for what is not part of an effect. */
  async #step<Value>(what: string, action: () => Promise<Value>): Promise<Value> {
    this.#steps += 1
    return throughCancellation(this.#sdk, this.#ctx.run(`${what} ${this.#steps}`, action), this.#cancelled)
  }

  #loop(thread: Thread): RunLoop {
    return async (machine, host, { signal } = {}) => {
      const { turnId = "" } = this.#turns.turn ?? {}
      const { retry, segment, maxResultBytes, toolConcurrency, cancelGraceMs, isFatal, now, onEvent } = this.#options
      await this.#items.applyDeferred(thread)
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
          await this.#items.receive(thread)
        },
        ...(this.#turns.turn !== undefined && { history: this.#turns.turn.history }),
        ...(signal !== undefined && { signal: this.#turns.lost ?? signal }),
      })
      const ended = await run.run()
      // The times of its answers count after it, too.
      this.#clock.advance(0)
      if (ended.type === "done") {
        if (this.#counted !== turnId) this.#usage = addUsage(this.#usage, machine.usage)
        this.#counted = turnId
        // The invocation was cancelled: nothing more begins.
        if (run.isCancelled && this.#turns.lost === undefined && signal?.aborted !== true) this.#stop.abort()
      } else if (run.isStored) {
        this.#turns.stored(turnId)
        this.#pause.abort()
      }
      return ended
    }
  }

  async #checkpoint(host: Host, effect: Checkpoint, signal: AbortSignal = new AbortController().signal): Promise<Response> {
    const context: EffectContext = { effectId: effect.id, idempotencyKey: undefined, signal, emit: () => {} }
    const delivery = (await host.checkpoint?.(effect, context)) ?? {}
    const { turnId = "" } = this.#turns.turn ?? {}
    if (this.#turns.machine !== undefined) this.#writeProgress(turnId, this.#turns.machine)
    return { type: "checkpoint_delivery", id: effect.id, at: this.#clock.now, delivery }
  }

  #writeProgress(turnId: string, { iteration, usage }: PureTurnMachine): void {
    const progress: TurnProgress = { turnId, iteration, usage, at: this.#clock.now }
    this.#state.set(PROGRESS, progress)
  }

  async #onEffect(host: Host, machine: PureTurnMachine): Promise<void> {
    if (this.#turns.lost === undefined) await host.save?.(machine)
    else this.#turns.endLost(machine)
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

  /** Waits until something arrives, or until a time. */
  async #arrival(until: number | undefined): Promise<void> {
    const arrival = this.#inbox.arrival.map(() => "arrival" as const)
    const time = until === undefined ? [] : [this.#ctx.sleep(Math.max(0, until - this.#clock.now)).map(() => "time" as const)]
    try {
      const first = await this.#sdk.RestatePromise.race<"arrival" | "time">([arrival, ...time])
      if (first === "arrival") this.#inbox.arrived()
      else if (until !== undefined) this.#clock.advance(until)
    } catch (error) {
      if (!isCancellation(error)) throw error
      this.#cancelled()
    }
  }

  async #expire(thread: Thread, held: readonly HeldCall[]): Promise<void> {
    const due = held.filter(({ ask }) => ask.expiresAt !== undefined && ask.expiresAt <= this.#clock.now)
    if (due.length > 0) await thread.decide(due.map(({ requestId, digest }) => ({ requestId, digest, decision: "expired" as const })))
  }
}

const DEFAULT_MAX_WAIT_MS = 600_000

function expiryOf(held: readonly HeldCall[]): number | undefined {
  const times = held.flatMap(({ ask }) => ask.expiresAt ?? [])
  return times.length === 0 ? undefined : Math.min(...times)
}
