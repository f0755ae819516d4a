import * as fc from "fast-check"
import type { Host } from "../../src/hosts/host.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import type { Decision } from "../../src/wire/approval.ts"
import type { OutputPart } from "../../src/wire/llm.ts"
import { CONFIG as BASE } from "../replay/support.ts"
import { dyingStore } from "./dying-store.ts"

const USAGE = { inputTokens: 3, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
const TOOLS = ["look", "pay", "fail"] as const

/** What the model does in one call. */
interface Answer {
  readonly pieces: readonly { readonly isReasoning: boolean; readonly text: string }[]
  readonly calls: readonly (typeof TOOLS)[number][]
  readonly hasBrokenCall: boolean
  /** What happens while it speaks. `retry`: an attempt fails after two pieces, and the next one says something else. */
  readonly meanwhile: "say" | "later" | "redirect" | "interrupt" | "goal" | "retry" | "changes" | "nothing"
  readonly ends: "well" | "cut" | "badly"
}

export interface Story {
  readonly says: number
  readonly answers: readonly Answer[]
  /** For each process but the last, the writes after which it is killed. */
  readonly lives: readonly number[]
  readonly decisions: readonly ("approve" | "reject" | "wait")[]
}

/** What follows a thread in one process. `killed` is aborted when the process ends in whatever way, and `closed` when the thread was closed. */
export type Follow = (thread: Thread, signals: { readonly killed: AbortSignal; readonly closed: AbortSignal }) => Promise<void>

const aText = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("one ", "two ", "three ", "four") },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 6 }) },
)

const anAnswer = fc.record({
  pieces: fc.array(fc.record({ isReasoning: fc.boolean(), text: aText }), { maxLength: 6 }),
  calls: fc.array(fc.constantFrom(...TOOLS), { maxLength: 3 }),
  hasBrokenCall: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  meanwhile: fc.constantFrom("nothing", "nothing", "nothing", "say", "later", "redirect", "interrupt", "goal", "retry", "changes"),
  ends: fc.constantFrom("well", "well", "well", "well", "cut", "badly"),
})

/** An answer that says at once what it says in the end. */
const aPlainAnswer = anAnswer.map(
  (answer): Answer => ({
    ...answer,
    hasBrokenCall: false,
    ends: "well",
    meanwhile: answer.meanwhile === "retry" || answer.meanwhile === "changes" ? "nothing" : answer.meanwhile,
  }),
)

const storyOf = (answer: fc.Arbitrary<Answer>): fc.Arbitrary<Story> =>
  fc.record({
    says: fc.integer({ min: 1, max: 3 }),
    answers: fc.array(answer, { minLength: 1, maxLength: 8 }),
    lives: fc.array(fc.integer({ min: 2, max: 25 }), { maxLength: 4 }),
    decisions: fc.array(fc.constantFrom("approve", "reject", "wait"), { maxLength: 5 }),
  })

export const aStory: fc.Arbitrary<Story> = storyOf(anAnswer)
/** A story in which no text is shown that is void later, except after a crash. */
export const aPlainStory: fc.Arbitrary<Story> = storyOf(aPlainAnswer)

/** Plays a story of the thread `t`. Returns its options, and its history in the end. */
export async function playStory({ says, answers, lives, decisions }: Story, store: JournalStore, follow: Follow) {
  let at = 1_000_000
  let calls = 0
  let ids = 0
  const options: ThreadOptions = {
    config: { ...BASE, tools: TOOLS.map(spec) },
    now: () => at,
    approvals: ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run"),
    snapshotEveryRecords: 3,
  }
  const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  const hostOf = (thread: Thread): Host => ({
    llmCall: async (_effect, context) => {
      const { pieces, calls: tools, hasBrokenCall, meanwhile, ends } = answers[calls] ?? LAST
      calls += 1
      at += 10
      const emit = async ({ isReasoning, text }: Answer["pieces"][number]): Promise<void> => {
        await pause()
        if (context.signal.aborted) throw context.signal.reason
        context.emit({ type: isReasoning ? "reasoning_delta" : "text_delta", content: text })
      }
      for (const [index, piece] of pieces.entries()) {
        await emit(piece)
        if (index !== 1) continue
        if (meanwhile === "say") await thread.say("And this.")
        if (meanwhile === "later") await thread.say("And then this.", { when: "turn_end" })
        if (meanwhile === "redirect") await thread.redirect("This instead.")
        if (meanwhile === "interrupt") void thread.interrupt("Stop.")
        if (meanwhile === "goal") await thread.command({ type: "set", objective: "Look around.", tokenBudget: 40 })
        if (meanwhile === "retry") {
          context.emit({ type: "retry_status", waitSeconds: 0, attempt: 1, maxAttempts: 2, reason: "It broke." })
          for (const again of pieces.slice(0, 2)) await emit(again)
        }
      }
      if (ends === "badly") throw new Error("The model failed.")
      const parts: OutputPart[] = []
      for (const { isReasoning, text } of meanwhile === "changes" ? [...pieces, { isReasoning: false, text: "!" }].reverse() : pieces) {
        const last = parts.at(-1)
        const type = isReasoning ? "reasoning" : "text"
        if (last?.type === type) parts[parts.length - 1] = { ...last, text: last.text + text }
        else parts.push({ type, text })
      }
      for (const toolName of tools) {
        ids += 1
        parts.push({ type: "tool_call", callId: `c${ids}`, toolName, inputJson: '{"n":1}' })
      }
      if (hasBrokenCall) parts.push({ type: "tool_call", callId: `b${ids}`, toolName: "look", inputJson: '{"n":' })
      const text = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
      if (ends === "cut") return { text, parts, usage: USAGE, terminalReason: "output_limit" }
      return { text, parts, usage: USAGE, terminalReason: tools.length > 0 || hasBrokenCall ? "tool_use" : "stop" }
    },
    tools: {
      effects: () => "idempotent",
      call: async ({ toolName, callId }, { emit }) => {
        emit({ type: "tool_progress", callId, name: toolName, progress: 1 })
        await pause()
        if (toolName === "fail") throw new Error("It fails.")
        return { output: { status: "success", value: `${toolName} done` } }
      },
    },
  })

  const wait = async (until: number): Promise<void> => {
    at = Math.max(at + 1, until)
  }
  let said = 0
  let decided = 0
  for (const [number, writes] of [...lives, Number.POSITIVE_INFINITY].entries()) {
    const isLast = number === lives.length
    const own = isLast ? store : dyingStore(store, writes)
    const [killed, closed] = [new AbortController(), new AbortController()]
    let following: Promise<void> = Promise.resolve()
    try {
      const thread = await Thread.open(own, "t", { ...options, takeOver: true })
      following = follow(thread, { killed: killed.signal, closed: closed.signal })
      const host = hostOf(thread)
      for (let round = 0; round < 12; round += 1) {
        if (said < says) {
          said += 1
          await thread.say(`Hello ${said}`, { key: `say ${said}` })
        }
        const rest = await runThread(thread, host, { suspend: true, now: () => at, cancelGraceMs: 5, wait })
        if (rest.type !== "suspended") {
          if (said < says) continue
          break
        }
        const decision = isLast && round > 6 ? "reject" : (decisions[decided] ?? "reject")
        decided += 1
        const [call] = rest.held
        if (decision === "wait" || call === undefined) continue
        const made: Decision = { requestId: call.requestId, digest: call.digest, decision }
        await thread.decide([made])
      }
      await thread.close()
      closed.abort()
      await following
      if (isLast) return { options, history: thread.history }
    } catch (error) {
      if (!(error instanceof Error) || error.message !== "killed") throw error
    } finally {
      killed.abort()
      await following
    }
  }
  throw new Error("The last process ended early.")
}

const LAST: Answer = { pieces: [{ isReasoning: false, text: "Done." }], calls: [], hasBrokenCall: false, meanwhile: "nothing", ends: "well" }
