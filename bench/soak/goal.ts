import { setImmediate } from "node:timers/promises"
import { judgeValidation } from "../../src/checks/judge.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { JudgedThread } from "../../src/hosts/judge/judged-thread.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import { halves, heapBytes, linearFault, MEMORY_STORE_FACTOR, type Sample } from "./growth.ts"
import { Progress, type Say } from "./progress.ts"
import { type StoreKind, soakedStore } from "./stores.ts"

export interface GoalOptions {
  /** Simulated days. The clock is an input, so a week takes minutes. */
  readonly days: number
  readonly kind: StoreKind
  readonly say: Say
  readonly signal?: AbortSignal
  /** By what part a turn may leave more in memory than the limit. Default 0.5. A short run, in which code is still compiled, needs more. */
  readonly heapTolerance?: number
  /** Called after each turn. For tests of the checks. */
  readonly afterTurn?: (thread: Thread) => unknown
}

export interface GoalFigures {
  readonly part: "goal"
  readonly store: StoreKind
  readonly hours: number
  readonly turns: number
  /** Waits that the judge asked for, restarts of the process, and budgets that were reached and extended. */
  readonly waits: number
  readonly restarts: number
  readonly extensions: number
  readonly tokens: number
  readonly seconds: number
  /** Bytes for each turn, in the first and the second half. */
  readonly storedBytesPerTurn: readonly [early: number, late: number]
  readonly heapBytesPerTurn: readonly [early: number, late: number]
  readonly storedMebibytes: number
  readonly faults: readonly string[]
}

/**
 * Pursues one goal for simulated days: it continues after each turn, a judge rules on its list and lets it wait, its token budget is
 * reached and extended, and the process is replaced every six hours. Checks that no turn begins before its time, that what the goal is
 * charged is what the models used, that it stops at its budget, and that each turn costs the same memory and storage.
 */
export async function soakGoal({ days, kind, say, signal, heapTolerance = 0.5, afterTurn }: GoalOptions): Promise<GoalFigures> {
  const soaked = await soakedStore(kind)
  const { store } = soaked
  try {
    const world = new GoalWorld()
    const until = world.at + days * DAY_MS
    const startedAt = world.at
    const progress = new Progress("simulated hours", days * 24, say)
    const samples: Sample[] = []
    const faults = world.faults
    let [restarts, extensions, turns] = [0, 0, 0]
    let first = true
    const isStopped = (): boolean => signal?.aborted === true
    /** A process of its own, which lives for six hours. A function, so that nothing here holds its thread when the heap is measured. */
    const live = async (): Promise<void> => {
      const dies = Math.min(until, world.at + RESTART_MS)
      const thread = await Thread.open(store, "t", world.options)
      const judged = await JudgedThread.open(store, thread, { judge: JUDGE, host: world.host })
      if (first) await thread.command({ type: "set", objective: "Watch the harbour.", tokenBudget: TOKEN_BUDGET })
      else restarts += 1
      first = false
      while (world.at < dies && faults.length === 0 && !isStopped()) {
        const pause = new AbortController()
        const before = world.at
        const { notBefore, reason } = await runThread(thread, world.host, {
          now: () => world.at,
          maxWaitMs: Number.POSITIVE_INFINITY,
          pause: pause.signal,
          wait: (time) => world.wait(time),
          onTurn: () => world.beginTurn(),
          between: async () => {
            const advice = await judged.between()
            world.advise(advice.notBefore, thread.goal?.status)
            await afterTurn?.(thread)
            await setImmediate()
            progress.at((world.at - startedAt) / HOUR_MS)
            if (world.at >= dies || isStopped()) pause.abort()
            return advice
          },
        })
        if (notBefore !== undefined && notBefore > world.at) world.at = notBefore
        const { goal } = thread
        if (goal?.status === "budget_limited") {
          const used = goal.tokensUsed + goal.childTokensUsed
          if (used < (goal.tokenBudget ?? 0)) faults.push(`The goal stopped for its budget of ${goal.tokenBudget} tokens at ${used}.`)
          await thread.command({ type: "resume", addTokens: TOKEN_BUDGET })
          extensions += 1
        } else if (goal?.status !== "active") faults.push(`The goal is ${goal?.status}: ${goal?.reason}`)
        else if (world.at === before) faults.push(`The goal is active and rests: ${reason}`)
      }
      turns = thread.turns
      checkCharges(thread, world, faults)
      await judged.close()
      await thread.close()
    }
    while (world.at < until && faults.length === 0 && !isStopped()) {
      await live()
      samples.push({ work: turns, heapBytes: heapBytes(), storedBytes: await soaked.storedBytes() })
    }
    if (!isStopped() && world.waits === 0) faults.push("The judge never let the goal wait.")
    if (!isStopped() && extensions === 0 && faults.length === 0) faults.push("The goal never stopped for its budget.")
    // A run that was ended early may have too few samples to say anything about growth.
    const isCutShort = isStopped() && samples.length < 6
    const storeFault = linearFault(samples, "storedBytes", 0.05)
    if (storeFault !== undefined && !isCutShort) faults.push(storeFault)
    // Not compared with the first half: what leaks from the beginning grows alike in both.
    const { late } = halves(samples, "heapBytes")
    const most = HEAP_BYTES_PER_TURN * (1 + heapTolerance) + (kind === "memory" ? halves(samples, "storedBytes").late * MEMORY_STORE_FACTOR : 0)
    if (!(late <= most) && !isCutShort)
      faults.push(`The heap grows by ${late.toFixed(0)} bytes for each turn in the second half; ${most.toFixed(0)} are allowed.`)
    const pair = (value: "heapBytes" | "storedBytes"): readonly [number, number] => {
      const { early, late } = halves(samples, value)
      return [early, late]
    }
    return {
      part: "goal",
      store: kind,
      hours: (world.at - startedAt) / HOUR_MS,
      turns,
      waits: world.waits,
      restarts,
      extensions,
      tokens: world.tokens,
      seconds: progress.seconds,
      storedBytesPerTurn: pair("storedBytes"),
      heapBytesPerTurn: pair("heapBytes"),
      storedMebibytes: (samples.at(-1)?.storedBytes ?? Number.NaN) / 2 ** 20,
      faults,
    }
  } finally {
    await soaked.end()
  }
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const RESTART_MS = 6 * HOUR_MS
const TOKEN_BUDGET = 5_000
/** What a turn may leave in memory between two processes, as compiled code and caches. A thread that is not released leaves about 10,000 for each turn. */
const HEAP_BYTES_PER_TURN = 3_500
const JUDGE = { model: "judge", validation: judgeValidation, defaultMaxTurns: 1_000_000, maxStalledTurns: 0 }

/** All tokens of a call count: none are read from a cache. */
const USAGE = { inputTokens: 100, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const TOKENS = 102

/** The charges of the goal, beside what the models say that they used. */
function checkCharges({ goal }: Thread, { tokens }: GoalWorld, faults: string[]): void {
  const charged = (goal?.tokensUsed ?? 0) + (goal?.childTokensUsed ?? 0)
  if (charged !== tokens) faults.push(`The goal was charged ${charged} tokens, and its models used ${tokens}.`)
}

/** Models, tools and a clock. A call of a model takes twenty seconds, one of a tool five minutes. */
class GoalWorld {
  at = Date.UTC(2026, 0, 5)
  tokens = 0
  waits = 0
  readonly faults: string[] = []
  #calls = 0
  #judgements = 0
  /** The time before which no turn may begin. */
  #notBefore = 0

  readonly options: ThreadOptions = {
    config: {
      driver: chatDriver(),
      projector: chatProjector,
      model: "m",
      tools: [{ name: "look", description: "Looks.", inputSchema: { type: "object" } }],
    },
    policy: { endedBy: "judge", maxContinuations: 0, maxRepeatedAnswers: 0 },
    retain: "log",
    now: () => this.at,
  }

  readonly host: Host = {
    llmCall: async ({ request }) => {
      this.at += 20_000
      this.tokens += TOKENS
      return this.#answer(request)
    },
    tools: {
      call: async () => {
        this.at += 300_000
        return { output: { status: "success", value: "calm" } }
      },
      effects: () => "none",
    },
  }

  beginTurn(): void {
    if (this.at < this.#notBefore) this.faults.push(`A turn begins ${this.#notBefore - this.at} ms before its time.`)
    this.#notBefore = 0
  }

  /** What the judge advised: a wait that must be kept. */
  advise(notBefore: number | undefined, status: string | undefined): void {
    if (status === "active" && notBefore !== undefined) this.#notBefore = notBefore
  }

  async wait(until: number): Promise<void> {
    this.at = Math.max(this.at, Math.min(until, this.at + HOUR_MS))
  }

  #answer({ tools, messages }: LlmRequest): LlmResponse {
    const names = tools.map(({ name }) => name)
    if (names.includes("submit_checklist")) return calls("submit_checklist", { items: [{ text: "The harbour is empty." }] })
    if (names.includes("update_checklist")) {
      this.#judgements += 1
      const padded = String(this.#judgements).padStart(6, "0")
      const ruling = { updates: [], new_items: [], reason: `Judgement ${padded}: ships are there.` }
      if (this.#judgements % 4 !== 0) return calls("update_checklist", ruling)
      this.waits += 1
      this.#notBefore = this.at + WAIT_SECONDS * 1_000
      return calls("update_checklist", { ...ruling, verdict: "wait", wait_seconds: WAIT_SECONDS })
    }
    this.#calls += 1
    const padded = String(this.#calls).padStart(6, "0")
    if (messages.at(-1)?.blocks.at(-1)?.type !== "tool_result") return calls("look", {}, `look-${padded}`)
    const text = `Look ${padded}: the sea is calm, and two ships are in the harbour.`
    return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
  }
}

const WAIT_SECONDS = 1_800

function calls(toolName: string, args: object, callId = "c"): LlmResponse {
  const parts: readonly OutputPart[] = [{ type: "tool_call", callId, toolName, inputJson: JSON.stringify(args) }]
  return { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
}
