import type { ScriptedCall, TurnScript } from "./scripted-turn.ts"

const call: ScriptedCall = { effects: "idempotent", answer: "value", value: "done", before: 1, after: 1 }
const once: ScriptedCall = { ...call, effects: "once", value: "paid" }

const plain = { driver: "chat", modelFails: false, streams: false, syncs: false, deliverAt: [] } as const

/** Parallel calls of every kind, a failing tool, deliveries at both kinds of checkpoint, a changed surface, streamed text. */
export const RICH: TurnScript = {
  ...plain,
  batches: [
    [
      { ...call, effects: "none", value: { seen: [1, 2] }, after: 3 },
      { ...once, recover: "finds" },
      once,
      { ...call, answer: "throws", before: 2 },
      { ...once, recover: "throws", after: 0 },
    ],
    [
      { ...once, recover: "knows_nothing" },
      { ...call, value: 3 },
    ],
  ],
  streams: true,
  syncs: true,
  // The first checkpoint after tools, and the one before completion.
  deliverAt: [4, 11],
}

const CODE: TurnScript = { ...plain, driver: "code", batches: [[call], [call]], deliverAt: [3] }

/** A turn that ends with a failed model call. */
const FAILING: TurnScript = { ...plain, batches: [[call]], modelFails: true }

/** A turn that a tool ends. */
const ENDING: TurnScript = { ...plain, batches: [[{ ...call, effects: "none", answer: "ends_turn" }]] }

/** One batch of calls that all may run again. */
export const WIDE: TurnScript = { ...plain, batches: [[call, call, { ...call, effects: "none" }]] }

/** Calls that wait for a person, beside one that runs at once. */
const HELD: TurnScript = {
  ...plain,
  batches: [
    [
      { ...call, held: "approve" },
      { ...call, effects: "none", value: "free" },
      { ...once, recover: "finds", held: "approve" },
      { ...call, held: "reject" },
      { ...once, held: "approve" },
    ],
  ],
}

/** A turn with held calls. Without `once` calls for hosts that do not run them. */
export function heldScript(runsOnce: boolean): TurnScript {
  return runsOnce ? HELD : { ...HELD, batches: HELD.batches.map(allowed) }
}

/** The time after which the approvals of {@link lateScript} are none, in milliseconds. */
export const EXPIRES_AT = 2_000

/** A turn whose held calls all end as rejected: their approvals come too late. */
export function lateScript(runsOnce: boolean): TurnScript {
  const script = heldScript(runsOnce)
  const batches = script.batches.map((batch) => batch.map((one): ScriptedCall => (one.held === undefined ? one : { ...one, held: "reject" })))
  return { ...script, batches, expiresAt: EXPIRES_AT }
}

/** Calls that continue outside, beside one that does not. */
const OUTSIDE: TurnScript = { ...plain, batches: [[{ ...call, isPending: true }, call, { ...once, recover: "finds", isPending: true }]] }

/** A turn with calls that continue outside. Without `once` calls for hosts that do not run them. */
export function outsideScript(runsOnce: boolean): TurnScript {
  return runsOnce ? OUTSIDE : { ...OUTSIDE, batches: OUTSIDE.batches.map(allowed) }
}

function allowed(batch: readonly ScriptedCall[]): readonly ScriptedCall[] {
  return batch.map((one) => (one.effects === "once" ? { ...one, effects: "idempotent" } : one))
}

/** The turns of most scenarios, with their names. Without `once` calls for hosts that do not run them. */
export function scriptsFor(runsOnce: boolean): readonly (readonly [string, TurnScript])[] {
  const rich = runsOnce ? RICH : { ...RICH, batches: RICH.batches.map(allowed) }
  return [
    ["a chat turn", rich],
    ["a turn of code", CODE],
    ["a turn whose last model call fails", FAILING],
    ["a turn that a tool ends", ENDING],
  ]
}

/** A turn of about as many effects: each iteration has a model call, a tool call and a checkpoint. */
export function longScript(effects: number): TurnScript {
  return { ...plain, batches: Array.from({ length: Math.ceil(effects / 3) }, (): readonly ScriptedCall[] => [call]) }
}
