import type { Turn } from "../../machine/turn.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Done } from "../../wire/effect.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { Host, RunToEndOptions, Suspended, SuspendingRunOptions, TurnChildren, TurnView } from "../host.ts"
import { answerInPlace, deliversNothing, emptyDelivery, handleAnswer, type Show, save, stop, UNSAVED } from "./answers.ts"
import { cancelTurn, redirectTurn } from "./cancel.ts"
import {
  checkGrace,
  checkHost,
  checkToolConcurrency,
  DEFAULT_CANCEL_GRACE_MS,
  refuseOnce,
  refuseOnceTools,
  refuseUnasked,
  refuseWithoutDecider,
} from "./checks.ts"
import { isThenable, Work, type WorkOptions } from "./effect-run.ts"
import { leaseLeft } from "./lease-left.ts"
import { type Release, report, show } from "./report.ts"
import { refuseToWait, suspended, withChildren } from "./suspend.ts"
import { watchRun } from "./wake-run.ts"

/**
 * Runs a turn to its end: polls effects, emits events, performs work and handles the answers. Accepts a machine in any state: new,
 * restored, mid-turn, with some tool calls done, or finished. A finished machine returns its `done`; if that was emitted before, with an
 * empty `eventDelta`.
 *
 * A failure of an executor is part of the turn and never rejects, unless `isFatal` says so. The promise rejects with an error of the host's
 * own `journal`, `save`, `progress`, `onEvent`, `onLog` or `now`, because the run can no longer keep its guarantees. The machine stays
 * usable: run it again, and the unreported effect is reported and the outstanding effect performed again; or continue from the last saved
 * checkpoint.
 *
 * Held calls are decided by `Host.decide`, or from outside: by `machine.handle`, and `wakeRun` if the run is to notice at once. With `suspend`
 * or `pause` the run may resolve with {@link Suspended} before the end of its turn; run the turn again, in any process, to continue.
 *
 * Do not run a machine twice at the same time. Stop it with `options.signal`: a `machine.cancel()` from elsewhere is noticed only when the
 * running executor has ended, or with `wakeRun`; work that is just about to begin still begins.
 * @throws {RunError} `once_without_log`: a tool or code with `effects: "once"`, and no `journal`. Nothing was performed.
 *   `approval_without_driver`: a tool asks before its calls run, and the driver cannot hold calls. Nothing was performed, or only what ran before
 *   such a tool was added.
 *   `held_without_decider`: the driver may hold calls, and there is neither `Host.decide` nor `suspend` nor `pause`. Nothing was performed. In
 *   mid-turn: `Host.decide` decided nothing and the run may not suspend. `pending_without_suspend`: the same for a call that continues outside.
 * @throws {RangeError} `toolConcurrency` is less than 1, or `cancelGraceMs` is not at least 0
 * @throws {TypeError} the host has no `llmCall`, or tools are spread into it
 */
export async function runTurn(machine: TurnMachine, host: Host, options?: RunToEndOptions): Promise<Done>
export async function runTurn(machine: TurnMachine, host: Host, options?: SuspendingRunOptions): Promise<Done | Suspended>
export async function runTurn(machine: TurnMachine, host: Host, options: SuspendingRunOptions = {}): Promise<Done | Suspended> {
  const { cancelGraceMs = DEFAULT_CANCEL_GRACE_MS, signal, pause, toolConcurrency, journal } = options
  checkHost(host)
  checkToolConcurrency(toolConcurrency)
  checkGrace(cancelGraceMs)
  if (journal === undefined && !machine.done) refuseOnceTools(host, machine.turn.surface.tools)
  if (!machine.done) {
    refuseUnasked(machine, host)
    refuseWithoutDecider(machine, host, options)
  }
  const workOptions = workOptionsOf(machine, options)
  let work: Work | undefined
  const outside = watchRun(machine, () => work?.wake())
  const follows = (): Response | undefined =>
    isAborted(signal) || isAborted(pause) || outside.isRedirected ? undefined : emptyDelivery(machine, host, options.now)
  const release: Release = (released) => work?.release(released)
  const showOwn: Show = (event) => show(Object.freeze(event), options)
  /** Whether the run waits between a report and the next effect, so that its turn may change from outside in between. */
  const waits = journal !== undefined || host.save !== undefined || options.now !== undefined
  /** The turn when nothing was found to run, which is reported once more before the run suspends. */
  let idle: Turn | undefined
  try {
    if (UNSAVED.has(machine)) await save(machine, host)
    for (;;) {
      if (signal?.aborted === true && !machine.done) await cancelTurn(machine, { host, work, journal, signal, cancelGraceMs, workOptions })

      const redirection = outside.nextRedirection()
      if (redirection !== undefined) {
        const isLeft = await redirectTurn(machine, { host, work, journal, cancelGraceMs, workOptions }, redirection, options.now ?? Date.now)
        if (isLeft) work = undefined
        continue
      }

      // Awaited only where there is something to wait for, here and below: a step has ten such places, and each await costs as much as an effect.
      const reported = report(machine, host, options, release)
      const done = isThenable(reported) ? await reported : reported
      if (done !== undefined) {
        await journal?.settled(machine)
        await save(machine, host)
        return done
      }

      if (work !== undefined && work.effectId !== machine.outstanding?.id) {
        const late = stop(machine, work, journal)
        work = undefined
        if (late !== undefined) {
          await late
          continue
        }
      }

      if (work === undefined) {
        const turn = waits ? machine.turn : undefined
        if (journal !== undefined) await journal.settled(machine)
        const saved = !isAborted(pause) && deliversNothing(machine.outstanding, host) ? undefined : save(machine, host)
        if (saved !== undefined) await saved
        // Read after the await: only the effect that is outstanding now is performed.
        const { outstanding } = machine
        if (outstanding === undefined || isAborted(signal)) continue
        const answered = isAborted(pause) ? undefined : answerInPlace(outstanding, host, options.now)
        const given = isThenable(answered) ? await answered : answered
        // What was added in the meantime is reported before the answer is recorded, and before the run suspends.
        const isChanged = waits && machine.turn !== turn
        if (given !== undefined) {
          if (isChanged || isAborted(signal)) continue
          const handled = handleAnswer(machine, given, journal)
          if (typeof handled !== "boolean") await handled
        } else if (!isAborted(pause)) {
          if (journal === undefined) refuseOnce(host, outstanding)
          // Tools may have changed since the run began.
          if (outstanding.type === "tool_calls") refuseUnasked(machine, host)
          work = new Work(outstanding, host, workOptions, (partial) => validPartial(machine, partial))
        } else if (!isChanged) {
          return withChildren(suspended(machine), journal)
        }
        continue
      }

      askDecider(machine, work)
      const answer = await work.next()
      // A decision that was not handed in before the cancellation must not release a call.
      if (answer?.response.type === "tool_decisions" && isAborted(signal)) continue
      if (answer !== undefined) {
        const handled = handleAnswer(machine, answer, journal, showOwn, follows)
        const isNew = typeof handled === "boolean" ? handled : await handled
        if (answer.response.type === "tool_decisions") work.countDecision(isNew)
        const saved = isNew ? save(machine, host) : undefined
        if (saved !== undefined) await saved
      } else if (work.isIdle && !isAborted(signal) && !outside.isRedirected) {
        const { turn } = machine
        if (turn !== idle) {
          idle = turn
          continue
        }
        // What was decided or answered during the last writes is performed first.
        await journal?.settled(machine)
        await save(machine, host)
        if (machine.turn !== turn || isAborted(signal) || outside.isRedirected) continue
        refuseToWait(machine, options)
        return withChildren(suspended(machine), journal)
      }
    }
  } finally {
    outside.end()
    // The caller receives the error that ended the run, even if recording the last answers fails afterwards.
    await stop(machine, work, journal, !machine.done && work?.effectId === machine.outstanding?.id)?.catch(() => {})
  }
}

/** Asks the host about calls that are held, unless it is being asked or has decided nothing. */
function askDecider({ outstanding }: TurnMachine, work: Work): void {
  if (!work.mayDecide || outstanding?.type !== "tool_calls" || outstanding.held === undefined) return
  work.decide(outstanding.held)
}

function workOptionsOf(machine: TurnMachine, options: SuspendingRunOptions): WorkOptions {
  const { turnId, journal, signal, pause, onEvent, now, isFatal, toolConcurrency } = options
  const id = turnId ?? journal?.turnId
  return {
    keyIds: id === undefined ? undefined : [id],
    ...(signal !== undefined && { signal }),
    ...(pause !== undefined && { pause }),
    ...(onEvent !== undefined && { onEvent }),
    ...(now !== undefined && { now }),
    ...(isFatal !== undefined && { isFatal }),
    ...(toolConcurrency !== undefined && { toolConcurrency }),
    ...(journal !== undefined && { callStarted: (effectId, callId) => journal.callStarted(effectId, callId) }),
    ...(journal?.children !== undefined && { children: childrenOf(machine, journal.children) }),
    resumesCalls: true,
    turn: viewOf(machine),
  }
}

/** A turn with a lease shares what is left of it with its own children. */
function childrenOf(machine: TurnMachine, children: TurnChildren): TurnChildren {
  const { lease } = children
  return lease === undefined ? children : { ...children, left: () => leaseLeft(machine, lease) }
}

function viewOf(machine: TurnMachine): TurnView {
  return Object.freeze({
    get usage() {
      return machine.usage
    },
    get iteration() {
      return machine.iteration
    },
    get messages() {
      return machine.messages
    },
    get tools() {
      return machine.turn.surface.tools
    },
  })
}

/** A partial answer that the machine accepts. One that it does not is left out: neither a cancellation nor a failure fails for it. */
function validPartial(machine: TurnMachine, partial: unknown): LlmResponse | undefined {
  const { outstanding } = machine
  if (outstanding?.type !== "llm_call") return undefined
  try {
    const answer = machine.check({ type: "llm_complete", id: outstanding.id, result: { ok: true, response: partial } })
    return answer.type === "llm_complete" && answer.result.ok ? answer.result.response : undefined
  } catch {
    return undefined
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}
