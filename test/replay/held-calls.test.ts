import { expect, test } from "vitest"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { compareJournals } from "../../src/replay/compare.ts"
import { fork } from "../../src/replay/fork.ts"
import { compacted, type Journal, readJournal } from "../../src/replay/journal.ts"
import { journalOutline, workedMs } from "../../src/replay/outline.ts"
import { prefixBreaks } from "../../src/replay/prefix.ts"
import { Recorder, type RecorderOptions } from "../../src/replay/recorder.ts"
import { replay, resume } from "../../src/replay/replay.ts"
import { verifyReplay } from "../../src/replay/verify.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { HeldCall } from "../../src/wire/approval.ts"
import type { Response } from "../../src/wire/response.ts"
import { type Answer, calling, decide, heldConfig, USER_START } from "../support/held.ts"
import { divergenceOf } from "./support.ts"

const CALLS = ["pay:p1", "look:l1", "pay:p2"]
const HOLD_PAY = ({ toolName }: { readonly toolName: string }): Answer => (toolName === "pay" ? "hold" : "run")
const NO_SNAPSHOTS: RecorderOptions = { snapshotEveryRecords: 0, snapshotEveryChars: 0 }

interface Story {
  readonly text: string
  readonly machine: TurnMachine
  readonly held: readonly HeldCall[]
}

/** Records a turn whose model first calls tools: the steps are responses to its batch, then the model ends the turn if nothing is open. */
function record(config: TurnConfig, steps: (held: readonly HeldCall[], id: number) => readonly Response[], options = NO_SNAPSHOTS): Story {
  const machine = new TurnMachine(config, USER_START)
  const { recorder, line } = Recorder.begin(config, USER_START, "turn-1", options)
  let text = line
  const answer = (response: Response): void => {
    text += recorder.response(machine, response)
    machine.handle(response)
    while (machine.poll() !== undefined);
    text += recorder.snapshotIfDue(machine)
  }
  while (machine.poll() !== undefined);
  answer({ type: "llm_complete", id: 1, at: 1_000, result: { ok: true, response: calling(...CALLS) } })
  const { outstanding } = machine
  const held = outstanding?.type === "tool_calls" ? (outstanding.held ?? []) : []
  for (const response of steps(held, outstanding?.id ?? 0)) answer(response)
  while (machine.outstanding?.type === "llm_call" || machine.outstanding?.type === "checkpoint") {
    const { id, type } = machine.outstanding
    answer(
      type === "llm_call"
        ? { type: "llm_complete", id, at: 9_000, result: { ok: true, response: calling() } }
        : { type: "checkpoint_delivery", id, delivery: {} },
    )
  }
  return { text: text + recorder.end(machine), machine, held }
}

const result = (callId: string, toolName = "pay", args: object = { for: callId }, at = 3_000): Response =>
  ({
    type: "tool_results",
    id: 2,
    at,
    results: [{ callId, toolName, args, output: { status: "success", value: `did ${callId}` }, durationMs: 1 }],
  }) as Response
const decision = (call: HeldCall | undefined, verdict: object = {}, at = 2_000): Response => ({
  type: "tool_decisions",
  id: 2,
  at,
  decisions: [decide(call as HeldCall, verdict)],
})

const APPROVED = ([p1, p2]: readonly HeldCall[]): readonly Response[] => [
  decision(p2),
  result("l1", "look"),
  decision(p1, { decision: "reject", message: "Too much." }),
  result("p2"),
]

test("a turn with held calls replays, verifies, resumes and compacts", () => {
  const config = heldConfig(HOLD_PAY)
  const { text, machine } = record(config, APPROVED)
  const journal = readJournal(text)
  expect(machine.outcome?.type).toBe("finished")
  expect(replay(journal, config).messages).toEqual(machine.messages)
  expect(verifyReplay(journal, config)).toMatchObject({ snapshots: 1, outcome: { type: "finished" } })
  expect(resume(journal, config).messages).toEqual(machine.messages)
  expect(resume(readJournal(compacted(journal)), config).messages).toEqual(machine.messages)
  expect(prefixBreaks(journal, config)).toMatchObject({ compared: 1, breaks: [], complete: true })
})

test("a batch without held calls stores no snapshot, and its fingerprint is the one that it had", () => {
  const config = heldConfig(() => "run")
  const { text } = record(config, () => [result("p1"), result("l1", "look"), result("p2")])
  expect(readJournal(text).entries.filter(({ record: { type } }) => type === "snapshot")).toEqual([])
})

test.each<[string, Answer]>([
  ["runs", "run"],
  ["is denied", "deny"],
])("a turn that is resumed under a policy by which a held call %s continues with the call as it was held", (_, now) => {
  const { text, held } = record(heldConfig(HOLD_PAY), () => [])
  let asked = 0
  const changed = heldConfig(() => {
    asked += 1
    return now
  })
  const machine = resume(readJournal(text), changed)
  const { outstanding } = machine
  expect(outstanding).toMatchObject({ type: "tool_calls", calls: [{ callId: "l1" }], held })
  expect(asked).toBe(0)
})

test("a call that ran is not denied by the policy of a later process", () => {
  // It was released before anything ran, and begins again as it was released.
  const { text } = record(heldConfig(HOLD_PAY), ([p1]) => [decision(p1)])
  const machine = resume(
    readJournal(text),
    heldConfig(() => "deny"),
  )
  expect(machine.outstanding).toMatchObject({ calls: [{ callId: "p1" }, { callId: "l1" }], held: [{ callId: "p2" }] })
})

test("edited arguments are not asked about again once they were allowed, nor once they were denied", () => {
  const edit = { decision: "edit", args: { for: "less" } }
  const allowed = record(heldConfig(HOLD_PAY), ([p1]) => [decision(p1, edit)])
  const resumed = resume(
    readJournal(allowed.text),
    heldConfig(() => "deny"),
  )
  expect(resumed.outstanding).toMatchObject({ calls: [{ callId: "p1", args: { for: "less" } }, { callId: "l1" }] })

  const denies = heldConfig(({ toolName, args }) => (JSON.stringify(args).includes("less") ? "deny" : HOLD_PAY({ toolName })))
  const last = record(denies, ([p1, p2]) => [result("l1", "look"), decision(p2), result("p2"), decision(p1, edit)])
  const after = readJournal(last.text)
  const cut = { ...after, entries: after.entries.slice(0, -1) }
  expect(resume(cut, heldConfig(HOLD_PAY)).messages).toEqual(last.machine.messages)
})

test("a decision that reached other calls is stored with what it reached", () => {
  const { text } = record(heldConfig(HOLD_PAY), ([p1]) => [decision(p1, { scope: "turn", by: "ada" })])
  const last = readJournal(text).entries.at(-1)?.record
  expect(last).toMatchObject({
    type: "snapshot",
    checkpoint: {
      state: {
        decided: [
          { requestId: "2:p1", decision: "approve", by: "ada" },
          { requestId: "2:p2", decision: "approve", by: "ada" },
        ],
      },
    },
  })
})

test("a decision by which the driver also released a call that nobody named is stored with that call", () => {
  const config = heldConfig(HOLD_PAY)
  const driver = { ...config.driver, onToolDecisions: releaseAll }
  const { text } = record({ ...config, driver }, ([p1]) => [decision(p1)])
  const journal = readJournal(text)
  expect(journal.entries.map(({ record: { type } }) => type)).toEqual(["llm_complete", "snapshot", "tool_decisions", "snapshot"])
  // A driver that releases only what is named does not take the other call back.
  expect(resume(journal, config).outstanding).toMatchObject({ calls: [{ callId: "p1" }, { callId: "l1" }, { callId: "p2" }] })
})

const releaseAll: NonNullable<ProtocolDriver["onToolDecisions"]> = (_context, { held }) => [
  { type: "release_calls", requestIds: held.map(({ requestId }) => requestId) },
]

test("after a resume, a snapshot is due only if the records do not say what decisions led to", () => {
  const config = heldConfig(HOLD_PAY)
  const after = (verdict: object, dropped: number): string[] => {
    const journal = readJournal(record(config, ([p1]) => [decision(p1, verdict)]).text)
    const cut = { ...journal, entries: journal.entries.slice(0, journal.entries.length - dropped) }
    const due = Recorder.resume(cut, NO_SNAPSHOTS).snapshotIfHeld(resume(cut, config))
    return [cut.entries.at(-1)?.record.type ?? "", due === "" ? "none" : "due"]
  }
  const [approved, wide, edited] = [{}, { scope: "turn" }, { decision: "edit", args: { for: "less" } }]
  expect(after(approved, 0)).toEqual(["tool_decisions", "none"])
  expect(after(wide, 0)).toEqual(["snapshot", "none"])
  expect(after(edited, 0)).toEqual(["snapshot", "none"])
  // The process ended after it had recorded the decision, and before the snapshot.
  expect(after(wide, 1)).toEqual(["tool_decisions", "due"])
  expect(after(edited, 1)).toEqual(["tool_decisions", "due"])
})

test("an approval alone stores no snapshot: a journal grows by what is decided", () => {
  const { text } = record(heldConfig(HOLD_PAY), APPROVED)
  expect(
    readJournal(text)
      .entries.map(({ record: { type } }) => type)
      .filter((type) => type === "snapshot"),
  ).toHaveLength(1)
})

test("verification from the start reports a changed policy, with the calls that were held and those that are", () => {
  const { text } = record(heldConfig(HOLD_PAY), APPROVED)
  const changed = heldConfig(({ callId }) => (callId === "p2" ? "hold" : "run"))
  const divergence = divergenceOf(() => verifyReplay(readJournal(text), changed))
  expect(divergence).toMatchObject({ code: "snapshot_differs", record: 3 })
  expect(divergence.message).toMatch(
    /Held for approval in the journal: p1 \(pay\), p2 \(pay\); in the replayed turn: p2 \(pay\)\. The approval policy changed, or the tools did\.$/,
  )
  const none = divergenceOf(() =>
    replay(
      readJournal(text),
      heldConfig(() => "run"),
    ),
  )
  expect(none).toMatchObject({ code: "effect_differs", record: 4, effectId: 2 })
  expect(none.message).toContain("in the replayed turn: none")
})

test("the time limits of requests and the ids of effects do not change the fingerprint of a batch", () => {
  const config = (expiresAt: number): TurnConfig => heldConfig(HOLD_PAY, { expiresAt })
  const [first, second] = [5_000, 7_000].map((expiresAt) => readJournal(record(config(expiresAt), APPROVED).text)) as [Journal, Journal]
  expect(compareJournals(first, second).parting).toBeUndefined()
})

test("decisions and results of a batch are equal in any order and any split", () => {
  const config = heldConfig(HOLD_PAY)
  const first = readJournal(record(config, APPROVED).text)
  const together = ([p1, p2]: readonly HeldCall[]): readonly Response[] => [
    result("l1", "look", undefined, 4_000),
    {
      type: "tool_decisions",
      id: 2,
      at: 4_000,
      decisions: [decide(p1 as HeldCall, { decision: "reject", message: "Too much." }), decide(p2 as HeldCall)],
    },
    { type: "tool_pending", id: 2, callId: "p2", token: "job-7" },
    result("p2", "pay", undefined, 5_000),
  ]
  const second = readJournal(record(config, together).text)
  expect(compareJournals(first, second)).toEqual({ header: [], parting: undefined, fromEffect: 1, alike: 8 })
  const by = ([p1, p2]: readonly HeldCall[]): readonly Response[] => [
    result("l1", "look"),
    decision(p1, { decision: "reject", message: "Too little." }),
    decision(p2),
    result("p2"),
  ]
  const { parting } = compareJournals(first, readJournal(record(config, by).text))
  expect(parting).toMatchObject({ type: "answered", differences: [{ path: "/decisions/0/message", expected: "Too much.", received: "Too little." }] })
})

test("a decision that only one journal has is a difference in length", () => {
  const config = heldConfig(HOLD_PAY)
  const [one, none] = [record(config, ([p1]) => [decision(p1)]), record(config, () => [])].map(({ text }) => readJournal(text)) as [Journal, Journal]
  expect(compareJournals(one, none)).toMatchObject({ parting: { type: "length", second: undefined }, alike: 1 })
})

test("a fork replaces a decision by another one about the same request", () => {
  const config = heldConfig(HOLD_PAY)
  const { text, held } = record(config, APPROVED)
  const journal = readJournal(text)
  const rejects = decision(held[1], { decision: "reject" })
  const forked = readJournal(fork(journal, 4, rejects, { turnId: "turn-2" }))
  expect(resume(forked, config).outstanding).toMatchObject({ calls: [{ callId: "l1" }], held: [{ callId: "p1" }] })
  expect(() => fork(journal, 4, decision(held[0]), { turnId: "turn-2" })).toThrow(/tool_decisions for effect 2 about "2:p2"/)
})

test("the outline shows decisions, and the days until them are not work", () => {
  const DAYS = 3 * 86_400_000
  const config = heldConfig(HOLD_PAY)
  const { text, held } = record(config, () => [{ type: "tool_pending", id: 2, at: 1_500, callId: "l1", token: "job-1" }])
  const journal = readJournal(text)
  const recorder = Recorder.resume(journal)
  const machine = resume(journal, config)
  const lines = [decision(held[0], { by: "ada" }, DAYS), result("l1", "look", undefined, DAYS + 500)].map((response) => {
    const line = recorder.response(machine, response)
    machine.handle(response)
    return line
  })
  const all = readJournal(
    text + lines.join("") + recorder.opened(DAYS + 1_000) + recorder.response(machine, result("p1", "pay", undefined, DAYS + 1_200)),
  )
  expect(workedMs({ ...all, header: { ...all.header, at: 900 } })).toBe(600 + 200)
  expect(journalOutline(all).rows.filter(({ type }) => type.startsWith("tool_"))).toMatchObject([
    { type: "tool_pending", callId: "l1", token: "job-1", effectId: 2 },
    { type: "tool_decisions", decisions: [{ requestId: "2:p1", by: "ada" }] },
    { type: "tool_results" },
    { type: "tool_results" },
  ])
})
