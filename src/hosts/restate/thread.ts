import { read } from "../../checks/checking.ts"
import { goalCommand } from "../../checks/generated/records.ts"
import { TurnError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import { quoted } from "../../text.ts"
import type { Decision } from "../../wire/approval.ts"
import type { GoalCommand, GoalOutput } from "../../wire/goal.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import type { InputTime } from "../../wire/thread.ts"
import type { ToolAnswer } from "../host.ts"
import { checkedDecisions, type DecisionResult, type OutsideAnswerResult } from "../journal/outside-answers.ts"
import { inputMessage } from "../thread/input-message.ts"
import type { InputReceipt, Interrupted, ThreadInput, ThreadOptions, ThreadRest } from "../thread/thread.ts"
import type { DurablePromise } from "./context.ts"
import { RestateTurnError } from "./entries.ts"
import { whyNotId } from "./ids.ts"
import type { ObjectSdk, SharedThreadContext, ThreadContext } from "./thread-context.ts"
import { HEAD, PROGRESS, type ThreadHead, type TurnProgress } from "./thread-head.ts"
import {
  cursorOf,
  type InboxItem,
  type InboxPlace,
  type InboxReply,
  inboxKey,
  isInboxKey,
  type PutItem,
  peekItems,
  putItem,
  takeItems,
  wakeRun,
} from "./thread-inbox.ts"
import type { RunRequest, RunResult, ThreadRunOptions } from "./thread-options.ts"
import { ThreadRun } from "./thread-run.ts"

/** How the calls of a thread in Restate are approved. */
export interface RestateApprovals {
  /** Decides which calls run, which a person is asked about, and which fail, as `approvals` of a `Thread`. Default: every call runs. */
  readonly policy?: ThreadOptions["approvals"]
  /** Milliseconds after which an approval counts as expired; the call then fails. Default: no limit. */
  readonly ttlMs?: number
  /**
   * Verifies what a client of `decide` sends, which may be anything, as a step of the journal: with `verifyDecision` of
   * `turn-machine/hosts/approval`, for example. What it returns is decided. If it throws, the request is refused. Absent: `decide` takes decisions.
   */
  readonly verify?: (given: unknown, facts: { readonly key: string; readonly now: number }) => Promise<DecideRequest> | DecideRequest
}

/** Options of {@link restateThread}. */
export interface RestateThreadOptions extends ThreadRunOptions {
  /** Which calls people are asked about, and how their decisions are verified. Default: every call runs. */
  readonly approvals?: RestateApprovals
  /** Options of the virtual object, as `options` of the SDK's `object`: `retryPolicy` or `journalRetention`, for example. */
  readonly objectOptions?: object
}

/** An input of the user. */
export interface SayRequest {
  readonly input: ThreadInput
  /** Identifies the input among all of the thread: sent again, it is one input. */
  readonly key?: string
  /** When a turn receives the input, as in `Thread.say`. Default `now`. */
  readonly when?: InputTime
  readonly attachments?: readonly AttachmentRef[]
}

/** A goal command. */
export interface CommandRequest {
  readonly command: GoalCommand
  /** Identifies the command among all of the thread: sent again, it is one command. */
  readonly key?: string
}

/** Decisions about held calls. */
export interface DecideRequest {
  readonly decisions: readonly Decision[]
  /** The turn that they are about. Default: the open turn. */
  readonly turnId?: string
}

/** The result of a call that continued outside. */
export interface AnswerRequest {
  readonly callId: string
  readonly answer: ToolAnswer
  /** The turn of the call. Default: the open turn. */
  readonly turnId?: string
}

/** Why the thread rests, and the receipt of the input. */
export type SayResult = ThreadRest & Pick<InputReceipt, "inputId">

/** What is known of a thread. */
export interface ThreadStatus extends Omit<ThreadHead, "at"> {
  /** How far the open turn is. Absent: there is none, or it has not come to a checkpoint. */
  readonly progress?: TurnProgress
  /** How many inputs, commands and answers have arrived and are not recorded. */
  readonly arrived: number
  /** When the thread changed last. Milliseconds since the epoch; absent: it has not begun. */
  readonly at?: number
}

/** What a cancellation did. */
export interface CancelResult extends Interrupted {
  /** Whether a turn was open. */
  readonly wasRunning: boolean
}

/** The handlers of a thread that clients call. */
export interface ThreadApi {
  say(ctx: SharedThreadContext, request: SayRequest | string): Promise<SayResult>
  steer(ctx: SharedThreadContext, request: SayRequest | string): Promise<InputReceipt>
  command(ctx: SharedThreadContext, request: CommandRequest): Promise<readonly GoalOutput[]>
  event(ctx: SharedThreadContext, request: { readonly event: string; readonly key?: string }): Promise<null>
  decide(ctx: SharedThreadContext, request: unknown): Promise<readonly DecisionResult[]>
  answer(ctx: SharedThreadContext, request: AnswerRequest): Promise<OutsideAnswerResult>
  retract(ctx: SharedThreadContext, request: { readonly inputId: string }): Promise<"retracted" | "delivered" | "unknown">
  cancel(ctx: SharedThreadContext, request?: { readonly reason?: string }): Promise<CancelResult>
  status(ctx: SharedThreadContext): Promise<ThreadStatus>
  run(ctx: ThreadContext, request?: RunRequest): Promise<RunResult>
}

/** All handlers of a thread. */
export interface ThreadHandlers extends ThreadApi {
  put: typeof putItem
  take: typeof takeItems
  peek: typeof peekItems
  wake: typeof wakeRun
}

const NO_HEAD: Omit<ThreadHead, "at"> = {
  goal: null,
  turns: 0,
  queue: [],
  held: [],
  pending: [],
  usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
}

/** The handlers of a thread, without the SDK's wrappers. */
export function threadHandlers(sdk: ObjectSdk, options: RestateThreadOptions): ThreadHandlers {
  const { name, approvals } = options

  const clientOf = (ctx: SharedThreadContext, key: string): Client => ctx.objectClient({ name }, key) as Client

  /** Stores an item, lets the thread run, and resolves with the result of the item. `rest`: resolves when the thread rests. */
  async function send(ctx: SharedThreadContext, item: InboxItem): Promise<{ readonly value: Json; readonly rest: () => Promise<ThreadRest> }> {
    const own = clientOf(ctx, ctx.key)
    const reply = ctx.awakeable<InboxReply>()
    const { place, isFirst } = await clientOf(ctx, inboxKey(ctx.key)).put({ item, reply: reply.id })
    // If the state of the inbox was cleared, it no longer knows a run that waits for an item.
    if (isFirst) (ctx.objectSendClient({ name }, ctx.key) as Pick<Client, "wake">).wake(null)
    const request: RunRequest = { after: place }
    let running = own.run(request)
    // A run that fails must not leave the sender waiting.
    const first = await sdk.RestatePromise.race<First>([
      reply.promise.map(orThrow((value: InboxReply): First => ({ reply: value }))),
      running.map(orThrow((result: RunResult): First => ({ result }))),
    ])
    const replied = first.reply ?? (await lateReply(ctx, reply.promise))
    if (!replied.ok) throw refusal(sdk, replied.code, replied.message)
    const rest = async (): Promise<ThreadRest> => {
      let result = first.result ?? (await running)
      while (result.type === "continues") {
        running = own.run(request)
        result = await running
      }
      return result.rest
    }
    return { value: replied.value, rest }
  }

  /** The reply to an item whose run has ended: it is on its way, unless the item was lost. */
  async function lateReply(ctx: SharedThreadContext, reply: DurablePromise<InboxReply>): Promise<InboxReply> {
    const late = ctx.sleep(LATE_REPLY_MS).map(() => undefined)
    const replied = await sdk.RestatePromise.race<InboxReply | undefined>([reply, late])
    if (replied !== undefined) return replied
    throw refusal(
      sdk,
      "request_lost",
      "The thread rests, and the request has no result: the state of its inbox was cleared, or an operator killed the run that received it. " +
        "Read the status of the thread. Send the request again with the same key, if it has one.",
      500,
    )
  }

  const checkKey = ({ key }: SharedThreadContext): void => {
    const why = isInboxKey(key) ? 'it is that of an inbox. Choose a key that does not end in "/inbox"' : whyNotId(key, MAX_KEY_CHARS)
    if (why !== undefined) throw refusal(sdk, "invalid_key", `${quoted(key)} cannot be the key of a thread: ${why}.`)
  }

  const said = (ctx: SharedThreadContext, given: SayRequest | string): InboxItem => {
    checkKey(ctx)
    const request: SayRequest = typeof given === "string" ? { input: given } : (given ?? {})
    const { input, key, when, attachments } = request
    if (when !== undefined && when !== "now" && when !== "turn_end" && when !== "next_turn")
      throw refusal(sdk, "invalid_input", `An input waits for now, turn_end or next_turn, not for ${JSON.stringify(when)}.`)
    checkText(sdk, "key", key)
    checked(sdk, "invalid_input", () => inputMessage(input, attachments ?? [], (id) => id ?? "user-0"))
    return {
      type: "said",
      input,
      ...(key !== undefined && { key }),
      ...(when !== undefined && { when }),
      ...(attachments !== undefined && { attachments }),
    }
  }

  return {
    async say(ctx, request) {
      const { value, rest } = await send(ctx, said(ctx, request))
      const { inputId } = value as unknown as InputReceipt
      return { ...(await rest()), inputId }
    },
    async steer(ctx, request) {
      return (await send(ctx, said(ctx, request))).value as unknown as InputReceipt
    },
    async command(ctx, request) {
      checkKey(ctx)
      const { command, key } = request ?? {}
      const parsed = read<GoalCommand>(goalCommand, command)
      if (!parsed.ok) throw refusal(sdk, "invalid_command", `Not a goal command: ${parsed.issues[0]?.message ?? "it has another shape"}.`)
      checkText(sdk, "key", key)
      const { value } = await send(ctx, { type: "commanded", command: parsed.value, ...(key !== undefined && { key }) })
      return value as unknown as readonly GoalOutput[]
    },
    async event(ctx, request) {
      checkKey(ctx)
      const { event, key } = request ?? {}
      if (typeof event !== "string" || event === "") throw refusal(sdk, "invalid_event", "An event is a text that is not empty.")
      checkText(sdk, "key", key)
      await send(ctx, { type: "happened", event, ...(key !== undefined && { key }) })
      return null
    },
    async decide(ctx, given) {
      checkKey(ctx)
      const now = await ctx.date.now()
      const { decisions, turnId } = await verified(ctx, given, now)
      const known = checked(sdk, "invalid_request", () => checkedDecisions(decisions))
      checkText(sdk, "turnId", turnId)
      const { value } = await send(ctx, { type: "decided", decisions: known, at: now, ...(turnId !== undefined && { turnId }) })
      return value as unknown as readonly DecisionResult[]
    },
    async answer(ctx, request) {
      checkKey(ctx)
      const { callId, answer, turnId } = request ?? {}
      const { output } = answer ?? {}
      if (typeof callId !== "string" || typeof output !== "object" || output === null)
        throw refusal(sdk, "invalid_answer", "An answer has the callId of a call, and an answer with an output.")
      checkText(sdk, "turnId", turnId)
      const { value } = await send(ctx, { type: "answered", callId, answer, at: await ctx.date.now(), ...(turnId !== undefined && { turnId }) })
      return value as unknown as OutsideAnswerResult
    },
    async retract(ctx, request) {
      checkKey(ctx)
      checkText(sdk, "inputId", request?.inputId ?? null)
      const { value } = await send(ctx, { type: "retracted", inputId: request.inputId })
      return value as "retracted" | "delivered" | "unknown"
    },
    async cancel(ctx, request) {
      checkKey(ctx)
      const { reason } = request ?? {}
      checkText(sdk, "reason", reason)
      const { value } = await send(ctx, { type: "interrupted", ...(reason !== undefined && { reason }) })
      return value as unknown as CancelResult
    },
    async status(ctx) {
      checkKey(ctx)
      const head = await ctx.get<ThreadHead>(HEAD)
      const progress = await ctx.get<TurnProgress>(PROGRESS)
      const from = await cursorOf(ctx)
      const entries = await clientOf(ctx, inboxKey(ctx.key)).peek({ from })
      return { ...NO_HEAD, ...head, ...(progress !== null && progress.turnId === head?.openTurn?.turnId && { progress }), arrived: entries.length }
    },
    async run(ctx, request) {
      checkKey(ctx)
      try {
        return await ThreadRun.run(sdk, ctx, options, request ?? {})
      } catch (error) {
        // Where the code changed, the turn waits for the old code: the server accepts no end of a handler in the middle of a replay.
        if (error instanceof TurnError && !(error instanceof RestateTurnError))
          throw new sdk.TerminalError(`${error.code}: ${error.message}`, { errorCode: 500, metadata: { code: error.code } })
        throw error
      }
    },
    put: putItem,
    take: takeItems,
    peek: peekItems,
    wake: wakeRun,
  }

  async function verified(ctx: SharedThreadContext, given: unknown, now: number): Promise<DecideRequest> {
    const { verify } = approvals ?? {}
    if (verify === undefined) return (given ?? {}) as DecideRequest
    const { key } = ctx
    const found = await ctx.run("verify", async (): Promise<Verified> => {
      try {
        return { ok: true, request: (await verify(given, { key, now })) ?? {} }
      } catch (error) {
        if (error instanceof sdk.RestateError) throw error
        const { code = "not_verified" } = error as { readonly code?: unknown }
        return { ok: false, code: String(code), message: error instanceof Error ? error.message : String(error) }
      }
    })
    if (!found.ok) throw refusal(sdk, found.code, found.message, 403)
    return found.request
  }
}

/** The longest key of a thread, in UTF-16 units: it is a part of the keys of its state, and of the ids of its turns. */
const MAX_KEY_CHARS = 1_000

/** How long a reply may be on its way after the run that gave it has ended. */
const LATE_REPLY_MS = 60_000

type Verified = { readonly ok: true; readonly request: DecideRequest } | { readonly ok: false; readonly code: string; readonly message: string }

/** What came first after an item was stored. */
interface First {
  readonly reply?: InboxReply
  readonly result?: RunResult
}

/** The handlers that a thread calls. */
interface Client {
  put(request: { readonly item: InboxItem; readonly reply: string }): DurablePromise<PutItem>
  peek(request: { readonly from: InboxPlace }): DurablePromise<readonly unknown[]>
  run(request: RunRequest): DurablePromise<RunResult>
  wake(request: null): unknown
}

function orThrow<Value, Mapped>(mapper: (value: Value) => Mapped): (value?: Value, failure?: Error) => Mapped {
  return (value, failure) => {
    if (failure !== undefined) throw failure
    return mapper(value as Value)
  }
}

function checkText(sdk: ObjectSdk, what: string, given: unknown): void {
  if (given !== undefined && (typeof given !== "string" || given === ""))
    throw refusal(sdk, "invalid_request", `${what} must be a text that is not empty.`)
}

/** Checks what a client sent. Whatever fails is a refusal: Restate would call the handler again, for ever. */
function checked<Value>(sdk: ObjectSdk, code: RestateThreadErrorCode, check: () => Value): Value {
  try {
    return check()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw refusal(sdk, error instanceof TurnError ? error.code : code, message)
  }
}

/**
 * Codes of the errors with which a thread refuses a request: in the message, and in the `metadata` of the `TerminalError`. Others are those of
 * `Thread.say`, and of `approvals.verify`.
 */
export type RestateThreadErrorCode =
  | "invalid_key"
  | "invalid_input"
  | "invalid_command"
  | "invalid_event"
  | "invalid_answer"
  | "invalid_request"
  | "not_verified"
  | "request_lost"
  | "state_lost"

/** A request that is refused. Nothing was stored, and Restate does not retry it. */
function refusal(sdk: ObjectSdk, code: string, message: string, errorCode = 400): Error {
  return new sdk.TerminalError(`${code}: ${message}`, { errorCode, metadata: { code } })
}

/** Defines the virtual object. */
export function defineThread(sdk: ObjectSdk, options: RestateThreadOptions): unknown {
  const { name, objectOptions } = options
  if (typeof name !== "string" || name === "") throw new TypeError("restateThread needs the name of a virtual object.")
  const handlers = threadHandlers(sdk, options)
  const { exclusive, shared } = sdk.handlers.object
  // Their journals are of no interest once they have ended.
  const brief = { journalRetention: 0 }
  const own = { ...brief, ingressPrivate: true }
  return sdk.object({
    name,
    handlers: {
      say: shared({}, handlers.say),
      steer: shared({}, handlers.steer),
      command: shared({}, handlers.command),
      event: shared({}, handlers.event),
      decide: shared({}, handlers.decide),
      answer: shared({}, handlers.answer),
      retract: shared({}, handlers.retract),
      cancel: shared({}, handlers.cancel),
      status: shared(brief, handlers.status),
      run: exclusive({}, handlers.run),
      put: exclusive(own, handlers.put),
      take: exclusive(own, handlers.take),
      peek: shared(own, handlers.peek),
      wake: shared(own, handlers.wake),
    },
    ...(objectOptions !== undefined && { options: objectOptions }),
  })
}
