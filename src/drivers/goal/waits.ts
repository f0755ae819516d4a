import { cutMiddle, isBlank } from "../../text.ts"
import type { GoalInput, GoalRefusal, GoalWait, WaitGoal } from "../../wire/goal.ts"
import { type GoalStep, updateMemory } from "./step.ts"
import type { Problem } from "./terms.ts"
import { nextStatus } from "./transitions.ts"

const MAX_EVENT_LENGTH = 200
const MAX_REASON_LENGTH = 1000

/** Lets an active goal wait. Returns the problem if it cannot. */
export function applyWait(step: GoalStep, { until, event, reason }: WaitGoal): Problem<GoalRefusal> | undefined {
  const { goal, at } = step
  if (until === undefined && event === undefined) return waitInvalid("A wait needs a time, an event, or both.")
  if (until !== undefined && !(Number.isSafeInteger(until) && until >= 0))
    return waitInvalid("The time of a wait is in milliseconds since the epoch.")
  if (event !== undefined && (isBlank(event) || event.length > MAX_EVENT_LENGTH))
    return waitInvalid(`The event of a wait is a name of at most ${MAX_EVENT_LENGTH} characters.`)
  if (goal === null || nextStatus(goal.status, "wait", false) === "refused")
    return { code: "not_active", message: `Only an active goal can wait; this one is ${goal?.status ?? "none"}.` }
  const wait: GoalWait = {
    since: at,
    ...(until !== undefined && { until }),
    ...(event !== undefined && { event }),
    ...(reason !== undefined && { reason: cutMiddle(reason, MAX_REASON_LENGTH) }),
  }
  updateMemory(step, { wait })
  return undefined
}

/** Ends a wait for this event. The wait stays in the memory, so that the next continuation can say why it begins. */
export function eventHappened(step: GoalStep, { event }: Extract<GoalInput, { type: "event_happened" }>): void {
  const { wait } = step.memory
  if (wait?.event === event && !isOver(wait, step.at)) updateMemory(step, { wait: { ...wait, endedAt: step.at } })
}

/** Drops a wait: there is a turn, or someone activated the goal. */
export function endWait(step: GoalStep): void {
  updateMemory(step, { wait: undefined })
}

/** Whether the time of a wait has come or its event happened. */
export function isOver({ until, endedAt }: GoalWait, at: number): boolean {
  return endedAt !== undefined || (until !== undefined && at >= until)
}

/** Says to people what a goal waits for. The time is a field of the answer, because its form is up to the host. */
export function waitReason({ until, event, reason }: GoalWait): string {
  const time = until === undefined ? [] : ["its time"]
  const things = event === undefined ? time : [`the event ${JSON.stringify(event)}`, ...time]
  const why = reason === undefined ? "" : `: ${reason.replace(/[.\s]+$/, "")}`
  return `The goal waits for ${things.join(" or ")}${why}. A message or a resume ends the wait.`
}

function waitInvalid(message: string): Problem<"wait_invalid"> {
  return { code: "wait_invalid", message }
}
