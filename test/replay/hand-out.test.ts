import { expect, test } from "vitest"
import { journalValidation } from "../../src/checks/records.ts"
import type { CompleteTurnConfig } from "../../src/machine/config.ts"
import { TurnMachine } from "../../src/machine/turn-machine.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { replay } from "../../src/replay/replay.ts"
import { verifyReplay } from "../../src/replay/verify.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import { answerOf, CONFIG as BASE, START } from "./support.ts"

// What a host does to an effect after it was handed out does not change the fingerprint or the recorded effect.

/** Values that cannot be frozen, as those of a projector of the host's own may be. */
function unfreezable<Value extends object>(value: Value): Value {
  return new Proxy(value, { preventExtensions: () => false })
}

const CONFIG: CompleteTurnConfig = { ...BASE, projector: (input) => ({ ...BASE.projector(input), generation: unfreezable({ temperature: 1 }) }) }

/** What the machine has frozen cannot be changed. */
function scribble(effect: Effect): void {
  if (effect.type !== "llm_call") return
  for (const { blocks } of effect.request.messages) for (const block of blocks) Reflect.set(block, "cacheBreakpoint", true)
  expect(Reflect.set(effect.request.generation, "temperature", 2)).toBe(true)
}

const LOOPS = ["poll of the recorder", "handOut, as a journal calls it"] as const
const OPTIONS = [{}, { keepEffects: true }, { keepEffects: true, snapshotEveryRecords: 3 }] as { keepEffects?: true; snapshotEveryRecords?: number }[]
test.each(LOOPS.flatMap((loop) => OPTIONS.map((options) => ({ loop, options }))))("in a bare loop with $loop: $options", ({ loop, options }) => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-1", { ...options, validation: journalValidation })
  let text = line
  for (;;) {
    let last: Effect | undefined
    const poll = (): Effect | undefined => (loop === "poll of the recorder" ? recorder.poll(machine) : machine.poll())
    for (let effect = poll(); effect !== undefined; effect = poll()) last = effect
    if (loop !== "poll of the recorder") recorder.handOut(machine)
    text += recorder.snapshotIfDue(machine)
    const { outstanding } = machine
    if (outstanding === undefined) break
    const answer = answerOf(outstanding, machine.iteration, 3)
    if (last !== undefined) scribble(last)
    text += recorder.response(machine, answer)
    machine.handle(answer)
  }
  const journal = readJournal(text + recorder.end(machine), journalValidation)
  expect(verifyReplay(journal, CONFIG).outcome).toEqual(machine.outcome)
  for (let at = 2; at <= journal.entries.length; at += 1) replay(journal, CONFIG, { at })
  const effects = journal.entries.flatMap(({ record }) => (record.type === "effect" ? [JSON.stringify(record.effect)] : []))
  expect(effects.length > 0).toBe(options.keepEffects === true)
  expect(effects.join()).not.toMatch(/cacheBreakpoint|"temperature":2/)
})
