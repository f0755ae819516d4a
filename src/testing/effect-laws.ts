import { isAnswerable } from "../machine/transitions.ts"
import type { AnswerableEffect, Effect } from "../wire/effect.ts"
import { checkConsent } from "./consent-law.ts"
import { requireEqual, requireEqualTexts, requireThat } from "./laws.ts"
import type { TestedMachine } from "./turn-input.ts"
import type { EffectTrace, Subject, TraceStep } from "./turn-trace.ts"

/** The laws that can be checked on the effects of one run. */
export function checkEffects(subject: Subject, trace: EffectTrace): void {
  checkOutstanding(trace)
  checkCancelled(trace)
  checkEnding(trace)
  checkProgress(subject, trace)
  checkConsent(trace)
}

/** Law 5: answerable effects have the ids 1, 2, 3, …, each after the previous one was answered, or left by a redirection. */
function checkOutstanding({ begin, steps }: EffectTrace): void {
  let lastId = begin.outstanding?.id ?? 0
  let lastReturned = begin.taken ? lastId : Math.max(0, lastId - 1)
  // Work that was not polled is withdrawn by a redirection, up to this id.
  let withdrawn = 0
  for (const step of steps) {
    const { where, input, verdict, effect, before, after } = step
    const isRedirected = input.type === "redirect" && verdict === "accepted"
    if (isRedirected) withdrawn = lastId
    const answered = input.type === "respond" && verdict === "accepted" ? input.response.id : undefined
    if (answered !== undefined) {
      requireThat(
        "outstanding",
        where,
        answered === before.outstanding?.id,
        `accepted for effect ${answered} while ${name(before.outstanding)} was outstanding`,
      )
    }
    const id = after.outstanding?.id
    if (id !== undefined && id !== lastId) {
      requireThat("outstanding", where, id === lastId + 1, `effect ${id} is outstanding after effect ${lastId}; ids rise by one`)
      const free = before.outstanding === undefined || answered === before.outstanding.id || isRedirected
      requireThat("outstanding", where, free, `effect ${id} became outstanding while ${name(before.outstanding)} was not answered`)
      lastId = id
    }
    if (isAnswerable(effect)) {
      // Work that was answered before it was polled is withdrawn at the end, and an answered checkpoint after it is not.
      const isNext = before.done || effect.id - 1 <= withdrawn ? effect.id > lastReturned : effect.id === lastReturned + 1
      requireThat("outstanding", where, isNext, `effect ${effect.id} was returned after effect ${lastReturned}; ids rise by one`)
      lastReturned = effect.id
      if (effect.id === id)
        requireEqualTexts("outstanding", where, "the effect returned is the outstanding one", step.effectText, after.outstandingText)
    }
  }
}

/** A model call is cancelled only if it was polled and not answered. */
function checkCancelled({ begin, steps }: EffectTrace): void {
  const open = new Set<number>()
  if (begin.taken && begin.outstanding?.type === "llm_call") open.add(begin.outstanding.id)
  for (const { where, input, verdict, effect } of steps) {
    if (effect?.type === "llm_call") open.add(effect.id)
    if (input.type === "respond" && verdict === "accepted") open.delete(input.response.id)
    if (effect?.type !== "cancel_llm") continue
    requireThat("outstanding", where, open.delete(effect.id), `cancel_llm for effect ${effect.id}, which is not a polled and unanswered model call`)
  }
}

/** Law 6: the three endings come once, in order, at the end, and agree. No work is emitted by a turn that has ended. */
function checkEnding({ steps, machine }: EffectTrace): void {
  const emitted = steps.filter((step) => step.effect !== undefined)
  const kinds = emitted.map(({ effect }) => endingKind(effect))
  for (const kind of ENDINGS) {
    const times = kinds.filter((found) => found === kind).length
    requireThat("ending", "the turn's effects", times <= 1, `${kind} came ${times} times`)
  }
  const first = kinds.findIndex((kind) => kind !== undefined)
  if (first >= 0) {
    requireThat("ending", emitted[first]?.where ?? "", machine.done, "the end was emitted by a turn that is not done")
    emitted.slice(first).forEach(({ where, effect }, place) => {
      const due = ENDINGS[place] ?? "nothing more"
      requireThat("ending", where, endingKind(effect) === due, `expected ${due}, received ${endingKind(effect) ?? effect?.type}`)
    })
  }
  if (machine.done && wasDrained(steps)) {
    requireThat("ending", "the turn's effects", kinds.at(-1) === "done", "a finished turn was polled to its end and returned no done")
  }
  const answered = new Set<number>()
  for (const { where, input, verdict, effect, before } of steps) {
    if (input.type === "respond" && verdict === "accepted") answered.add(input.response.id)
    if (!before.done || !isAnswerable(effect)) continue
    // At an answered checkpoint the host only saves.
    const isSave = effect.type === "checkpoint" && answered.has(effect.id)
    requireThat("ending", where, isSave, `${effect.type} was emitted by a turn that had ended`)
  }
  requireThat("ending", "the turn", machine.done === (machine.outcome !== undefined), "a turn has an outcome when it is done, and only then")
  for (const { where, effect } of emitted) checkAgrees(where, effect, machine)
}

function checkAgrees(where: string, effect: Effect | undefined, { outcome, messages }: TestedMachine): void {
  if (effect?.type === "done") {
    requireEqual("ending", where, "the outcome of done and that of the machine", effect.outcome, outcome)
    requireEqual("ending", where, "the messages of done and those of the machine", effect.messages, messages)
  } else if (effect?.type === "emit" && effect.event.type === "turn_outcome") {
    requireEqual("ending", where, "the outcome of turn_outcome and that of the machine", effect.event.outcome, outcome)
  }
}

const ENDINGS = ["turn_outcome", "done event", "done"] as const

function endingKind(effect: Effect | undefined): (typeof ENDINGS)[number] | undefined {
  if (effect?.type === "done") return "done"
  if (effect?.type !== "emit") return undefined
  return effect.event.type === "turn_outcome" ? "turn_outcome" : effect.event.type === "done" ? "done event" : undefined
}

/** Law 7: the deltas, joined, are the appended events; all of them once the turn is polled to its end. */
function checkProgress({ start }: Subject, { steps, machine }: EffectTrace): void {
  const emitted = steps.flatMap(({ effect }) => (effect?.type === "progress" || effect?.type === "done" ? effect.eventDelta : []))
  const appended = machine.history.slice(start.events?.length ?? 0)
  const due = wasDrained(steps) ? appended : appended.slice(0, emitted.length)
  requireEqual("progress", "the turn's effects", "the deltas of progress and done, joined, and the events appended", emitted, due)
}

/** Whether the last step was a poll that returned nothing. */
function wasDrained(steps: readonly TraceStep[]): boolean {
  const last = steps.at(-1)
  return last?.input.type === "poll_once" && last.effect === undefined
}

function name(effect: AnswerableEffect | undefined): string {
  return effect === undefined ? "nothing" : `effect ${effect.id}`
}
