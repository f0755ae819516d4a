import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import type { Json } from "../../src/json.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { JournalWriter, readJournal } from "../../src/replay/journal.ts"
import { workedMs } from "../../src/replay/outline.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import { newFolder, newShop, runCli, serve } from "./harness.ts"

const META = { format: "turn-machine/run", version: 2, task: "t", dir: "/d", out: "/o", model: "embedded", maxIterations: 30 }

/** The first line of a journal with this `meta` in its header. */
function headerWith(meta: Json | undefined): string {
  const config = {
    driver: chatDriver(),
    projector: chatProjector,
    model: "m",
    sessionId: "s",
    systemPrompt: "",
    tools: [],
    generation: {},
    syncExecutionSurface: false,
    emitLlmTrace: false,
  }
  return Recorder.begin(config, { messages: [] }, "turn-1", meta === undefined ? {} : { meta }).line
}

async function refusal(base: string, ...args: readonly string[]): Promise<string> {
  const ran = await runCli(["run", "--state", "s.json", "--resume", ...args], { cwd: base })
  expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
  return ran.stderr.replace(`turn-machine: The state file ${base}/s.json `, "")
}

/** A shop with a turn in s.json that was stopped after its first tool. */
async function stoppedShop(): Promise<{ readonly base: string; readonly path: string }> {
  const { base } = newShop()
  let pressed = false
  await runCli(["run", "--dir", "shop", "--state", "s.json"], {
    cwd: base,
    onOutput: (stdout, interrupt) => {
      if (pressed || !stdout.includes("list_files")) return
      pressed = true
      interrupt()
    },
  })
  return { base, path: join(base, "s.json") }
}

function rewrite(path: string, change: (record: JournalRecord, fingerprint: string | undefined) => string | undefined): void {
  const { header, entries } = readJournal(readFileSync(path, "utf8"))
  const writer = new JournalWriter()
  let text = writer.line(header)
  for (const { record, fingerprint } of entries) text += writer.line(record, change(record, fingerprint))
  writeFileSync(path, text)
}

describe("a state file", () => {
  it("is a journal that only its owner may read, with the run's settings in its header", async () => {
    const { base } = newShop()
    await runCli(["run", "--dir", "shop", "--state", "s.json"], { cwd: base })
    const { header, entries } = readJournal(readFileSync(join(base, "s.json"), "utf8"))
    expect(header.meta).toEqual({
      format: "turn-machine/run",
      version: 2,
      task: "Find the TODO and FIXME comments in this folder, read around each, and write a report.",
      dir: join(base, "shop"),
      out: join(base, "turn-machine-out"),
      model: "embedded",
      maxIterations: 30,
    })
    expect(entries.at(-1)?.record).toMatchObject({ type: "end", outcome: { type: "finished" } })
    expect(statSync(join(base, "s.json")).mode & 0o777).toBe(0o600)
    expect(readdirSync(base).sort()).toEqual(["s.json", "shop", "turn-machine-out"])
  })

  it("of the version before journals is refused with advice", async () => {
    const base = newFolder()
    const text = JSON.stringify({ ...META, version: 1, elapsedMs: 1, checkpoint: {} })
    writeFileSync(join(base, "s.json"), text)
    expect(await refusal(base)).toBe(
      "was written by an earlier version of turn-machine, which stored a run as one JSON value. Finish it with that version, or start a new run with another --state path.\n",
    )
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(text)
  })

  it.each<readonly [string, Json | undefined, string]>([
    ["of another program", undefined, "another program wrote it"],
    ["of another program with meta of its own", { format: "mine" }, "another program wrote it"],
    ["of a later version", { ...META, version: 3 }, "it has version 3 of the run settings, and this program reads version 2"],
    ["with a limit that is not a number", { ...META, maxIterations: "30" }, 'its run settings are invalid at "maxIterations"'],
    ["with an unknown key", { ...META, more: 1 }, 'its run settings have the unknown key "more"'],
  ])("%s is refused and not changed", async (_, meta, why) => {
    const base = newFolder()
    const text = headerWith(meta)
    writeFileSync(join(base, "s.json"), text)
    expect(await refusal(base)).toBe(`cannot be resumed here: ${why}. Resume it with the program that wrote it, or pass another --state path.\n`)
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(text)
    expect(readdirSync(base)).toEqual(["s.json"])
  })

  it.each(["null", "a user's notes", '{"format":"turn-machine/checkpoint"}', "a\nb\n"])("that is not a journal is not changed: %s", async (text) => {
    const base = newFolder()
    writeFileSync(join(base, "s.json"), text)
    expect(await refusal(base)).toBe(
      "cannot be resumed: it is not the state of a run. The file was not changed. Start a new run with another --state path.\n",
    )
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(text)
    expect(readdirSync(base)).toEqual(["s.json"])
  })

  it.each(["", '["0badc0de",{"type":"hea'])("with an incomplete first line is started anew: %s", async (text) => {
    const { base } = newShop()
    writeFileSync(join(base, "s.json"), text)
    expect((await runCli(["run", "--dir", "shop", "--state", "s.json"], { cwd: base })).stderr).toMatch(/already exists and was not changed/)
    const ran = await runCli(["run", "--dir", "shop", "--state", "s.json", "--resume"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "turn-machine: s.json has no turn yet; starting a new one.\n" })
  })

  it("reached through a link is replaced, and the link stays", async () => {
    const { base } = newShop()
    mkdirSync(join(base, "real"))
    symlinkSync("real/s.json", join(base, "link.json"))
    writeFileSync(join(base, "real/s.json"), "")
    expect((await runCli(["run", "--dir", "shop", "--state", "link.json", "--resume"], { cwd: base })).exitCode).toBe(0)
    expect(readJournal(readFileSync(join(base, "real/s.json"), "utf8")).entries.length).toBeGreaterThan(10)
    expect(readdirSync(base).sort()).toEqual(["link.json", "real", "shop", "turn-machine-out"])
    expect(readdirSync(join(base, "real"))).toEqual(["s.json"])
  })

  it("in use is refused, and the message names its owner", async () => {
    const { base, path } = await stoppedShop()
    const held = await fileJournalStore().open(path)
    expect(await refusal(base)).toBe("is in use by this process. Wait for it or stop it, or pass another path with --state.\n")
    await held.close()
    expect((await runCli(["resume", "s.json"], { cwd: base })).exitCode).toBe(0)
  })

  it("in use on another computer is taken over only with --take-over", async () => {
    const { base } = await stoppedShop()
    mkdirSync(join(base, "s.json.lock"))
    writeFileSync(join(base, "s.json.lock/0123456789abcdef"), JSON.stringify({ pid: 7, host: "elsewhere" }))
    expect(await refusal(base)).toBe(
      'is in use by process 7 on host "elsewhere", which may still run. If that process has ended, try again in 30 s, or take the file over with --take-over.\n',
    )
    expect((await runCli(["resume", "s.json", "--take-over"], { cwd: base })).exitCode).toBe(0)
  })
})

describe("turn-machine resume", () => {
  it("does what run --state FILE --resume does", async () => {
    const { base } = await stoppedShop()
    const ran = await runCli(["resume", "s.json"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout).toMatch(/^state {4}s\.json \(resumed at iteration [12]\)$/m)
    expect(ran.stdout).toContain("work     5 iterations, 5 model calls, 8 tool calls")
  })

  it("accepts only the same task", async () => {
    const { base } = await stoppedShop()
    expect(await runCli(["resume", "s.json", "Something else."], { cwd: base })).toMatchObject({ exitCode: 2, stdout: "" })
    expect((await runCli(["resume", "s.json", "--json", "--resume"], { cwd: base })).exitCode).toBe(0)
  })

  it("does not start a turn", async () => {
    const base = newFolder()
    writeFileSync(join(base, "s.json"), "")
    expect(await runCli(["resume", "s.json"], { cwd: base })).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: `turn-machine: There is no turn to resume in ${base}/s.json. Start one: turn-machine run --state FILE.\n`,
    })
  })

  it("refuses a turn with other recorded requests, unless --no-check is given", async () => {
    const { base, path } = await stoppedShop()
    rewrite(path, (record, fingerprint) => (record.type === "llm_complete" ? "AAAAAAAA" : fingerprint))
    const text = readFileSync(path, "utf8")
    expect(await refusal(base)).toBe(
      "was written by a version of this program that made another request (record 2, effect 1). Resume it with that version, or add --no-check to resume anyway.\n",
    )
    expect(readFileSync(path, "utf8")).toBe(text)
    expect((await runCli(["resume", "s.json", "--no-check"], { cwd: base })).exitCode).toBe(0)
  })

  it("retries a failed model call, and removes its failure from the journal", async () => {
    const { base } = newShop()
    let answers = 0
    const url = await serve((_body, response) => {
      answers += 1
      if (answers === 1) return void response.writeHead(400).end('{"error":{"message":"not now"}}')
      response
        .setHeader("content-type", "application/json")
        .end(JSON.stringify({ choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "Done." } }] }))
    })
    const run = ["run", "--dir", "shop", "--base-url", url, "--model", "tiny", "--retries", "0", "--state", "s.json"]
    expect((await runCli(run, { cwd: base })).exitCode).toBe(1)
    const types = (): readonly string[] => readJournal(readFileSync(join(base, "s.json"), "utf8")).entries.map(({ record }) => record.type)
    expect(types()).toEqual(["llm_complete", "end"])
    const { stdout } = await runCli(["journal", "show", "s.json"], { cwd: base })
    expect(stdout).toContain(`model    tiny at ${url}\n`)
    expect(stdout).toContain("state    stopped: provider error\nresume   turn-machine resume s.json (retries the model call)\n")
    expect(await runCli(["resume", "s.json"], { cwd: base })).toMatchObject({ exitCode: 0, stderr: "" })
    expect(types()).toEqual(["opened", "llm_complete", "checkpoint_delivery", "end"])
    expect(answers).toBe(2)
  })

  it("continues a long turn whose journal was compacted", async () => {
    const { base, shop } = newShop()
    writeFileSync(join(shop, "long.txt"), `${"x".repeat(999)}\n`.repeat(60))
    // Two batches of results of more than a million characters each.
    const calls = Array.from({ length: 20 }, (_, index) => index)
    let answers = 0
    const url = await serve((_body, response) => {
      answers += 1
      if (answers === 3) return void response.writeHead(400).end()
      const read = calls.map((index) => ({
        id: `c${answers}-${index}`,
        type: "function",
        function: { name: "read_file", arguments: '{"path":"long.txt"}' },
      }))
      const message = answers < 3 ? { content: null, tool_calls: read } : { content: "Done." }
      response
        .setHeader("content-type", "application/json")
        .end(JSON.stringify({ choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", ...message } }] }))
    })
    const run = ["run", "--dir", "shop", "--base-url", url, "--model", "tiny", "--retries", "0", "--state", "s.json", "--compact"]
    expect((await runCli(run, { cwd: base })).exitCode).toBe(1)
    const { header, entries } = readJournal(readFileSync(join(base, "s.json"), "utf8"))
    // Dropped: the model's first answer, its twenty results and the empty delivery after them. The second batch is still shorter than the snapshot.
    expect(header.dropped).toBe(22)
    expect(entries[0]?.record.type).toBe("snapshot")
    expect(entries).toHaveLength(1 + 1 + 20 + 1 + 1 + 1)
    const ran = await runCli(["resume", "s.json"], { cwd: base })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout).toContain("work     3 iterations, 3 model calls, 40 tool calls")
  })
})

describe("the working time of a turn", () => {
  const records = (...list: readonly JournalRecord[]): string => {
    const writer = new JournalWriter()
    return list.map((record) => writer.line(record)).join("")
  }
  const { header } = readJournal(headerWith(undefined))
  const answer = (id: number, at: number): JournalRecord => ({ type: "checkpoint_delivery", id, at, delivery: {} })

  it("adds up the time of each process, from its start or resume to its last record", () => {
    const text = records({ ...header, at: 1_000 }, answer(1, 1_300), { type: "opened", at: 9_000 }, answer(2, 9_020), { type: "opened", at: 20_000 })
    expect(workedMs(readJournal(text))).toBe(320)
  })

  it("does not count records without a time or records that a compaction dropped", () => {
    expect(workedMs(readJournal(records(header, { type: "opened" })))).toBe(0)
    const rest = readJournal(records({ ...header, at: 1_000 }, answer(7, 5_000), answer(8, 5_004)))
    expect(workedMs({ ...rest, header: { ...rest.header, dropped: 5 } })).toBe(4)
  })
})
