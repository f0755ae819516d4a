import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import { type Host, pending } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { pendingApprovals } from "../../../src/hosts/journal/pending-approvals.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import { type RunThreadOptions, Thread, type ThreadOptions, type ThreadRest } from "../../../src/hosts/thread/thread.ts"
import type { HeldCall } from "../../../src/wire/approval.ts"
import type { LlmResponse } from "../../../src/wire/llm.ts"
import { CONFIG as BASE } from "../../replay/support.ts"
import { decide } from "../../support/held.ts"
import { says, shown, World } from "./support.ts"

const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
const CONFIG = { ...BASE, tools: ["pay", "look"].map(spec) }
const HOLD_PAY: ApprovalPolicy = ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run")
const HOUR = 3_600_000

/** A world whose calls are recorded, with a store that outlives its processes. */
class Story extends World {
  readonly store: JournalStore = memoryJournalStore()
  readonly ran: string[] = []
  readonly events: string[] = []

  constructor(answer: (calls: number) => LlmResponse | Promise<LlmResponse>) {
    super(answer)
  }

  readonly own: Host = {
    ...this.host,
    tools: {
      effects: () => "once",
      call: async ({ callId, toolName, args }) => {
        this.ran.push(`${callId} ${JSON.stringify(args)}`)
        return { output: { status: "success", value: `${toolName} done` } }
      },
    },
  }

  open(more: Partial<ThreadOptions> = {}): Promise<Thread> {
    return Thread.open(this.store, "t", this.options({ config: CONFIG, approvals: HOLD_PAY, ...more }))
  }

  go(thread: Thread, more: RunThreadOptions = {}, host: Host = this.own): Promise<ThreadRest> {
    return this.run(thread, { onEvent: ({ type }) => this.events.push(type), ...more }, host)
  }
}

const PAYS = says("", 'p1=pay {"for":"tea"}')

async function suspendedStory(...answers: readonly LlmResponse[]) {
  const story = new Story((calls) => answers[calls] ?? says("Done."))
  const thread = await story.open()
  await thread.say("Pay.")
  const rest = await story.go(thread, { suspend: true })
  const [call] = rest.type === "suspended" ? rest.held : []
  return { story, thread, rest, call: call as HeldCall }
}

test("a turn with a held call makes the run rest, and another process decides and finishes it", async () => {
  const { story, thread, rest, call } = await suspendedStory(PAYS)
  expect(rest).toMatchObject({
    type: "suspended",
    turnId: "t.1",
    held: [{ callId: "p1" }],
    pending: [],
    reason: "The turn waits for a decision about pay.",
  })
  expect(thread.openTurn).toMatchObject({ turnId: "t.1" })
  await thread.close()
  const listed = []
  for await (const turn of pendingApprovals(story.store)) listed.push(turn)
  expect(listed).toMatchObject([{ name: "t.1", turnId: "t.1", held: [{ requestId: call.requestId }] }])

  const second = await story.open()
  expect(await second.pendingApprovals()).toMatchObject({ name: "t.1", held: [{ callId: "p1" }] })
  expect((await snapshotThread(story.store, "t", second.options))?.pendingApprovals).toMatchObject({ held: [{ callId: "p1" }] })
  expect(await second.decide([decide(call, { by: "ada" })])).toMatchObject([{ status: "accepted" }])
  expect(await second.pendingApprovals()).toBeUndefined()
  await second.close()
  expect(story.ran).toEqual([])

  const third = await story.open()
  expect(await story.go(third)).toMatchObject({ outcome: { type: "finished" } })
  expect(story.ran).toEqual(['p1 {"for":"tea"}'])
  expect(await third.decide([decide(call, { by: "ada" }), decide(call, { decision: "reject" })])).toMatchObject([
    { status: "stale" },
    { status: "refused", code: "call_already_decided" },
  ])
  await third.close()
})

test("a decision that is handed in again for its turn does not allow the same call of a later turn", async () => {
  const { story, thread, call } = await suspendedStory(PAYS, says("Paid."), PAYS, says("Done."))
  const { turnId = "" } = thread.openTurn ?? {}
  await thread.decide([decide(call)], { turnId })
  await story.go(thread)
  await thread.say("Pay again.")
  expect(await story.go(thread, { suspend: true })).toMatchObject({
    type: "suspended",
    turnId: "t.2",
    held: [{ requestId: call.requestId, digest: call.digest }],
  })
  expect(await thread.decide([decide(call)], { turnId })).toMatchObject([{ status: "stale" }])
  expect(await thread.pendingApprovals()).toMatchObject({ turnId: "t.2", held: [{ callId: "p1" }] })
  expect(await thread.decide([decide(call)], { turnId: "t.9" })).toMatchObject([{ status: "refused", code: "turn_not_begun" }])
  const names = []
  for await (const name of story.store.list()) names.push(name)
  expect(names).not.toContain("t.9")
  expect(story.ran).toEqual(['p1 {"for":"tea"}'])
  expect(await thread.decide([decide(call)], { turnId: "t.2" })).toMatchObject([{ status: "accepted" }])
  await story.go(thread)
  expect(story.ran).toHaveLength(2)
  await thread.close()
})

test("a thread without a turn has nothing to decide, and gets no journal for it", async () => {
  const story = new Story(() => says("Done."))
  const thread = await story.open()
  expect(await thread.decide([decide({ requestId: "1:x", digest: "d" })])).toMatchObject([{ status: "refused", code: "turn_not_begun" }])
  expect(await thread.pendingApprovals()).toBeUndefined()
  const names = []
  for await (const name of story.store.list()) names.push(name)
  expect(names).toEqual(["t.thread"])
})

test("a run that waits for a decision continues when it comes, and reports that it waits", async () => {
  const story = new Story((calls) => (calls === 0 ? PAYS : says("Done.")))
  const thread = await story.open()
  await thread.say("Pay.")
  const waited: string[] = []
  let woken = 0
  const rest = await story.go(thread, {
    onSuspended: ({ held }) => waited.push(held.map(({ callId }) => callId).join()),
    wait: async (_until, signal) => {
      woken += 1
      const { held = [] } = (await thread.pendingApprovals()) ?? {}
      // A message decides nothing, and does not end the wait.
      await thread.say("And hurry.")
      expect(signal?.aborted).toBe(false)
      await thread.decide(held.map((call) => decide(call)))
      expect(signal?.aborted).toBe(true)
    },
  })
  expect({ waited, woken }).toEqual({ waited: ["p1"], woken: 1 })
  expect(rest.outcome).toMatchObject({ type: "finished" })
  expect(thread.turns).toBe(1)
  expect(shown(story.requests[1])).toContain("And hurry.")
  expect(story.events.filter((type) => type.startsWith("approval"))).toEqual(["approval_requested", "approval_decided"])
})

test("a run rests after the longest wait", async () => {
  const story = new Story(() => PAYS)
  const thread = await story.open()
  await thread.say("Pay.")
  expect(await story.go(thread, { maxWaitMs: 5_000 })).toMatchObject({ type: "suspended", held: [{ callId: "p1" }] })
  expect(story.waits).toEqual([5_000])
})

test("a decision reaches a turn that runs at once, while its other calls run", async () => {
  const story = new Story((calls) => (calls === 0 ? says("", 'p1=pay {"for":"tea"}', "l1=look") : says("Done.")))
  const thread = await story.open()
  await thread.say("Pay.")
  const order: string[] = []
  const host: Host = {
    ...story.own,
    tools: {
      effects: () => "none",
      call: async ({ callId }) => {
        order.push(callId)
        if (callId === "p1") finish()
        else {
          const { held = [] } = (await thread.pendingApprovals()) ?? {}
          expect(await thread.decide(held.map((call) => decide(call)))).toMatchObject([{ status: "accepted" }])
          await finished
        }
        return { output: { status: "success", value: "done" } }
      },
    },
  }
  let finish = (): void => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  expect(await story.go(thread, { suspend: true }, host)).toMatchObject({ outcome: { type: "finished" } })
  expect(order).toEqual(["l1", "p1"])
})

test("with Host.decide the run continues without a rest, and where it decides nothing, the run rests", async () => {
  const story = new Story((calls) => (calls === 0 ? PAYS : says("Done.")))
  const thread = await story.open()
  await thread.say("Pay.")
  let asked = 0
  const host: Host = {
    ...story.own,
    decide: async (held) => {
      asked += 1
      return asked === 1 ? undefined : held.map((call) => decide(call))
    },
  }
  expect(await story.go(thread, { suspend: true }, host)).toMatchObject({ type: "suspended" })
  expect(await story.go(thread, {}, host)).toMatchObject({ outcome: { type: "finished" } })
  expect(asked).toBe(2)
})

test("pause leaves the turn open, and the next run continues it", async () => {
  const story = new Story((calls) => (calls === 0 ? says("", "l1=look") : says("Done.")))
  const thread = await story.open()
  await thread.say("Look.")
  const pause = new AbortController()
  const host: Host = { ...story.own, save: ({ state }) => (state === "waiting_tools" ? pause.abort() : undefined) }
  expect(await story.go(thread, { pause: pause.signal }, host)).toMatchObject({ type: "suspended", held: [], reason: "The run was paused." })
  expect(thread.openTurn).toBeDefined()
  expect(await story.go(thread)).toMatchObject({ outcome: { type: "finished" } })
  expect(story.ran).toEqual(["l1 {}"])
  expect(await story.go(thread, { pause: pause.signal })).toEqual({ reason: "The run was paused." })
})

test("a grant for the thread holds in later turns and in later processes", async () => {
  const { story, thread, call } = await suspendedStory(PAYS, says("Paid."), says("", 'p2=pay {"for":"milk"}'), says("Paid again."))
  await thread.decide([decide(call, { scope: "thread", by: "ada" })])
  await story.go(thread)
  await thread.close()
  const later = await story.open()
  await later.say("Pay again.")
  expect(await story.go(later, { suspend: true })).toMatchObject({ outcome: { type: "finished" } })
  expect(story.ran).toEqual(['p1 {"for":"tea"}', 'p2 {"for":"milk"}'])
})

test("a grant for a turn ends with it", async () => {
  const { story, thread, call } = await suspendedStory(PAYS, says("Paid."), says("", 'p2=pay {"for":"milk"}'))
  await thread.decide([decide(call, { scope: "turn" })])
  await story.go(thread)
  await thread.say("Pay again.")
  expect(await story.go(thread, { suspend: true })).toMatchObject({ type: "suspended", held: [{ callId: "p2" }] })
})

test("a call that continues outside is answered through the thread", async () => {
  const story = new Story((calls) => (calls === 0 ? says("", "l1=look") : says("Done.")))
  const thread = await story.open()
  await thread.say("Look.")
  const host: Host = { ...story.own, tools: { effects: () => "once", call: async () => pending({ token: "job-1" }) } }
  expect(await story.go(thread, { suspend: true }, host)).toMatchObject({
    type: "suspended",
    held: [],
    pending: [{ callId: "l1", token: "job-1" }],
    reason: "The turn waits for the result of a call that continues outside.",
  })
  expect(await thread.answer("l1", { output: { status: "success", value: "seen" } })).toEqual({ status: "accepted" })
  expect(await thread.answer("l1", { output: { status: "success", value: "seen" } })).toEqual({ status: "stale" })
  expect(await story.go(thread, { suspend: true }, host)).toMatchObject({ outcome: { type: "finished" } })
  expect(shown(story.requests[1])).toContain("seen")
})

describe("the goal of a turn with held calls", () => {
  async function pursued(more: Partial<ThreadOptions> = {}) {
    const story = new Story((calls) => [PAYS, says("", 'u=update_goal {"status":"complete"}')][calls] ?? says("Done."))
    const thread = await story.open(more)
    await thread.command({ type: "set", objective: "Pay." })
    const rest = await story.go(thread, { suspend: true })
    const [call] = rest.type === "suspended" ? rest.held : []
    return { story, thread, call: call as HeldCall }
  }

  test("is not charged for the wait, in one process", async () => {
    const { story, thread, call } = await pursued()
    story.at += 5 * HOUR
    await thread.decide([decide(call)])
    await story.go(thread)
    // Two model calls of a second each, less the millisecond that passed before the turn; whole seconds are charged, as without a wait.
    expect(thread.goal).toMatchObject({ status: "complete", secondsUsed: 1 })
  })

  test("is not charged for the wait and the downtime of several processes", async () => {
    const { story, thread, call } = await pursued()
    await thread.close()
    story.at += 5 * HOUR
    const second = await story.open()
    await second.decide([decide(call)])
    await second.close()
    story.at += 3 * HOUR
    const third = await story.open()
    await story.go(third)
    expect(third.goal).toMatchObject({ status: "complete", secondsUsed: 1 })
  })

  test("is not charged for the downtime before the next process finds that nothing was decided", async () => {
    const { story, thread, call } = await pursued()
    await thread.close()
    story.at += 5 * HOUR
    const second = await story.open()
    expect(await story.go(second, { suspend: true })).toMatchObject({ type: "suspended" })
    story.at += HOUR
    await second.decide([decide(call)])
    await story.go(second)
    expect(second.goal).toMatchObject({ status: "complete", secondsUsed: 1 })
  })

  test.each(["run", "deny"] as const)("continues with the held calls under a policy that now says %s", async (now) => {
    const { story, thread, call } = await pursued()
    await thread.close()
    const changed = await story.open({ approvals: () => (now === "run" ? "run" : { deny: "No." }) })
    expect(await story.go(changed, { suspend: true })).toMatchObject({ type: "suspended", held: [{ requestId: call.requestId }] })
    expect(story.ran).toEqual([])
  })

  test.each([
    ["a pause", (thread: Thread) => thread.command({ type: "pause" }), { status: "paused" }],
    ["an interrupt", async (thread: Thread) => thread.interrupt("Enough."), { status: "paused" }],
    ["a clear", (thread: Thread) => thread.command({ type: "clear" }), null],
  ])("ends its turn in order at %s: the calls are cancelled, and none ran", async (_, stop, goal) => {
    const { story, thread, call } = await pursued()
    await stop(thread)
    const rest = await story.go(thread, { suspend: true })
    expect(rest).toMatchObject({ outcome: { type: "stopped", stop: { type: "cancelled" } } })
    expect(rest).not.toHaveProperty("type")
    expect(story.ran).toEqual([])
    if (goal === null) expect(thread.goal).toBeNull()
    else expect(thread.goal).toMatchObject(goal)
    expect(JSON.stringify(thread.history)).not.toContain("outcome_unknown")
    expect(await thread.decide([decide(call)])).toMatchObject([{ status: "refused", code: "turn_finished" }])
    expect(story.reported.map(({ type }) => type)).not.toContain("refused")
  })

  test("ends its turn while the run waits for a decision, too", async () => {
    const story = new Story(() => PAYS)
    const thread = await story.open()
    await thread.command({ type: "set", objective: "Pay." })
    const rest = await story.go(thread, {
      wait: async (_until, signal) => {
        await thread.command({ type: "pause" })
        expect(signal?.aborted).toBe(true)
      },
    })
    expect(rest.outcome).toMatchObject({ stop: { type: "cancelled" } })
    expect(thread.goal).toMatchObject({ status: "paused" })
  })

  test("aborting the run while it waits cancels the turn", async () => {
    const story = new Story(() => PAYS)
    const thread = await story.open()
    await thread.command({ type: "set", objective: "Pay." })
    const abort = new AbortController()
    const rest = await story.go(thread, { signal: abort.signal, wait: async () => abort.abort() })
    expect(rest).toMatchObject({ reason: "The run was stopped.", outcome: { stop: { type: "cancelled" } } })
    expect(story.ran).toEqual([])
  })
})

test("another process may decide while a run waits: its journal is not open then", async () => {
  const story = new Story((calls) => (calls === 0 ? PAYS : says("Done.")))
  const thread = await story.open()
  await thread.say("Pay.")
  let decided: unknown
  await story.go(thread, {
    wait: async (until) => {
      const journal = await TurnJournal.open(story.store, "t.1", { now: () => story.at })
      const { held = [] } = (await thread.pendingApprovals()) ?? {}
      decided = await journal.decide(held.map((call) => decide(call)))
      await journal.close()
      story.at = until
    },
  })
  expect(decided).toMatchObject([{ status: "accepted" }])
  expect(await story.go(thread)).toMatchObject({ outcome: { type: "finished" } })
})

test("approvals beside a driver that holds calls itself are refused, with what to do", async () => {
  const story = new Story(() => says("Done."))
  const driver = approvalDriver(CONFIG.driver, { policy: HOLD_PAY })
  const thread = await story.open({ config: { ...CONFIG, driver } })
  await thread.say("Pay.")
  await expect(story.go(thread)).rejects.toMatchObject({
    code: "invalid_config",
    message: expect.stringMatching(/Thread .* \/approvals: the driver "approval\(chat\)" of config holds calls itself; leave out approvals/),
  })
  expect(story.ran).toEqual([])
  await thread.close()
})

test("a run that waits for a decision rejects when its thread is closed, so that its process can exit", async () => {
  const story = new Story(() => PAYS)
  const thread = await story.open()
  await thread.say("Pay.")
  let timer: NodeJS.Timeout | undefined
  const closing = story.go(thread, {
    wait: (_until, signal) =>
      new Promise((resolve) => {
        timer = setTimeout(resolve, 100_000)
        signal?.addEventListener("abort", () => resolve())
        void thread.close()
      }),
  })
  const before = Date.now()
  await expect(closing).rejects.toMatchObject({ code: "closed" })
  expect(Date.now() - before).toBeLessThan(90_000)
  clearTimeout(timer)
  expect(await (await story.open()).pendingApprovals()).toMatchObject({ held: [{ callId: "p1" }] })
})
