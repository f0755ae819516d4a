import { readTurnJournal } from "../../src/hosts/journal/read-journal.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { Journal } from "../../src/replay/journal.ts"
import { replay, resume } from "../../src/replay/replay.ts"
import { verifyReplay } from "../../src/replay/verify.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { readText } from "../support/stored-text.ts"
import { turnOfTheLoop, VirtualClock } from "./clock.ts"
import { canBeTakenOver, Life } from "./life.ts"
import type { Script } from "./script.ts"
import { type Broken, configOf, type End, run, START, STOPPED, turnsOf } from "./shapes.ts"
import { newStore } from "./stores.ts"
import { type Figures, type TurnFacts, World } from "./world.ts"

/** Rejections that nothing handled, while a case ran. */
const unhandled: unknown[] = []
const onUnhandled = (reason: unknown): void => void unhandled.push(reason)

/** Runs code while unhandled rejections are counted, and not reported to the test runner. */
export async function countingRejections<Value>(work: () => Promise<Value>): Promise<Value> {
  const listeners = process.listeners("unhandledRejection")
  process.removeAllListeners("unhandledRejection")
  process.on("unhandledRejection", onUnhandled)
  try {
    return await work()
  } finally {
    process.removeListener("unhandledRejection", onUnhandled)
    for (const listener of listeners) process.on("unhandledRejection", listener)
  }
}

/** Runs a case in processes, one after the other, until one reaches the end. Returns what is wrong. */
export async function fuzz(script: Script, figures: Figures, broken: Broken = (run) => run): Promise<readonly string[]> {
  const clock = new VirtualClock()
  const world = new World(script, clock, figures)
  const { store, remove } = newStore(script.store)
  figures.cases += 1
  unhandled.length = 0
  try {
    await clock.use(() => lives(world, store, broken))
    await turnOfTheLoop()
  } catch (error) {
    world.wrong("the case cannot be judged:", error)
  } finally {
    await closeAll(world)
    remove()
  }
  for (const reason of unhandled) world.wrong("a rejection is not handled:", reason)
  return world.wrongs
}

async function closeAll({ journals }: World): Promise<void> {
  for (const journal of journals) await journal.close()
  journals.clear()
}

interface Running {
  readonly life: Life
  readonly settled: Promise<Settled>
  result: Settled | undefined
}

type Settled = { readonly end: End } | { readonly error: unknown }

async function lives(world: World, store: JournalStore, broken: Broken): Promise<void> {
  const { faults } = world.script
  const fenced: Running[] = []
  let end: End | undefined
  let takeOver = false
  for (let number = 0; end === undefined; number += 1) {
    if (number > 2 * faults.length + 2) return world.wrong("the turn does not end")
    const life: Life = new Life(world, { isFaulty: number <= 2 * faults.length, takeOver })
    if (number > 0) world.figures.resumed += 1
    const running = begin(life, store, broken)
    const departure = await untilSettled(world, running, fenced)
    // A journal that was left open stays so until the turn needs it again.
    takeOver ||= departure !== undefined || life.leavesOpen
    if (departure === "taken over") fenced.push(running)
    if (departure !== undefined) world.machine = undefined
    end = running.result !== undefined && "end" in running.result && running.result.end !== STOPPED ? running.result.end : undefined
    if (departure === undefined) await leave(running)
  }
  for (const running of fenced) {
    await untilSettled(world, running, fenced)
    await leave(running)
  }
  // What killed processes left open would be closed with them.
  await closeAll(world)
  await judge(world, store, end)
  await givenAgain(world, store, end)
}

function begin(life: Life, store: JournalStore, broken: Broken): Running {
  const settled = life.world.clock
    .of(life, () => run(life, store, broken))
    .then(
      (end): Settled => ({ end }),
      (error): Settled => ({ error }),
    )
  const running: Running = { life, settled, result: undefined }
  settled.then((result) => {
    running.result = result
  })
  return running
}

/** Turns of the event loop: a busy machine makes thousands of them while a file is written. */
const MOST_STEPS = 50_000

/**
 * Waits until a run has ended or its process is gone. If nothing can happen any more, what holds the run up is resolved: what waits for an
 * abort gets it, and a process that is stuck is killed.
 */
async function untilSettled(world: World, running: Running, fenced: readonly Running[]): Promise<"killed" | "taken over" | undefined> {
  const { life } = running
  const isWaitedFor = fenced.includes(running)
  let departure: "killed" | "taken over" | undefined
  life.departed.then((how) => {
    departure = how
  })
  let steps = 0
  for (let idle = 0; ; ) {
    await turnOfTheLoop()
    if (world.io > 0) continue
    steps += 1
    if (steps > MOST_STEPS) {
      world.wrong("the run goes on for ever")
      life.kill()
      return "killed"
    }
    if (running.result !== undefined) return undefined
    if (!life.isAlive) return "killed"
    if (departure === "taken over" && !isWaitedFor) return departure
    if (world.clock.fire()) {
      idle = 0
      continue
    }
    idle += 1
    if (idle < (world.script.store === "file" ? 20 : 3)) continue
    idle = 0
    if ((life.hangs > 0 || (life.stuck?.much ?? 0) % 2 === 1) && !life.signal.aborted) life.abort()
    else if (life.stuck !== undefined) life.kill()
    else if (life.hangs > 0) world.wrong("a call hangs although its run was cancelled")
    else world.wrong("nothing can happen any more, and the run has not ended")
    if (world.wrongs.length > 5) return "killed"
  }
}

/** Checks what must hold when a run has ended, and its process lives. */
async function leave({ life, result }: Running): Promise<void> {
  const { world } = life
  if (result === undefined) return
  if ("error" in result && !life.ends.has(result.error) && !life.ends.has((result.error as Error | undefined)?.cause))
    world.wrong("the run rejects without a reason:", result.error)
  if ("end" in result && canBeTakenOver(world.script.shape) && !life.isFenced)
    for (const key of life.late)
      if (world.turn(life.turnId).unknown.has(key)) world.wrong("a call that returned in the grace period is reported as unknown:", key)
  life.ended()
  // What its executors still do must not reach anyone.
  for (let turn = 0; turn < 3; turn += 1) await turnOfTheLoop()
  if (life.open > 0) world.wrong("journals are left open:", life.open)
}

/** The end of a turn is given again, and nothing is performed. */
async function givenAgain(world: World, store: JournalStore, end: End): Promise<void> {
  world.machine = undefined
  const life = new Life(world, { isFaulty: false, takeOver: true })
  const running = begin(life, store, (run) => run)
  await untilSettled(world, running, [])
  if (running.result === undefined || !("end" in running.result)) return world.wrong("the end is not given again:", running.result)
  await leave(running)
  if (running.result.end !== end) world.wrong("the end given again differs:", end, running.result.end)
  if (life.executions > 0) world.wrong("a turn that has ended performs something again:", life.executions)
}

async function judge(world: World, store: JournalStore, end: End): Promise<void> {
  const { script } = world
  switch (script.shape) {
    case "journaled":
      return judgeTurn(world, store, "turn-1", configOf(script), JSON.parse(end))
    case "thread": {
      const log = (await readText(store, "thread.thread")) ?? ""
      for (const { turnId, config } of turnsOf(log, script)) await judgeTurn(world, store, turnId, config, undefined)
      const { history } = JSON.parse(end) as { readonly history: readonly unknown[] }
      judgeRecords(world, world.turn("thread"), history, 0)
      for (const { text, stored } of world.said) {
        const times = end.split(JSON.stringify(text)).length - 1
        if (times > 1 || (stored && times < 1)) world.wrong("a message of the user is in the history", times, "times:", text)
      }
      return
    }
    case "saved": {
      const machine = TurnMachine.restore(configOf(script), world.saved?.checkpoint ?? "")
      judgeOnce(world, world.turn("turn-1"), machine)
      return judgeRecords(world, world.turn("turn-1"), machine.history, new TurnMachine(configOf(script), START).history.length)
    }
    case "effects": {
      const machine = new TurnMachine(configOf(script), START)
      const from = machine.history.length
      for (const entry of world.log) {
        for (let effect = machine.poll(); effect !== undefined; effect = machine.poll());
        if (entry.type === "command") machine.command(entry.command)
        else machine.handle(entry.response)
      }
      judgeOnce(world, world.turn("turn-1"), machine)
      return judgeRecords(world, world.turn("turn-1"), machine.history, from)
    }
  }
}

/** What the journal of a turn says, and what was seen of it. */
async function judgeTurn(
  world: World,
  store: JournalStore,
  turnId: string,
  config: TurnConfig,
  end: { readonly outcome: unknown; readonly messages: unknown } | undefined,
): Promise<void> {
  const text = await readText(store, turnId)
  // A process may die before it begins the journal.
  if (text === undefined || text === "") return world.wrong("there is no journal of the turn:", turnId)
  let journal: Journal
  let replayed: TurnMachine
  try {
    journal = (await readTurnJournal(store, turnId)) as Journal
    verifyReplay(journal, config)
    replayed = replay(journal, config) as TurnMachine
  } catch (error) {
    return world.wrong("the journal does not replay:", error)
  }
  const resumed = resume(journal, config)
  while (resumed.poll() !== undefined);
  if (turnText(replayed) !== turnText(resumed)) world.wrong("the snapshot and what follows are not the whole:", turnText(replayed), turnText(resumed))
  const { entries, header } = journal
  const ends = entries.filter(({ record }) => record.type === "end")
  if (ends.length !== 1 || entries.at(-1) !== ends[0]) world.wrong("the journal has not exactly one end, as its last record:", ends.length)
  if (end !== undefined) {
    const { outcome, messages } = replayed
    if (JSON.stringify([outcome, messages]) !== JSON.stringify([end.outcome, end.messages])) world.wrong("the replayed end differs:", end, outcome)
  }
  judgeOnce(world, world.turn(turnId), replayed)
  // The history of a thread is judged as a whole.
  if (end !== undefined) judgeRecords(world, world.turn(turnId), replayed.history, new TurnMachine(config, header.start).history.length)
}

function turnText(machine: TurnMachine): string {
  const { outcome, messages, history, usage, iteration } = machine
  return JSON.stringify([outcome, messages, history, usage, iteration])
}

/** The records that the host stored are those of the history. */
function judgeRecords(world: World, { turnId, records }: TurnFacts, history: readonly unknown[], from: number): void {
  const expected = history.slice(from).map((record) => JSON.stringify(record))
  const kept = [...records.keys()].filter((place) => place >= from)
  expected.forEach((text, index) => {
    const found = records.get(from + index)
    if (found !== text) world.wrong("a record was not reported as it is in the history:", turnId, from + index, text, found)
  })
  if (kept.length > expected.length) world.wrong("more records were reported than the history has:", turnId, kept.length, expected.length)
}

/** The results say what happened to `once` calls. */
function judgeOnce(world: World, { turnId, once }: TurnFacts, machine: TurnMachine): void {
  for (const [key, { begun }] of once) {
    const [, callId] = key.split(":")
    if (begun === 0 || callId === undefined) continue
    const results = machine.messages.flatMap(({ parts }) => parts.filter((part) => part.type === "tool_result" && part.callId === callId))
    const text = results.map((part) => ("text" in part ? part.text : "")).join()
    if (results.length !== 1) world.wrong("a once call that began has", results.length, "results:", turnId, key)
    else if (!SAYS_WHAT_HAPPENED.test(text)) world.wrong("a once call that began is reported as not run:", turnId, key, text)
  }
}

/** What a tool says, what its executor's error says, or that nothing is known. */
const SAYS_WHAT_HAPPENED = /value of|failed:|It failed|Aborted|may have taken effect|cannot be used|ended/
