/** What is checked of a host. Each name completes "A turn" or "A host", as in `killed at every place: it ends as without an interruption`. */
export const CONFORMANCE_LAWS = {
  ends: "it ends as without an interruption",
  remembers: "its end is given again, and nothing is performed",
  answers: "no answer that was acted on is asked for again",
  once: "a call that must not run twice never begins twice",
  truth: "a result says what happened: no call reads as not run that may have run, or as run that did not",
  keys: "work is repeated only under the same idempotency key, which no other work has",
  pairs: "each tool call has one result",
  records: "records are reported in order, each at its place, without a gap",
  silence: "nothing is emitted after the end",
  fatal: "a fatal error ends the run and is not an answer",
  calls: "finished calls of a batch do not run again",
  exclusive: "only one instance continues the turn",
  consent: "no held call begins before it is allowed, and none is asked for after it began",
  decided: "a decision counts once, and one that comes too late changes nothing",
  suspended: "a run suspends with exactly the calls that wait",
  code: "changed code is refused with an error, or continues the turn correctly",
  linear: "what is stored grows in proportion to the effects",
} as const

export type ConformanceLaw = keyof typeof CONFORMANCE_LAWS
