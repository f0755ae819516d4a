import { RestateError, RestatePromise, TerminalError } from "@restatedev/restate-sdk"
import type { TurnConfig } from "../../machine/config.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Done } from "../../wire/effect.ts"
import type { Host, Suspended } from "../host.ts"
import type { RestateContext, RestateObjectContext, RestateSdk } from "./context.ts"
import { RestateRun, type RestateTurnOptions } from "./restate-run.ts"
import { restoreSegment } from "./segments.ts"

export type { DurablePromise, RestateContext, RestateObjectContext, SignalContext } from "./context.ts"
export type { RestateTurnErrorCode } from "./entries.ts"
export type { RestateTurnOptions, WaitingCalls } from "./restate-run.ts"
export type { RetryPolicy } from "./retry.ts"
export type {
  AnswerRequest,
  CancelResult,
  CommandRequest,
  DecideRequest,
  RestateApprovals,
  RestateThreadOptions,
  SayRequest,
  SayResult,
  ThreadApi,
  ThreadStatus,
} from "./thread.ts"
export { restateThread } from "./thread-index.ts"
export type { RunRequest, RunResult, ThreadHead, ThreadRunOptions, TurnProgress, WaitingInput } from "./thread-run.ts"

/** The parts of the installed SDK that the adapter uses. */
export const sdk: RestateSdk = { RestatePromise: RestatePromise as unknown as RestateSdk["RestatePromise"], TerminalError, RestateError }

/**
 * Runs a turn in a Restate handler.
 */
export async function restateTurn(ctx: RestateContext, machine: TurnMachine, host: Host, options: RestateTurnOptions): Promise<Done | Suspended> {
  return new RestateRun(sdk, ctx, machine, host, options).run()
}

export async function restoreTurn(ctx: Pick<RestateObjectContext, "get">, config: TurnConfig, turnId: string): Promise<TurnMachine | undefined> {
  return restoreSegment(sdk, ctx, config, turnId)
}
