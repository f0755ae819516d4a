import * as fc from "fast-check"
import { chatDriver } from "../../src/drivers/chat.ts"
import { readGoal } from "../../src/drivers/goal/history.ts"
import { type Host, LlmCallError } from "../../src/hosts/host.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { JudgedThread } from "../../src/hosts/judge/judged-thread.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import type { LlmRequest, LlmResponse } from "../../src/schemas/llm.ts"
import { says, USAGE } from "../hosts/thread/support.ts"
import { CONFIG } from "../replay/support.ts"
import { dyingStore } from "../support/dying-store.ts"

/** What a user, a client or the machine does to a thread, one after the other. */
const input = fc.oneof(
  fc.constant({ type: "say" } as const),
  fc.constantFrom({ type: "pause" }, { type: "resume", addTokens: 50 } as const),
  fc.record({ type: fc.constant("edit" as const), objective: fc.constantFrom("Sing.", "Dance.") }),
  fc.constantFrom({ type: "wait", event: "ci" } as const, { type: "event" } as const),
)
const act = fc.oneof(
  { weight: 4, arbitrary: input },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("run" as const), dieAfter: fc.option(fc.nat(25), { nil: Number.POSITIVE_INFINITY }) }),
  },
)
type Act = typeof act extends fc.Arbitrary<infer Value> ? Value : never

type Given = Exclude<Act, { type: "run" }> | { readonly type: "interrupt" }

/** What happens while a model call runs. */
const interruption = fc.record({
  call: fc.nat(14),
  act: fc.oneof({ weight: 3, arbitrary: input }, { weight: 1, arbitrary: fc.constant({ type: "interrupt" } as const) }),
})

export const story = fc.record({
  acts: fc.array(act, { minLength: 2, maxLength: 12 }),
  during: fc.array(interruption, { maxLength: 4 }),
  /** What the model does, by the number of its call; again from the start at the end. */
  answers: fc.array(fc.constantFrom("text", "tool", "complete", "fail"), { minLength: 1, maxLength: 9 }),
  /** What the judge says, in order, after its list; it settles an item, none, or cannot be read. Absent: there is no judge. */
  verdicts: fc.option(fc.array(fc.constantFrom("settles", "waits", "mumbles", "settles nothing"), { maxLength: 6 }), { nil: undefined }),
  passes: fc.array(fc.boolean(), { maxLength: 5 }),
  budget: fc.constantFrom(null, 60, 500),
  isHard: fc.boolean(),
  hasChecks: fc.boolean(),
})
export type Story = typeof story extends fc.Arbitrary<infer Value> ? Value : never

/** The tokens of each answer, and of each estimate. */
export const PER_CALL = USAGE.inputTokens + USAGE.outputTokens

/** What was seen, in order. `isCharged`: the goal was active or had reached its budget then. */
export type Seen =
  | { readonly type: "process" }
  | { readonly type: "begun"; readonly turnId: string; readonly origin: "user" | "continuation" }
  | { readonly type: "called"; readonly request: LlmRequest; readonly isCharged: boolean; readonly origin: "user" | "continuation" }
  | { readonly type: "judging"; readonly turnId: string; readonly isCharged: boolean }
  /** `isDone`: it came to an answer, or to a limit. */
  | { readonly type: "ended"; readonly turnId: string; readonly isDone: boolean; readonly isCharged: boolean }
  | { readonly type: "checked"; readonly turnId: string; readonly ok: boolean }
  | { readonly type: "input"; readonly act: Act["type"] | "interrupt"; readonly duringCall: boolean }

export interface Told {
  readonly requests: readonly LlmRequest[]
  readonly said: readonly string[]
  readonly seen: readonly Seen[]
  readonly thread: Thread
}

const isKilled = (error: unknown): boolean => error instanceof Error && error.message === "killed"

export async function play({ acts, during, answers, verdicts, passes, budget, isHard, hasChecks }: Story): Promise<Told> {
  const store = memoryJournalStore()
  const requests: LlmRequest[] = []
  const said: string[] = []
  const seen: Seen[] = []
  let messages = 0
  let checks = 0
  let judged = 0
  let at = 1_000_000
  let running: Thread | undefined
  let origin: "user" | "continuation" = "user"
  const now = (): number => at
  const isCharged = (): boolean => running?.goal?.status === "active" || running?.goal?.status === "budget_limited"

  /** Of a goal that a brake paused, the last turn is still judged. */
  const isJudgeCharged = (): boolean => {
    if (running === undefined || isCharged()) return running !== undefined
    const { goal, memory } = readGoal(running.history, "t").state
    return goal?.status === "paused" && memory.brakedAfter === running.lastTurn?.turnId
  }

  const apply = async (thread: Thread, given: Given, duringCall: boolean): Promise<void> => {
    at += 500
    await give(thread, given)
    // Stored, so that no crash takes it back.
    seen.push({ type: "input", act: given.type, duringCall })
  }

  const give = async (thread: Thread, given: Given): Promise<void> => {
    switch (given.type) {
      case "interrupt": {
        // Nothing delivers what it returns.
        const { returned } = await thread.interrupt()
        for (const { message } of returned) for (const part of message.parts) if (part.type === "text") said.splice(said.indexOf(part.text), 1)
        return
      }
      case "say": {
        messages += 1
        const text = `Message ${messages}!`
        await thread.say(text)
        said.push(text)
        return
      }
      case "event":
        return thread.event("ci")
      case "edit":
        return void (await thread.command({ type: "set", objective: given.objective }))
      default:
        return void (await thread.command(given as Parameters<Thread["command"]>[0]))
    }
  }

  const answer = (number: number): LlmResponse => {
    const kind = answers[number % answers.length]
    if (kind === "fail") throw new LlmCallError({ message: "Busy.", retryable: true, terminalReason: "provider_error", usage: USAGE })
    if (kind === "tool" && number % 3 !== 2) return says("", `c${number}=count`)
    return kind === "complete" && number % 2 === 0 ? says("", `u${number}=update_goal {"status":"complete"}`) : says(`Answer ${number}.`)
  }

  const judgement = ({ tools }: LlmRequest): LlmResponse => {
    if (tools.some(({ name }) => name === "submit_checklist"))
      return says("", 'j=submit_checklist {"items":[{"text":"A."},{"text":"B."},{"text":"C."}]}')
    judged += 1
    const verdict = verdicts?.[judged - 1] ?? "settles"
    if (verdict === "mumbles") return says("Hm.")
    if (verdict === "waits") return says("", 'j=update_checklist {"updates":[],"verdict":"wait","wait_seconds":60,"reason":"CI runs."}')
    const updates = verdict === "settles" ? [1, 2, 3].slice(0, judged).map((index) => ({ index, status: "completed", evidence: "Seen." })) : []
    return says("", `j=update_checklist ${JSON.stringify({ updates, new_items: [], reason: "Not all." })}`)
  }

  const host: Host = {
    llmCall: async ({ request }, { signal }) => {
      at += 1_000
      if (request.model === "judge") {
        seen.push({ type: "judging", turnId: running?.lastTurn?.turnId ?? "", isCharged: isJudgeCharged() })
        return judgement(request)
      }
      const number = requests.length
      requests.push(request)
      seen.push({ type: "called", request, isCharged: isCharged(), origin })
      if (running !== undefined) for (const { call, act: given } of during) if (call === number) await apply(running, given, true)
      // A call that is stopped reports what it used, or nothing.
      if (signal.aborted) {
        const failure = { message: "Stopped.", retryable: false, terminalReason: "cancelled" } as const
        throw new LlmCallError({ ...failure, ...(number % 2 === 0 && { usage: USAGE }) })
      }
      return answer(number)
    },
    tools: { call: async () => ({ output: { status: "success", value: "done" } }) as const, effects: () => "none" as const },
  }
  const options: ThreadOptions = {
    config: { ...CONFIG, maxIterations: 6, driver: chatDriver(), generation: { maxOutputTokens: 2 } },
    now,
    takeOver: true,
    policy: { maxContinuations: 6, hardBudget: isHard, ...(verdicts !== undefined && { endedBy: "judge" as const }) },
    lostUsage: () => ({ ...USAGE, estimated: true }),
    goal: { estimate: () => 8 },
  }

  const run = async (opened: JournalStore): Promise<void> => {
    seen.push({ type: "process" })
    const thread = await Thread.open(opened, "t", options)
    running = thread
    const judge =
      verdicts === undefined
        ? undefined
        : await JudgedThread.open(opened, thread, { judge: { model: "judge" }, host, takeOver: true, isFatal: isKilled })
    await runThread(thread, host, {
      now,
      cancelGraceMs: 10,
      isFatal: isKilled,
      wait: async (until) => {
        at = Math.max(at, Math.min(until, at + 10_000_000))
      },
      ...(judge !== undefined && { between: () => judge.between() }),
      onTurn: ({ turnId, origin: begunBy }) => {
        origin = begunBy
        seen.push({ type: "begun", turnId, origin })
      },
      runTurn: async (machine, attended, more) => {
        const result = await runTurn(machine, attended, more)
        if (result.type === "suspended") throw new Error("A turn of a story ends.")
        const { outcome } = result
        const isDone = outcome.type !== "stopped" || ["max_iterations", "max_tokens", "deadline", "incomplete"].includes(outcome.stop.type)
        seen.push({ type: "ended", turnId: thread.openTurn?.turnId ?? "", isDone, isCharged: isCharged() })
        return result
      },
      checks: async ({ turnId, checks: due }) => {
        const ok = passes[checks] ?? true
        checks += 1
        seen.push({ type: "checked", turnId, ok })
        return due.map(({ name }) => ({ name, ok, tail: ok ? "" : `failure ${checks}` }))
      },
    })
    await judge?.close()
    await thread.close()
  }

  let thread = await Thread.open(store, "t", options)
  await thread.command({ type: "set", objective: "Count.", tokenBudget: budget, ...(hasChecks && { checks: [{ name: "tests", command: "test" }] }) })
  for (const given of acts) {
    if (given.type !== "run") {
      await apply(thread, given, false)
      continue
    }
    at += 500
    await thread.close()
    await run(dyingStore(store, given.dieAfter)).catch((error: unknown) => {
      if (!isKilled(error)) throw error
    })
    thread = await Thread.open(store, "t", options)
  }
  await thread.close()
  await run(store)
  thread = await Thread.open(store, "t", options)
  return { requests, said, seen, thread }
}
