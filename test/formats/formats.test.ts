import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import Database from "libsql"
import { describe, expect, onTestFinished, test } from "vitest"
import { journalValidation } from "../../src/checks/records.ts"
import { Inbox } from "../../src/cli/goal/control/inbox.ts"
import { OWN_FILES, readOwnFiles } from "../../src/cli/workspace/own-files.ts"
import { ChecklistJudge, type JudgeStateName } from "../../src/drivers/checklist/index.ts"
import { CheckpointError } from "../../src/errors.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { readTurnJournal } from "../../src/hosts/journal/read-journal.ts"
import { sqliteJournalStore } from "../../src/hosts/journal/sqlite.ts"
import { snapshotThread } from "../../src/hosts/thread/snapshot.ts"
import { runThread, Thread } from "../../src/hosts/thread/thread.ts"
import { readCheckpoint } from "../../src/machine/checkpoint.ts"
import { completeConfig } from "../../src/machine/config.ts"
import { PREPARATION, TRANSITIONS } from "../../src/machine/transitions.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { resume } from "../../src/replay/replay.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { TurnCheckpoint } from "../../src/wire/checkpoint.ts"
import type { JournalRecord } from "../../src/wire/journal.ts"
import type { Block } from "../../src/wire/llm.ts"
import type { Part } from "../../src/wire/message.ts"
import type { ThreadRecord } from "../../src/wire/thread.ts"
import { fill, newFolder, runCli } from "../cli/harness.ts"
import { CONFIG as JUDGE } from "../drivers/checklist/support.ts"
import { CONFIG as COUNTING } from "../replay/support.ts"
import { opened } from "../support/stored-text.ts"
import { HELD_CONFIG, heldAnswer } from "./held-script.ts"
import { answersTo, CONFIG } from "./script.ts"

// What was stored at a version has to load for as long as that version is supported. Do not change these fixtures to make a test pass: raise the
// version of the format, write a migration, and add fixtures of the new version (make-fixtures.ts).
const FOLDER = fileURLToPath(new URL("../fixtures/formats/", import.meta.url))

function textOf(name: string): string {
  return readFileSync(join(FOLDER, name), "utf8")
}

function linesOf(name: string): readonly string[] {
  return textOf(name).trimEnd().split("\n")
}

/** Every key of a union's tag, so that a new member does not compile until it is listed. */
function tags<Tag extends string>(all: Readonly<Record<Tag, true>>): readonly string[] {
  return Object.keys(all).sort()
}

function typesIn(values: readonly { readonly type: string }[]): readonly string[] {
  return [...new Set(values.map(({ type }) => type))].sort()
}

const PARTS = tags<Part["type"]>({
  ...{ text: true, code: true, output: true, error: true, image: true, file: true },
  ...{ tool_call: true, tool_result: true, reasoning: true, opaque: true, interrupted: true },
})
const BLOCKS = tags<Block["type"]>({ text: true, image: true, file: true, tool_call: true, tool_result: true, reasoning: true, opaque: true })

describe("checkpoints of version 2", () => {
  const checkpoints = linesOf("checkpoints-v2.jsonl").map((text) => ({ text, saved: JSON.parse(text) as TurnCheckpoint }))
  const { outcome } = TurnMachine.restore(CONFIG, checkpoints.at(-1)?.text)

  test("have every state, every part and every block", () => {
    expect(typesIn(checkpoints.map(({ saved }) => saved.state))).toEqual(Object.keys({ ...TRANSITIONS, ...PREPARATION }).sort())
    expect(typesIn(checkpoints.flatMap(({ saved }) => saved.messages.flatMap(({ parts }) => parts)))).toEqual(PARTS)
    const requests = checkpoints.flatMap(({ saved: { state } }) => (state.type === "waiting_llm" ? [state.outstanding.request] : []))
    expect(typesIn(requests.flatMap(({ messages }) => messages.flatMap(({ blocks }) => blocks)))).toEqual(BLOCKS)
  })

  test.each(checkpoints.map(({ saved, text }) => [saved.state.type, saved.unpolled.length, text] as const))(
    "%s, with %d effects not polled, is restored without a loss and runs to its end",
    (_state, _unpolled, text) => {
      const { unpolled, ...saved } = JSON.parse(text) as TurnCheckpoint
      const machine = TurnMachine.restore(CONFIG, text)
      const { unpolled: again, ...restored } = JSON.parse(JSON.stringify(machine.checkpoint())) as TurnCheckpoint
      expect(restored).toEqual(saved)
      // The outstanding effect is emitted once more.
      expect(again.filter(({ type }) => type !== "outstanding")).toEqual(unpolled.filter(({ type }) => type !== "outstanding"))
      for (;;) {
        while (machine.poll() !== undefined);
        const { outstanding } = machine
        if (outstanding === undefined) break
        for (const response of answersTo(outstanding)) machine.handle(response)
      }
      expect(machine.outcome).toEqual(outcome)
    },
  )
})

describe("checkpoints of version 2 that wait for people", () => {
  const lines = linesOf("checkpoints-held-v2.jsonl")
  const { outcome } = TurnMachine.restore(HELD_CONFIG, lines.at(-1))

  test("have every decision that runs or ends a call, and calls that continue outside", () => {
    const states = lines.flatMap((text) => {
      const { state } = JSON.parse(text) as TurnCheckpoint
      return state.type === "waiting_tools" ? [state] : []
    })
    expect(states.at(-1)?.decided?.map(({ decision }) => decision)).toEqual(["edit", "reject", "edit"])
    expect(Math.max(...states.map(({ pending = [] }) => pending.length))).toBe(3)
    expect(outcome).toMatchObject({ finish: { value: [{ to: "a" }, { amount: 3 }, { to: "c" }, { to: "d" }, { amount: 3 }] } })
  })

  test.each(lines.map((text, place) => [place, text] as const))("checkpoint %d is restored without a loss and runs to its end", (_place, text) => {
    const machine = TurnMachine.restore(HELD_CONFIG, text)
    const { unpolled: _again, ...restored } = JSON.parse(JSON.stringify(machine.checkpoint())) as TurnCheckpoint
    expect(JSON.parse(text)).toEqual({ ...restored, unpolled: expect.anything() })
    for (;;) {
      while (machine.poll() !== undefined);
      const { outstanding } = machine
      if (outstanding === undefined) break
      machine.handle(heldAnswer(outstanding))
    }
    expect(machine.outcome).toEqual(outcome)
  })
})

describe("checkpoints of an older version", () => {
  const config = completeConfig(CONFIG)
  // As if version 1 had no `startLength`, and version 0 had called `nextEffectId` `effectCount`.
  const [text = ""] = linesOf("checkpoints-v2.jsonl")
  const { startLength, ...rest } = JSON.parse(text) as Record<string, unknown>
  const { nextEffectId, ...oldest } = rest
  const [one, zero] = [
    { ...rest, version: 1 },
    { ...oldest, version: 0, effectCount: Number(nextEffectId) - 1 },
  ]
  const migrations = {
    0: ({ effectCount, ...checkpoint }: Record<string, unknown>) => ({ ...checkpoint, nextEffectId: Number(effectCount) + 1 }),
    1: (checkpoint: Record<string, unknown>) => ({ ...checkpoint, startLength }),
  }

  test("are migrated step by step, and then checked like any other", () => {
    const { turn } = readCheckpoint(config, text)
    expect(readCheckpoint(config, one, migrations).turn).toEqual(turn)
    expect(readCheckpoint(config, JSON.stringify(zero), migrations).turn).toEqual(turn)
    const wrong = { ...migrations, 1: (checkpoint: Record<string, unknown>) => checkpoint }
    expect(() => readCheckpoint(config, one, wrong)).toThrow(expect.objectContaining({ code: "invalid_checkpoint", path: "/startLength" }))
  })

  test("are refused without a migration, by an error that names both versions", () => {
    for (const value of [one, zero]) {
      const { version } = value
      expect(() => TurnMachine.restore(CONFIG, value)).toThrow(
        expect.objectContaining({
          code: "unsupported_version",
          path: "/version",
          message: `The checkpoint has version ${version}; this package reads version 2. Use the release that wrote it.`,
        }),
      )
    }
    expect(() => readCheckpoint(config, zero, { 0: migrations[0] })).toThrow(CheckpointError)
  })
})

describe("journals of version 2", () => {
  const names = [
    "journal-v2.jsonl",
    "journal-cancelled-v2.jsonl",
    "journal-failed-v2.jsonl",
    "journal-compacted-v2.jsonl",
    "journal-held-v2.jsonl",
    "journal-traced-v2.jsonl",
    "journal-granted-v2.jsonl",
  ]

  test("have every record", () => {
    const records = names.flatMap((name): readonly JournalRecord[] => {
      const { header, entries } = readJournal(textOf(name), journalValidation)
      return [header, ...entries.map(({ record }) => record)]
    })
    const known = tags<JournalRecord["type"]>({
      ...{ header: true, interruption: true, snapshot: true, effect: true, opened: true, reconfigured: true, call_started: true, end: true },
      ...{ execution_surface_synced: true, llm_complete: true, exec_result: true, checkpoint_delivery: true },
      ...{ tool_results: true, tool_decisions: true, tool_pending: true, traced: true, child_granted: true },
    })
    expect(typesIn(records)).toEqual(known)
  })

  test.each(names)("%s is read whole, and its turn is resumed", (name) => {
    const text = textOf(name)
    const journal = readJournal(text, journalValidation)
    expect([journal.length, journal.droppedLength, journal.migratedFrom]).toEqual([text.length, 0, undefined])
    const machine = resume(journal, name.includes("held") ? HELD_CONFIG : CONFIG, { checkEffects: false })
    const end = journal.entries.at(-1)?.record
    expect(machine.outcome).toEqual(end?.type === "end" ? end.outcome : "no end")
  })
})

test("the log of a thread of version 1 is read, with a goal and an open turn", async () => {
  const files = readdirSync(FOLDER).filter((name) => name.startsWith("thread-v1."))
  const store = memoryJournalStore()
  for (const name of files) {
    const stored = await store.open(name.replace("thread-v1", "t"))
    await stored.append(textOf(name))
    await stored.close()
  }
  const records = linesOf("thread-v1.thread").map((line) => (JSON.parse(line) as readonly [string, ThreadRecord])[1])
  // Events, the queue of inputs, and deletion were added later.
  const known = { header: true, said: true, commanded: true, noted: true, turn_begun: true, turn_ended: true } as const
  expect(typesIn(records)).toEqual(tags<Exclude<ThreadRecord["type"], "happened" | "assigned" | "retracted" | "reordered" | "deleted">>(known))
  const thread = await Thread.open(store, "t", { config: COUNTING, now: () => 1_900_000_000_000 })
  expect(thread).toMatchObject({ meta: { mine: true }, turns: 3, openTurn: { turnId: "t.3", origin: "continuation" }, lastTurn: { turnId: "t.2" } })
  expect(thread.goal).toMatchObject({ objective: "Count.", status: "active", tokenBudget: 100_000 })
  await thread.close()
  expect(await snapshotThread(store, "t", undefined)).toMatchObject({ turns: 3, goal: { objective: "Count." } })
})

test("the journals of a thread that refer to its log are read with it, resumed and run to the end", async () => {
  const store = memoryJournalStore()
  for (const name of readdirSync(FOLDER).filter((file) => file.startsWith("thread-based-v1."))) {
    const stored = await store.open(name.replace("thread-based-v1", "t"))
    await stored.append(textOf(name))
    await stored.close()
  }
  const journal = await readTurnJournal(store, "t.3")
  expect(journal?.header.base).toMatchObject({ log: "t.thread", surface: true })
  expect(journal?.history).toMatchObject({ messages: { length: journal?.header.base?.messages }, events: { length: journal?.header.base?.events } })
  const thread = await Thread.open(store, "t", { config: COUNTING, now: () => 1_900_000_000_000 })
  expect(thread).toMatchObject({ turns: 3, openTurn: { turnId: "t.3" }, lastTurn: { turnId: "t.2", outcome: { type: "finished" } } })
  const said = thread.history.length
  await runThread(thread, { llmCall: async () => Promise.reject(new Error("The provider is gone.")) }, { wait: async () => {}, maxWaitMs: 0 })
  expect(thread.history.length).toBeGreaterThan(said)
  expect(thread.lastTurn).toMatchObject({ turnId: "t.3", outcome: { type: "stopped" } })
  await thread.close()
})

test("the checkpoints of a judge of version 1 are restored, in every state", () => {
  const lines = linesOf("judge-checkpoints-v1.jsonl")
  const states = tags<JudgeStateName>({ decomposing: true, evaluating: true, judging_freely: true, finished: true })
  expect([...new Set(lines.map((line) => ChecklistJudge.restore(JUDGE, line).state))].sort()).toEqual(states)
  for (const line of lines) expect(ChecklistJudge.restore(JUDGE, line).checkpoint()).toEqual(JSON.parse(line))
})

test("tables of version 1 in SQLite are read and appended to", async () => {
  const database = new Database(join(newFolder(), "journals.db"))
  onTestFinished(() => void database.close())
  database.exec(textOf("sqlite-v1.sql"))
  const stored = await opened(sqliteJournalStore(database), "turn-1")
  expect(stored.text).toBe("first\nsecond 語\n")
  await stored.append("third\n")
  await stored.close()
  expect((await opened(sqliteJournalStore(database), "turn-1")).text).toBe("first\nsecond 語\nthird\n")
})

describe("the command line reads", () => {
  test("the journal of a run with settings of version 2", async () => {
    const cwd = fill(newFolder(), { "run.json": textOf("cli-run-v2.jsonl") })
    const { exitCode, stdout } = await runCli(["journal", "show", "run.json"], { cwd })
    expect(exitCode).toBe(0)
    expect(stdout).toContain("model    embedded\ntask     Find the TODO and FIXME comments")
    expect(stdout).toContain("state    finished\n")
  })

  test("the folder of a goal of version 1, with its judge", async () => {
    const cwd = newFolder()
    cpSync(join(FOLDER, "cli-goal-v1"), join(cwd, "goal"), { recursive: true })
    const { exitCode, stdout } = await runCli(["goal", "status", "--state", "goal"], { cwd })
    expect(exitCode).toBe(0)
    expect(stdout).toContain("Survey this folder part by part")
    expect(stdout).toContain("complete")
    const list = await runCli(["subgoal", "list", "--state", "goal"], { cwd })
    expect(list).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("An overview names all sections.") })
  })

  test("requests of version 1 to the process of a goal", async () => {
    const folder = join(newFolder(), "inbox")
    mkdirSync(folder)
    const lines = linesOf("cli-requests-v1.jsonl")
    lines.forEach((line, index) => {
      writeFileSync(join(folder, `${String(index).padStart(15, "0")}-${process.pid}-00000000.json`), line)
    })
    const [resolved, applied]: [unknown[], unknown[]] = [[], []]
    await new Inbox(folder).process({
      resolve(request) {
        resolved.push(request)
        return { goal: { type: "pause" } }
      },
      async apply(request) {
        applied.push(request)
        return { ok: true, message: "" }
      },
    })
    const orders = lines.map((line) => JSON.parse(line) as { readonly order: unknown; readonly settled?: unknown })
    expect(resolved).toEqual(orders.flatMap(({ order, settled }) => (settled === undefined ? [order] : [])))
    expect(applied).toEqual(orders.map(({ settled }) => settled ?? { goal: { type: "pause" } }))
  })

  test("the list of version 1 of the files that it wrote", async () => {
    const cwd = fill(newFolder(), { [OWN_FILES]: textOf("cli-files-v1.json") })
    expect(await readOwnFiles(cwd)).toEqual({ "todo-report.md": [expect.stringMatching(/^[0-9a-f]{64}$/)] })
  })
})
