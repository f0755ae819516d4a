import { isAnswerable } from "../machine/transitions.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { Effect } from "../wire/effect.ts"
import type { Response } from "../wire/response.ts"
import { jsonText } from "./difference.ts"
import { requireEqual, requireEqualLists, requireEqualTexts, requireEqualTurns, requireThat } from "./laws.ts"
import { give, type TestedMachine } from "./turn-input.ts"
import { checkpointText, restoredMachine, type Subject, type Trace, type TraceStep } from "./turn-trace.ts"
import type { DriverCall } from "./watched-driver.ts"

/** Law 2: the turn is cut before step `place` (written as JSON text and restored) and continues with the same inputs. */
export function checkCut(subject: Subject, trace: Trace, place: number): void {
  const rest = trace.steps.slice(place)
  const follower = new Follower(subject, trace, place)
  for (const step of rest) follower.follow(`cut before ${rest[0]?.where}; ${step.where}`, step)
  follower.end(`cut before ${rest[0]?.where ?? "the end"}; at the end`)
}

/**
 * Laws 2 and 3 in one run that is cut before every step: effects that a restored turn has not returned yet survive the next restore, and
 * repeated answers in between are stale and do not cancel them.
 */
export function checkCutsInARow(subject: Subject, trace: Trace): void {
  const follower = new Follower(subject, trace, 0)
  const answers: Response[] = []
  for (const step of trace.steps) {
    const where = `cut before every step; ${step.where}`
    follower.cut()
    for (const response of answers.slice(-2)) follower.repeat(where, response)
    follower.follow(where, step)
    if (step.input.type === "respond" && step.verdict === "accepted" && step.after.outstanding?.id !== step.input.response.id)
      answers.push(step.input.response)
  }
  follower.end("cut before every step; at the end")
}

/**
 * A restored turn that follows the steps of one that was never cut. They may differ in one way only: an effect
 * that was outstanding at the cut and that the host had polled is returned again, after the queued effects, unless it
 * is answered or ended first. A batch that is returned again names the calls that were released until then, so their releases are not
 * returned. A restored turn cannot know whether its host polled the outstanding effect, so one that it
 * had not polled counts as polled too: answered or ended first, it is not returned again, and `cancel` cancels
 * it.
 */
class Follower {
  readonly #subject: Subject
  readonly #trace: Trace
  readonly #driverCalls: DriverCall[] = []
  readonly #callsBefore: number
  #machine: TestedMachine
  /** Ids of the answerable effects that were polled. */
  readonly #taken = new Set<number>()
  /** Ids of those that were outstanding at a cut and were answered or ended before they were polled. */
  readonly #passedOver = new Set<number>()
  #outstandingAtCut: number | undefined
  /** The effect to return again, and how many effects come before it. */
  #redelivery: { readonly id: number; readonly queued: number } | undefined
  #effectsSinceCut = 0
  /** The calls of the outstanding batch whose release it covers: those that were decided at the cut, and those with which it was returned. */
  #covered: ReadonlySet<string> = new Set()

  constructor(subject: Subject, trace: Trace, place: number) {
    this.#subject = subject
    this.#trace = trace
    for (const { effect } of trace.steps.slice(0, place)) if (isAnswerable(effect)) this.#taken.add(effect.id)
    const standing = place === 0 ? trace.begin : (trace.steps[place - 1] as TraceStep).after
    this.#callsBefore = standing.driverCallCount
    this.#machine = this.#restore(standing.checkpoint)
  }

  /** Cuts the turn at its current step. */
  cut(): void {
    this.#machine = this.#restore(checkpointText(this.#machine))
  }

  /** Repeats an earlier answer. */
  repeat(where: string, response: Response): void {
    const before = checkpointText(this.#machine)
    requireEqual("duplicates", where, `the answer to effect ${response.id}, repeated,`, give(this.#machine, { type: "respond", response }), "stale")
    requireEqualTexts("duplicates", where, "the checkpoint after a stale answer and before it", checkpointText(this.#machine), before)
  }

  follow(where: string, step: TraceStep): void {
    if (step.input.type === "poll_once") {
      this.#poll(where, step)
      return
    }
    requireEqual("cut", where, "the verdict on the input", give(this.#machine, step.input), step.verdict)
    const { outstanding } = step.before
    if (outstanding === undefined || outstanding.id === step.after.outstanding?.id) return
    if (outstanding.id === this.#outstandingAtCut && !this.#taken.has(outstanding.id)) this.#passedOver.add(outstanding.id)
    this.#redelivery = undefined
  }

  end(where: string): void {
    const { steps, driverCalls, begin } = this.#trace
    const last = steps.at(-1)?.after ?? begin
    requireEqualTurns("cut", where, "the turn", checkpointText(this.#machine), last.checkpoint)
    requireEqualLists("cut", where, "the driver's calls since then, and their results", this.#driverCalls, driverCalls.slice(this.#callsBefore))
  }

  #restore(checkpoint: string): TestedMachine {
    const machine = restoredMachine(this.#subject, checkpoint, (call) => this.#driverCalls.push(call))
    const { outstanding } = machine
    this.#effectsSinceCut = 0
    this.#covered = decidedCalls(machine)
    this.#outstandingAtCut = outstanding?.id
    this.#redelivery = undefined
    if (outstanding !== undefined && this.#taken.has(outstanding.id)) {
      const { unpolled } = JSON.parse(checkpoint) as TurnCheckpoint
      const place = unpolled.findIndex((effect) => effect.type === "outstanding")
      this.#redelivery = { id: outstanding.id, queued: place < 0 ? unpolled.length : place }
    }
    return machine
  }

  #poll(where: string, step: TraceStep): void {
    if (isAnswerable(step.effect) && this.#passedOver.has(step.effect.id)) return
    if (this.#isCovered(step.effect)) return
    let effect = this.#machine.poll()
    while (this.#mayDiffer(where, step, effect)) {
      if (this.#isCovered(step.effect)) return
      effect = this.#machine.poll()
    }
    requireEqualTexts("cut", where, "the effect polled", jsonText(effect), step.effectText)
    if (isAnswerable(effect)) this.#taken.add(effect.id)
    if (effect !== undefined) this.#effectsSinceCut += 1
    else if (this.#redelivery !== undefined)
      requireThat("cut", where, false, `effect ${this.#redelivery.id} was outstanding at the cut and was not returned again`)
  }

  /** Whether an effect is one that only a restored turn returns. */
  #mayDiffer(where: string, step: TraceStep, effect: Effect | undefined): boolean {
    if (effect?.type === "cancel_llm") return this.#passedOver.delete(effect.id)
    const redelivery = this.#redelivery
    if (!isAnswerable(effect) || effect.id !== redelivery?.id) return false
    requireEqualTexts("cut", where, "the outstanding effect that was returned again", jsonText(effect), step.before.outstandingText)
    const returned = this.#effectsSinceCut
    requireThat(
      "cut",
      where,
      returned === redelivery.queued,
      `effect ${effect.id} was returned again after ${returned} effects, not after the ${redelivery.queued} that were queued`,
    )
    this.#redelivery = undefined
    if (effect.type === "tool_calls") this.#covered = new Set(effect.calls.map(({ callId }) => callId))
    return true
  }

  /** Whether an effect is a release of calls that the batch names, which a restored turn returns again. */
  #isCovered(effect: Effect | undefined): boolean {
    const isRelease = effect?.type === "tool_calls_released" && effect.id === this.#outstandingAtCut
    return isRelease && effect.calls.every(({ callId }) => this.#covered.has(callId))
  }
}

/** The calls of the outstanding batch about which a decision was made. */
function decidedCalls(machine: TestedMachine): ReadonlySet<string> {
  const { state } = machine.turn.position
  if (state.type !== "waiting_tools") return new Set()
  const decided = new Set(state.decided.toArray().map(({ requestId }) => requestId))
  return new Set((state.outstanding.held ?? []).flatMap(({ requestId, callId }) => (decided.has(requestId) ? [callId] : [])))
}
