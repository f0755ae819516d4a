import { chmodSync, existsSync, readFileSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import { bundleCli, FIXTURES, FROM_SOURCES, fill, newFolder, newShop, runCli, serve, spawnCli, until } from "./harness.ts"

const bundled = await bundleCli()
const SHOP_REPORT = readFileSync(join(FIXTURES, "shop.todo-report.md"), "utf8")

/** An endpoint whose model lists, searches, writes and finishes. It holds answer number `holdAt`, counted from 0, until released. */
async function holdingModel(holdAt: number): Promise<{ readonly url: string; readonly asked: number[]; release(): void }> {
  const asked: number[] = []
  const held: (() => void)[] = []
  let released = false
  const call = (id: string, name: string, args: object): object => ({ id, type: "function", function: { name, arguments: JSON.stringify(args) } })
  const steps = [
    { content: "I list.", tool_calls: [call("a", "list_files", {})] },
    { content: "I search.", tool_calls: [call("b", "search_text", { texts: ["TODO"] }), call("c", "search_text", { texts: ["FIXME"] })] },
    { content: "I write.", tool_calls: [call("d", "write_file", { path: "answer.md", content: "An answer.\n" })] },
    { content: "Done." },
  ]
  const send = (response: ServerResponse, answered: number): void => {
    const body = {
      choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", ...steps[answered] } }],
      usage: { prompt_tokens: 100, completion_tokens: 10 },
    }
    response.setHeader("content-type", "application/json").end(JSON.stringify(body))
  }
  const url = await serve((body, response) => {
    const { messages } = JSON.parse(body) as { messages: readonly { role: string }[] }
    const answered = messages.filter((message) => message.role === "assistant").length
    asked.push(answered)
    if (answered === holdAt && !released) held.push(() => send(response, answered))
    else send(response, answered)
  })
  return {
    url,
    asked,
    release() {
      released = true
      for (const sendHeld of held) sendHeld()
    },
  }
}

function runArgs(url: string, ...more: readonly string[]): readonly string[] {
  return ["run", "--dir", "shop", "--base-url", url, "--model", "tiny", ...more]
}

describe("the turn-machine process", () => {
  it("runs the default task on the current folder and exits with 0", async () => {
    const { shop } = newShop()
    const ran = await spawnCli(FROM_SOURCES, ["run"], { cwd: shop })
    expect(ran).toMatchObject({ exitCode: 0, signal: null, stderr: "" })
    expect(readFileSync(join(shop, "turn-machine-out/todo-report.md"), "utf8")).toBe(SHOP_REPORT)
  })

  it("exits with 2 and one line on invalid input", async () => {
    const base = newFolder()
    expect(await spawnCli(bundled, ["run", "--dir", "nowhere"], { cwd: base })).toMatchObject({
      exitCode: 2,
      stdout: "",
      stderr: "turn-machine: The folder nowhere cannot be read: it does not exist. Pass a readable folder with --dir.\n",
    })
  })

  it("reports a folder that it has no permission to read", async () => {
    const base = newFolder()
    const locked = join(fill(base, { "locked/x": "" }), "locked")
    chmodSync(base, 0o755)
    chmodSync(locked, 0o000)
    // The superuser can read every folder, so the process runs as an ordinary user.
    const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const ran = await spawnCli(bundled, ["run", "--dir", locked, "--out", join(base, "out")], { cwd: "/", ...user })
    chmodSync(locked, 0o755)
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
    expect(ran.stderr).toBe(`turn-machine: The folder ${locked} cannot be read: permission is denied. Pass a readable folder with --dir.\n`)
  })

  it("exits without an error message when the reader of its output has exited", async () => {
    const { base } = newShop()
    const model = await holdingModel(0)
    const running = spawnCli(bundled, runArgs(model.url), { cwd: base })
    await until(() => model.asked.length === 1)
    running.child.stdout?.destroy()
    model.release()
    expect(await running).toMatchObject({ exitCode: 1, signal: null, stderr: "" })
  })
})

describe("after kill -9, the same command with --resume", () => {
  it.each([0, 1, 2, 3])("continues with model call %i and repeats no completed step", async (holdAt) => {
    const { base } = newShop()
    const model = await holdingModel(holdAt)
    const args = runArgs(model.url, "--state", "s.json", "Look around.")
    const killed = spawnCli(bundled, args, { cwd: base })
    await until(() => model.asked.includes(holdAt))
    killed.child.kill("SIGKILL")
    expect((await killed).signal).toBe("SIGKILL")
    expect(existsSync(join(base, "s.json.lock"))).toBe(true)

    model.release()
    const resumed = await spawnCli(bundled, [...args, "--resume"], { cwd: base })
    expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(resumed.stdout).toContain("work     4 iterations, 4 model calls, 4 tool calls")
    expect(resumed.stdout).toContain("written  turn-machine-out/answer.md\n")
    expect(readFileSync(join(base, "turn-machine-out/answer.md"), "utf8")).toBe("An answer.\n")
    // Only the interrupted call is repeated.
    expect(model.asked).toEqual([0, 1, 2, 3].flatMap((number) => (number === holdAt ? [number, number] : [number])))
    expect(existsSync(join(base, "s.json.lock"))).toBe(false)
  })

  it("writes the same report if tools were running", async () => {
    const base = newFolder()
    // Enough files for the searches to take a while.
    const files = Object.fromEntries(
      Array.from({ length: 1_000 }, (_, index) => [`dir/f${index}.js`, `${"x\n".repeat(2_000)}${index % 100 === 0 ? "// TODO here\n" : ""}`]),
    )
    fill(base, files)
    expect((await runCli(["run", "--dir", "dir", "--out", "whole"], { cwd: base })).exitCode).toBe(0)

    const args = ["run", "--dir", "dir", "--state", "s.json", "--out", "parts"]
    const killed = spawnCli(bundled, args, { cwd: base })
    const state = join(base, "s.json")
    // The answer is recorded before it is acted on: the searches are about to start.
    await until(() => existsSync(state) && readFileSync(state, "utf8").includes('"toolName":"search_text","inputJson"'))
    killed.child.kill("SIGKILL")
    expect((await killed).signal).toBe("SIGKILL")
    expect(await spawnCli(bundled, [...args, "--resume"], { cwd: base })).toMatchObject({ exitCode: 0, stderr: "" })
    expect(readFileSync(join(base, "parts/todo-report.md"), "utf8")).toBe(readFileSync(join(base, "whole/todo-report.md"), "utf8"))
  })

  it("writes the same report after repeated kills at any time", async () => {
    for (const delaysMs of [
      [0, 8],
      [16, 24],
      [32, 48],
      [64, 96],
    ]) {
      const { base } = newShop()
      const args = ["run", "--dir", "shop", "--state", "s.json"]
      for (const [time, delayMs] of delaysMs.entries()) {
        const running = spawnCli(bundled, time === 0 ? args : [...args, "--resume"], { cwd: base })
        let ended = false
        void running.then(() => {
          ended = true
        })
        await until(() => ended || existsSync(join(base, "s.json")))
        await new Promise((resolve) => setTimeout(resolve, delayMs))
        running.child.kill("SIGKILL")
        await running
      }
      const ended = await spawnCli(bundled, [...args, "--resume"], { cwd: base })
      expect(ended.exitCode).toBe(0)
      // The process may have been killed before its first line was complete.
      expect(ended.stderr).toMatch(/^(turn-machine: s\.json has no turn yet; starting a new one\.\n)?$/)
      expect(readFileSync(join(base, "turn-machine-out/todo-report.md"), "utf8")).toBe(SHOP_REPORT)
    }
  })
})

describe("a signal", () => {
  it.each(["SIGINT", "SIGTERM"] as const)("%s stops a run with a state file, which can be resumed", async (signal) => {
    const { base } = newShop()
    const model = await holdingModel(2)
    const args = runArgs(model.url, "--state", "s.json", "Look around.")
    const stopped = spawnCli(bundled, args, { cwd: base })
    await until(() => model.asked.includes(2))
    stopped.child.kill(signal)
    const ran = await stopped
    expect(ran).toMatchObject({ exitCode: 1, signal: null, stderr: "" })
    expect(ran.stdout).toContain("outcome  stopped, can be resumed\nwork     3 iterations, 2 model calls, 3 tool calls")
    expect(ran.stdout).toContain("Resume with: turn-machine resume s.json (or the same command with --resume)\n")
    expect(existsSync(join(base, "s.json.lock"))).toBe(false)

    model.release()
    const resumed = await spawnCli(bundled, [...args, "--resume"], { cwd: base })
    expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(resumed.stdout).toContain("state    s.json (resumed at iteration 3)\n")
    expect(model.asked).toEqual([0, 1, 2, 2, 3])
  })

  it("cancels a turn without a state file", async () => {
    const { base } = newShop()
    const model = await holdingModel(1)
    const stopped = spawnCli(bundled, runArgs(model.url, "--json"), { cwd: base })
    await until(() => model.asked.includes(1))
    stopped.child.kill("SIGINT")
    const ran = await stopped
    expect(ran).toMatchObject({ exitCode: 1, signal: null })
    expect(JSON.parse(ran.stdout.trimEnd().split("\n").at(-1) ?? "")).toMatchObject({
      type: "run_ended",
      outcome: { type: "stopped", stop: { type: "cancelled" } },
      toolCalls: 1,
    })
  })
})

describe("two processes", () => {
  it("cannot use one state file at the same time", async () => {
    const { base } = newShop()
    const model = await holdingModel(1)
    const args = runArgs(model.url, "--state", "s.json", "Look around.")
    const first = spawnCli(bundled, args, { cwd: base })
    await until(() => model.asked.includes(1))
    const saved = readFileSync(join(base, "s.json"), "utf8")
    const second = await runCli([...args, "--resume"], { cwd: base })
    expect(second).toMatchObject({ exitCode: 2, stdout: "" })
    expect(second.stderr).toBe(
      `turn-machine: The state file ${join(base, "s.json")} is in use by process ${first.child.pid}. Wait for it or stop it, or pass another path with --state.\n`,
    )
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(saved)
    model.release()
    expect(await first).toMatchObject({ exitCode: 0, stderr: "" })
  })

  it("stop cleanly when one takes over the state file of the other", async () => {
    const { base } = newShop()
    const model = await holdingModel(1)
    const first = spawnCli(bundled, runArgs(model.url, "--state", "s.json"), { cwd: base })
    await until(() => model.asked.includes(1))
    const taken = await fileJournalStore().open(join(base, "s.json"), { takeOver: true })
    const saved = readFileSync(join(base, "s.json"), "utf8")
    model.release()
    const ran = await first
    expect(ran).toMatchObject({
      exitCode: 1,
      stderr: `turn-machine: Another process took over the state file ${join(base, "s.json")}; this one stopped.\n`,
    })
    expect(readFileSync(join(base, "s.json"), "utf8")).toBe(saved)
    await taken.close()
  })
})
