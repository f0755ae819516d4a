/** What is checked of a host of threads. */
export const THREAD_LAWS = {
  rests: "the thread comes to rest, and every input has an answer",
  delivered: "an accepted input is delivered exactly once, or taken back",
  order: "inputs that wait for the same time are delivered in the order in which they were accepted",
  when: "an input is delivered at the time that its author chose",
  again: "an input that is sent again is one input, with one receipt",
  stops: "an interrupt ends the running turn, and a redirection continues it",
  commands: "a command for the goal takes effect once, in its order",
  continues: "a goal continues until it ends, and is charged once for each answer",
  early: "a goal does not continue before its time",
  history: "the model reads what came before: nothing is lost, changed or repeated",
  status: "the status of the thread is the same after a restart",
  once: "a call that must not run twice never begins twice",
  keys: "work is repeated only under the same idempotency key, which no other work has",
  consent: "no held call begins before it is allowed, and none is asked for after it began",
  decided: "a decision counts once, and one that comes too late changes nothing",
  exclusive: "only one instance continues the turn",
  linear: "what is stored grows in proportion to the turns",
} as const

export type ThreadLaw = keyof typeof THREAD_LAWS
