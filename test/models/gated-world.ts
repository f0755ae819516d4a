import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { closed, fenced, type JournalStore, JournalStoreError, type StoredJournal } from "../../src/hosts/journal/store.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import { CONFIG } from "../replay/support.ts"
import { asParts, wholeText } from "../support/stored-text.ts"
import type { DecisionStatus, ProcessNumber, Verdict } from "./thread-model.ts"

/** What a store, or a process of it, does wrong, to see that the replays find it. */
export type RealFault = "no_fencing" | "starts_not_stored" | "results_lost" | "assignments_lost" | "keys_lost"

/** A place where a process waits before it writes, opens a journal, or begins a call. */
interface Gate {
  readonly name: string
  readonly pass: () => void
  /** Stores a part of what is to be written. Absent: nothing is. */
  readonly store?: (part: number) => void
}

interface Entry {
  text: string
  owner: object | undefined
}

const THREAD = "t"
const NOW = 1_000_000
const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** A store in memory, and processes with the real `Thread`. Each process stops at every gate until the test lets it pass. */
export class GatedWorld {
  readonly isHeld: boolean
  readonly fault: RealFault | undefined
  /** The text of each journal, by name. */
  readonly entries = new Map<string, Entry>()
  readonly processes: (GatedProcess | undefined)[] = []
  /** The inputs that were acknowledged, and the answers to those who took one back. */
  readonly acknowledged = new Set<number>()
  readonly retracted = new Map<number, string>()
  readonly answered = new Map<Verdict, DecisionStatus>()
  begun = 0

  constructor(isHeld: boolean, fault?: RealFault) {
    this.isHeld = isHeld
    this.fault = fault
  }

  /** Makes the log, which the model begins with. */
  async begin(): Promise<void> {
    const process = new GatedProcess(this, false)
    await process.open()
    await process.thread.close()
  }

  open(number: ProcessNumber): void {
    const process = new GatedProcess(this, true)
    this.processes[number] = process
    process.start()
  }

  process(number: ProcessNumber): GatedProcess {
    const process = this.processes[number]
    if (process === undefined || process.isGone) throw new Error(`Process ${number} does not live.`)
    return process
  }

  /** The records of a journal that are stored whole. */
  records(name: string): readonly { readonly type: string }[] {
    const lines = (this.entries.get(name)?.text ?? "").split("\n").slice(0, -1)
    return lines.map((line) => (JSON.parse(line) as readonly [string, { readonly type: string }])[1])
  }
}

/** A process of a {@link GatedWorld}. What it holds in memory is gone with it. */
export class GatedProcess {
  readonly #world: GatedWorld
  readonly #isGated: boolean
  readonly #gates: Gate[] = []
  #thread: Thread | undefined
  #isGone = false
  /** How many runs have not ended. */
  #running = 0
  /** An error that is none of the store. */
  fault: unknown

  constructor(world: GatedWorld, isGated: boolean) {
    this.#world = world
    this.#isGated = isGated
  }

  get isGone(): boolean {
    return this.#isGone
  }

  get thread(): Thread {
    if (this.#thread === undefined) throw new Error("The thread is not open yet.")
    return this.#thread
  }

  /** The gates at which the process waits, in order. */
  get gates(): readonly string[] {
    return this.#gates.map(({ name }) => name)
  }

  get isResting(): boolean {
    return this.#thread !== undefined && this.#running === 0
  }

  async open(): Promise<void> {
    const approvals: ThreadOptions["approvals"] = this.#world.isHeld ? () => ({ hold: { scopes: ["call"] } }) : undefined
    this.#thread = await Thread.open(this.#store(), THREAD, {
      config: { ...CONFIG, driver: chatDriver() },
      goals: false,
      now: () => NOW,
      takeOver: true,
      ...(approvals !== undefined && { approvals }),
    })
  }

  start(): void {
    this.#attempt(async () => {
      await this.open()
      this.run()
    })
  }

  /** Passes the first gate that is of the log, or that is not. */
  pass(isOfLog: boolean): void {
    const index = this.#gates.findIndex(({ name }) => name.startsWith("log ") === isOfLog)
    const [gate] = index < 0 ? [] : this.#gates.splice(index, 1)
    if (gate === undefined) throw new Error(`The process waits at ${JSON.stringify(this.gates)}.`)
    gate.pass()
  }

  /** Kills the process, before anyone hears of the write that it waits to make. `part`: how much of that is stored. */
  kill(part = 0, isOfLog = false): void {
    const gates = this.#gates.filter(({ name }) => part < 1 || name.startsWith("log ") === isOfLog)
    gates.find(({ store }) => store !== undefined)?.store?.(part)
    this.#isGone = true
    for (const entry of this.#world.entries.values()) if (this.#owns.has(entry.owner as object)) entry.owner = undefined
  }

  run(): void {
    this.#running += 1
    this.#attempt(async () => {
      await runThread(this.thread, this.#host(), { suspend: true, now: () => NOW, cancelGraceMs: 10 })
      this.#running -= 1
    })
  }

  say(input: number): void {
    this.#attempt(async () => {
      const key = this.#world.fault === "keys_lost" ? {} : { key: `key ${input}` }
      const said = this.thread.say(`#${input}`, key)
      // As a service does that runs the thread after each input.
      if (this.#running === 0) this.run()
      await said
      this.#world.acknowledged.add(input)
    })
  }

  retract(input: number): void {
    this.#attempt(async () => {
      const ids = inputIds(this.#world)
      const answer = await this.thread.retract(ids.indexOf(input) < 0 ? "unknown" : `user-${ids.indexOf(input) + 1}`)
      this.#world.retracted.set(input, answer)
    })
  }

  decide(verdict: Verdict): void {
    this.#attempt(async () => {
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

  /** A process that is fenced off ends, as a service does. */
  #attempt(act: () => Promise<void>): void {
    act().catch((error: unknown) => {
      if (this.#isGone) return
      if (!(error instanceof JournalStoreError)) this.fault = error
      this.kill()
    })
  }

  async #gate(name: string, store?: Gate["store"]): Promise<void> {
    if (this.#isGone) return forever()
    if (!this.#isGated) return
    await new Promise<void>((resolve) => {
      this.#gates.push({ name, pass: resolve, ...(store !== undefined && { store }) })
    })
    if (this.#isGone) await forever()
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
          await this.#gate("act")
          this.#world.begun += 1
          return { output: { status: "success", value: "done" } }
        },
      },
    }
  }

  readonly #owns = new WeakSet<object>()

  #store(): JournalStore {
    const { entries } = this.#world
    return {
      open: async (name) => {
        await this.#gate(`open ${name === `${THREAD}.thread` ? "log" : name}`)
        const entry = entries.get(name) ?? { text: "", owner: undefined }
        entries.set(name, entry)
        const owner = {}
        this.#owns.add(owner)
        entry.owner = owner
        return this.#journal(name, entry, owner)
      },
      read: async (name) => {
        const entry = entries.get(name)
        return asParts(entry?.text)
      },
      async *list({ prefix = "" } = {}) {
        yield* [...entries.keys()].filter((name) => name.startsWith(prefix)).sort()
      },
      delete: async (name) => {
        entries.delete(name)
      },
    }
  }

  #journal(name: string, entry: Entry, owner: object): StoredJournal {
    const { fault } = this.#world
    const isLog = name.endsWith(".thread")
    let isClosed = false
    /** The first write that was refused: later ones would follow a gap. */
    const mayWrite = (): void => {
      if (isClosed) throw closed(name)
      if (entry.owner !== owner && fault !== "no_fencing") throw fenced(name)
    }
    return {
      read: () => asParts(entry.text),
      append: async (text) => {
        const kept = fault === undefined ? text : keptLines(text, fault)
        const kinds = kindsOf(text)
        if (kinds.length > 0)
          await this.#gate(`${isLog ? "log" : "turn"} ${kinds.join(" + ")}`, (part) => {
            // A torn write ends in its first record: one that ends after it is as if the process was killed after a write of that alone.
            const length = part < 1 ? Math.floor(part * kept.indexOf("\n")) : kept.length
            if (entry.owner === owner) entry.text += kept.slice(0, length)
          })
        if (this.#isGone) return forever()
        mayWrite()
        entry.text += kept
      },
      replace: async (text) => {
        const whole = await wholeText(text)
        if (this.#isGone) return forever()
        mayWrite()
        entry.text = whole
      },
      close: async () => {
        isClosed = true
        if (!this.#isGone && entry.owner === owner) entry.owner = undefined
      },
    }
  }
}

/** The input of each message that the log has, in order. */
export function inputIds(world: GatedWorld): readonly number[] {
  return world.records(`${THREAD}.thread`).flatMap((record) => {
    const { type, message } = record as { readonly type: string; readonly message?: { readonly parts: readonly { readonly text?: string }[] } }
    return type === "said" ? [Number(message?.parts[0]?.text?.slice(1))] : []
  })
}

/** What a process cannot be killed between, because the next process would be in the same place: the opening of a journal, an empty delivery, a snapshot. */
const IGNORED: ReadonlySet<string> = new Set(["snapshot", "opened", "reconfigured", "traced"])

/** The records that matter in a text that is appended. */
function kindsOf(text: string): readonly string[] {
  return text
    .split("\n")
    .filter(Boolean)
    .flatMap((line) => {
      const [, record] = JSON.parse(line) as readonly [string, { readonly type: string; readonly delivery?: object }]
      const isEmpty = record.type === "checkpoint_delivery" && Object.keys(record.delivery ?? {}).length === 0
      return isEmpty || IGNORED.has(record.type) ? [] : [record.type]
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
  return type !== undefined && kindsOf(text).includes(type) ? "" : text
}

function forever(): Promise<never> {
  return new Promise(() => {})
}

function says(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
}

function calls(): LlmResponse {
  return { text: "", parts: [{ type: "tool_call", callId: "c1", toolName: "count", inputJson: "{}" }], usage: USAGE, terminalReason: "tool_use" }
}
