/**
 * Writes the fixtures of all formats at their current versions: `npx tsx test/formats/make-fixtures.ts`. Do this only when the version of a
 * format was raised, and only for that format: a fixture shows what is stored out there, so it does not change.
 */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { cli } from "../../src/cli/cli.ts"
import { ChecklistJudge, newChecklistState } from "../../src/drivers/checklist/index.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { runThread, Thread } from "../../src/hosts/thread/thread.ts"
import { userMessage } from "../../src/machine/user-message.ts"
import { compacted, readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { ChecklistState, JudgedTurn } from "../../src/wire/checklist.ts"
import type { TurnCheckpoint } from "../../src/wire/checkpoint.ts"
import type { LlmFailure } from "../../src/wire/llm.ts"
import type { Response } from "../../src/wire/response.ts"
import { answerOf, completes, CONFIG as JUDGE, list, listed, manage, type Reply, reads } from "../drivers/checklist/support.ts"
import { CONFIG as COUNTING } from "../replay/support.ts"
import { openedText } from "../support/stored-text.ts"
import { HELD_CONFIG, HELD_START, heldAnswer } from "./held-script.ts"
import { ANSWER, answersTo, CONFIG, START } from "./script.ts"

const FOLDER = fileURLToPath(new URL("../fixtures/formats/", import.meta.url))
const AT = 1_800_000_000_000
const TRACES = ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"] as const

function write(name: string, lines: readonly unknown[]): void {
  writeFileSync(join(FOLDER, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(""))
}

/** A checkpoint of each state: one with effects not polled yet, where there is one, and one without. */
function checkpoints(): readonly TurnCheckpoint[] {
  const machine = new TurnMachine(CONFIG, START)
  const found = new Map<string, TurnCheckpoint>()
  const save = (): void => {
    const checkpoint = machine.checkpoint()
    const { state, unpolled } = checkpoint
    const key = `${state.type} ${state.type === "waiting_checkpoint" ? state.onEmpty.type : ""} ${unpolled.length > 0}`
    // Of a batch, the last one: some results have arrived.
    if (!found.has(key) || state.type === "waiting_tools") found.set(key, checkpoint)
  }
  save()
  for (;;) {
    do save()
    while (machine.poll() !== undefined)
    save()
    const { outstanding } = machine
    if (outstanding === undefined) return [...found.values()]
    for (const response of answersTo(outstanding)) {
      machine.handle(response)
      save()
    }
  }
}

/** A turn that ends, with every type of record. */
function journal(): string {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-1", { at: AT, meta: { mine: [1] }, keepEffects: true, snapshotEveryRecords: 9 })
  let text = line + recorder.opened(AT + 1)
  const apply = { type: "apply", actions: [{ type: "emit", event: { type: "text_delta", content: "applied" } }] } as const
  for (;;) {
    while (machine.poll() !== undefined);
    text += recorder.snapshotIfDue(machine)
    const { outstanding } = machine
    if (outstanding === undefined) return text + recorder.end(machine)
    if (outstanding.type === "tool_calls") text += recorder.callStarted(outstanding.id, "a", AT)
    if (outstanding.type === "exec_code") {
      text += recorder.callStarted(outstanding.id) + recorder.command(machine, apply)
      machine.apply(apply.actions)
    }
    for (const response of answersTo(outstanding)) {
      text += recorder.response(machine, response)
      machine.handle(response)
    }
  }
}

/** A turn that is cancelled in the middle of an answer. */
function cancelledJournal(): string {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-2")
  let text = line
  for (;;) {
    while (machine.poll() !== undefined);
    const { outstanding } = machine
    if (outstanding === undefined) return text + recorder.end(machine)
    if (outstanding.type === "llm_call") {
      text += recorder.opened(AT) + recorder.reconfigured(machine, CONFIG, AT)
      text += recorder.command(machine, { type: "cancel", reason: "Enough.", partial: { ...ANSWER, terminalReason: "cancelled" } })
      machine.cancel("Enough.", { ...ANSWER, terminalReason: "cancelled" })
      continue
    }
    for (const response of answersTo(outstanding)) {
      text += recorder.response(machine, response)
      machine.handle(response)
    }
  }
}

/** A turn that ran in two spans, one in each process, and was cancelled. */
function tracedJournal(): string {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-4", { at: AT })
  let text = line + recorder.traced(TRACES[0], AT) + recorder.opened(AT + 1) + recorder.traced(TRACES[1], AT + 1)
  while (machine.poll() !== undefined);
  text += recorder.command(machine, { type: "cancel" })
  machine.cancel()
  while (machine.poll() !== undefined);
  return text + recorder.end(machine)
}

/** A turn that reserves tokens for two children, and is cancelled. */
function grantedJournal(): string {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-5", { at: AT })
  let text = line
  while (machine.poll() !== undefined);
  text +=
    recorder.childGranted({ effectId: 1, callId: "c1", lease: 4_000 }, AT) + recorder.childGranted({ effectId: 1, callId: "c2", name: "n", lease: 1 })
  text += recorder.command(machine, { type: "cancel" })
  machine.cancel()
  while (machine.poll() !== undefined);
  return text + recorder.end(machine)
}

/** A turn that ends after failures. */
function failedJournal(): string {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-3")
  let text = line
  while (machine.poll() !== undefined);
  for (const response of answersTo(machine.outstanding ?? { type: "sync_execution_surface", id: 1, updateMachineConfig: false })) {
    text += recorder.response(machine, response)
    machine.handle(response)
  }
  while (machine.poll() !== undefined);
  const { usage, producer } = ANSWER
  const error: LlmFailure = {
    message: "Limit.",
    retryable: true,
    code: "429",
    kind: "usage_limit",
    retryAt: AT,
    raw: "{}",
    terminalReason: "provider_error",
    requestBody: "{}",
    usage,
    retriedUsage: usage,
  }
  const partial = {
    text: "On",
    parts: [{ type: "text" as const, text: "On" }],
    usage,
    terminalReason: "unknown",
    ...(producer && { producer }),
  } as const
  const response: Response = { type: "llm_complete", id: 2, result: { ok: false, error, partial } }
  text += recorder.response(machine, response)
  machine.handle(response)
  while (machine.poll() !== undefined);
  return text + recorder.end(machine)
}

/** A turn that waits for people: its checkpoints after each answer, and its journal. */
function held(): { readonly checkpoints: readonly TurnCheckpoint[]; readonly journal: string } {
  const machine = new TurnMachine(HELD_CONFIG, HELD_START)
  const { recorder, line } = Recorder.begin(HELD_CONFIG, HELD_START, "turn-4", { at: AT })
  const checkpoints: TurnCheckpoint[] = []
  let text = line
  for (;;) {
    checkpoints.push(machine.checkpoint())
    while (machine.poll() !== undefined);
    checkpoints.push(machine.checkpoint())
    const { outstanding } = machine
    if (outstanding === undefined) return { checkpoints, journal: text + recorder.end(machine) }
    const response = heldAnswer(outstanding)
    text += recorder.response(machine, response)
    machine.handle(response)
  }
}

/** A thread with every type of record, and a turn that is still open. */
async function thread(): Promise<readonly (readonly [name: string, text: string])[]> {
  let at = AT
  const now = (): number => {
    at += 1_000
    return at
  }
  const store = memoryJournalStore()
  const opened = await Thread.open(store, "t", { config: COUNTING, now, meta: { mine: true } })
  let calls = 0
  const llmCall = async () => {
    calls += 1
    if (calls === 3) throw new Error("The process dies.")
    return { ...ANSWER, parts: ANSWER.parts.filter(({ type }) => type !== "tool_call"), terminalReason: "stop" as const }
  }
  const host = { llmCall, save: async () => (calls === 3 ? Promise.reject(new Error("The process dies.")) : undefined) }
  await opened.say("Count to three.")
  await opened.command({ type: "set", objective: "Count.", tokenBudget: 100_000, secondsBudget: 3_600, costBudgetMicros: 5_000_000 })
  await opened.note([], [{ type: "protocol", event: { mine: 1 } }])
  await runThread(opened, host, { now, wait: async () => {} }).catch(() => {})
  await opened.close()
  const names = ["t.thread", "t.1", "t.2", "t.3"]
  const texts = await Promise.all(names.map(async (name) => [name, await openedText(store, name)] as const))
  return texts.filter(([, text]) => text !== "")
}

/** Checkpoints of judges in each state. */
function judgeCheckpoints(): readonly unknown[] {
  const messages = ["Ship it.", "I did.", "Is it tested?"].map((text) => userMessage(text, { id: text }))
  const bare = { response: "I worked.", at: AT }
  const found: unknown[] = []
  const play = (state: ChecklistState, turn: JudgedTurn, replies: readonly Reply[]): void => {
    const judge = new ChecklistJudge(JUDGE, state, turn)
    for (const reply of [undefined, ...replies]) {
      const { outstanding } = judge
      if (reply !== undefined && outstanding !== undefined) judge.handle(answerOf(outstanding.id, reply))
      while (judge.poll() !== undefined);
      found.push(judge.checkpoint())
    }
  }
  const set = manage(newChecklistState(), [{ type: "set", goal: "ship it", maxTurns: 20 }])
  play(set, bare, ["no list", list("It is written.")])
  play(listed(["It is written.", "It is tested."]), { ...bare, transcript: { id: "turn-1", messages } }, [reads({ from: 0 }), completes(1)])
  return found
}

/** The files that the command line stores. */
async function commandLine(): Promise<void> {
  const base = realpathSync(mkdtempSync(join(tmpdir(), "turn-machine-")))
  try {
    mkdirSync(join(base, "shop"))
    writeFileSync(join(base, "shop/cart.js"), "// TODO: add a sum\nexport const cart = []\n")
    const run = (...args: readonly string[]) =>
      cli(args, {
        stdout: { isTTY: false, columns: 80, write: () => {} },
        stderr: { write: (text) => process.stderr.write(text) },
        env: {},
        cwd: base,
        onInterrupt: () => () => {},
        exit() {},
      })
    await run("run", "--dir", "shop", "--state", "run.json")
    await run("goal", "--dir", "shop", "--state", "goal", "--judge", "checklist", "--out", "out", "--budget-tokens", "100000")
    cpSync(join(base, "run.json"), join(FOLDER, "cli-run-v2.jsonl"))
    cpSync(join(base, "turn-machine-out/.turn-machine-files.json"), join(FOLDER, "cli-files-v1.json"))
    const goal = join(FOLDER, "cli-goal-v1")
    rmSync(goal, { recursive: true, force: true })
    mkdirSync(goal)
    for (const name of readdirSync(join(base, "goal"))) if (name.startsWith("goal.")) cpSync(join(base, "goal", name), join(goal, name))
  } finally {
    rmSync(base, { recursive: true })
  }
}

const turn = journal()
write("checkpoints-v2.jsonl", checkpoints())
writeFileSync(join(FOLDER, "journal-v2.jsonl"), turn)
writeFileSync(join(FOLDER, "journal-cancelled-v2.jsonl"), cancelledJournal())
writeFileSync(join(FOLDER, "journal-traced-v2.jsonl"), tracedJournal())
writeFileSync(join(FOLDER, "journal-granted-v2.jsonl"), grantedJournal())
writeFileSync(join(FOLDER, "journal-failed-v2.jsonl"), failedJournal())
const waiting = held()
write("checkpoints-held-v2.jsonl", waiting.checkpoints)
writeFileSync(join(FOLDER, "journal-held-v2.jsonl"), waiting.journal)
writeFileSync(join(FOLDER, "journal-compacted-v2.jsonl"), compacted(readJournal(turn)))
// thread-v1.* is from before journals referred to their thread's log, and cannot be made any more.
for (const [name, text] of await thread()) writeFileSync(join(FOLDER, `thread-based-v1.${name.slice(2)}`), text)
write("judge-checkpoints-v1.jsonl", judgeCheckpoints())
await commandLine()
for (const name of readdirSync(FOLDER))
  if (/\.(jsonl?|thread)$/.test(name)) process.stdout.write(`${name} ${readFileSync(join(FOLDER, name)).length}\n`)
