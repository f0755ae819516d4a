import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { requestPrefix } from "../../src/replay/prefix.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import { checkAsync, FACTOR, SLOW } from "./check.ts"
import { PER_CALL, play, type Seen, type Story, story, type Told } from "./goal-thread-stories.ts"

type Called = Extract<Seen, { readonly type: "called" }>

/** The texts of the user's role in a request. */
const textsOf = ({ messages }: LlmRequest): readonly string[] =>
  messages.flatMap(({ role, blocks }) => (role === "user" ? blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])) : []))

/** Tells random stories, and closes the thread of each. */
const tell = (runs: number, law: (told: Told, given: Story) => void): Promise<void> =>
  checkAsync(
    runs,
    fc.asyncProperty(story, async (given) => {
      const told = await play(given)
      try {
        law(told, given)
      } finally {
        await told.thread.close()
      }
    }),
    10,
  )

/** Whether two calls have the same request: one that a crash interrupted is made again. */
const isSame = (one: Called, two: Called): boolean => JSON.stringify(one.request) === JSON.stringify(two.request)

const isFromUser = (seen: Seen): boolean => seen.type === "input" && (seen.act === "resume" || seen.act === "say")

describe("random stories of a thread with a goal", () => {
  test("its requests only grow, its goal's messages are in the history once, and each message reaches the model once", SLOW, async () => {
    let compared = 0
    await tell(150, ({ requests, said, thread }) => {
      const history = thread.history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))
      expect(new Set(history.map(({ id }) => id)).size).toBe(history.length)
      const continuations = history.filter(({ id }) => id.startsWith("continue-")).length
      expect(continuations).toBeGreaterThanOrEqual(thread.goal?.continuations ?? 0)
      requests.forEach((request, index) => {
        const before = requests[index - 1]
        if (before === undefined) return
        // A call that a crash interrupted is made again: its request may have nothing new, and one of the two is a prefix of the other.
        compared += 1
        expect([index, requestPrefix(before, request)]).toEqual([index, { stable: true }])
      })
      const stored = history.flatMap(({ role, parts }) => (role === "user" ? parts.flatMap((part) => (part.type === "text" ? [part.text] : [])) : []))
      // In order, each once: the last request shows what the history has, and nothing else.
      const last = requests.at(-1)
      if (last !== undefined) expect(stored.slice(0, textsOf(last).length)).toEqual(textsOf(last))
      for (const text of said) expect(stored.filter((one) => one === text)).toHaveLength(1)
    })
    expect(compared).toBeGreaterThan(20)
  })

  test("the goal is charged all answers of its turns and all estimates of lost ones, exactly", SLOW, async () => {
    await tell(300, ({ seen, thread: { goal } }) => {
      const charged = (type: "called" | "judging"): number => seen.filter((one) => one.type === type && one.isCharged).length
      expect([goal?.tokensUsed, goal?.childTokensUsed]).toEqual([PER_CALL * charged("called"), PER_CALL * charged("judging")])
    })
  })

  test("after a pause or an interrupt of a continuation nothing more than the running call is made", SLOW, async () => {
    let paused = 0
    await tell(300, ({ seen }) => {
      seen.forEach((one, index) => {
        if (one.type !== "input" || !one.duringCall || (one.act !== "pause" && one.act !== "interrupt")) return
        const before = seen.slice(0, index).findLast(({ type }) => type === "called")
        if (before?.type !== "called" || before.origin !== "continuation" || !before.isCharged) return
        // What the user said or resumed since the call before is delivered with the pause, and the turn goes on.
        const since = seen.slice(0, index).findLastIndex((call) => call.type === "called" && !isSame(call, before))
        if (seen.slice(since + 1, index).some(isFromUser)) return
        // An interrupt is not stored: it ends with its process.
        const end = seen.findIndex((later, place) => place > index && (isFromUser(later) || (one.act === "interrupt" && later.type === "process")))
        const later = seen.slice(index + 1, end < 0 ? undefined : end)
        paused += 1
        for (const [place, made] of later.entries()) {
          if (made.type === "judging") throw new Error("A judge was asked after a pause.")
          if (made.type !== "called") continue
          // Only the same call, made again by another process.
          expect(later.slice(0, place).some(({ type }) => type === "process")).toBe(true)
          expect(made.request).toEqual(before.request)
        }
      })
    })
    if (FACTOR >= 1) expect(paused).toBeGreaterThan(0)
  })

  test("checks run after every turn of the goal that could complete it, before a continuation and before the judge", SLOW, async () => {
    let required = 0
    await tell(300, ({ seen, thread: { goal } }, { hasChecks }) => {
      if (!hasChecks) return
      seen.forEach((one, index) => {
        if (one.type !== "judging" && !(one.type === "begun" && one.origin === "continuation")) return
        const ended = seen.slice(0, index).findLast(({ type }) => type === "ended")
        if (ended?.type !== "ended" || (one.type === "begun" && ended.turnId === one.turnId)) return
        // A turn that began in the meantime made the checks due again.
        if (one.type === "begun" && seen.slice(0, index).some((begun) => begun.type === "begun" && begun.turnId === one.turnId)) return
        if (one.type === "begun" && !(ended.isDone && ended.isCharged)) return
        required += 1
        const results = seen.slice(seen.indexOf(ended), index)
        const passed = one.type === "judging" ? { ok: true } : {}
        expect(results).toContainEqual(expect.objectContaining({ type: "checked", turnId: ended.turnId, ...passed }))
      })
      if (goal?.status !== "complete") return
      const last = seen.findLast(({ type }) => type === "checked")
      expect(last).toMatchObject({ ok: true })
    })
    if (FACTOR >= 1) expect(required).toBeGreaterThan(0)
  })

  test("a hard budget is crossed only by calls that a crash lost; nothing is open at the end", SLOW, async () => {
    await tell(150, ({ seen, thread }, { budget, isHard, acts, during }) => {
      const { goal } = thread
      expect(thread.openTurn).toBeUndefined()
      expect(thread.isCommanded).toBe(false)
      const raised = [...acts, ...during.map(({ act }) => act)].some(({ type }) => type === "resume")
      if (goal === null || budget === null || raised) return
      const used = goal.tokensUsed + goal.childTokensUsed
      const processes = seen.filter(({ type }) => type === "process").length
      if (isHard) expect(used).toBeLessThanOrEqual(budget + PER_CALL * (processes - 1))
    })
  })
})
