import { chatDriver } from "../../src/drivers/chat.ts"
import { codeDriver } from "../../src/drivers/code.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { Host, RunOptions } from "../../src/hosts/host.ts"
import { journaled } from "../../src/hosts/journal/journaled.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { performEffect } from "../../src/hosts/run/perform-effect.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { goalConfig } from "../../src/hosts/thread/config.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { Projector } from "../../src/projectors/projector.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { AnswerableEffect, Done } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { ThreadRecord } from "../../src/schemas/thread.ts"
import type { CompletedToolCall } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { isFatal, type Life } from "./life.ts"
import type { Script } from "./script.ts"
import { storeOf } from "./stores.ts"
import { callKey, type LoopEntry } from "./world.ts"

/** The end of a run, as the next one must give it again. */
export type End = string

/** The end of a run that was stopped between turns: another one continues. */
export const STOPPED: End = "stopped"

/** A change of what a process does, which breaks a promise. */
export type Broken = (run: Run) => Run | Promise<Run>

/** What a process passes to the loop that runs a turn. */
export interface Run {
  readonly host: Host
  readonly options: RunOptions
}

const TURN = "turn-1"

export const START: TurnStart = { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Go." }] }] }

function throwsIn(iteration: number, context: Pick<DriverContext, "iteration">): void {
  if (context.iteration === iteration) throw new Error("The driver failed.")
}

/** The configuration of a turn. What throws does so in every process, as a driver is pure. */
export function configOf({ driver, throwing, maxIterations, syncs }: Script): TurnConfig {
  const plain: ProtocolDriver = driver === "code" ? codeDriver() : chatDriver()
  const inner =
    throwing === undefined || throwing.callback === "project"
      ? plain
      : wrapDriver(plain, {
          [throwing.callback]: (next: (...args: unknown[]) => unknown, context: DriverContext, ...rest: unknown[]) => {
            throwsIn(throwing.iteration, context)
            return next(context, ...rest)
          },
        })
  const projector: Projector =
    throwing?.callback === "project"
      ? Object.assign((input: Parameters<Projector>[0]) => {
          throwsIn(throwing.iteration, input)
          return chatProjector(input)
        })
      : chatProjector
  const goal = { threadId: "thread", turnId: TURN, startedAt: 1_000_000 }
  return { driver: driver === "goal" ? goalDriver(inner, goal) : inner, projector, model: "scripted", maxIterations, syncExecutionSurface: syncs }
}

/** Runs a process to its end. */
export function run(life: Life, store: JournalStore, broken: Broken): Promise<End> {
  switch (life.world.script.shape) {
    case "journaled":
      return runJournaled(life, storeOf(life, store), broken)
    case "thread":
      return runThreadLife(life, storeOf(life, store), broken)
    case "effects":
      return runEffects(life)
    case "saved":
      return runSaved(life, broken)
  }
}

function journalOptions({ world, takeOver, now }: Life) {
  const { snapshotEveryRecords, compactAboveChars, keepEffects } = world.script
  return { snapshotEveryRecords, compactAboveChars, keepEffects, takeOver, now }
}

function runOptions({ world, signal, onEvent, onLog }: Life) {
  const { cancelGraceMs, toolConcurrency } = world.script
  return { signal, onEvent, onLog, cancelGraceMs, toolConcurrency, isFatal }
}

function brokenLoop(life: Life, broken: Broken): typeof runTurn {
  return async (machine, host, options = {}) => {
    life.machine = machine
    const run = await broken({ host, options })
    return runTurn(machine, run.host, run.options)
  }
}

export function endOf({ outcome, messages, iteration, usage }: Done): End {
  return JSON.stringify({ outcome, messages, iteration, usage })
}

async function runJournaled(life: Life, store: JournalStore, broken: Broken): Promise<End> {
  const { script } = life.world
  const host = journaled(life.host, store, { ...journalOptions(life), runTurn: brokenLoop(life, broken) })
  return endOf(await host.run(TURN, { config: configOf(script), start: START, turnId: TURN }, runOptions(life)))
}

async function runSaved(life: Life, broken: Broken): Promise<End> {
  const { world } = life
  const { script } = world
  const config = configOf(script)
  const restored = (): TurnMachine =>
    world.saved === undefined ? new TurnMachine(config, START) : TurnMachine.restore(config, world.saved.checkpoint)
  // After a run that was rejected, its machine can be used again.
  const machine = (script.says > 1 ? world.machine : undefined) ?? restored()
  world.machine = machine
  life.save = (saved) => {
    world.saved = { checkpoint: JSON.stringify(saved.checkpoint()), outstanding: saved.outstanding?.id }
  }
  const now = script.asyncNow ? life.asyncNow : life.now
  return endOf(await brokenLoop(life, broken)(machine, life.host, { ...runOptions(life), now, turnId: TURN }))
}

// --- a thread

const THREAD = "thread"

function threadOptions(life: Life): ThreadOptions {
  const { compactAboveChars: _, ...options } = journalOptions(life)
  return { ...options, config: configOf({ ...life.world.script, driver: life.world.script.driver === "code" ? "code" : "chat" }) }
}

async function runThreadLife(life: Life, store: JournalStore, broken: Broken): Promise<End> {
  const { world } = life
  const { says, goalTokens } = world.script
  const thread = await Thread.open(store, THREAD, threadOptions(life))
  const say = async (): Promise<void> => {
    const said = { text: `Message ${world.said.length}.`, stored: false }
    world.said.push(said)
    await thread.say(said.text)
    said.stored = true
  }
  try {
    if (world.said.length === 0) await say()
    if (goalTokens !== undefined && thread.goal === null && !thread.isCommanded && thread.turns === 0)
      await thread.command({ type: "set", objective: "Reach it.", tokenBudget: goalTokens })
    const { reason } = await runThread(thread, life.host, {
      ...runOptions(life),
      runTurn: brokenLoop(life, broken),
      maxWaitMs: Number.MAX_SAFE_INTEGER,
      wait: (until) => world.clock.wait(until - world.clock.now),
      onTurn: ({ turnId, resumed }) => {
        life.newTurn(turnId)
        world.figures[resumed ? "resumed" : "turns"] += 1
      },
      attend: async () => {
        await life.pass("attend")
        if (world.said.length < says) await say()
      },
    })
    return reason === "The run was stopped." ? STOPPED : JSON.stringify({ reason, history: thread.history })
  } finally {
    await thread.close()
  }
}

/** The turns of a thread with their configurations, from the text of its log. */
export function turnsOf(log: string, script: Script): readonly { readonly turnId: string; readonly config: TurnConfig }[] {
  const config = configOf({ ...script, driver: script.driver === "code" ? "code" : "chat" })
  return log.split("\n").flatMap((line) => {
    if (line === "") return []
    const [, record] = JSON.parse(line) as readonly [string, ThreadRecord]
    if (record.type !== "turn_begun") return []
    const { turnId, origin, at: startedAt } = record
    return [{ turnId, config: goalConfig(THREAD, { turnId, origin, startedAt }, { config }) }]
  })
}

// --- a loop of its own, as in an engine that runs a program again from its start with the answers it has stored

async function runEffects(life: Life): Promise<End> {
  const { world, host } = life
  const machine = new TurnMachine(configOf(world.script), START)
  let read = 0
  for (;;) {
    const effect = machine.poll()
    if (effect === undefined) throw new Error("The turn waits for an answer that it has not asked for.")
    switch (effect.type) {
      case "emit":
        await life.onEvent(effect.event)
        continue
      case "log":
        await life.onLog(effect.event)
        continue
      case "cancel_llm":
        continue
      case "progress":
        await host.progress?.(effect)
        continue
      case "done":
        await host.progress?.(effect)
        return endOf(effect)
      default: {
        const { id } = effect
        while (machine.outstanding?.id === id) {
          const entry = world.log[read]
          if (entry === undefined) await (life.signal.aborted ? cancel(life, machine) : perform(life, host, machine))
          else apply(life, machine, entry)
          read += entry === undefined ? 0 : 1
        }
      }
    }
  }
}

/** Each call of a batch is a step of its own, or the whole batch is. */
async function perform(life: Life, host: Host, machine: TurnMachine): Promise<void> {
  const { world, signal } = life
  const { toolConcurrency, asyncNow } = world.script
  const outstanding = machine.outstanding as AnswerableEffect
  const effect =
    outstanding.type === "tool_calls" && toolConcurrency % 2 === 1 ? { ...outstanding, calls: outstanding.calls.slice(0, 1) } : outstanding
  const facts = world.turn(TURN)
  try {
    const response = await performEffect(host, effect, {
      turnId: TURN,
      check: (given) => machine.check(given),
      signal,
      isFatal,
      toolConcurrency,
      onEvent: life.onEvent,
      now: asyncNow ? life.asyncNow : life.now,
      callStarted: async (effectId, callId) => {
        await life.pass("store append")
        const key = callKey(effectId, callId)
        if (facts.started.has(key)) return "again"
        facts.started.add(key)
        await life.pass("store appended")
        return "first"
      },
    })
    await store(life, { type: "response", response })
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error
  }
}

async function store(life: Life, entry: LoopEntry): Promise<void> {
  await life.pass("store append")
  if (!life.isAlive) return
  life.world.log.push(entry)
  if (entry.type === "response") life.world.storedRecord(life.world.turn(TURN), entry.response)
  await life.pass("store appended")
}

function apply({ world }: Life, machine: TurnMachine, entry: LoopEntry): void {
  if (entry.type === "command") {
    machine.command(entry.command)
    return
  }
  const { status } = machine.handle(entry.response)
  if (status !== "accepted") world.wrong("an answer that was stored is not accepted:", status, entry.response)
  // A duplicate changes nothing.
  const before = JSON.stringify(machine.checkpoint())
  const again = (): string => {
    try {
      return machine.handle(entry.response).status
    } catch (error) {
      return (error as { readonly code?: string }).code ?? String(error)
    }
  }
  const verdict = again()
  if (verdict !== "stale" && verdict !== "call_already_answered") world.wrong("a duplicate is:", verdict, entry.response)
  if (JSON.stringify(machine.checkpoint()) !== before) world.wrong("a duplicate changes the turn:", entry.response)
}

/** A loop reports the `once` calls that began before it cancels, as `runTurn` does. */
async function cancel(life: Life, machine: TurnMachine): Promise<void> {
  const { outstanding } = machine
  const facts = life.world.turn(TURN)
  const failure = {
    class: "internal",
    code: "outcome_unknown",
    message: "It may have taken effect.",
    source: "runtime",
    retry: { type: "never" },
  } as const
  if (outstanding?.type === "tool_calls") {
    const results = outstanding.calls
      .filter(({ callId }) => facts.started.has(callKey(outstanding.id, callId)))
      .map((call): CompletedToolCall => ({ ...call, output: { status: "failure", failure }, durationMs: 0 }))
    const response: Response = { type: "tool_results", id: outstanding.id, results }
    if (results.length > 0) return store(life, { type: "response", response })
  }
  if (outstanding?.type === "exec_code" && facts.started.has(callKey(outstanding.id)))
    return store(life, { type: "response", response: { type: "exec_result", id: outstanding.id, result: { ok: false, error: failure.message } } })
  await store(life, { type: "command", command: { type: "cancel", reason: "The user stopped." } })
}
