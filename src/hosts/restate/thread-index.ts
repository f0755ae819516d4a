import { handlers, object, RestateError, RestatePromise, rpc, TerminalError, type VirtualObjectDefinition } from "@restatedev/restate-sdk"
import { defineThread, type RestateThreadOptions, type ThreadApi } from "./thread.ts"
import type { ObjectSdk } from "./thread-context.ts"

const sdk: ObjectSdk = { RestatePromise, TerminalError, RestateError, handlers, object, rpc } as unknown as ObjectSdk

/**
 * Defines a virtual object with one thread per key: a conversation of many turns with its goal, as `Thread` of `turn-machine/hosts/thread`. Its log
 * is the state of the object. Each effect of a turn is a step of the journal, as in `restateTurn`.
 *
 *     const agent = restateThread({ name: "agent", config, host })
 *     restate.serve({ services: [agent] })
 *
 * Handlers, all for clients:
 *
 * - `say({ input, key?, when? })`: stores an input, lets turns run until the thread rests, and returns why it rests. The same key twice is one input.
 * - `steer({ input, key?, when? })`: the same, and returns the receipt at once. A running turn receives the input at its next checkpoint.
 * - `command({ command, key? })`: a goal command, such as `{ type: "set", objective }` or `{ type: "pause" }`. Returns what it does to the goal; one
 *   that is refused comes back as an output. The goal continues after that.
 * - `event({ event, key? })`: something happened that a goal may wait for.
 * - `decide({ decisions, turnId? })`: decisions about held calls, with a result for each. `answer({ callId, answer, turnId? })`: the result of a call
 *   that continued outside. They reach the turn that waits, also after a restart.
 * - `cancel({ reason? })`: ends the running turn in order; what it used is charged, and the goal pauses under the default policy. Returns the inputs
 *   that it did not receive.
 * - `retract({ inputId })`: takes an input back that no turn has received.
 * - `status()`: the goal, the queue, the open turn with its held calls, the last end, and the usage. It reads no history.
 * - `run()`: runs the thread until it rests, after a deployment that changed what it waits for, for example.
 *
 * All but `run` are shared handlers: they store what arrives in an inbox, an object of the same name with the key `<key>/inbox`, and the run of the
 * thread receives it at once. No thread can have such a key. A key has at most 1,000 characters, and is not empty.
 *
 * Options: `config`, `host`, and those of a `Thread` and of `restateTurn`, with the same defaults: `maxResultBytes` 16,000,000, no `retry`, no
 * `segment`. `maxWaitMs` (default 600,000): a longer wait of a goal is a delayed call. Without `approvals`, every call runs, and `decide` trusts its
 * clients.
 *
 * A request that is refused fails with status 400, or 403 if its decision was not verified; nothing was stored. The `metadata` of the `TerminalError` has
 * the code: one of `RestateThreadErrorCode`, or that of a `ThreadError`, such as `key_reused`. With status 500, `request_lost` says that the state of the
 * inbox was cleared while the request waited there, and `state_lost` that a part of the thread's own state is missing.
 *
 * A cancelled invocation ends its turn in order, and its inputs stay in the queue. If an operator kills the invocation of a turn, the turn does not run
 * again: the next run ends it as cancelled, and charges what it had used at its last checkpoint. Inputs are recorded once, also then.
 *
 * @throws {TypeError} `name` is empty
 */
export function restateThread<Name extends string>(
  options: RestateThreadOptions & { readonly name: Name },
): VirtualObjectDefinition<Name, ThreadApi> {
  return defineThread(sdk, options) as VirtualObjectDefinition<Name, ThreadApi>
}
