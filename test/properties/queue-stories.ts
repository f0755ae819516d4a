import * as fc from "fast-check"
import { expect } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { compactingDriver } from "../../src/drivers/compaction/driver.ts"
import type { Host } from "../../src/hosts/host.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { viewProjector } from "../../src/projectors/view.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import type { ThreadRecord } from "../../src/schemas/thread.ts"
import { isCompactionRequest } from "../drivers/compaction/support.ts"
import { says } from "../hosts/thread/support.ts"
import { CONFIG } from "../replay/support.ts"
import { dyingStore } from "../support/dying-store.ts"
import { opened } from "../support/stored-text.ts"
import { QueueModel } from "./queue-model.ts"

const when = fc.constantFrom("now" as const, "turn_end" as const, "next_turn" as const)

/** What a user does. Inputs are named by how many were said after them. */
const act = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant("say" as const), when, keyed: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("redirect" as const), keyed: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("interrupt" as const) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("retract" as const), back: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("reorder" as const), back: fc.nat(5), before: fc.option(fc.nat(5), { nil: undefined }) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("again" as const) }) },
)
type Act = typeof act extends fc.Arbitrary<infer Value> ? Value : never

/** What happens while one process has the thread open. Acts of one list are done at once, by several callers. */
export const step = fc.record({
  before: fc.array(fc.array(act, { minLength: 1, maxLength: 3 }), { maxLength: 2 }),
  during: fc.array(
    fc.record({ place: fc.constantFrom("model", "tool", "checkpoint"), number: fc.nat(4), acts: fc.array(act, { minLength: 1, maxLength: 3 }) }),
    { maxLength: 3 },
  ),
  answers: fc.array(fc.constantFrom("text" as const, "tool" as const), { minLength: 1, maxLength: 4 }),
  dieAfter: fc.option(fc.nat(20), { nil: Number.POSITIVE_INFINITY, freq: 2 }),
  isStopped: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
})
export type QueueStep = typeof step extends fc.Arbitrary<infer Value> ? Value : never

export interface QueueStory {
  readonly steps: readonly QueueStep[]
  /** Whether the context is so small that it is compacted again and again. */
  readonly isCompacted: boolean
}

/** What was seen, to know that the stories are about something. */
export interface QueueCounts {
  kills: number
  redirects: number
  interrupts: number
  compactions: number
  delivered: number
  retracted: number
}

export const newQueueCounts = (): QueueCounts => ({ kills: 0, redirects: 0, interrupts: 0, compactions: 0, delivered: 0, retracted: 0 })

const isKilled = (error: unknown): boolean => error instanceof Error && error.message === "killed"

const LAST: QueueStep = { before: [], during: [], answers: ["text"], dieAfter: Number.POSITIVE_INFINITY, isStopped: false }

const COMPACTION = { keepUserTokens: 40, keepTailTokens: 40 }

/** A promise that is awaited later. */
function heard<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => {})
  return promise
}

async function aborted(signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  await new Promise<void>((resolve, reject) => {
    signal.addEventListener("abort", () => resolve())
    timer = setTimeout(() => reject(new Error("Nothing stopped the work.")), 5_000)
  })
  clearTimeout(timer)
}

function answerOf(kind: "text" | "tool", number: number, isLong: boolean): LlmResponse {
  return kind === "tool" && number % 3 !== 2 ? says("", `c${number}=count`) : says(`Answer ${number}.${isLong ? " So it is.".repeat(20) : ""}`)
}

/** An input that waits for the end of a turn, or for a turn, begins one alone, unless an earlier turn was to receive it. */
function checkOwnTurns(records: readonly ThreadRecord[]): void {
  const own = new Set<string>()
  for (const record of records) {
    if (record.type === "said" && record.when !== undefined) own.add(record.message.id)
    if (record.type === "assigned") for (const input of record.inputs) own.delete(input)
    if (record.type !== "turn_begun") continue
    expect(record.said.length).toBeGreaterThan(0)
    if (record.said.some((input) => own.has(input))) expect(record.said).toHaveLength(1)
  }
}

/** Lets a thread live, and compares its queue with the model at every step, and its history at the end. Returns how many turns it had. */
export async function playQueue({ steps, isCompacted }: QueueStory, counts: QueueCounts, turns = Number.POSITIVE_INFINITY): Promise<number> {
  const store = memoryJournalStore()
  const model = new QueueModel()
  /** The id of each input, by its text, and the other way round. */
  const ids = new Map<string, string>()
  const texts = new Map<string, string>()
  const keys: { readonly key: string; readonly text: string; readonly when: "now" | "turn_end" | "next_turn"; readonly inputId: string }[] = []
  const begun = new Set<string>()
  let said = 0
  /** What had been received when the loop decided last. */
  let received: ReadonlySet<string> = new Set()
  const at = 1_000_000

  const receivedOf = (thread: Thread): readonly string[] =>
    thread.history.flatMap((record) => {
      const text = record.type === "conversation" ? texts.get(record.message.id) : undefined
      return text === undefined ? [] : [text]
    })
  const queueOf = (thread: Thread): readonly string[] => thread.queue().map(({ inputId }) => texts.get(inputId) ?? inputId)

  const nth = (back: number): string => `#${said - 1 - back}`

  /** Begins an act at once; the returned promise resolves when it is stored, and has applied it to the model. */
  const perform = (thread: Thread, given: Act): (() => Promise<"stops" | undefined>) => {
    switch (given.type) {
      case "say":
      case "redirect": {
        const text = `#${said}`
        said += 1
        const key = given.keyed ? { key: `key ${text}` } : {}
        const isOpen = thread.openTurn !== undefined
        const at = given.type === "say" ? given.when : "now"
        const receipt = heard(given.type === "say" ? thread.say(text, { when: at, ...key }) : thread.redirect(text, key))
        return async () => {
          const { inputId } = await receipt
          ids.set(text, inputId)
          texts.set(inputId, text)
          if (given.keyed) keys.push({ key: `key ${text}`, text, when: at, inputId })
          if (given.type === "say" || !isOpen) model.say(text, at)
          else model.redirect(text)
          if (given.type === "redirect") counts.redirects += 1
          return given.type === "redirect" && isOpen ? "stops" : undefined
        }
      }
      case "again": {
        const last = keys.at(-1)
        if (last === undefined) return async () => undefined
        const receipt = heard(thread.say(last.text, { key: last.key, when: last.when }))
        const other = thread.say("Something else.", { key: last.key, when: last.when }).catch((error: unknown) => error)
        return async () => {
          expect(await receipt).toEqual({ inputId: last.inputId, status: "queued" })
          expect(await other).toMatchObject({ code: "key_reused" })
          return undefined
        }
      }
      case "interrupt": {
        const isOpen = thread.openTurn !== undefined
        const done = heard(thread.interrupt())
        return async () => {
          const returned = (await done).returned.map(({ inputId }) => texts.get(inputId))
          expect(returned).toEqual(isOpen ? model.interrupt() : [])
          counts.interrupts += 1
          return isOpen ? "stops" : undefined
        }
      }
      case "retract": {
        const text = nth(given.back)
        const inputId = ids.get(text)
        if (inputId === undefined) return async () => undefined
        const done = heard(thread.retract(inputId))
        return async () => {
          expect([text, await done]).toEqual([text, model.retract(text)])
          return undefined
        }
      }
      case "reorder": {
        const [text, before] = [nth(given.back), given.before === undefined ? undefined : nth(given.before)]
        const [inputId, beforeId] = [ids.get(text), before === undefined ? undefined : ids.get(before)]
        const waits = new Set(model.queue)
        // What happens before an input that does not wait is tested elsewhere.
        if (inputId === undefined || !waits.has(text) || (before !== undefined && (beforeId === undefined || !waits.has(before))))
          return async () => undefined
        const done = heard(
          thread.reorder(inputId, beforeId).catch((error: unknown) => {
            if (isKilled(error)) throw error
            return error
          }),
        )
        return async () => {
          const result = await done
          const isPossible = model.reorder(text, before)
          if (isPossible) expect(result).toBe("reordered")
          return undefined
        }
      }
    }
  }

  /** Several callers at once. Their acts count in the order in which they were begun. */
  const performAll = async (thread: Thread, acts: readonly Act[]): Promise<boolean> => {
    const begunActs = acts.map((given) => perform(thread, given))
    let stops = false
    const failures: unknown[] = []
    for (const done of begunActs) {
      try {
        stops = (await done()) === "stops" || stops
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures.find((error) => !isKilled(error)) ?? failures[0]
    expect(queueOf(thread)).toEqual(model.queue)
    return stops
  }

  const live = async ({ before, during, answers, dieAfter, isStopped }: QueueStep): Promise<number> => {
    const thread = await Thread.open(dyingStore(store, dieAfter), "t", options)
    const wasOpen = thread.openTurn
    const isKnown = model.recover(queueOf(thread), new Set(receivedOf(thread)))
    expect([isKnown, model.queue]).toEqual([true, queueOf(thread)])
    if (wasOpen !== undefined) begun.add(wasOpen.turnId)
    const controller = new AbortController()
    const places = { model: 0, tool: 0, checkpoint: 0 }
    const happens = async (place: keyof typeof places, signal: AbortSignal): Promise<void> => {
      const number = places[place]
      places[place] += 1
      for (const given of during) {
        if (given.place !== place || given.number !== number || signal.aborted) continue
        // A checkpoint delivers at once, so that nothing stops it there.
        const acts = place === "checkpoint" ? given.acts.filter(({ type }) => type !== "redirect" && type !== "interrupt") : given.acts
        if ((await performAll(thread, acts)) && !signal.aborted) await aborted(signal)
      }
      if (isStopped && place === "model" && number === 2) controller.abort()
    }
    const host: Host = {
      llmCall: async ({ request }, { signal }) => {
        if (isCompactionRequest(request)) {
          counts.compactions += 1
          return says("A summary.")
        }
        const number = places.model
        await happens("model", signal)
        signal.throwIfAborted()
        return answerOf(answers[number % answers.length] ?? "text", number, isCompacted)
      },
      tools: {
        effects: () => "none",
        call: async (_call, { signal }) => {
          await happens("tool", signal)
          signal.throwIfAborted()
          return { output: { status: "success", value: "x".repeat(isCompacted ? 300 : 3) } }
        },
      },
      checkpoint: async ({ checkpoint }, { signal }) => {
        await happens("checkpoint", signal)
        if (signal.aborted) return undefined
        model.checkpoint(checkpoint, new Set(receivedOf(thread)))
        return undefined
      },
    }
    for (const acts of before) await performAll(thread, acts)
    await runThread(thread, host, {
      cancelGraceMs: 5,
      now: () => at,
      isFatal: isKilled,
      signal: controller.signal,
      onTurn: ({ turnId }) => {
        if (!begun.has(turnId)) model.begin(received)
        begun.add(turnId)
      },
      attend: () => {
        if (thread.openTurn === undefined) received = new Set(receivedOf(thread))
      },
    })
    expect(queueOf(thread)).toEqual(model.queue)
    await thread.close()
    return thread.turns
  }
  const options: ThreadOptions = {
    config: isCompacted
      ? { ...CONFIG, driver: compactingDriver(chatDriver(), COMPACTION), projector: viewProjector(chatProjector), maxContextTokens: 400 }
      : CONFIG,
    goals: false,
    now: () => at,
    takeOver: true,
  }

  let count = 0
  for (const given of steps) {
    if (count >= turns) break
    try {
      count = await live(given)
    } catch (error) {
      if (!isKilled(error)) throw error
      counts.kills += 1
    }
  }
  count = await live(LAST)
  const last = await Thread.open(store, "t", options)
  expect(last.queue()).toEqual([])
  // Every input that was not taken back is in the history, once, in the order in which turns were to receive them.
  expect(receivedOf(last)).toEqual(model.committed)
  expect(model.queue).toEqual([])
  counts.delivered += model.committed.length
  counts.retracted += ids.size - model.committed.length
  await last.close()
  const lines = (await opened(store, "t.thread")).text.trimEnd().split("\n")
  checkOwnTurns(lines.map((line) => (JSON.parse(line) as readonly [string, ThreadRecord])[1]))
  return count
}
