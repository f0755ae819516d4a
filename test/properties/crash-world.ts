import type { TurnLog } from "../../src/hosts/host.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { fenced, type JournalStore, type StoredJournal } from "../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import { configOf } from "../../src/testing/host-conformance/scripted-turn.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { type Change, wrapMembers } from "../../src/wrap.ts"
import { oneByOne } from "../support/one-by-one.ts"
import { asParts, wholeText } from "../support/stored-text.ts"
import { type Ended, type Fault, type Memory, Process, type ProcessOptions, type Script, type Surroundings, ticks } from "./crash-process.ts"

// A world that outlives its processes, and processes that run one turn in it. What a process holds in memory is gone with
// it, so a crash is the world at that moment, and a next process made of new objects.

/** The world of one turn. */
export class World implements Surroundings {
  readonly #script: Script
  memory: Memory
  #owner: object | undefined

  constructor(script: Script, memory: Memory) {
    this.#script = script
    this.memory = memory
  }

  /** Runs a process to its end. */
  async process(options: ProcessOptions): Promise<Ended> {
    const script = this.#script
    const process = new Process(this, script, options)
    this.memory = { ...this.memory, emitted: [...this.memory.emitted, []] }
    const journal = await TurnJournal.open(this.#store(process), "turn", {
      takeOver: true,
      now: () => 1_000,
      snapshotEveryRecords: script.snapshotEveryRecords,
      compactAboveChars: script.compactAboveChars,
    })
    const config = configOf(script)
    const resumed = journal.recorded === undefined ? undefined : await journal.resume(config)
    const recorded = resumed ?? (await journal.begin(config, START, { turnId: "turn-1" }))
    const machine = actingOf(recorded, config, options.fault, resumed !== undefined)
    const log = faulty(journal, recorded, options.fault)
    const { toolConcurrency } = script
    const { signal } = process.cancelling
    const { outcome } = await runTurn(machine, process.host, { journal: log, now: () => 1_000, toolConcurrency, signal })
    await journal.close()
    const end = JSON.stringify({ outcome, messages: machine.messages, events: machine.history, usage: machine.usage, iteration: machine.iteration })
    return { end, memory: this.memory, moments: process.moments }
  }

  #store(process: Process): JournalStore {
    return {
      ...memoryJournalStore(),
      open: async () => {
        const owner = {}
        this.#owner = owner
        const { text } = this.memory
        const write = async (kind: string, parts: readonly string[], put: (part: string) => Memory, whole: string): Promise<void> => {
          if (this.#owner !== owner) throw fenced("turn")
          await process.moment(`before ${kind}`)
          await ticks(this.#script.writeTicks)
          for (const part of parts) process.note(`in the middle of ${kind}`, put(part))
          if (this.#owner !== owner) throw fenced("turn")
          this.memory = put(whole)
          await process.moment(`after ${kind}, before the process knows`)
        }
        return {
          read: () => asParts(text),
          append: (lines) => write("an append", this.#torn(lines), (part) => withLines(this.memory, part), lines),
          replace: async (parts) => write("a replacement", [], (part) => ({ ...this.memory, text: part }), await wholeText(parts)),
          close: async () => {},
        } satisfies StoredJournal
      },
    }
  }

  #torn(lines: string): readonly string[] {
    const most = lines.length - 1
    return [lines.slice(0, 1 + Math.floor(this.#script.tear * (most - 1))), lines.slice(0, most)]
  }
}

const START = { messages: [{ id: "u", role: "user" as const, parts: [{ id: "u.p0", type: "text" as const, text: "Go." }] }] }

/** The machine that acts: the journal's own, which accepts only what is recorded, or one beside it with a fault. */
function actingOf(recorded: TurnMachine, config: TurnConfig, fault: Fault | undefined, resumed: boolean): TurnMachine {
  if (fault === "answers_persisted_late") return TurnMachine.restore(config, recorded.checkpoint())
  return fault === "journal_not_folded" && resumed ? new TurnMachine(config, START) : recorded
}

/** The memory after whole lines were written. A torn end changes only the text. */
function withLines(memory: Memory, lines: string): Memory {
  const [answered, begun, unknown] = [new Set(memory.answered), new Set(memory.begun), new Set(memory.unknown)]
  for (const line of lines.split("\n").slice(0, -1)) {
    const [, record] = JSON.parse(line) as readonly [string, JournalRecord]
    if (record.type === "call_started") begun.add(`${record.effectId}:${record.callId}`)
    else if (record.type === "tool_results") {
      for (const { callId, output } of record.results) {
        answered.add(`${record.id}:${callId}`)
        if (output.status === "failure" && output.failure.code === "outcome_unknown") unknown.add(`${record.id}:${callId}`)
      }
    } else if ("id" in record) answered.add(`${record.id}`)
  }
  return { ...memory, text: memory.text + lines, answered, begun, unknown }
}

/** The journal with a fault built in. */
function faulty(journal: TurnJournal, recorded: TurnMachine, fault: Fault | undefined): TurnLog {
  let late: (() => Promise<void>) | undefined
  const log: TurnLog = journal
  if (fault === "starts_not_persisted") return wrapMembers(log, { callStarted: async () => "first" } satisfies LogChanges)
  if (fault === "journal_not_folded")
    return wrapMembers(oneByOne(log), {
      response: (next, _acting, response) => next(recorded, response),
      settled: async (next, acting) => (acting === recorded ? next(recorded) : undefined),
    } satisfies LogChanges)
  if (fault !== "answers_persisted_late") return log
  return wrapMembers(oneByOne(log), {
    async response(next, _acting, response) {
      await late?.()
      // Acted on immediately, and persisted with the next one.
      late = async () => {
        while (recorded.poll() !== undefined);
        await next(recorded, response)
        recorded.handle(response)
      }
    },
    async settled(_next, acting) {
      if (acting.done) await late?.()
    },
  } satisfies LogChanges)
}

type LogChanges = { readonly [Name in keyof TurnLog]?: Change<TurnLog[Name]> }
