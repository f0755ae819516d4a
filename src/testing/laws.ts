import type { Difference } from "../errors.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import { describeDifference, differenceOfTexts, firstDifference } from "./difference.ts"

/** The laws of a turn that `expectTurn` checks, as worded in docs/; `inputs` covers what the caller expected of single inputs. */
export const LAWS = {
  inputs: "an input does what was expected of it",
  replay: "law 1, replay: the same config, start and responses give equal effects in the same order",
  cut: "law 2, cut: checkpoint, JSON text and restore change no later effect, except that the outstanding one is returned again",
  duplicates: "law 3, duplicates: an answered response is stale, changes nothing and cancels no redelivery",
  refusal: "law 4, refusal: an unacceptable response throws with a stable code and leaves the turn unchanged",
  outstanding: "law 5, outstanding: never two answerable effects at once, and ids rise by one",
  ending: "law 6, ending: one turn_outcome, one done event and one done effect, and nothing after them",
  progress: "law 7, progress: the emitted deltas are the appended events, once each and in order",
  tools: "law 8, tools: results and decisions of one batch come in any order and any split, and the driver sees the same",
  orphans: "law 10, no orphans: in every request, each tool call has exactly one result",
  prefix: "law 11, prefix: a request begins with the one before it of the same purpose, or a record with contextReset marks the break",
  verbatim: "law 12, verbatim: what a model said is stored part by part as it was said",
  consent: "law 13, consent: no held call runs without a decision, and no call is handed out again",
  driver: "driver: a driver does not throw, and each of its lists of actions starts one piece of work or finishes the turn",
  values: "values: an old turn value does not change",
} as const

export type Law = keyof typeof LAWS

/** A law that a turn broke: which, where, and where two values that should be equal first differ. */
export class LawError extends Error {
  readonly law: Law
  readonly where: string
  readonly difference: Difference | undefined

  constructor(law: Law, where: string, what: string, difference?: Difference) {
    super(`Broken: ${LAWS[law]}.\n${where}: ${what}`)
    this.name = "LawError"
    this.law = law
    this.where = where
    this.difference = difference
  }
}

/** @throws {LawError} unless the two are equal as JSON */
export function requireEqual(law: Law, where: string, what: string, received: unknown, expected: unknown): void {
  report(law, where, what, firstDifference(received, expected))
}

/** @throws {LawError} unless the two JSON texts are equal as JSON */
export function requireEqualTexts(law: Law, where: string, what: string, received: string | undefined, expected: string | undefined): void {
  report(law, where, what, differenceOfTexts(received, expected))
}

/** @throws {LawError} unless the two lists of JSON texts are equal as JSON */
export function requireEqualLists(law: Law, where: string, what: string, received: readonly string[], expected: readonly string[]): void {
  const most = Math.max(received.length, expected.length)
  for (let index = 0; index < most; index += 1) requireEqualTexts(law, where, `${what} (${index})`, received[index], expected[index])
}

/** @throws {LawError} unless two JSON texts of checkpoints are equal, apart from the effects not polled yet */
export function requireEqualTurns(law: Law, where: string, what: string, received: string, expected: string): void {
  if (received !== expected) requireEqual(law, where, what, withoutUnpolled(received), withoutUnpolled(expected))
}

function withoutUnpolled(checkpoint: string): unknown {
  return { ...(JSON.parse(checkpoint) as TurnCheckpoint), unpolled: [] }
}

/** @throws {LawError} unless `holds` */
export function requireThat(law: Law, where: string, holds: boolean, what: string): void {
  if (!holds) throw new LawError(law, where, what)
}

function report(law: Law, where: string, what: string, difference: Difference | undefined): void {
  if (difference !== undefined) throw new LawError(law, where, `${what}, ${describeDifference(difference)}`, difference)
}
