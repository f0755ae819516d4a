import { JournalError } from "../../errors.ts"
import type { Decision } from "../../wire/approval.ts"
import type { Goal, GoalCommand, GoalOutput } from "../../wire/goal.ts"
import type { ThreadEvent } from "../../wire/thread-event.ts"
import type { Host, ToolAnswer } from "../host.ts"
import type { QueuedInput } from "../journal/input-queue.ts"
import type { DecisionResult, OutsideAnswerResult } from "../journal/outside-answers.ts"
import type { JournalStore } from "../journal/store.ts"
import { messageOf } from "../run/failures.ts"
import type { ThreadEventsOptions } from "../thread/events.ts"
import type { ThreadRest } from "../thread/loop-options.ts"
import {
  type InputReceipt,
  type Interrupted,
  type RedirectOptions,
  type RunThreadOptions,
  runThread,
  type SayOptions,
  Thread,
  type ThreadAnswerOptions,
  type ThreadApprovals,
  type ThreadInput,
  type ThreadInputOptions,
  type ThreadOptions,
  type ThreadTurn,
} from "../thread/thread.ts"
import { DurableObjectBase } from "./base.ts"
import { durableObjectJournalStore } from "./durable-object-journal-store.ts"
import { hideFromWorkers } from "./hidden-hooks.ts"
import type { TurnObjectContext, TurnObjectSocket } from "./platform.ts"
import { bodyOf } from "./requests.ts"
import { errorResponse, eventStream, failureOf, type TurnObjectFailure } from "./responses.ts"
import { POST_ROUTES, requireMethod } from "./routes.ts"
import { RunKeeper } from "./run-keeper.ts"
import { TurnObjectError } from "./turn-object-error.ts"

/** Options of a run that a {@link TurnObject} does not choose itself. */
export type TurnObjectRunOptions = Omit<RunThreadOptions, "signal" | "pause" | "suspend" | "wait" | "maxWaitMs">

/** The state of a {@link TurnObject}, as JSON. */
export interface TurnObjectStatus {
  readonly threadId: string
  /** How many turns have begun. */
  readonly turns: number
  readonly isRunning: boolean
  readonly openTurn?: ThreadTurn
  readonly goal: Goal | null
  /** The inputs that no turn has received. */
  readonly queue: readonly QueuedInput[]
  /** The calls that wait for a decision, or for a result from outside. */
  readonly approvals?: ThreadApprovals
  /** Why the last run of this instance of the object rests. */
  readonly rest?: Pick<ThreadRest, "reason" | "notBefore" | "wait" | "outcome">
  /** Why the last run failed. It is tried again at `retryAt`, in milliseconds since the epoch. */
  readonly error?: TurnObjectFailure & { readonly retryAt: number }
}

/**
 * A Durable Object that is one thread. Extend it, and export the class as one with SQLite storage (`new_sqlite_classes`):
 *
 *     export class Support extends TurnObject<Env> {
 *       threadOptions() {
 *         return { config: { driver: chatDriver(), projector: chatProjector, model: "…", tools: tools.specs } }
 *       }
 *       host() {
 *         return { tools, llmCall: openAiCompatible({ apiKey: this.env.API_KEY, … }).llmCall }
 *       }
 *     }
 *
 * Workers call its methods (`env.SUPPORT.getByName(id).say("Hello")`), or forward requests to `fetch`. The last part of the path is the route:
 *
 * | route | body | result |
 * | --- | --- | --- |
 * | `POST …/say` | `{ input, when?, key?, attachments? }` | `{ inputId, status }` |
 * | `POST …/redirect` | `{ input, key?, attachments? }` | `{ inputId, status }` |
 * | `POST …/retract` | `{ inputId }` | `{ result }` |
 * | `POST …/command` | `{ command, key? }` | `{ outputs }` |
 * | `POST …/event` | `{ name, key? }` | `{}` |
 * | `POST …/decide` | `{ decisions, turnId? }` | `{ results }` |
 * | `POST …/answer` | `{ callId, answer, turnId? }` | `{ result }` |
 * | `POST …/interrupt` | `{ reason? }` | `{ returned }` |
 * | `GET …/status` | | {@link TurnObjectStatus} |
 * | `GET …/events` | | the events of the thread: server-sent, or the messages of a WebSocket if the request asks for one |
 *
 * Events continue after the cursor in the query's `after`, or in the header `last-event-id`. An error is `{ error: { code, message } }`. Every Worker
 * that can reach the object may use all routes and public methods: override {@link authorize}, or check requests before they are forwarded. The
 * protected ones, such as `host`, cannot be called from Workers. Of an error of a method, the platform passes on name and message as one text, and
 * not the `code`: use `fetch` where it matters.
 *
 * Server-sent events, and those of the method `events`, are read as fast as the client reads. WebSockets have no such limit: what a slow client has
 * not read yet is in the memory of the object. Let clients read a long history with `GET …/events`, and open the WebSocket after its last cursor.
 *
 * An input is stored before its receipt is returned, and an alarm is set before it is stored. While the thread runs, the alarm is set again and again, so an
 * object that is evicted or killed is woken within {@link recoverAfterMs}, and continues where it stopped: no effect whose answer was stored is
 * performed again. A thread that rests has an alarm only if it waits for a time, and can be hibernated, also with open WebSockets. A run that
 * fails, for example because the storage does, is tried again by an alarm after 1 second, 2, 4, … up to 5 minutes.
 */
export abstract class TurnObject<Env = unknown, Context extends TurnObjectContext = TurnObjectContext> extends DurableObjectBase {
  /** For the types of `@cloudflare/workers-types` only: marks a class whose methods can be called from Workers. It has no value. */
  declare readonly __DURABLE_OBJECT_BRAND: never
  protected readonly ctx: Context
  protected readonly env: Env
  readonly #store: JournalStore
  readonly #keeper: RunKeeper
  #opening: Promise<Thread> | undefined
  /** Resolves when the thread that was opened before is closed. */
  #closing: Promise<void> | undefined
  /** What reads or changes the thread now. A deletion waits for its end. */
  readonly #acting = new Set<Promise<unknown>>()
  #deletion: Promise<void> | undefined
  #rest: ThreadRest | undefined
  #failure: TurnObjectStatus["error"]
  /** Aborted while the thread is deleted. */
  #deleting = new AbortController()
  readonly #sockets = new Map<TurnObjectSocket, AbortController>()

  /** @throws {TypeError} the class has no SQLite storage */
  constructor(ctx: Context, env: Env) {
    super(ctx, env)
    this.ctx = ctx
    this.env = env
    this.#store = durableObjectJournalStore(ctx.storage)
    hideFromWorkers(this, HOOKS)
    this.#keeper = new RunKeeper(ctx.storage, {
      recoverAfterMs: () => this.recoverAfterMs,
      run: () => this.#runUntilRest(),
      onFailed: (error, retryAt) => this.#onFailed(error, retryAt),
    })
    // The fields of the subclass are not set yet.
    void Promise.resolve().then(() => {
      // The object was hibernated: its WebSockets are still open.
      for (const socket of ctx.getWebSockets()) this.#serve(socket)
    })
  }

  /** The options of the thread, with the `config` of its turns. Called whenever the object opens its thread. */
  protected abstract threadOptions(): ThreadOptions | Promise<ThreadOptions>

  /** The host that performs the effects of a turn. Called at the beginning of each run. */
  protected abstract host(): Host | Promise<Host>

  /** More options of each run, such as `onGoal` or `between`. Default none. */
  protected runOptions(): TurnObjectRunOptions {
    return {}
  }

  /**
   * Called before each request to {@link fetch}. Return a response to refuse the request, for example with status 401. Default: every request is
   * accepted. It is not called for methods that Workers call.
   */
  protected authorize(_request: Request): Response | undefined | Promise<Response | undefined> {
    return undefined
  }

  /** Called with the error of each run that failed. Default: `console.error`. */
  protected onError(error: unknown): void {
    console.error(`Thread ${this.threadId}: ${messageOf(error)}`, error)
  }

  /**
   * After how many milliseconds the object is woken if it is evicted or killed while its thread runs. Below 70 seconds, so that an alarm comes before
   * an object without requests is evicted. Default 30,000.
   */
  protected get recoverAfterMs(): number {
    return 30_000
  }

  /** The id of the thread: by default the id of the object, so that no two objects have the same idempotency keys. It must not change. */
  get threadId(): string {
    return this.ctx.id.toString()
  }

  /** Records an input, as `Thread.say`, and runs the thread. Resolves when the input is stored. */
  say(input: ThreadInput, options: SayOptions = {}): Promise<InputReceipt> {
    return this.#act((thread) => thread.say(input, options))
  }

  /** Continues the running turn with an input, as `Thread.redirect`. */
  redirect(input: ThreadInput, options: RedirectOptions = {}): Promise<InputReceipt> {
    return this.#act((thread) => thread.redirect(input, options))
  }

  /** Takes an input back that no turn has received, as `Thread.retract`. */
  retract(inputId: string): Promise<"retracted" | "delivered" | "unknown"> {
    return this.#act((thread) => thread.retract(inputId))
  }

  /** Records a goal command, as `Thread.command`, and runs the thread. */
  command(command: GoalCommand, options: ThreadInputOptions = {}): Promise<readonly GoalOutput[]> {
    return this.#act((thread) => thread.command(command, options))
  }

  /** Records that something happened that a goal may wait for, as `Thread.event`, and runs the thread. */
  event(name: string, options: ThreadInputOptions = {}): Promise<void> {
    return this.#act((thread) => thread.event(name, options))
  }

  /** Records decisions about held calls, as `Thread.decide`, and runs the thread. */
  decide(decisions: readonly Decision[], options: ThreadAnswerOptions = {}): Promise<readonly DecisionResult[]> {
    return this.#act((thread) => thread.decide(decisions, options))
  }

  /** Records the result of a call that continued outside, as `Thread.answer`, and runs the thread. */
  answer(callId: string, answer: ToolAnswer, options: ThreadAnswerOptions = {}): Promise<OutsideAnswerResult> {
    return this.#act((thread) => thread.answer(callId, answer, options))
  }

  /** Cancels the open turn, as `Thread.interrupt`. Returns the inputs that it did not receive. */
  interrupt(reason?: string): Promise<Interrupted> {
    return this.#act((thread) => thread.interrupt(reason))
  }

  /** The state of the thread. */
  status(): Promise<TurnObjectStatus> {
    return this.#withThread((thread) => this.#statusOf(thread))
  }

  async #statusOf(thread: Thread): Promise<TurnObjectStatus> {
    const approvals = await thread.pendingApprovals()
    const { reason, notBefore, wait, outcome } = this.#rest ?? {}
    return {
      threadId: this.threadId,
      turns: thread.turns,
      isRunning: this.#keeper.isRunning,
      ...(thread.openTurn !== undefined && { openTurn: thread.openTurn }),
      goal: thread.goal,
      queue: thread.queue(),
      ...(approvals !== undefined && { approvals }),
      ...(reason !== undefined && {
        rest: {
          reason,
          ...(notBefore !== undefined && { notBefore }),
          ...(wait !== undefined && { wait }),
          ...(outcome !== undefined && { outcome }),
        },
      }),
      ...(this.#failure !== undefined && { error: this.#failure }),
    }
  }

  /** The events of the thread as JSON lines, as `Thread.events`: those after a cursor, then those that come, unless `live` is false. */
  async events({ after, live }: Pick<ThreadEventsOptions, "after" | "live"> = {}): Promise<ReadableStream<Uint8Array>> {
    await this.#checkCursor(after)
    const stop = new AbortController()
    const events = this.#follow(after, stop.signal, live)
    const encoder = new TextEncoder()
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        const next = await events.next()
        if (next.done === true) controller.close()
        else controller.enqueue(encoder.encode(`${JSON.stringify(next.value)}\n`))
      },
      async cancel() {
        stop.abort()
        await events.return()
      },
    })
  }

  /**
   * Cancels the running turn, and deletes the thread and its alarm. What comes during the deletion is for the next thread of the object. If it fails, call it
   * again; otherwise the next request or alarm completes it.
   */
  delete(): Promise<void> {
    this.#deletion ??= this.#delete().finally(() => {
      this.#deletion = undefined
    })
    return this.#deletion
  }

  /** Called by the platform: answers a request to the routes of the class. */
  async fetch(request: Request): Promise<Response> {
    try {
      return (await this.authorize(request)) ?? (await this.#route(request))
    } catch (error) {
      const failure = failureOf(error)
      if (failure.code === "internal_error") this.#report(error)
      return errorResponse(error)
    }
  }

  /** Called by the platform when the alarm is due: continues the thread, and sets the next alarm. */
  async alarm(): Promise<void> {
    await this.#keeper.onAlarm()
  }

  /** Called by the platform. Messages of clients are ignored, unless a subclass overrides it. */
  webSocketMessage(_socket: TurnObjectSocket, _message: string | ArrayBuffer): void | Promise<void> {}

  /** Called by the platform. */
  webSocketClose(socket: TurnObjectSocket, _code?: number, _reason?: string, _wasClean?: boolean): void | Promise<void> {
    this.#sockets.get(socket)?.abort()
    closeSocket(socket, 1000, "closed")
  }

  /** Called by the platform. */
  webSocketError(socket: TurnObjectSocket, _error: unknown): void | Promise<void> {
    this.#sockets.get(socket)?.abort()
  }

  async #route(request: Request): Promise<Response> {
    const url = new URL(request.url)
    const name = url.pathname.replace(/\/+$/, "").split("/").at(-1) ?? ""
    if (name === "status" || name === "events") {
      requireMethod(request, "GET")
      return name === "status" ? Response.json(await this.status()) : this.#sendEvents(request, url)
    }
    const act = POST_ROUTES.get(name)
    if (act === undefined) throw new TurnObjectError("unknown_route", `${JSON.stringify(name)} is not a route.`)
    requireMethod(request, "POST")
    return Response.json(await act(this, await bodyOf(request)))
  }

  async #sendEvents(request: Request, url: URL): Promise<Response> {
    const after = url.searchParams.get("after") ?? request.headers.get("last-event-id") ?? undefined
    await this.#checkCursor(after)
    if (request.headers.get("upgrade")?.toLowerCase() === "websocket") return this.#openSocket(after)
    const stop = new AbortController()
    return eventStream(this.#follow(after, stop.signal), stop)
  }

  /** A wrong cursor is answered with an error, and not in the middle of a stream. */
  async #checkCursor(after: string | undefined): Promise<void> {
    if (after === undefined) return
    await this.#withThread(async (thread) => {
      const events = thread.events({ after, live: false })
      await events.next()
      await events.return()
    })
  }

  #openSocket(after: string | undefined): Response {
    const { 0: client, 1: server } = new (globalThis as unknown as WebSocketGlobals).WebSocketPair()
    this.ctx.acceptWebSocket(server)
    server.serializeAttachment({ after })
    this.#serve(server)
    return new Response(null, { status: 101, webSocket: client } as ResponseInit)
  }

  /** Sends events to a WebSocket until it closes. The last cursor is attached to it, so that it continues when the object was hibernated. */
  #serve(socket: TurnObjectSocket): void {
    const stop = new AbortController()
    this.#sockets.set(socket, stop)
    const { after } = (socket.deserializeAttachment() ?? {}) as { readonly after?: string }
    const send = async (): Promise<void> => {
      for await (const event of this.#follow(after, stop.signal)) {
        socket.send(JSON.stringify(event))
        if ("cursor" in event) socket.serializeAttachment({ after: event.cursor })
      }
    }
    send()
      .then(
        () => closeSocket(socket, 1000, "closed"),
        (error: unknown) => closeSocket(socket, 1011, failureOf(error).code),
      )
      .finally(() => this.#sockets.delete(socket))
  }

  /** The events after a cursor, also over failures of runs, which close the thread. A durable event is sent when its record is durable. */
  async *#follow(after: string | undefined, signal: AbortSignal, live = true): AsyncGenerator<ThreadEvent, void, undefined> {
    for (let cursor = after; !signal.aborted; ) {
      await this.#deleted()
      const thread = await this.#thread()
      for await (const event of thread.events({ after: cursor, signal, live })) {
        if ("cursor" in event) {
          // What is streamed in the body of a response is not held back by the platform.
          await this.ctx.storage.sync()
          cursor = event.cursor
        }
        yield event
      }
      if (!live || this.#keeper.isStopped) return
    }
  }

  /** Opens the thread, once. */
  #thread(): Promise<Thread> {
    if (this.#opening !== undefined) return this.#opening
    const opening = this.#open()
    this.#opening = opening
    opening.catch(() => {
      if (this.#opening === opening) this.#opening = undefined
    })
    return opening
  }

  async #open(): Promise<Thread> {
    await this.#closing
    const options = await this.threadOptions()
    try {
      return await Thread.open(this.#store, this.threadId, options)
    } catch (error) {
      if (!(error instanceof JournalError) || error.code !== "deleted_thread") throw error
      // The object was killed in the middle of a deletion, or its storage failed.
      await Thread.delete(this.#store, this.threadId)
      return Thread.open(this.#store, this.threadId, options)
    }
  }

  async #close(): Promise<void> {
    const opening = this.#opening
    this.#opening = undefined
    const closing = Promise.all([
      this.#closing,
      opening?.then((thread) => thread.close().catch((error: unknown) => this.#report(error))).catch(() => {}),
    ])
    this.#closing = closing.then(() => {})
    await this.#closing
  }

  async #delete(): Promise<void> {
    this.#deleting.abort("The thread is deleted.")
    await this.#keeper.stop(async () => {
      try {
        await Promise.allSettled(this.#acting)
        await this.#close()
        await Thread.delete(this.#store, this.threadId)
        this.#rest = undefined
        this.#failure = undefined
      } finally {
        this.#deleting = new AbortController()
      }
    })
  }

  /** A log that fails must not end what is done. */
  #report(error: unknown): void {
    try {
      this.onError(error)
    } catch (thrown) {
      console.error(`Thread ${this.threadId}: onError failed: ${messageOf(thrown)}`, error)
    }
  }

  /** Waits for the end of a deletion, whether it fails or not. */
  async #deleted(): Promise<void> {
    while (this.#deletion !== undefined) await this.#deletion.catch(() => {})
  }

  /** Does something that a deletion waits for. */
  async #withThread<Result>(act: (thread: Thread) => Promise<Result>, guarded = (record: () => Promise<Result>) => record()): Promise<Result> {
    await this.#deleted()
    const acting = guarded(async () => act(await this.#thread()))
    this.#acting.add(acting)
    try {
      return await acting
    } finally {
      this.#acting.delete(acting)
    }
  }

  /** Records something in the thread, with an alarm set before it, and runs the thread after it. */
  #act<Result>(act: (thread: Thread) => Promise<Result>): Promise<Result> {
    return this.#withThread(act, (record) => this.#keeper.whileGuarded(record))
  }

  /** Runs the thread until it rests, without waiting in memory. Returns when to run it again. */
  async #runUntilRest(): Promise<number | undefined> {
    const thread = await this.#thread()
    const rest = await runThread(thread, await this.host(), { ...this.runOptions(), signal: this.#deleting.signal, suspend: true, maxWaitMs: 0 })
    this.#rest = rest
    this.#failure = undefined
    return rest.notBefore
  }

  async #onFailed(error: unknown, retryAt: number): Promise<void> {
    this.#failure = { ...failureOf(error), retryAt }
    this.#report(error)
    // What is in memory may be ahead of what is stored.
    await this.#close()
  }
}

/** What a subclass defines. */
const HOOKS = ["threadOptions", "host", "runOptions", "authorize", "onError", "recoverAfterMs"] as const

interface WebSocketGlobals {
  readonly WebSocketPair: new () => { readonly 0: unknown; readonly 1: TurnObjectSocket }
}

/** Closing a WebSocket that is closed may throw. */
function closeSocket(socket: TurnObjectSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason)
  } catch {
    // It is closed.
  }
}
