import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import { CONFIG } from "../replay/support.ts"
import { GatedProcess, GatedStore, typesOf } from "./gated-process.ts"
import type { DecisionStatus, ProcessNumber, Verdict } from "./thread-model.ts"

/** What a store, or a process of it, does wrong, to see that the replays find it. */
export type RealFault = "no_fencing" | "starts_not_stored" | "results_lost" | "assignments_lost" | "keys_lost"

const THREAD = "t"
const NOW = 1_000_000
const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** A store in memory, and processes with the real `Thread`. Each process stops at every gate until the test lets it pass. */
export class GatedWorld extends GatedStore {
  readonly isHeld: boolean
  readonly fault: RealFault | undefined
  readonly processes: (ThreadProcess | undefined)[] = []
  /** The inputs that were acknowledged, and the answers to those who took one back. */
  readonly acknowledged = new Set<number>()
  readonly retracted = new Map<number, string>()
  readonly answered = new Map<Verdict, DecisionStatus>()
  begun = 0

  constructor(isHeld: boolean, fault?: RealFault) {
    super()
    this.isHeld = isHeld
    this.fault = fault
  }

  /** Makes the log, which the model begins with. */
  async begin(): Promise<void> {
    const process = new ThreadProcess(this, false)
    await process.open()
    await process.thread.close()
  }

  open(number: ProcessNumber): void {
    const process = new ThreadProcess(this, true)
    this.processes[number] = process
    process.start()
  }

  process(number: ProcessNumber): ThreadProcess {
    const process = this.processes[number]
    if (process === undefined || process.isGone) throw new Error(`Process ${number} does not live.`)
    return process
  }
}

/** A process of a {@link GatedWorld}, with the real `Thread`. */
export class ThreadProcess extends GatedProcess {
  readonly #world: GatedWorld
  #thread: Thread | undefined
  /** How many runs have not ended. */
  #running = 0

  constructor(world: GatedWorld, isGated: boolean) {
    const { fault } = world
    super(world, {
      isGated,
      openGate: (name) => `open ${isLog(name) ? "log" : name}`,
      appendGate: (name, types) => `${isLog(name) ? "log" : "turn"} ${types.join(" + ")}`,
      isUnfenced: fault === "no_fencing",
      ...(fault !== undefined && { kept: (text) => keptLines(text, fault) }),
    })
    this.#world = world
  }

  get thread(): Thread {
    if (this.#thread === undefined) throw new Error("The thread is not open yet.")
    return this.#thread
  }

  get isResting(): boolean {
    return this.#thread !== undefined && this.#running === 0
  }

  async open(): Promise<void> {
    const approvals: ThreadOptions["approvals"] = this.#world.isHeld ? () => ({ hold: { scopes: ["call"] } }) : undefined
    this.#thread = await Thread.open(this.store(), THREAD, {
      config: { ...CONFIG, driver: chatDriver() },
      goals: false,
      now: () => NOW,
      takeOver: true,
      ...(approvals !== undefined && { approvals }),
    })
  }

  start(): void {
    this.attempt(async () => {
      await this.open()
      this.run()
    })
  }

  /** Passes the first gate that is of the log, or that is not. */
  pass(isOfLog: boolean): void {
    this.passGate((name) => name.startsWith("log ") === isOfLog)
  }

  /** Kills the process, before anyone hears of the write that it waits to make. `part`: how much of that is stored. */
  kill(part = 0, isOfLog = false): void {
    this.killAt(part, (name) => part < 1 || name.startsWith("log ") === isOfLog)
  }

  run(): void {
    this.#running += 1
    this.attempt(async () => {
      await runThread(this.thread, this.#host(), { suspend: true, now: () => NOW, cancelGraceMs: 10 })
      this.#running -= 1
    })
  }

  say(input: number): void {
    this.attempt(async () => {
      const key = this.#world.fault === "keys_lost" ? {} : { key: `key ${input}` }
      const said = this.thread.say(`#${input}`, key)
      // As a service does that runs the thread after each input.
      if (this.#running === 0) this.run()
      await said
      this.#world.acknowledged.add(input)
    })
  }

  retract(input: number): void {
    this.attempt(async () => {
      const ids = inputIds(this.#world)
      const answer = await this.thread.retract(ids.indexOf(input) < 0 ? "unknown" : `user-${ids.indexOf(input) + 1}`)
      this.#world.retracted.set(input, answer)
    })
  }

  decide(verdict: Verdict): void {
    this.attempt(async () => {
      const digest = this.#digest()
      const [result] = await this.thread.decide([{ requestId: "2:c1", digest, decision: verdict }])
      this.#world.answered.set(verdict, result?.status ?? "refused")
      this.run()
    })
  }

  /** That of the held call, which the person was shown: it is in the snapshot that the journal has. */
  #digest(): string {
    const text = JSON.stringify(this.#world.records(`${THREAD}.1`))
    return /"digest":"([^"]+)"/.exec(text)?.[1] ?? ""
  }

  #host(): Host {
    return {
      llmCall: async ({ request }) => {
        const isCalled = request.messages.some(({ blocks }) => blocks.some(({ type }) => type === "tool_call"))
        return isCalled ? says("An answer.") : calls()
      },
      tools: {
        effects: () => "once",
        call: async () => {
          await this.gate("act")
          this.#world.begun += 1
          return { output: { status: "success", value: "done" } }
        },
      },
    }
  }
}

function isLog(name: string): boolean {
  return name === `${THREAD}.thread`
}

/** The input of each message that the log has, in order. */
export function inputIds(world: GatedWorld): readonly number[] {
  return world.records(`${THREAD}.thread`).flatMap((record) => {
    const { type, message } = record as { readonly type: string; readonly message?: { readonly parts: readonly { readonly text?: string }[] } }
    return type === "said" ? [Number(message?.parts[0]?.text?.slice(1))] : []
  })
}

/** What a store with a fault keeps of the lines that it is given. */
function keptLines(text: string, fault: RealFault): string {
  const lost: { readonly [Fault in RealFault]?: string } = {
    starts_not_stored: "call_started",
    results_lost: "tool_results",
    assignments_lost: "assigned",
  }
  const type = lost[fault]
  return type !== undefined && typesOf(text).includes(type) ? "" : text
}

function says(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
}

function calls(): LlmResponse {
  return { text: "", parts: [{ type: "tool_call", callId: "c1", toolName: "count", inputJson: "{}" }], usage: USAGE, terminalReason: "tool_use" }
}
