import { RestateError, RestatePromise, TerminalError } from "@restatedev/restate-sdk"
import type { TurnConfig } from "../../machine/config.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Done } from "../../wire/effect.ts"
import type { Host, Suspended } from "../host.ts"
import type { RestateContext, RestateObjectContext, RestateSdk } from "./context.ts"
import { RestateRun } from "./restate-run.ts"
import { restoreSegment } from "./segments.ts"
import type { RestateTurnOptions } from "./turn-options.ts"

export type { DurablePromise, RestateContext, RestateObjectContext, SignalContext } from "./context.ts"
export { RestateTurnError, type RestateTurnErrorCode } from "./entries.ts"
export type { RetryPolicy } from "./retry.ts"
export type {
  AnswerRequest,
  CancelResult,
  CommandRequest,
  DecideRequest,
  RestateApprovals,
  RestateThreadErrorCode,
  RestateThreadOptions,
  SayRequest,
  SayResult,
  ThreadApi,
  ThreadStatus,
} from "./thread.ts"
export type { SharedThreadContext, StateReader, StateWriter, ThreadContext } from "./thread-context.ts"
export type { ThreadHead, TurnProgress, WaitingInput } from "./thread-head.ts"
export type { InboxPlace } from "./thread-inbox.ts"
export { restateThread } from "./thread-index.ts"
export type { RunRequest, RunResult, ThreadRunOptions } from "./thread-options.ts"
export type { RestateTurnOptions, WaitingCalls } from "./turn-options.ts"

/** The parts of the installed SDK that the adapter uses. */
const sdk: RestateSdk = { RestatePromise: RestatePromise as unknown as RestateSdk["RestatePromise"], TerminalError, RestateError }

/**
 * Runs a turn in a handler of Restate, which resumes it after a crash of the service or of the server.
 *
 *     const turns = restate.service({
 *       name: "turns",
 *       handlers: {
 *         run: async (ctx: restate.Context, { turnId, text }: Task) => {
 *           const machine = new TurnMachine(config, { messages: [userMessage(text, { id: "user-1" })] })
 *           return restateTurn(ctx, machine, host, { turnId })
 *         },
 *       },
 *     })
 *
 * Each effect is a step of the invocation's journal, and each call of a batch one of its own. Calls run in parallel, and their results come in
 * the order in which they were recorded. The journal holds answers, without the prompts and arguments that the turn makes again. Make the
 * machine anew in each attempt, from the same config and start; give messages ids.
 *
 * - The start of a `once` call is recorded first. After a crash the call does not run again; `recover` looks it up, as with a journal.
 * - Held calls, and calls that continue outside, wait for signals to the invocation, in no process: see {@link WaitingCalls}. A held call is
 *   decided with `ctx.invocation(id).signal(requestId).resolve({ decision: "approve" })`, and the result of a pending call is a `ToolAnswer`
 *   for the signal with its token. A decision that the turn refuses is reported as a `message` event, and the call waits for the next signal.
 * - A cancelled invocation ends its turn in order: what running work reports within `cancelGraceMs` is recorded, and the promise resolves with
 *   the end. Throw afterwards if the invocation is to fail.
 * - `Host.progress` is a step, and may run again after a crash. `Host.save` is not called: Restate stores the turn.
 * - A result of more than `maxResultBytes` (default 16,000,000 bytes of JSON) is not stored: the call fails, and the model receives the reason.
 * - Errors of the SDK that an executor throws, and those for which `isFatal` returns true, are not results. A `TerminalError` ends the
 *   invocation; any other error fails the attempt, and Restate runs the work again.
 *
 * Defaults: `now` is `Date.now`, at most 8 calls run at once (`toolConcurrency`), `cancelGraceMs` is 2,000, and there is no `retry` and no `segment`.
 *
 * Resolves with the `done` of the turn: its outcome, messages and usage; with `type: "suspended"` only after `segment`. Both are JSON values, so that the
 * handler may return them; the messages are the whole transcript.
 * @throws {RestateTurnError} `code_changed`: the code now asks for something else than what the journal answers; the message says what. The
 *   attempt fails, and Restate tries again: with the old code, the turn continues.
 * @throws {TerminalError} `segment_without_state`: `segment` in a service; `invalid_turn_id`: the id cannot be stored (status 400). The code is in the
 *   message and in the error's `metadata`.
 * @throws {RunError} `approval_without_driver`: a tool asks before its calls run, and the driver cannot hold calls. The attempt fails, and Restate
 *   tries again: with corrected code, the turn begins.
 * @throws {RangeError} `toolConcurrency`, `segment.effects` or `maxResultBytes` is less than 1, or `cancelGraceMs` is not at least 0
 * @throws {TypeError} the host has no `llmCall`, or tools are spread into it
 */
export async function restateTurn(ctx: RestateContext, machine: TurnMachine, host: Host, options: RestateTurnOptions): Promise<Done | Suspended> {
  return new RestateRun(sdk, ctx, machine, host, options).run()
}

/**
 * Restores a turn that `restateTurn` with `segment` stored in the state of this object, with the effect that was outstanding: it is emitted again.
 * `undefined`: none is stored under this id, because the turn has not begun, or has ended. Changes nothing.
 *
 *     const machine = (await restoreTurn(ctx, config, turnId)) ?? new TurnMachine(config, start)
 *     const end = await restateTurn(ctx, machine, host, { turnId, segment: { effects: 500 } })
 *     if (end.type === "suspended") ctx.objectSendClient(self, ctx.key).run(task) // continues in a new invocation
 *
 * The state has pieces of at most 64,000 characters under keys that begin with `turn ` and the turn's id. They are cleared at the end of the turn.
 * @throws {CheckpointError} the turn belongs to another driver or another version of it
 * @throws {TerminalError} `segment_lost`: a piece is missing; `invalid_turn_id`: the id cannot be stored
 */
export async function restoreTurn(ctx: Pick<RestateObjectContext, "get">, config: TurnConfig, turnId: string): Promise<TurnMachine | undefined> {
  return restoreSegment(sdk, ctx, config, turnId)
}
