import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { Checkpoint, Done, Progress } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { Response } from "../../wire/response.ts"
import type { PerformOptions, RunOptions } from "../host.ts"
import type { DurablePromise } from "./context.ts"
import type { RetryPolicy } from "./retry.ts"

/** Calls that wait for people, or for work outside. */
export interface WaitingCalls {
  /** The invocation that waits. Decisions and results are signals to it. */
  readonly invocationId: string
  /** The calls that wait for a decision, each for a signal with the name of its `requestId`. */
  readonly held: readonly HeldCall[]
  /** The calls that continue outside, each for a signal with the name of its `token`. */
  readonly pending: readonly ExternalCall[]
  /** With an SDK without named signals: the awakeable to resolve instead, by `requestId` or `token`. */
  readonly awakeables?: { readonly [name: string]: string }
}

/** Options of `restateTurn`. */
export interface RestateTurnOptions extends Pick<RunOptions, "toolConcurrency" | "cancelGraceMs">, Pick<PerformOptions, "isFatal"> {
  /** The clock that steps read: what it says is recorded with their results. Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
  /**
   * Id of the turn, unique among all turns of the host; part of its idempotency keys. At most 2,000 characters, without a zero character or half of a
   * surrogate pair. It may come from a client.
   */
  readonly turnId: string
  /**
   * Calls the model again after a failure that says `retryable`, before anything was said. Each attempt is an entry of the journal, and the
   * wait between two is a durable timer. Absent: the failure is the answer.
   */
  readonly retry?: RetryPolicy
  /**
   * Ends the invocation after so many effects, at the next checkpoint or tool batch, and stores the turn in the state of the object: the
   * promise resolves with `type: "suspended"`. Restore the turn with `restoreTurn` in a new invocation. Absent: one invocation runs the whole turn.
   */
  readonly segment?: {
    /** How many effects an invocation performs, at least 1. Each is a model call, a batch of tool calls, or a checkpoint. */
    readonly effects: number
  }
  /**
   * The largest result of a model or tool call, in bytes of JSON in UTF-8. The call of a larger one fails with that reason: the server refuses a
   * message of 32 MiB, and Restate would run the call again, for ever. Default 16,000,000; choose it below the `message-size-limit` of the server.
   */
  readonly maxResultBytes?: number
  /**
   * Receives events for a user interface. An event is emitted before the work that follows it, and what executors emit while they run. A replay
   * does not repeat them, but for those around an effect that a crash interrupted. If it rejects, Restate runs the attempt again.
   */
  readonly onEvent?: (event: TurnEvent) => unknown
  /** Called when calls begin to wait, as a step of the journal: to notify people. It may run again after a crash. */
  readonly onWaiting?: (waiting: WaitingCalls) => Promise<void> | void
}

/** What a thread adds to the run of a turn. What it does must be the same in all attempts. */
export interface RunHooks {
  /** Answers a checkpoint in the handler, outside of a step. */
  checkpoint(effect: Checkpoint): Promise<Response>
  /** Receives reports in the handler, outside of a step. */
  progress(effect: Progress | Done): Promise<void> | void
  /** Called before an effect is performed. */
  onEffect(machine: TurnMachine): Promise<void> | void
  /** Resolves when something arrives for the turn. `onMail` is then awaited: it may hand decisions and results to the machine. */
  mail(): DurablePromise<unknown>
  onMail(): Promise<void>
  /** How many messages and events of the turn are stored elsewhere: a segment does not repeat them. */
  readonly history?: { readonly messages: number; readonly events: number }
  /** Aborted by `onMail` or `checkpoint`: the turn is cancelled. Otherwise, a turn that waits for people or work outside suspends. */
  readonly signal?: AbortSignal
}
