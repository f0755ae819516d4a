import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { RunMeta, recordedConfig } from "../../src/cli/run/run-config.ts"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { wrapProjector } from "../../src/projectors/wrap-projector.ts"
import { type Journal, JournalWriter, readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { resume } from "../../src/replay/replay.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import { CONFIG, recordTurn } from "../replay/support.ts"
import { FIXTURES, fill, newFolder, newShop, type Ran, runCli } from "./harness.ts"

// The default run over the sample folder: 1 header, 2 model (list), 3 list, 4 checkpoint, 5 model (search twice), 6 and 7 searches,
// 8 checkpoint, 9 model (read four files), 10 to 13 reads, 14 checkpoint, 15 model (write), 16 write, 17 checkpoint, 18 model (answer),
// 19 checkpoint, 20 end. Only the order of parallel tools may differ.
let wholeText = ""

beforeAll(async () => {
  const base = realpathSync(mkdtempSync(join(tmpdir(), "turn-machine-")))
  cpSync(join(FIXTURES, "shop"), join(base, "shop"), { recursive: true })
  await runCli(["run", "--dir", "shop", "--state", "run.json"], { cwd: base })
  wholeText = readFileSync(join(base, "run.json"), "utf8")
  rmSync(base, { recursive: true })
})

/** A folder with the journal in it, optionally changed. */
function withJournal(change: (journal: Journal) => string = () => wholeText): string {
  return fill(newFolder(), { "run.json": change(readJournal(wholeText)) })
}

/** The journal with changed records and matching checksums. */
function rewritten({ header, entries }: Journal, change: (record: JournalRecord, number: number) => JournalRecord): string {
  const writer = new JournalWriter()
  let text = writer.line(change(header, 1))
  for (const { number, record, fingerprint } of entries) text += writer.line(change(record, number), fingerprint)
  return text
}

function journal(cwd: string, ...args: readonly string[]): Promise<Ran> {
  return runCli(["journal", ...args], { cwd })
}

function objectsOf({ stdout }: Ran): readonly Record<string, unknown>[] {
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe("journal show", () => {
  it("lists the records, one line each", async () => {
    const ran = await journal(withJournal(), "show", "run.json")
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    const lines = ran.stdout.split("\n")
    expect(lines[0]).toMatch(/^journal {2}run\.json, 20 records, \d+ kB$/)
    expect(lines[1]).toMatch(/^turn {5}[0-9a-f-]{36}, started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
    expect(lines.slice(2, 6)).toEqual([
      "driver   chat version 1",
      "model    embedded",
      "task     Find the TODO and FIXME comments in this folder, read around each, and write a report.",
      "state    finished",
    ])
    expect(lines[6]).toMatch(/^work {5}5 model calls, 8 tool calls, .+ in 1 process$/)
    expect(lines[8]).toBe("prefix   4 of 4 follow-up requests begin with the request before")
    // Removes the time and the size, which vary.
    const table = lines.slice(11, -1).map((line) => line.replace(/^( ?\d+) {2}(\d\d:\d\d:\d\d|- {7}) {2}( +\S+) {2} +[\d.]+ k?B {2}/, "$1 $3 | "))
    expect(table.slice(0, 5).map((line) => line.replace(/[\d,]+\/[\d,]+\/[\d,]+/, "…"))).toEqual([
      " 1      - | the turn starts with 1 message",
      " 2      1 | model calls list_files, … tokens: I start by listing the files in this folder.",
      " 3      2 | ✓ list_files: 6 files, 613 B",
      " 4      3 | checkpoint",
      " 5      4 | model calls search_text ×2, … tokens: The folder has 6 files. I search for TODO and FIXME in comments.",
    ])
    expect(table.slice(9, 13).sort()[0]).toMatch(/^10 {6}8 \| ✓ read_file /)
    expect(table.at(-1)).toBe("20      - | the turn ends: finished")
  })

  it("fits into the columns of a terminal", async () => {
    const { stdout } = await runCli(["journal", "show", "run.json"], { cwd: withJournal(), isTTY: true, env: { NO_COLOR: "1" } })
    const longest = Math.max(...stdout.split("\n").map((line) => line.length))
    expect(longest).toBe(80)
  })

  it("prints one record in full", async () => {
    const cwd = withJournal()
    const ran = await journal(cwd, "show", "run.json", "--record", "20")
    expect(JSON.parse(ran.stdout)).toMatchObject({ type: "end", outcome: { type: "finished" } })
    expect(JSON.parse((await journal(cwd, "show", "run.json", "--record", "1")).stdout)).toMatchObject({ type: "header", driver: { name: "chat" } })
    expect(await journal(cwd, "show", "run.json", "--record", "21")).toMatchObject({
      exitCode: 2,
      stderr: 'turn-machine: --record takes a whole number from 1 to 20, not "21".\n',
    })
  })

  it("prints JSON lines", async () => {
    const [head, ...rows] = objectsOf(await journal(withJournal(), "show", "run.json", "--json"))
    expect(head).toMatchObject({ type: "journal", records: 20, modelCalls: 5, toolCalls: 8, processes: 1, tornBytes: 0, run: { model: "embedded" } })
    expect(head?.["prefix"]).toEqual({ compared: 4, breaks: [], complete: true })
    expect(head?.["standing"]).toMatchObject({ type: "ended", outcome: { type: "finished" } })
    expect(rows).toHaveLength(20)
    expect(rows[1]).toMatchObject({
      type: "record",
      number: 2,
      kind: "llm_complete",
      effectId: 1,
      calls: ["list_files"],
      at: expect.any(Number) as number,
    })
    expect(rows[2]).toMatchObject({ number: 3, tools: [{ name: "list_files", status: "success" }] })
  })

  it("shows what an unfinished turn waits for, and how to resume it", async () => {
    const stateAfter = async (count: number): Promise<string | undefined> => {
      const cwd = withJournal(({ entries }) => wholeText.slice(0, entries[count - 2]?.end))
      return /^state {4}(.+\n.+)$/m.exec((await journal(cwd, "show", "run.json")).stdout)?.[1]
    }
    expect(await stateAfter(2)).toBe("unfinished: waiting for list_files (effect 2)\nresume   turn-machine resume run.json")
    expect(await stateAfter(4)).toBe("unfinished: waiting for the model (effect 4)\nresume   turn-machine resume run.json")
    expect(await stateAfter(5)).toBe("unfinished: waiting for search_text, search_text (effect 5)\nresume   turn-machine resume run.json")
    expect(await stateAfter(6)).toBe("unfinished: waiting for search_text (effect 5)\nresume   turn-machine resume run.json")
  })

  it("shows the intact records of a damaged journal, and reports the damage", async () => {
    const cwd = withJournal(() => wholeText.replace("The folder has 6 files", "The folder has 7 files"))
    const ran = await journal(cwd, "show", "run.json")
    expect(ran.exitCode).toBe(1)
    expect(ran.stderr).toBe(
      "turn-machine: run.json is damaged. Record 5 is damaged, missing or out of place; it and all later records are lost. To resume from the records before it: turn-machine journal fork run.json --at 5 --out NEW\n",
    )
    expect(ran.stdout).toMatch(/^journal {2}run\.json, 4 whole records, \d+ kB$/m)
    expect(ran.stdout).toMatch(/\n 4 .+checkpoint\n$/)
    expect(ran.stdout).toMatch(/^state {4}unfinished: waiting for the model \(effect 4\)$/m)
    expect(objectsOf(await journal(cwd, "show", "run.json", "--json")).at(-1)).toMatchObject({ type: "damage", code: "damaged_record", record: 5 })
  })

  it("reports an incomplete last line", async () => {
    const ran = await journal(
      withJournal(() => wholeText.slice(0, -7)),
      "show",
      "run.json",
    )
    expect(ran.exitCode).toBe(0)
    expect(ran.stdout).toMatch(/\nThe file ends with \d+ B of an unfinished line, which is ignored\.\n$/)
  })

  it("shows a journal of another program whose tools have the same names", async () => {
    const cwd = withJournal((whole) =>
      rewritten(whole, (record) => {
        if (record.type === "header") return { ...record, meta: { format: "mine" } }
        if (record.type !== "tool_results") return record
        return { ...record, results: record.results.map((result) => ({ ...result, output: { status: "success", value: null } })) }
      }),
    )
    const { stdout, exitCode } = await journal(cwd, "show", "run.json")
    expect(exitCode).toBe(0)
    expect(stdout).toContain("writer   not turn-machine run: another program wrote it\n")
    expect(stdout).toContain("  ✓ list_files\n")
  })

  it("prints no control characters", async () => {
    const cwd = withJournal((whole) =>
      rewritten(whole, (record) => {
        if (record.type === "header") return { ...record, turnId: "t\u001b[2J", meta: { ...(record.meta as object), task: "a\u202eb\u0007" } }
        if (record.type !== "llm_complete" || !record.result.ok) return record
        return { ...record, result: { ok: true, response: { ...record.result.response, text: "\u001b]0;owned\u0007\u009b31m" } } }
      }),
    )
    const hostile = /(?!\n)[\p{Cc}\u202e]/u
    for (const args of [
      ["show", "run.json"],
      ["show", "run.json", "--json"],
      ["show", "run.json", "--record", "1"],
      ["show", "run.json", "--record", "2"],
      ["replay", "run.json"],
    ])
      expect(hostile.test((await journal(cwd, ...args)).stdout)).toBe(false)
    expect(JSON.parse((await journal(cwd, "show", "run.json", "--record", "2")).stdout)).toMatchObject({
      result: { response: { text: "\u001b]0;owned\u0007\u009b31m" } },
    })
  })
})

/** The journal of another program, with its effects. Every request from the third on has one more tool. */
function withNewTool(): string {
  const projector = wrapProjector(chatProjector, {
    request: ({ tools }, { iteration }) => (iteration < 2 ? {} : { tools: [...tools, { name: "new\u001b[2J", description: "", inputSchema: {} }] }),
  })
  return recordTurn(3, { keepEffects: true }, { ...CONFIG, projector }).text
}

describe("requests that do not begin with the request before", () => {
  const BROKEN = "prefix broken: the tools differ at /tools/1"

  it("are counted and marked by journal show", async () => {
    const cwd = fill(newFolder(), { "run.json": withNewTool() })
    const { stdout } = await journal(cwd, "show", "run.json")
    expect(stdout).toMatch(/^prefix {3}2 of 3 follow-up requests begin with the request before$/m)
    expect(stdout.split("\n").filter((line) => line.includes(BROKEN))).toEqual([
      expect.stringMatching(` 7 .*model calls count, 5/0/2 tokens \\(${BROKEN}\\)$`),
    ])
    const [head, ...rows] = objectsOf(await journal(cwd, "show", "run.json", "--json"))
    const found = { at: "/tools/1", reason: "tools" }
    expect(head).toMatchObject({ prefix: { compared: 3, complete: true, breaks: [{ ...found, effectId: 7 }] } })
    expect(rows.filter((row) => "prefix" in row)).toMatchObject([{ effectId: 7, prefix: found }])
  })

  it("are listed by journal diff", async () => {
    const cwd = fill(newFolder(), { "one.json": recordTurn(3, { keepEffects: true }).text, "two.json": withNewTool() })
    const { stdout } = await journal(cwd, "diff", "one.json", "two.json")
    expect(stdout).toMatch(new RegExp(`\ntwo\\.json: 2 of 3 follow-up requests begin with the request before\n {2}record \\d+: ${BROKEN}\n$`))
    const [{ prefixes } = { prefixes: undefined }] = objectsOf(await journal(cwd, "diff", "one.json", "two.json", "--json"))
    expect(prefixes).toMatchObject({ first: { compared: 3, breaks: [] }, second: { compared: 3, breaks: [{ effectId: 7 }] } })
  })

  it("are not known in a journal of another program without effects", async () => {
    const cwd = fill(newFolder(), { "run.json": recordTurn(3).text })
    expect((await journal(cwd, "show", "run.json")).stdout).not.toContain("prefix")
  })

  it("are known up to the request that this version would not make", async () => {
    const cwd = withJournal((whole) =>
      rewritten(whole, (record, number) => {
        if (number !== 3 || record.type !== "tool_results") return record
        return { ...record, results: record.results.map((result) => ({ ...result, output: { status: "success", value: "changed" } })) }
      }),
    )
    expect((await journal(cwd, "show", "run.json")).stdout).not.toContain("prefix")
  })
})

describe("journal replay", () => {
  it("confirms that a turn replays as recorded, and shows its state", async () => {
    const ran = await journal(withJournal(), "replay", "run.json")
    expect(ran).toEqual({
      exitCode: 0,
      stdout: "journal  run.json, 20 records\nreplayed 14 answered effects in 5 iterations: all as recorded\nstate    finished\n",
      stderr: "",
    })
  })

  it("shows the state at a record", async () => {
    const cwd = withJournal()
    expect((await journal(cwd, "replay", "run.json", "--at", "6")).stdout).toBe(
      "journal  run.json, up to record 6: 6 of 20 records\nreplayed 5 answered effects in 2 iterations: all as recorded\nstate    unfinished: waiting for search_text (effect 5)\n",
    )
    expect(objectsOf(await journal(cwd, "replay", "run.json", "--at", "1", "--json"))).toEqual([
      {
        type: "replay",
        agrees: true,
        records: 1,
        effects: 0,
        snapshots: 0,
        iterations: 0,
        standing: { type: "waiting", effect: "llm_call", effectId: 1 },
      },
    ])
  })

  it("runs no tools and writes no files", async () => {
    const cwd = withJournal()
    await journal(cwd, "replay", "run.json")
    expect(readdirSync(cwd)).toEqual(["run.json"])
    expect(readFileSync(join(cwd, "run.json"), "utf8")).toBe(wholeText)
  })

  it("reports the first difference with both values", async () => {
    // A changed tool result changes the later requests to the model.
    const cwd = withJournal((whole) =>
      rewritten(whole, (record, number) =>
        number === 3 && record.type === "tool_results"
          ? { ...record, results: record.results.map((result) => ({ ...result, output: { status: "success", value: "other" } })) }
          : record,
      ),
    )
    const ran = await journal(cwd, "replay", "run.json")
    expect(ran).toMatchObject({ exitCode: 1, stderr: "" })
    expect(ran.stdout).toBe(
      "differs  at record 5, effect 4: Record 5 answers effect 4, but the replayed turn has another effect.\n  The journal stores only a fingerprint of the recorded request, so the difference cannot be shown.\n",
    )
    expect(objectsOf(await journal(cwd, "replay", "run.json", "--json"))[0]).toMatchObject({
      agrees: false,
      code: "effect_differs",
      record: 5,
      effectId: 4,
    })

    const prompt = withJournal((whole) =>
      rewritten(whole, (record) =>
        record.type === "header"
          ? { ...record, surface: { ...record.surface, systemPrompt: "You play." }, config: { ...record.config, systemPrompt: "other" } }
          : record,
      ),
    )
    const { stdout } = await runCli(["journal", "replay", "run.json"], { cwd: prompt, isTTY: true, env: { NO_COLOR: "1" } })
    expect(stdout).toBe(
      'differs  at record 1: The journal was written with another configuration. Different keys: systemPrompt.\n  /config/systemPrompt\n    recorded  "You play."\n    now       "You work on the files of one folder with the tools you are given…\n',
    )
  })

  it("refuses a journal of another program with advice", async () => {
    const cwd = withJournal((whole) => rewritten(whole, (record) => (record.type === "header" ? { ...record, meta: null } : record)))
    expect(await journal(cwd, "replay", "run.json")).toEqual({
      exitCode: 2,
      stdout: "",
      stderr:
        "turn-machine: journal replay cannot read run.json: another program wrote it. Replay it in a test with its own driver and configuration: verifyReplay in turn-machine/replay.\n",
    })
  })

  it("replays the intact records of a damaged journal", async () => {
    const cwd = withJournal(() => wholeText.replace("The folder has 6 files", "The folder has 7 files"))
    const ran = await journal(cwd, "replay", "run.json")
    expect(ran.exitCode).toBe(1)
    expect(ran.stdout).toContain("replayed 3 answered effects in 1 iteration: all as recorded\n")
    expect(ran.stderr).toContain("Record 5 is damaged")
    expect((await journal(cwd, "replay", "run.json", "--at", "4")).exitCode).toBe(0)
  })
})

describe("journal fork, then resume, then diff", () => {
  it("continues differently after another answer of the model", async () => {
    const { base } = newShop()
    await runCli(["run", "--dir", "shop", "--state", "run.json"], { cwd: base })
    const original = readFileSync(join(base, "run.json"), "utf8")
    const forked = await journal(base, "fork", "run.json", "--at", "5", "--out", "it's.json", "--text", "That is all.")
    expect(forked).toMatchObject({ exitCode: 0, stderr: "" })
    expect(forked.stdout).toMatch(
      /^Wrote it's\.json: records 1 to 4 of run\.json, and a new answer as record 5\. Its turn id is [0-9a-f-]{36}\.\nResume with: turn-machine resume 'it'\\''s\.json'\n$/,
    )

    const resumed = await runCli(["resume", "it's.json"], { cwd: base })
    expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(resumed.stdout).toContain("work     2 iterations, 2 model calls, 1 tool call")
    expect(readFileSync(join(base, "run.json"), "utf8")).toBe(original)
    expect((await journal(base, "replay", "it's.json")).exitCode).toBe(0)
    expect((await journal(base, "show", "it's.json")).stdout).toMatch(/^forked {3}from turn \S+ at record 5$/m)

    const diff = await journal(base, "diff", "run.json", "it's.json")
    expect(diff).toMatchObject({ exitCode: 1, stderr: "" })
    expect(diff.stdout).toContain(
      `3 answers are the same in both.
They diverge at record 5 of both: effect 4 has different answers.
  /result/response/text
    run.json   "The folder has 6 files. I search for TODO and FIXME in comments."
    it's.json  "That is all."
`,
    )
    expect(objectsOf(await journal(base, "diff", "run.json", "it's.json", "--json"))[0]).toMatchObject({
      type: "diff",
      differs: true,
      header: [],
      alike: 3,
      parting: { type: "answered", first: 5, second: 5 },
    })
  })

  it("without an answer, performs the request again", async () => {
    const { base } = newShop()
    await runCli(["run", "--dir", "shop", "--state", "run.json"], { cwd: base })
    expect((await journal(base, "fork", "run.json", "--at", "5", "--out", "new.json")).exitCode).toBe(0)
    const shorter = await journal(base, "diff", "run.json", "new.json")
    expect(shorter.stdout).toMatch(
      /^3 answers are the same in both\.\nnew\.json ends here; run\.json continues with record 5:\n {2}run\.json: model calls search_text ×2/,
    )
    expect((await runCli(["resume", "new.json"], { cwd: base })).exitCode).toBe(0)
    const { stdout } = await journal(base, "show", "new.json")
    expect(stdout).toMatch(/^work {5}5 model calls, 8 tool calls, .+ in 2 processes$/m)
    expect(stdout).toContain("resumed by another process\n")
  })

  it("accepts an answer as show prints it, from a file, and without its type and id", async () => {
    const cwd = withJournal()
    const record = JSON.parse((await journal(cwd, "show", "run.json", "--record", "2")).stdout) as { result: { response: { text: string } } }
    record.result.response.text = "Another answer."
    fill(cwd, { "answer.json": JSON.stringify(record) })
    expect((await journal(cwd, "fork", "run.json", "--at", "2", "--out", "a.json", "--answer-file", "answer.json")).exitCode).toBe(0)
    expect(
      (await journal(cwd, "fork", "run.json", "--at", "2", "--out", "b.json", "--answer", JSON.stringify({ result: record.result }))).exitCode,
    ).toBe(0)
    for (const name of ["a.json", "b.json"]) {
      const { header, entries } = readJournal(readFileSync(join(cwd, name), "utf8"))
      expect(header).toMatchObject({ forkedFrom: { turnId: readJournal(wholeText).header.turnId, record: 2 } })
      expect(entries.map((entry) => entry.record)).toEqual([record])
    }
  })

  it("recovers the records before damage", async () => {
    const cwd = withJournal(() => wholeText.replace("The folder has 6 files", "The folder has 7 files"))
    expect((await journal(cwd, "fork", "run.json", "--at", "5", "--out", "new.json")).exitCode).toBe(0)
    expect(readJournal(readFileSync(join(cwd, "new.json"), "utf8")).entries).toHaveLength(3)
  })

  it.each<readonly [readonly string[], string]>([
    [["--at", "22"], '--at takes a whole number from 1 to 21, not "22".'],
    [["--at", "1"], "Record 1 is the header; fork at a record after it."],
    [["--at", "20", "--answer", "{}"], 'Record 20 is not a response but of type "end", so it cannot be replaced by another answer.'],
    [["--at", "21", "--answer", "{}"], "There is no record 21; the last one is 20."],
    [
      ["--at", "3", "--text", "a"],
      "--text replaces a model's answer, and record 3 is not one. To list the records: turn-machine journal show run.json",
    ],
    [
      ["--at", "2", "--answer", '{"id":9,"result":{"ok":false,"error":{"message":"m","retryable":false,"terminalReason":"stop"}}}'],
      "Record 2 is llm_complete for effect 1; its replacement must be one too, but is llm_complete for effect 9.",
    ],
    [["--at", "2", "--answer", "[]"], "The answer is not a JSON object. For the shape, see: turn-machine journal show FILE --record N"],
    [["--at", "2", "--answer-file", "none.json"], "The answer in none.json cannot be read: it does not exist."],
    [["--at", "2", "--out", "run.json"], "BASE/run.json already exists and was not changed. Pass another path with --out."],
    [["--at", "2", "--out", "d"], "BASE/d already exists and was not changed. Pass another path with --out."],
  ])("is refused and writes nothing: %j", async (args, line) => {
    const cwd = withJournal()
    mkdirSync(join(cwd, "d"))
    expect(await journal(cwd, "fork", "run.json", "--out", "new.json", ...args)).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: `turn-machine: ${line.replace("BASE", cwd)}\n`,
    })
    expect(readdirSync(cwd).sort()).toEqual(["d", "run.json"])
    expect(readFileSync(join(cwd, "run.json"), "utf8")).toBe(wholeText)
  })

  it("refuses to replace an answer that arrived too late", async () => {
    // Repeats the model's first answer, as a host records an answer that it received twice.
    const cwd = withJournal((whole) => {
      const cut = whole.entries.slice(0, 3)
      const writer = new JournalWriter(readJournal(wholeText.slice(0, cut[2]?.end)))
      return `${wholeText.slice(0, cut[2]?.end)}${cut[0] === undefined ? "" : writer.line(cut[0].record)}`
    })
    expect(await journal(cwd, "fork", "run.json", "--at", "5", "--out", "new.json", "--text", "Another answer.")).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: "turn-machine: Record 5 arrived too late to change the turn, so a new answer in its place would have no effect.\n",
    })
  })

  it("refuses text that is not JSON or not an answer, in one line", async () => {
    const cwd = withJournal()
    for (const [answer, line] of [
      ["{", /The answer is not JSON: /],
      ['{"result":1}', /The answer that replaces record 2 is not valid: /],
    ] as const) {
      const ran = await journal(cwd, "fork", "run.json", "--at", "2", "--out", "new.json", "--answer", answer)
      expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
      expect(ran.stderr).toMatch(line)
      expect(ran.stderr.split("\n")).toHaveLength(2)
    }
  })
})

describe("journal diff", () => {
  it("finds no difference between two runs of the same task", async () => {
    const { base } = newShop()
    for (const name of ["one", "two"]) await runCli(["run", "--dir", "shop", "--state", `${name}.json`, "--out", name], { cwd: base })
    expect(await journal(base, "diff", "one.json", "two.json")).toEqual({
      exitCode: 0,
      stdout: "No difference.\n18 answers are the same in both.\n",
      stderr: "",
    })
  })

  it("reports turns that started differently", async () => {
    const { base } = newShop()
    await runCli(["run", "--dir", "shop", "--state", "one.json"], { cwd: base })
    await runCli(["run", "--dir", "shop", "--state", "two.json", "--max-iterations", "9", 'Where is "price" used?'], { cwd: base })
    const { stdout, exitCode } = await journal(base, "diff", "one.json", "two.json")
    expect(exitCode).toBe(1)
    expect(stdout).toMatch(/^The turns started differently:\n {2}\/config\/maxIterations\n/)
    expect(stdout).toContain('    two.json  "Where is \\"price\\" used?"\n')
    expect(stdout).toContain(
      "0 answers are the same in both.\nThey diverge at record 2 of both: the turns made different requests (effect 1).\n  one.json: model calls list_files",
    )
  })

  it("does not compare a damaged journal", async () => {
    const cwd = withJournal(() => wholeText.replace("The folder has 6 files", "The folder has 7 files"))
    expect(await journal(cwd, "diff", "run.json", "run.json")).toMatchObject({ exitCode: 2, stdout: "" })
  })
})

describe("journal compact", () => {
  it("drops nothing without a snapshot", async () => {
    const cwd = withJournal()
    expect(await journal(cwd, "compact", "run.json")).toEqual({
      exitCode: 0,
      stdout: "Nothing to drop from run.json: it has no snapshot yet.\n",
      stderr: "",
    })
    expect(readFileSync(join(cwd, "run.json"), "utf8")).toBe(wholeText)
  })

  it("drops the records before the last snapshot, and the turn still resumes", async () => {
    const { base } = newShop()
    await runCli(["run", "--dir", "shop", "--state", "whole.json"], { cwd: base })
    const whole = readJournal(readFileSync(join(base, "whole.json"), "utf8"))
    const text = readFileSync(join(base, "whole.json"), "utf8").slice(0, whole.entries[2]?.end)
    const machine = resume(readJournal(text), recordedConfig(RunMeta.parse(whole.header.meta)))
    while (machine.poll() !== undefined);
    writeFileSync(join(base, "run.json"), text + Recorder.resume(readJournal(text)).snapshot(machine))

    const ran = await journal(base, "compact", "run.json")
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout).toMatch(
      /^Dropped 3 records from run\.json: [\d.]+ kB before, [\d.]+ kB now\. It can be resumed, but no longer replayed from its start\.\n$/,
    )
    expect((await journal(base, "compact", "run.json")).stdout).toBe("Nothing to drop from run.json: it already starts with its last snapshot.\n")
    expect((await journal(base, "show", "run.json")).stdout).toMatch(/^dropped {2}3 records, by a compaction; the totals do not count them$/m)
    expect(await journal(base, "replay", "run.json", "--at", "2")).toMatchObject({ exitCode: 2 })
    // Without its snapshot the journal cannot be resumed, and the turn must not start again.
    writeFileSync(join(base, "cut.json"), readFileSync(join(base, "run.json"), "utf8").slice(0, -9))
    const why = "Record 5 of the journal is damaged, missing or out of place. The journal cannot be resumed"
    expect(await runCli(["resume", "cut.json"], { cwd: base })).toMatchObject({
      exitCode: 2,
      stderr: `turn-machine: The state file ${join(base, "cut.json")} cannot be resumed: record 5 is damaged, missing or out of place. The file was not changed. Start a new run with another --state path.\n`,
    })
    expect(await journal(base, "show", "cut.json")).toMatchObject({
      exitCode: 2,
      stderr: `turn-machine: cut.json cannot be read as a journal. ${why}.\n`,
    })
    rmSync(join(base, "turn-machine-out"), { recursive: true })
    // A copy of a state file is not the user's own one.
    const resumed = await runCli(["resume", "run.json", "--dir", "shop", "--out", "turn-machine-out"], { cwd: base })
    const stderr = `turn-machine: Confirmed: it reads ${base}/shop, writes to ${base}/turn-machine-out.\n`
    expect(resumed).toMatchObject({ exitCode: 0, stderr })
    expect(resumed.stdout).toContain("work     5 iterations, 5 model calls, 8 tool calls")
    expect((await journal(base, "replay", "run.json")).exitCode).toBe(0)
    expect((await journal(base, "diff", "whole.json", "run.json")).stdout).toBe(
      "A compaction dropped the records before effect 4; they are not compared.\nNo difference.\n15 answers are the same in both.\n",
    )
  })

  it("does not change a journal that is in use or damaged", async () => {
    const cwd = withJournal()
    const held = await fileJournalStore().open(join(cwd, "run.json"))
    expect(await journal(cwd, "compact", "run.json")).toMatchObject({
      exitCode: 2,
      stdout: "",
      stderr: "turn-machine: run.json is in use by this process. Wait for it or stop it, or try again later.\n",
    })
    await held.close()
    const damaged = withJournal(() => wholeText.replace("The folder has 6 files", "The folder has 7 files"))
    expect((await journal(damaged, "compact", "run.json")).stderr).toContain("Record 5 is damaged")
  })
})

describe("help", () => {
  it.each(["show", "replay", "diff", "fork", "compact"])("of journal %s shows its usage, within 120 columns", async (name) => {
    const { stdout, exitCode } = await journal(newFolder(), name, "--help")
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(new RegExp(`^turn-machine journal ${name}: .+\\n\\nUsage\\n {2}turn-machine journal ${name} `))
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(120)
    expect((await journal(newFolder())).stdout).toContain(`  turn-machine journal ${name} `)
  })

  it("of resume lists its flags", async () => {
    const { stdout } = await runCli(["resume", "--help"], { cwd: newFolder() })
    for (const flag of ["compact", "no-check", "take-over", "json"]) expect(stdout).toMatch(new RegExp(`^ {2}--${flag}\\b`, "m"))
  })
})
