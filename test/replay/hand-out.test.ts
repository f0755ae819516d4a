import { expect, test } from "vitest"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { replay, resume } from "../../src/replay/replay.ts"
import { verifyReplay } from "../../src/replay/verify.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import { journalValidation } from "../../src/schemas/validation.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { readText } from "../support/stored-text.ts"
import { answerOf, CONFIG, START } from "./support.ts"

// What a host does to an effect after it was handed out does not change the fingerprint or the recorded effect.

/** What hosts have been seen to do: mark where a cache ends, scale an argument, shorten a list. Leaves what the turn itself needs. */
function scribble(effect: Effect): void {
  // What the machine has frozen cannot be changed; the effect itself is the host's.
  if (effect.type === "llm_call") {
    for (const { blocks } of effect.request.messages) for (const block of blocks) Reflect.set(block, "cacheBreakpoint", true)
    Reflect.set(effect.request, "generation", { temperature: 2 })
    Reflect.set(effect, "request", { ...effect.request, generation: { temperature: 2 } })
  }
  if (effect.type === "tool_calls") {
    for (const call of effect.calls) Reflect.set(call, "args", { n: 7_000 })
    Reflect.set(
      effect,
      "calls",
      effect.calls.map((call) => ({ ...call, args: { n: 7_000 } })),
    )
  }
}

test.each([{}, { keepEffects: true }, { keepEffects: true, snapshotEveryRecords: 3 }])("in a bare loop of a recorder: %j", (options) => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-1", { ...options, validation: journalValidation })
  let text = line
  for (;;) {
    let last: Effect | undefined
    for (let effect = recorder.poll(machine); effect !== undefined; effect = recorder.poll(machine)) last = effect
    text += recorder.snapshotIfDue(machine)
    const { outstanding } = machine
    if (outstanding === undefined) break
    const answer = answerOf(outstanding, machine.iteration, 3)
    if (last !== undefined && options.snapshotEveryRecords === undefined) scribble(last)
    text += recorder.response(machine, answer)
    machine.handle(answer)
  }
  const journal = readJournal(text + recorder.end(machine), journalValidation)
  expect(verifyReplay(journal, CONFIG).outcome).toEqual(machine.outcome)
  for (let at = 2; at <= journal.entries.length; at += 1) replay(journal, CONFIG, { at })
  const effects = journal.entries.flatMap(({ record }) => (record.type === "effect" ? [JSON.stringify(record.effect)] : []))
  expect(effects.length > 0).toBe(options.keepEffects === true)
  expect(effects.join()).not.toMatch(/cacheBreakpoint|"temperature":2|7000/)
})

test("in a loop of a journal, where settled is called before an effect is performed", async () => {
  const store = memoryJournalStore()
  const journal = await TurnJournal.open(store, "t", { keepEffects: true })
  const machine = await journal.begin(CONFIG, START, { turnId: "t" })
  for (;;) {
    let last: Effect | undefined
    for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) last = effect
    await journal.settled(machine)
    const { outstanding } = machine
    if (outstanding === undefined) break
    const answer = answerOf(outstanding, machine.iteration, 3)
    if (last !== undefined) scribble(last)
    await journal.response(machine, answer)
    machine.handle(answer)
    if (machine.iteration > 0) {
      const soFar = readJournal((await readText(store, "t")) ?? "", journalValidation)
      expect(resume(soFar, CONFIG).state).toBeDefined()
    }
  }
  await journal.close()
  const whole = readJournal((await readText(store, "t")) ?? "", journalValidation)
  expect(verifyReplay(whole, CONFIG).outcome).toEqual(machine.outcome)
})
