import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { runThread, Thread } from "../../src/hosts/thread/thread.ts"
import { requestPrefix } from "../../src/replay/prefix.ts"
import type { LlmRequest, LlmResponse } from "../../src/schemas/llm.ts"
import { says } from "../hosts/thread/support.ts"
import { CONFIG } from "../replay/support.ts"
import { dyingStore } from "../support/dying-store.ts"
import { checkAsync, SLOW } from "./check.ts"

/** What a user, a client or the machine does to a thread, one after the other. */
const act = fc.oneof(
  fc.constant({ type: "say" } as const),
  fc.constantFrom({ type: "pause" }, { type: "resume", addTokens: 50 } as const),
  fc.record({ type: fc.constant("edit" as const), objective: fc.constantFrom("Sing.", "Dance.") }),
  fc.constantFrom({ type: "wait", event: "ci" } as const, { type: "event" } as const),
  fc.record({ type: fc.constant("run" as const), dieAfter: fc.option(fc.nat(25), { nil: Number.POSITIVE_INFINITY }) }),
)
type Act = typeof act extends fc.Arbitrary<infer Value> ? Value : never

const story = fc.record({
  acts: fc.array(act, { minLength: 2, maxLength: 12 }),
  /** What the model does, by the number of its call; again from the start at the end. */
  answers: fc.array(fc.constantFrom("text", "tool", "complete"), { minLength: 1, maxLength: 9 }),
  passes: fc.array(fc.boolean(), { maxLength: 5 }),
  budget: fc.constantFrom(null, 60, 500),
  hasChecks: fc.boolean(),
})
type Story = typeof story extends fc.Arbitrary<infer Value> ? Value : never

interface Told {
  readonly requests: readonly LlmRequest[]
  readonly said: readonly string[]
  readonly checked: readonly string[]
  readonly thread: Thread
}

async function play({ acts, answers, passes, budget, hasChecks }: Story): Promise<Told> {
  const store = memoryJournalStore()
  const requests: LlmRequest[] = []
  const said: string[] = []
  const checked: string[] = []
  let at = 1_000_000
  const now = () => at
  const answer = (): LlmResponse => {
    const number = requests.length
    const kind = answers[number % answers.length]
    if (kind === "tool" && number % 3 !== 2) return says("", `c${number}=count`)
    return kind === "complete" && number % 2 === 0 ? says("", `u${number}=update_goal {"status":"complete"}`) : says(`Answer ${number}.`)
  }
  const host = {
    llmCall: async ({ request }: { readonly request: LlmRequest }) => {
      at += 1_000
      requests.push(request)
      return answer()
    },
    tools: { call: async () => ({ output: { status: "success", value: "done" } }) as const, effects: () => "none" as const },
  }
  const options = { config: { ...CONFIG, maxIterations: 6 }, now, takeOver: true, policy: { maxContinuations: 6 } }
  let thread = await Thread.open(store, "t", options)
  await thread.command({ type: "set", objective: "Count.", tokenBudget: budget, ...(hasChecks && { checks: [{ name: "tests", command: "test" }] }) })
  const run = (running: Thread): Promise<unknown> =>
    runThread(running, host, {
      now,
      wait: async (until) => {
        at = Math.min(until, at + 10_000_000)
      },
      checks: async ({ turnId, checks }) => {
        const ok = passes[checked.length] ?? true
        checked.push(turnId)
        return checks.map(({ name }) => ({ name, ok, tail: ok ? "" : `failure ${checked.length}` }))
      },
    })
  const apply = async (given: Act): Promise<void> => {
    at += 500
    switch (given.type) {
      case "say":
        said.push(`Message ${said.length}!`)
        return thread.say(said.at(-1) ?? "")
      case "event":
        return thread.event("ci")
      case "edit":
        return void (await thread.command({ type: "set", objective: given.objective }))
      case "run": {
        const dying = await Thread.open(dyingStore(store, given.dieAfter), "t", options).catch(() => undefined)
        if (dying !== undefined)
          await run(dying).catch((error: Error) => {
            if (error.message !== "killed") throw error
          })
        thread = await Thread.open(store, "t", options)
        return
      }
      default:
        return void (await thread.command(given as Parameters<Thread["command"]>[0]))
    }
  }
  for (const given of acts) await apply(given)
  await run(thread)
  return { requests, said, checked, thread }
}

/** The texts of the user's role in a request. */
const textsOf = ({ messages }: LlmRequest): readonly string[] =>
  messages.flatMap(({ role, blocks }) => (role === "user" ? blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])) : []))

describe("random stories of a thread with a goal", () => {
  test("its requests only grow, its goal's messages are in the history once, and each message reaches the model once", SLOW, async () => {
    let compared = 0
    await checkAsync(
      150,
      fc.asyncProperty(story, async (given) => {
        const { requests, said, thread } = await play(given)
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
        const stored = history.flatMap(({ role, parts }) =>
          role === "user" ? parts.flatMap((part) => (part.type === "text" ? [part.text] : [])) : [],
        )
        // In order, each once: the last request shows what the history has, and nothing else.
        const last = requests.at(-1)
        if (last !== undefined) expect(stored.slice(0, textsOf(last).length)).toEqual(textsOf(last))
        for (const text of said) expect(stored.filter((one) => one === text)).toHaveLength(1)
        await thread.close()
      }),
      10,
    )
    expect(compared).toBeGreaterThan(20)
  })

  test(
    "the goal is charged no more than what was answered; checks ran after the turn that completed it; nothing is open at the end",
    SLOW,
    async () => {
      await checkAsync(
        150,
        fc.asyncProperty(story, async (given) => {
          const { requests, checked, thread } = await play(given)
          expect(thread.goal?.tokensUsed).toBeLessThanOrEqual(10 * requests.length)
          if (thread.goal?.status === "complete" && given.hasChecks) expect(checked.at(-1)).toMatch(/^t\.\d+$/)
          expect(thread.openTurn).toBeUndefined()
          expect(thread.isCommanded).toBe(false)
          await thread.close()
        }),
        10,
      )
    },
  )
})
