import { createHash } from "node:crypto"
import { type Host, wrapHost } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { TurnJournal, type TurnJournalOptions } from "../../../src/hosts/journal/turn-journal.ts"
import { performEffect } from "../../../src/hosts/run/perform-effect.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { Thread } from "../../../src/hosts/thread/thread.ts"
import { isAnswerable } from "../../../src/machine/transitions.ts"
import { fingerprint } from "../../../src/replay/fingerprint.ts"
import type { AnswerableEffect, Done } from "../../../src/schemas/effect.ts"
import type { Response } from "../../../src/schemas/response.ts"
import type { TestedEnd, TestedHost, TestedProcess, TestedRunOptions, TestedTurn } from "../../../src/testing/index.ts"
import { testedStore } from "../../../src/testing/index.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"

/** `journaled` over a store. `other`: the store as another process opens it. */
export function journaledHost(other: () => JournalStore, options: TurnJournalOptions = {}): TestedHost {
  return {
    start: (process) => ({
      run(turn, executors, { deliveries: _deliveries, ...runOptions }) {
        const host = journaled(executors, testedStore(other(), process), { takeOver: process.takeOver, ...options })
        return host.run(turn.turnId, turn, runOptions)
      },
      async answer({ turnId, config }, results) {
        const journal = await TurnJournal.open(testedStore(other(), process), turnId, { takeOver: process.takeOver, ...options })
        try {
          const machine = await journal.resume(config)
          const response = machine.check({ type: "tool_results", id: machine.outstanding?.id, results })
          await journal.response(machine, response)
          machine.handle(response)
        } finally {
          await journal.close()
        }
      },
      async decide({ turnId }, decisions, now) {
        const store = testedStore(other(), process)
        const journal = await TurnJournal.open(store, turnId, { takeOver: process.takeOver, ...options, now })
        try {
          return await journal.decide(decisions)
        } finally {
          await journal.close()
        }
      },
    }),
  }
}

/** A thread whose first turn is the tested one. */
export function threadHost(): TestedHost {
  const store = memoryJournalStore()
  let isSaid = false
  return {
    start: (process) => ({
      async run({ turnId, config, start }, executors, { deliveries: _deliveries, now, ...options }) {
        if (!isSaid) {
          isSaid = true
          const thread = await Thread.open(store, turnId, { config, now })
          for (const { parts } of start.messages) for (const part of parts) if (part.type === "text") await thread.say(part.text)
          await thread.close()
        }
        const thread = await Thread.open(testedStore(store, process), turnId, { config, now, takeOver: process.takeOver })
        try {
          await thread.run(executors, options)
          const { lastTurn, history } = thread
          if (lastTurn === undefined) throw new Error("The thread has no turn.")
          const messages = history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))
          return { outcome: lastTurn.outcome, messages }
        } finally {
          await thread.close()
        }
      },
    }),
  }
}

/** `runTurn` with `Host.save` alone. It records no starts, and nothing stops two processes from running a turn. */
export function savingHost(): TestedHost {
  const saved = new Map<string, string>()
  return {
    start: (process) => ({
      async run({ turnId, config, start }, executors, { deliveries: _deliveries, ...options }) {
        const checkpoint = saved.get(turnId)
        const machine = checkpoint === undefined ? new TurnMachine(config, start) : TurnMachine.restore(config, checkpoint)
        const host = wrapHost(executors, {
          async save(_next, turn) {
            const text = JSON.stringify(turn.checkpoint())
            await process.reached("before a checkpoint is saved")
            saved.set(turnId, text)
            await process.reached("after a checkpoint was saved", { chars: text.length })
          },
        })
        return runTurn(machine, host, { ...options, turnId })
      },
      async answer({ turnId, config }, results) {
        const machine = TurnMachine.restore(config, saved.get(turnId))
        machine.handle({ type: "tool_results", id: machine.outstanding?.id ?? 0, results })
        saved.set(turnId, JSON.stringify(machine.checkpoint()))
      },
    }),
  }
}

/** One step of a workflow, as an engine stores it. */
export type Entry =
  | { readonly type: "answer"; readonly fingerprint: string; readonly response: Response }
  | { readonly type: "started"; readonly effectId: number; readonly callId: string | undefined }
  | { readonly type: "cancelled" }

/** Ways to break {@link Workflow}, by the member that is replaced. */
export type WorkflowChange = (workflow: Workflow) => void

/** The rows of a workflow engine: an append-only log for each turn, with one owner at a time. */
export class WorkflowLog {
  readonly #turns = new Map<string, { readonly entries: Entry[]; owner: object | undefined; code: string | undefined }>()

  open(turnId: string, owner: object, takeOver: boolean, code: string): Entry[] {
    const turn = this.#turns.get(turnId) ?? { entries: [], owner: undefined, code }
    if (turn.owner !== undefined && !takeOver) throw new Error(`Turn ${turnId} runs in another process.`)
    if (turn.code !== code) throw new Error(`Turn ${turnId} was begun with other code: ${turn.code}, and not ${code}.`)
    this.#turns.set(turnId, turn)
    turn.owner = owner
    return [...turn.entries]
  }

  append(turnId: string, owner: object, entry: Entry): void {
    const turn = this.#turns.get(turnId)
    if (turn?.owner !== owner) throw new Error(`Turn ${turnId} was taken over by another process.`)
    turn.entries.push(entry)
  }

  /** Writes without a look at the owner. */
  write(turnId: string, entry: Entry): void {
    this.#turns.get(turnId)?.entries.push(entry)
  }

  clear(turnId: string): void {
    this.#turns.delete(turnId)
  }

  close(turnId: string, owner: object): void {
    const turn = this.#turns.get(turnId)
    if (turn?.owner === owner) turn.owner = undefined
  }
}

/**
 * A loop of its own, in the shape of a workflow engine: it runs the turn from its start each time, and work that was stored
 * before is not performed again. The members are the places at which it can be broken.
 */
export class Workflow {
  readonly process: TestedProcess
  readonly turn: TestedTurn
  readonly executors: Host
  options: TestedRunOptions
  readonly log: WorkflowLog
  readonly machine: TurnMachine
  owner: object = {}
  /** The first part of its idempotency keys. */
  keyId: string
  entries: Entry[] = []
  /** How many entries were replayed. */
  at = 0

  constructor(process: TestedProcess, turn: TestedTurn, executors: Host, options: TestedRunOptions, log: WorkflowLog) {
    this.process = process
    this.turn = turn
    this.executors = executors
    this.options = options
    this.log = log
    this.machine = new TurnMachine(turn.config, turn.start)
    this.keyId = turn.turnId
  }

  takeOver(): boolean {
    return this.process.takeOver
  }

  code(): string {
    const { driver, systemPrompt, model } = this.turn.config
    return createHash("sha256")
      .update(JSON.stringify([driver.name, driver.version, systemPrompt, model]))
      .digest("hex")
  }

  async run(): Promise<TestedEnd> {
    const { log, turn, owner } = this
    this.entries = log.open(turn.turnId, owner, this.takeOver(), this.code())
    try {
      return await this.loop()
    } finally {
      log.close(turn.turnId, owner)
    }
  }

  async loop(): Promise<TestedEnd> {
    const { machine } = this
    for (;;) {
      const effect = machine.poll()
      if (effect === undefined) throw new Error("The turn waits for nothing.")
      if (effect.type === "progress" || effect.type === "done") await this.report(effect)
      if (effect.type === "emit") this.options.onEvent(effect.event)
      if (effect.type === "done") return this.end(effect)
      if (isAnswerable(effect)) await this.answer(effect)
    }
  }

  report(effect: Parameters<NonNullable<Host["progress"]>>[0]): Promise<void> | void {
    return this.executors.progress?.(effect)
  }

  end(done: Done): TestedEnd {
    return done
  }

  /** Answers an effect from the log, and performs what it does not hold. */
  async answer(effect: AnswerableEffect): Promise<void> {
    const { machine, options } = this
    const print = fingerprint(effect)
    const started = new Set<string | undefined>()
    for (; machine.outstanding?.id === effect.id && this.at < this.entries.length; this.at += 1) {
      const entry = this.entries[this.at] as Entry
      if (entry.type === "started") started.add(entry.callId)
      else if (entry.type === "cancelled") machine.cancel()
      else if (entry.fingerprint !== print) throw new Error(`Effect ${effect.id} is not the one that was answered.`)
      else machine.handle(entry.response)
    }
    const { outstanding } = machine
    if (outstanding?.id !== effect.id) return
    if (options.signal.aborted) return this.cancel(outstanding, print, started)
    const parts = outstanding.type === "tool_calls" ? outstanding.calls.map((call) => ({ ...outstanding, calls: [call] })) : [outstanding]
    // All of them: what is being stored must be handled before the turn is cancelled.
    const performed = await Promise.allSettled(parts.map((part) => this.perform(part, print, started)))
    const rejected = performed.find((result) => result.status === "rejected")
    if (rejected === undefined) return
    if (!options.signal.aborted) throw rejected.reason
    if (machine.outstanding?.id === effect.id) await this.cancel(machine.outstanding, print, started)
  }

  async perform(effect: AnswerableEffect, print: string, started: Set<string | undefined>): Promise<void> {
    const { executors, machine, keyId: turnId, options } = this
    const response = await performEffect(executors, effect, {
      turnId,
      check: (received) => machine.check(received),
      signal: options.signal,
      cancelGraceMs: options.cancelGraceMs,
      onEvent: options.onEvent,
      isFatal: options.isFatal,
      now: options.now,
      callStarted: async (effectId, callId) => {
        if (started.has(callId)) return "again"
        await this.store({ type: "started", effectId, callId })
        started.add(callId)
        return "first"
      },
    })
    await this.handle(response, print)
  }

  /** Stores an answer, then acts on it. */
  async handle(response: Response, print: string): Promise<void> {
    await this.store({ type: "answer", fingerprint: print, response })
    for (let delivery = 0; delivery < this.options.deliveries; delivery += 1) this.deliver(response)
  }

  deliver(response: Response): void {
    const { machine } = this
    if (machine.outstanding?.id === response.id && response.type === "tool_results") {
      const { outstanding } = machine
      const results = response.results.filter(
        ({ callId }) => outstanding.type === "tool_calls" && outstanding.calls.some((call) => call.callId === callId),
      )
      if (results.length > 0) machine.handle({ ...response, results })
      return
    }
    machine.handle(response)
  }

  /** Calls that began and have no result may have run. */
  async cancel(effect: AnswerableEffect, print: string, started: ReadonlySet<string | undefined>): Promise<void> {
    const { machine } = this
    const results = (effect.type === "tool_calls" ? effect.calls : []).filter(({ callId }) => started.has(callId))
    if (results.length > 0) {
      const failure = {
        class: "internal",
        code: "outcome_unknown",
        message: "The call may have taken effect.",
        source: "runtime",
        retry: { type: "never" },
      } as const
      const unknown = results.map((call) => ({ ...call, output: { status: "failure", failure } as const, durationMs: 0 }))
      await this.handle({ type: "tool_results", id: effect.id, results: unknown }, print)
    }
    if (machine.done) return
    await this.store({ type: "cancelled" })
    machine.cancel()
  }

  async store(entry: Entry): Promise<void> {
    await this.process.reached(`before ${entry.type} is stored`)
    this.log.append(this.turn.turnId, this.owner, entry)
    await this.process.reached(`after ${entry.type} was stored`, { chars: JSON.stringify(entry).length })
  }
}

/** The workflow as a host under test, with a change for broken ones. */
export function workflowHost(change: WorkflowChange = () => {}): TestedHost {
  const log = new WorkflowLog()
  return {
    start: (process) => ({
      run(turn, executors, options) {
        const workflow = new Workflow(process, turn, executors, options, log)
        change(workflow)
        return workflow.run()
      },
    }),
  }
}
