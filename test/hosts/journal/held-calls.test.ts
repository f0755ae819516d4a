import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type Host, pending, ToolError } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { OutsideOptions } from "../../../src/hosts/journal/outside-inputs.ts"
import { textOf } from "../../../src/hosts/journal/parts.ts"
import { pendingApprovals } from "../../../src/hosts/journal/pending-approvals.ts"
import { type JournalStore, JournalStoreError } from "../../../src/hosts/journal/store.ts"
import { TurnJournal, type TurnJournalOptions } from "../../../src/hosts/journal/turn-journal.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { TurnMachine } from "../../../src/machine/turn-machine.ts"
import { compacted, JournalWriter, readJournal } from "../../../src/replay/journal.ts"
import type { Decision, HeldCall } from "../../../src/wire/approval.ts"
import type { Response } from "../../../src/wire/response.ts"
import { type Answer, calling, decide, heldConfig, USER_START } from "../../support/held.ts"

const HOLD_PAY = ({ toolName }: { readonly toolName: string }): Answer => (toolName === "pay" ? "hold" : "run")
const CONFIG = heldConfig(HOLD_PAY)
const QUIET: TurnJournalOptions = { snapshotEveryRecords: 0, snapshotEveryChars: 0, now: () => 5_000 }
const CALLS = ["pay:p1", "look:l1", "pay:p2"]

/** A loop of a host's own: hands a response to a turn with a journal. */
async function handle(journal: TurnJournal, machine: TurnMachine, response: Response): Promise<void> {
  while (machine.poll() !== undefined);
  await journal.settled(machine)
  const checked = machine.check(response)
  await journal.response(machine, checked)
  machine.handle(checked)
  while (machine.poll() !== undefined);
  await journal.settled(machine)
}

const asks = (...calls: readonly string[]): Response => ({
  type: "llm_complete",
  id: 1,
  at: 1_000,
  result: { ok: true, response: calling(...calls) },
})
const result = (callId: string, toolName = "pay"): Response => ({
  type: "tool_results",
  id: 2,
  at: 2_000,
  results: [{ callId, toolName, args: { for: callId }, output: { status: "success", value: `did ${callId}` }, durationMs: 1 }],
})

/** A process that begins a turn, comes as far as its batch, and closes its journal. Returns the held calls. */
async function held(
  store: JournalStore,
  { config = CONFIG, calls = CALLS, name = "t", more = [] as readonly Response[] } = {},
): Promise<readonly HeldCall[]> {
  const journal = await TurnJournal.open(store, name, QUIET)
  const machine = await journal.begin(config, USER_START, { turnId: `turn-${name}` })
  await handle(journal, machine, asks(...calls))
  const { outstanding } = machine
  for (const response of more) await handle(journal, machine, response)
  await journal.close()
  return outstanding?.type === "tool_calls" ? (outstanding.held ?? []) : []
}

/** A process that only decides. */
async function decides(store: JournalStore, decisions: readonly Decision[], options: OutsideOptions = {}, name = "t") {
  const journal = await TurnJournal.open(store, name, QUIET)
  try {
    return await journal.decide(decisions, options)
  } finally {
    await journal.close()
  }
}

async function resumed(store: JournalStore, config: TurnConfig = CONFIG): Promise<{ readonly journal: TurnJournal; readonly machine: TurnMachine }> {
  const journal = await TurnJournal.open(store, "t", QUIET)
  return { journal, machine: await journal.resume(config) }
}

async function records(store: JournalStore, name = "t"): Promise<readonly string[]> {
  return readJournal(await textOf(await store.read(name))).entries.map(({ record: { type } }) => type)
}

describe("decide, without running the turn", () => {
  test("records what fits, refuses the rest, and the next process continues with it", async () => {
    const store = memoryJournalStore()
    const [p1, p2] = (await held(store)) as [HeldCall, HeldCall]
    const other = { requestId: "2:other", digest: "d" }
    const results = await decides(store, [
      decide(p1, { decision: "reject", message: "Too much." }),
      decide(other),
      decide({ ...p2, digest: p1.digest }),
      decide(p2, { by: "ada" }),
    ])
    expect(results).toMatchObject([
      { requestId: "2:p1", status: "accepted" },
      { requestId: "2:other", status: "refused", code: "unknown_request" },
      { requestId: "2:p2", status: "refused", code: "digest_mismatch" },
      { requestId: "2:p2", status: "accepted" },
    ])
    expect(await records(store)).toEqual(["llm_complete", "snapshot", "tool_decisions", "tool_decisions"])
    const { machine } = await resumed(store)
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "l1" }, { callId: "p2" }] })
    expect(machine.outstanding).not.toHaveProperty("held")
  })

  test("the same decision again is stale, and a contrary one is refused and names who was first", async () => {
    const store = memoryJournalStore()
    const [p1] = (await held(store)) as [HeldCall]
    expect(await decides(store, [decide(p1, { by: "ada" })])).toMatchObject([{ status: "accepted" }])
    const [again, contrary] = [decide(p1, { by: "bob" }), decide(p1, { decision: "reject", by: "bob" })]
    const expected = [
      { status: "stale" },
      { status: "refused", code: "call_already_decided", message: 'The call "p1" is decided already: approve by "ada".' },
    ]
    expect(await decides(store, [again, contrary])).toMatchObject(expected)
    expect(await decides(store, [again, contrary], { config: CONFIG })).toMatchObject(expected)
    expect((await records(store)).filter((type) => type === "tool_decisions")).toHaveLength(1)
    // Also after its batch, and after the turn.
    const { journal, machine } = await resumed(store)
    await handle(journal, machine, result("p1"))
    await handle(journal, machine, result("l1", "look"))
    await journal.decide([decide(await undecided(machine), { decision: "reject" })])
    while (machine.poll() !== undefined);
    expect(machine.outstanding?.type).toBe("checkpoint")
    expect(await journal.decide([again, contrary])).toMatchObject([{ status: "stale" }, { status: "refused", code: "call_already_decided" }])
    await journal.command(machine, { type: "cancel" })
    await journal.settled(machine)
    await journal.close()
    expect(await decides(store, [again, contrary])).toMatchObject([{ status: "stale" }, { status: "refused", code: "call_already_decided" }])
    expect(await decides(store, [decide({ requestId: "9:x", digest: "d" })])).toMatchObject([{ code: "turn_finished" }])
  })

  test("codes say where the turn is", async () => {
    const store = memoryJournalStore()
    const decision = decide({ requestId: "2:p1", digest: "d" })
    expect(await decides(store, [decision])).toMatchObject([{ status: "refused", code: "turn_not_begun" }])
    await held(store, { calls: [] })
    expect(await decides(store, [decision])).toMatchObject([{ status: "refused", code: "not_waiting_for_tools" }])
    expect(await decides(store, [decision], { config: CONFIG })).toMatchObject([{ status: "refused", code: "not_waiting_for_tools" }])
  })

  test("a list that is no list of decisions is refused as a whole", async () => {
    const store = memoryJournalStore()
    const [p1] = (await held(store)) as [HeldCall]
    await expect(decides(store, [decide(p1), { requestId: "x" } as never])).rejects.toMatchObject({ code: "invalid_response" })
    expect(await records(store)).not.toContain("tool_decisions")
  })

  test("an approval that comes too late is stored, and says that it counts as expired", async () => {
    const store = memoryJournalStore()
    const [p1, p2] = (await held(store, { config: heldConfig(HOLD_PAY, { expiresAt: 6_000 }) })) as [HeldCall, HeldCall]
    expect(await decides(store, [decide(p1)], { at: 5_999 })).toEqual([{ requestId: "2:p1", status: "accepted" }])
    expect(await decides(store, [decide(p2)], { at: 6_000 })).toMatchObject([{ requestId: "2:p2", status: "accepted", code: "approval_expired" }])
    const { machine } = await resumed(store, heldConfig(HOLD_PAY, { expiresAt: 6_000 }))
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "p1" }, { callId: "l1" }] })
  })

  test("reads nothing before the snapshot of the held calls", async () => {
    const store = memoryJournalStore()
    const [p1] = (await held(store)) as [HeldCall]
    const { header, entries } = readJournal(await textOf(await store.read("t")))
    const writer = new JournalWriter<object>()
    const first = writer.line(header)
    const lines = entries.map(({ record, fingerprint }) => writer.line(record.type === "llm_complete" ? { ...record, more: 1 } : record, fingerprint))
    const invalid = memoryJournalStore()
    const stored = await invalid.open("t")
    await stored.append([first, ...lines].join(""))
    await stored.close()
    expect(await decides(invalid, [decide(p1)])).toEqual([{ requestId: p1.requestId, status: "accepted" }])
  })

  test("an exact decision of the list wins over one that reaches its call", async () => {
    const store = memoryJournalStore()
    const [p1, p2] = (await held(store)) as [HeldCall, HeldCall]
    const results = await decides(store, [decide(p1, { scope: "turn" }), decide(p2, { decision: "reject" })])
    expect(results).toMatchObject([
      { requestId: "2:p1", status: "accepted" },
      { requestId: "2:p2", status: "accepted" },
    ])
    const { machine } = await resumed(store)
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "p1" }, { callId: "l1" }] })
  })

  test.each([undefined, CONFIG])("a call that an earlier decision reached cannot be rejected any more", async (config) => {
    const store = memoryJournalStore()
    const [p1, p2] = (await held(store)) as [HeldCall, HeldCall]
    await decides(store, [decide(p1, { scope: "turn", by: "ada" })])
    const options = config === undefined ? {} : { config }
    const contrary = await decides(store, [decide(p2, { decision: "reject" })], options)
    expect(contrary).toMatchObject([{ status: "refused", code: "call_already_decided", message: expect.stringContaining('approve by "ada"') }])
    expect(await decides(store, [decide(p2)], options)).toMatchObject([{ status: "stale" }])
  })

  test("a call that may be decided only by itself is not reached, and its own decision counts", async () => {
    const store = memoryJournalStore()
    const policy: ApprovalPolicy = ({ callId, toolName }) =>
      toolName === "pay" ? { hold: callId === "p2" ? { scopes: ["call"] } : callId === "p3" ? { allow: ["edit", "reject"] } : {} } : "run"
    const config = { ...CONFIG, driver: approvalDriver(chatDriver(), { policy }) }
    const [p1, p2, p3] = (await held(store, { config, calls: ["pay:p1", "pay:p2", "pay:p3", "look:l1"] })) as [HeldCall, HeldCall, HeldCall]
    expect(await decides(store, [decide(p1, { scope: "thread" })])).toMatchObject([{ status: "accepted" }])
    const own = [decide(p2), decide(p3, { decision: "edit", args: { for: "p3" } })]
    expect(await decides(store, own)).toMatchObject([{ status: "accepted" }, { status: "accepted" }])
    const { machine } = await resumed(store, config)
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "p1" }, { callId: "p2" }, { callId: "p3" }, { callId: "l1" }] })
  })

  test("a journal that was opened to decide can then run the turn", async () => {
    const store = memoryJournalStore()
    const [p1, p2] = (await held(store)) as [HeldCall, HeldCall]
    const journal = await TurnJournal.open(store, "t", QUIET)
    await journal.decide([decide(p1)])
    await Promise.all([journal.decide([decide(p2)]), journal.decide([decide(p2, { decision: "reject" })])])
    const machine = await journal.resume(CONFIG)
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "p1" }, { callId: "l1" }, { callId: "p2" }] })
    await handle(journal, machine, result("p1"))
    await journal.close()
    expect(await records(store)).toEqual(["llm_complete", "snapshot", "tool_decisions", "tool_decisions", "opened", "tool_results"])
    expect((await resumed(store)).machine.outstanding).toMatchObject({ calls: [{ callId: "l1" }, { callId: "p2" }] })
  })

  test("another process that has the journal open is named, with what to do", async () => {
    const store = memoryJournalStore()
    const [p1] = (await held(store)) as [HeldCall]
    const other = await TurnJournal.open(store, "t", QUIET)
    const refused = await TurnJournal.open(store, "t", QUIET).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(JournalStoreError)
    expect(refused).toMatchObject({ code: "in_use", message: expect.stringContaining("waitMs") })
    const waits = TurnJournal.open(store, "t", { ...QUIET, waitMs: 2_000 })
    await other.close()
    expect(await (await waits).decide([decide(p1)])).toMatchObject([{ status: "accepted" }])
  })
})

async function undecided(machine: TurnMachine): Promise<HeldCall> {
  const { outstanding } = machine
  return (outstanding?.type === "tool_calls" ? outstanding.held?.[0] : undefined) as HeldCall
}

describe("the policy of a later process", () => {
  test.each<Answer>(["run", "deny"])("is not asked again: it would now say %s", async (now) => {
    const store = memoryJournalStore()
    const calls = await held(store)
    const { machine } = await resumed(
      store,
      heldConfig(() => now),
    )
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "l1" }], held: calls })
  })

  test("is not asked again about a call that runs", async () => {
    const store = memoryJournalStore()
    await held(store, { more: [result("l1", "look")] })
    const { machine } = await resumed(
      store,
      heldConfig(({ toolName }) => (toolName === "look" ? "deny" : "hold")),
    )
    expect(machine.outstanding).toMatchObject({ calls: [], held: [{ callId: "p1" }, { callId: "p2" }] })
  })

  test("is not asked again about edited arguments, once it was asked", async () => {
    const store = memoryJournalStore()
    const [p1] = (await held(store)) as [HeldCall]
    // The process that decides does not ask: that is up to the process that runs the turn.
    await decides(store, [decide(p1, { decision: "edit", args: { for: "less" } })])
    const { journal, machine } = await resumed(store)
    while (machine.poll() !== undefined);
    await journal.settled(machine)
    await journal.close()
    expect((await records(store)).slice(-2)).toEqual(["opened", "snapshot"])
    const after = await resumed(
      store,
      heldConfig(() => "deny"),
    )
    expect(after.machine.outstanding).toMatchObject({ calls: [{ callId: "p1", args: { for: "less" } }, { callId: "l1" }] })
  })

  test("a loop that does not call settled stores the snapshots, too", async () => {
    const store = memoryJournalStore()
    const journal = await TurnJournal.open(store, "t", QUIET)
    const machine = await journal.begin(CONFIG, USER_START)
    while (machine.poll() !== undefined);
    const asked = machine.check(asks(...CALLS))
    await journal.response(machine, asked)
    machine.handle(asked)
    await journal.callStarted(2, "l1")
    expect(await records(store)).toEqual(["llm_complete", "snapshot", "call_started"])
  })
})

describe("pending calls", () => {
  const parked: Response = { type: "tool_pending", id: 2, at: 1_500, callId: "l1", token: "job-1", note: "a report" }
  const value = { output: { status: "success", value: { pages: 3 } } } as const

  async function answers(store: JournalStore, callId: string, answer: Parameters<TurnJournal["answer"]>[1], options: OutsideOptions = {}) {
    const journal = await TurnJournal.open(store, "t", QUIET)
    try {
      return await journal.answer(callId, answer, options)
    } finally {
      await journal.close()
    }
  }

  test("an answer is recorded, with the time that the work took; the same again is stale, and another one refused", async () => {
    const store = memoryJournalStore()
    await held(store, { more: [parked] })
    expect(await answers(store, "l1", value)).toEqual({ status: "accepted" })
    expect(await answers(store, "l1", value)).toEqual({ status: "stale" })
    expect(await answers(store, "l1", { output: { status: "success", value: 4 } })).toMatchObject({
      status: "refused",
      code: "call_already_answered",
    })
    const { machine } = await resumed(store)
    expect(machine.outstanding).toMatchObject({ calls: [], held: [{ callId: "p1" }, { callId: "p2" }] })
    expect(machine.turn.position.state).toMatchObject({
      results: [null, { callId: "l1", args: { for: "l1" }, output: value.output, durationMs: 3_500 }, null],
    })
    expect(JSON.stringify(machine.checkpoint())).not.toContain('"pending"')
  })

  test("the same answer again is stale also after a later snapshot, before which most records are not parsed", async () => {
    const store = memoryJournalStore()
    const [p1] = (await held(store, { more: [parked] })) as [HeldCall]
    await answers(store, "l1", value)
    await decides(store, [decide(p1, { decision: "edit", args: { for: "less" } })])
    const { journal, machine } = await resumed(store)
    while (machine.poll() !== undefined);
    await journal.settled(machine)
    await journal.close()
    expect((await records(store)).at(-1)).toBe("snapshot")
    expect(await answers(store, "l1", value)).toEqual({ status: "stale" })
    expect(await answers(store, "l1", { output: { status: "success", value: 4 } })).toMatchObject({ code: "call_already_answered" })
  })

  test("the same answer again is stale also after a compaction, which leaves out that the call continued outside", async () => {
    const store = memoryJournalStore()
    const [p1, p2] = (await held(store, { more: [parked] })) as [HeldCall, HeldCall]
    const snapshotAfter = async (call: HeldCall): Promise<void> => {
      await decides(store, [decide(call, { decision: "edit", args: { for: "less" } })])
      const { journal, machine } = await resumed(store)
      while (machine.poll() !== undefined);
      await journal.settled(machine)
      await journal.close()
    }
    await snapshotAfter(p1)
    const text = compacted(readJournal(await textOf(await store.read("t"))))
    const stored = await store.open("t")
    await stored.replace(text)
    await stored.close()
    expect(await records(store)).toEqual(["snapshot"])

    const journal = await TurnJournal.open(store, "t", QUIET)
    expect(await journal.answer("l1", value)).toEqual({ status: "accepted" })
    expect(await journal.answer("l1", value)).toEqual({ status: "stale" })
    await journal.close()
    expect(await answers(store, "l1", value)).toEqual({ status: "stale" })
    // Before another snapshot, the answer would be left as text.
    await snapshotAfter(p2)
    expect((await records(store)).at(-1)).toBe("snapshot")
    expect(await answers(store, "l1", value)).toEqual({ status: "stale" })
    expect(await answers(store, "l1", { output: { status: "success", value: 4 } })).toMatchObject({ code: "call_already_answered" })
  })

  test("a failure is recorded as one", async () => {
    const store = memoryJournalStore()
    await held(store, { more: [parked] })
    await answers(store, "l1", new ToolError({ class: "external", code: "job_failed", message: "The job failed." }), { at: 2_500, config: CONFIG })
    const { machine } = await resumed(store)
    expect(machine.turn.position.state).toMatchObject({
      results: [null, { output: { status: "failure", failure: { code: "job_failed" } }, durationMs: 1_000 }, null],
    })
  })

  test("only a call that continues outside can be answered", async () => {
    const store = memoryJournalStore()
    expect(await answers(store, "l1", value)).toMatchObject({ code: "turn_not_begun" })
    await held(store)
    expect(await answers(store, "l1", value)).toMatchObject({ status: "refused", code: "call_not_pending" })
    expect(await answers(store, "p1", value)).toMatchObject({ status: "refused", code: "call_is_held" })
    expect(await answers(store, "x", value)).toMatchObject({ status: "refused", code: "unknown_call" })
    await expect(answers(store, "l1", pending({ token: "job-2" }))).rejects.toThrow(TypeError)
    await expect(answers(store, "l1", { output: { status: "success", value: (() => 1) as never } })).rejects.toThrow(TypeError)
    expect(await records(store)).toEqual(["llm_complete", "snapshot"])
  })

  test("an edited call that continues outside is answered with the arguments that ran", async () => {
    const store = memoryJournalStore()
    const [p1] = (await held(store)) as [HeldCall]
    await decides(store, [decide(p1, { decision: "edit", args: { for: "less" } })])
    const { journal, machine } = await resumed(store)
    await handle(journal, machine, { type: "tool_pending", id: 2, callId: "p1", token: "job-1" })
    await journal.close()
    await answers(store, "p1", value)
    expect((await resumed(store)).machine.turn.position.state).toMatchObject({
      results: [{ callId: "p1", args: { for: "less" }, edited: true }, null, null],
    })
  })
})

describe("a turn that runs in this process", () => {
  async function running() {
    const store = memoryJournalStore()
    const journal = await TurnJournal.open(store, "t", QUIET)
    const machine = await journal.begin(CONFIG, USER_START)
    await handle(journal, machine, asks(...CALLS))
    const { outstanding } = machine
    const [p1, p2] = (outstanding?.type === "tool_calls" ? (outstanding.held ?? []) : []) as [HeldCall, HeldCall]
    return { store, journal, machine, p1, p2 }
  }

  test("receives a decision at once", async () => {
    const { store, journal, machine, p1 } = await running()
    expect(await journal.decide([decide(p1)])).toMatchObject([{ status: "accepted" }])
    expect(machine.poll()).toMatchObject({ type: "emit", event: { type: "approval_decided", callId: "p1" } })
    expect(machine.poll()).toMatchObject({ type: "tool_calls_released", calls: [{ callId: "p1" }] })
    expect(await journal.decide([decide(p1), decide(p1, { decision: "reject" })])).toMatchObject([
      { status: "stale" },
      { code: "call_already_decided" },
    ])
    expect((await records(store)).filter((type) => type === "tool_decisions")).toHaveLength(1)
  })

  test("of two callers that decide at once, the first wins, and nothing that is refused is recorded", async () => {
    const { store, journal, p1 } = await running()
    const [first, second] = await Promise.all([
      journal.decide([decide(p1, { by: "ada" })]),
      journal.decide([decide(p1, { decision: "reject", by: "bob" })]),
    ])
    expect(first).toMatchObject([{ status: "accepted" }])
    expect(second).toMatchObject([{ status: "refused", code: "call_already_decided", message: expect.stringContaining('"ada"') }])
    expect((await records(store)).filter((type) => type === "tool_decisions")).toHaveLength(1)
  })

  test("a decision after its cancellation finds that it has ended", async () => {
    const { journal, machine, p1 } = await running()
    const cancelled = journal.command(machine, { type: "cancel" })
    const decided = journal.decide([decide(p1)])
    await cancelled
    expect(await decided).toMatchObject([{ status: "refused", code: "turn_finished" }])
  })
})

describe("pendingApprovals", () => {
  async function listed(store: JournalStore, prefix = "") {
    const found = []
    for await (const turn of pendingApprovals(store, { prefix })) found.push(turn)
    return found
  }

  test("lists the open turns with held calls and calls that continue outside, and what was decided since is left out", async () => {
    const store = memoryJournalStore()
    const [p1] = (await held(store, { name: "a" })) as [HeldCall]
    await held(store, { name: "b", more: [{ type: "tool_pending", id: 2, callId: "l1", token: "job-1" }] })
    await held(store, { name: "c", calls: ["look:l1"] })
    await held(store, { name: "d", calls: [] })
    await decides(store, [decide(p1)], {}, "a")
    expect(await listed(store)).toMatchObject([
      { name: "a", turnId: "turn-a", since: 1_000, held: [{ requestId: "2:p2" }], pending: [] },
      { name: "b", turnId: "turn-b", held: [{ requestId: "2:p1" }, { requestId: "2:p2" }], pending: [{ callId: "l1", token: "job-1" }] },
    ])
    expect(await listed(store, "b")).toHaveLength(1)
  })

  test("reads a journal that another process runs, and one that was compacted", async () => {
    const store = memoryJournalStore()
    const journal = await TurnJournal.open(store, "t", { ...QUIET, snapshotEveryRecords: 1, compactAboveChars: 1 })
    const machine = await journal.begin(CONFIG, USER_START)
    await handle(journal, machine, asks(...CALLS))
    await handle(journal, machine, result("l1", "look"))
    expect(await listed(store)).toMatchObject([{ name: "t", held: [{ callId: "p1" }, { callId: "p2" }] }])
  })

  test("of an ended turn, only the last line counts, and a damaged journal is reported among the others", async () => {
    const store = memoryJournalStore()
    await held(store, { name: "a" })
    await held(store, { name: "b" })
    const text = await textOf(await store.read("b"))
    const damaged = await store.open("b")
    await damaged.replace(text.replace('"pay"', '"Pay"'))
    await damaged.close()
    await (await Thread.open(store, "c", { config: CONFIG })).close()
    const empty = await store.open("d")
    await empty.close()
    const found = await listed(store)
    expect(found).toMatchObject([{ name: "a" }, { name: "b", error: { code: "damaged_record" } }])
  })

  test("throws what is not the fault of a journal", async () => {
    const store = { list: memoryJournalStore().list, read: () => Promise.reject(new Error("x")) }
    const one = {
      ...store,
      list: async function* () {
        yield "a"
      },
    }
    await expect(listed(one as never)).rejects.toThrow("x")
  })
})

test("hosts with a journal: the type of a host's tools allows pending", () => {
  const host: Pick<Host, "tools"> = { tools: { effects: () => "once", call: async () => pending({ token: "job-1" }) } }
  expect(host.tools?.effects({ callId: "c", toolName: "t", args: {} })).toBe("once")
})
