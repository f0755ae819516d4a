import { setImmediate } from "node:timers/promises"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { halves, heapBytes, linearFault, MEMORY_STORE_FACTOR, type Sample } from "./growth.ts"
import { Progress, type Say } from "./progress.ts"
import { type StoreKind, soakedStore } from "./stores.ts"

export interface ThreadOfRecords {
  /** Records of the thread's history. Rounded up to whole turns. */
  readonly records: number
  readonly kind: StoreKind
  /** Tool calls in each turn. A turn adds the user's message, a call and its result for each of them, and an answer. */
  readonly calls: number
  readonly say: Say
  readonly signal?: AbortSignal
  /** By what part the second half may take more memory than the first. Default 0.25. A short run, in which code is still compiled, needs more. */
  readonly heapTolerance?: number
  /** Called after each turn. For tests of the checks. */
  readonly afterTurn?: (thread: Thread) => unknown
}

export interface ThreadFigures {
  readonly part: "thread"
  readonly store: StoreKind
  readonly turns: number
  readonly records: number
  readonly seconds: number
  /** Bytes for each record, in the first and the second half. */
  readonly storedBytesPerRecord: readonly [early: number, late: number]
  readonly heapBytesPerRecord: readonly [early: number, late: number]
  /** CPU time of a record in microseconds, in the first and the last tenth. */
  readonly cpuUsPerRecord: readonly [early: number, late: number]
  readonly storedMebibytes: number
  /** Over the beginning, with the thread open and closed. */
  readonly heapMebibytes: readonly [open: number, closed: number]
  /** CPU time until the thread is open again. */
  readonly reopenedMs: number
  readonly faults: readonly string[]
}

/**
 * Grows one thread, and checks that each record takes as much as every other, in the store and in memory (a thread has its history in
 * memory), that nothing of a closed thread stays in memory, and that the thread opens again with all of its records and runs on.
 */
export async function soakThread({ records, kind, calls, say, signal, heapTolerance = 0.25, afterTurn }: ThreadOfRecords): Promise<ThreadFigures> {
  const perTurn = 2 * calls + 2
  const turns = Math.ceil(records / perTurn)
  const soaked = await soakedStore(kind)
  const { store } = soaked
  try {
    const host = talkingHost(calls)
    const sampleEvery = Math.max(1, Math.floor(turns / SAMPLES))
    const samples: Sample[] = []
    const cpu: number[] = []
    const atStart = heapBytes()
    let thread = await Thread.open(store, "t", OPTIONS)
    const progress = new Progress(`records (${kind})`, turns * perTurn, say)
    let done = 0
    let busy = cpuMs()
    while (done < turns && signal?.aborted !== true) {
      await thread.say(text(done))
      await runThread(thread, host)
      await afterTurn?.(thread)
      // A signal of the user is received between two turns: nothing in a store in memory waits.
      await setImmediate()
      done += 1
      progress.at(done * perTurn)
      if (done % sampleEvery !== 0) continue
      cpu.push((cpuMs() - busy) / (sampleEvery * perTurn))
      samples.push({ work: done * perTurn, heapBytes: heapBytes(), storedBytes: await soaked.storedBytes() })
      busy = cpuMs()
    }
    const { seconds } = progress
    const heapOpen = heapBytes() - atStart
    await thread.close()
    // The caller's own reference would hold the history.
    thread = undefined as unknown as Thread
    const heapClosed = heapBytes() - atStart

    const opening = cpuMs()
    thread = await Thread.open(store, "t", OPTIONS)
    const reopenedMs = cpuMs() - opening
    const faults: string[] = []
    if (thread.history.length !== done * perTurn)
      faults.push(`${thread.history.length} of ${done * perTurn} records are there when the thread is opened again.`)
    await thread.say("once more")
    await runThread(thread, host)
    if (thread.turns !== done + 1) faults.push("The thread does not run on.")
    await thread.close()

    const inMemory = kind === "memory" ? (samples.at(-1)?.storedBytes ?? 0) * MEMORY_STORE_FACTOR : 0
    if (heapClosed > CLOSED_BYTES + inMemory) faults.push(`${mebibytes(heapClosed).toFixed(1)} MiB stay in memory when the thread is closed.`)
    // A run that was ended early may have too few samples to say anything about growth.
    const isCutShort = signal?.aborted === true && samples.length < 6
    for (const [value, tolerance] of [
      ["storedBytes", 0.02],
      ["heapBytes", heapTolerance],
    ] as const) {
      const fault = linearFault(samples, value, tolerance)
      if (fault !== undefined && !isCutShort) faults.push(fault)
    }
    const pair = (value: "heapBytes" | "storedBytes"): readonly [number, number] => {
      const { early, late } = halves(samples, value)
      return [early, late]
    }
    const tenth = Math.max(1, Math.floor(cpu.length / 10))
    const mean = (of: readonly number[]): number => (1_000 * of.reduce((sum, ms) => sum + ms, 0)) / of.length
    return {
      part: "thread",
      store: kind,
      turns: done,
      records: done * perTurn,
      seconds,
      storedBytesPerRecord: pair("storedBytes"),
      heapBytesPerRecord: pair("heapBytes"),
      cpuUsPerRecord: [mean(cpu.slice(0, tenth)), mean(cpu.slice(-tenth))],
      storedMebibytes: mebibytes(samples.at(-1)?.storedBytes ?? Number.NaN),
      heapMebibytes: [mebibytes(heapOpen), mebibytes(heapClosed)],
      reopenedMs,
      faults,
    }
  } finally {
    await soaked.end()
  }
}

const SAMPLES = 40

/** What may stay of a closed thread: compiled code and caches that do not grow with it. */
const CLOSED_BYTES = 24 * 2 ** 20

const LOOK = { name: "look", description: "Looks.", inputSchema: { type: "object" } }

const OPTIONS: ThreadOptions = { goals: false, config: { driver: chatDriver(), projector: chatProjector, model: "m", tools: [LOOK] } }

const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** A text of its own for each number, and of the same length. */
function text(number: number): string {
  return `${String(number).padStart(9, "0")} ${"quick foxes ".repeat(8)}`
}

/** A model that calls a tool so many times in each turn, and then answers. */
function talkingHost(calls: number): Host {
  let number = 0
  return {
    async llmCall() {
      number += 1
      if (number % (calls + 1) === 0) {
        const said = text(number)
        return { text: said, parts: [{ type: "text", text: said }], usage: USAGE, terminalReason: "stop" }
      }
      const call = { type: "tool_call", callId: `call-${String(number).padStart(9, "0")}`, toolName: "look", inputJson: "{}" } as const
      return { text: "", parts: [call], usage: USAGE, terminalReason: "tool_use" }
    },
    tools: { call: async () => ({ output: { status: "success", value: text(number) } }), effects: () => "none" },
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

function mebibytes(bytes: number): number {
  return bytes / 2 ** 20
}
