import { existsSync, readFileSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { type AddressInfo, createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it, onTestFinished, vi } from "vitest"
import { bundleCli, fill, newFolder, type Spawned, serve, spawnCli, until } from "./harness.ts"
import { hasPty, Pty } from "./pty.ts"

// Sends SIGINT to real processes, in every phase of a run and of a goal. test/cli/approval-prompt.test.ts and test/cli/stop-menu.test.ts press
// Ctrl-C in a real terminal, at a question and at the menu; test/cli/process.test.ts and goal-process.test.ts stop before the first byte.

vi.setConfig({ testTimeout: 180_000 })

const bundled = await bundleCli()
const MCP_SERVER = fileURLToPath(new URL("../fixtures/mcp/server.mjs", import.meta.url))

interface Step {
  readonly text?: string
  readonly call?: readonly [name: string, args: object]
}

/** An endpoint whose model says one step for each of its answers. Until released, request `holdAt` gets no answer, or one that does not end. */
interface Model {
  readonly url: string
  requests(): number
  release(): void
}

async function modelOf(steps: readonly Step[], how: { hold?: "silent" | "stream" | "busy" | "list"; holdAt?: number } = {}): Promise<Model> {
  const { hold, holdAt = 0 } = how
  let isReleased = false
  let requests = 0
  const write = (response: ServerResponse, delta: object, finish: string | null): void => {
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`)
  }
  const url = await serve(
    (body, response) => {
      const { messages } = JSON.parse(body) as { messages: readonly { role: string }[] }
      const number = messages.filter(({ role }) => role === "assistant").length
      const held = !isReleased && number === holdAt && hold !== undefined && hold !== "list"
      requests += 1
      const { text = "", call } = steps[number] ?? { text: "Done." }
      if (held && hold === "silent") return
      if (held && hold === "busy") {
        response.writeHead(503, { "retry-after": "60" }).end("busy")
        return
      }
      response.writeHead(200, { "content-type": "text/event-stream" })
      write(response, { content: text }, null)
      if (held) return
      const [name, args] = call ?? []
      const toolCall = { index: 0, id: `call_${number}`, type: "function", function: { name, arguments: JSON.stringify(args) } }
      if (call !== undefined) write(response, { tool_calls: [toolCall] }, null)
      write(response, {}, call === undefined ? "stop" : "tool_calls")
      response.end("data: [DONE]\n\n")
    },
    (response) => {
      requests += 1
      if (hold !== "list" || isReleased) response.writeHead(404).end()
    },
  )
  return {
    url,
    requests: () => requests,
    release() {
      isReleased = true
    },
  }
}

const endpoint = (url: string): readonly string[] => ["--base-url", url, "--model", "tiny", "--context-tokens", "off"]
const newBase = (): string => fill(newFolder(), { "dir/a.txt": "a" })

interface Watched {
  readonly running: Spawned
  shown(): string
}

function start(base: string, args: readonly string[]): Watched {
  const running = spawnCli(bundled, args, { cwd: base })
  let shown = ""
  running.child.stdout?.on("data", (data: Buffer) => (shown += data.toString()))
  return { running, shown: () => shown }
}

/** Runs the command line until `when`, interrupts it, and expects an orderly stop with what to do next. */
async function interrupted(base: string, args: readonly string[], when: (shown: string) => boolean, then: string): Promise<void> {
  const { running, shown } = start(base, args)
  await until(() => when(shown()))
  running.child.kill("SIGINT")
  const { exitCode, signal, stdout, stderr } = await running
  expect({ exitCode, signal, stderr }).toEqual({ exitCode: 1, signal: null, stderr: "" })
  expect(stdout).toContain("stopped, can be resumed\n")
  expect(stdout.trimEnd().split("\n").at(-1)).toContain(then)
}

const RESUME_RUN = "Resume with: turn-machine resume s.json"
const RESUME_GOAL = "Resume with: turn-machine goal resume"

describe("SIGINT ends a run", () => {
  it("while it asks for the model's window, and says how to begin again", async () => {
    const base = newBase()
    const model = await modelOf([{ text: "Hello." }], { hold: "list" })
    const args = ["run", "--dir", "dir", "--state", "s.json", "--base-url", model.url, "--model", "tiny", "Look."]
    const { running } = start(base, args)
    await until(() => model.requests() > 0)
    running.child.kill("SIGINT")
    expect(await running).toMatchObject({
      exitCode: 1,
      signal: null,
      stdout: "",
      stderr: "turn-machine: Stopped before the turn began. Run the same command again, with --resume.\n",
    })
    model.release()
    expect(await spawnCli(bundled, [...args, "--resume"], { cwd: base })).toMatchObject({ exitCode: 0 })
  })

  it("while an MCP server starts, and ends the server", async () => {
    const base = newBase()
    const silent = join(fill(base, { "silent.mjs": "console.error(process.pid); setInterval(() => {}, 1_000)" }), "silent.mjs")
    const pidFile = join(base, "pid")
    const command = `sh -c 'echo $$ > ${pidFile}; exec ${process.execPath} ${silent}'`
    const { running } = start(base, ["run", "--dir", "dir", "--mcp", command, "--approve", "never", "Look."])
    await until(() => existsSync(pidFile) && readFileSync(pidFile, "utf8").endsWith("\n"))
    const pid = Number(readFileSync(pidFile, "utf8"))
    running.child.kill("SIGINT")
    expect(await running).toMatchObject({
      exitCode: 1,
      signal: null,
      stdout: "",
      stderr: "turn-machine: Stopped before the turn began. Run the same command again.\n",
    })
    await until(() => !isAlive(pid))
  })

  it("while it connects", async () => {
    const base = newBase()
    let connections = 0
    // It accepts connections, and never answers the first message of TLS.
    const server = createServer(() => {
      connections += 1
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    onTestFinished(() => void server.close())
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
    await interrupted(base, ["run", "--dir", "dir", "--state", "s.json", ...endpoint(url), "Look."], () => connections > 0, RESUME_RUN)
  })

  it.each([
    ["before the first byte", "silent", (_shown: string, model: Model) => model.requests() > 0],
    ["while an answer arrives", "stream", (shown: string) => shown.includes("The first half")],
    ["while it waits to try again", "busy", (shown: string) => shown.includes("Attempt 2 of 3 in ")],
  ] as const)("%s; the turn resumes with that call", async (_phase, hold, when) => {
    const base = newBase()
    const model = await modelOf([{ text: "The first half, and the second." }], { hold })
    const args = ["run", "--dir", "dir", "--state", "s.json", ...endpoint(model.url), "Look."]
    await interrupted(base, args, (shown) => when(shown, model), RESUME_RUN)
    model.release()
    const resumed = await spawnCli(bundled, ["resume", "s.json"], { cwd: base })
    expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
    expect(resumed.stdout).toContain("The first half, and the second.")
  })

  it("while a tool runs; without a state file the turn is cancelled", async () => {
    for (const state of [["--state", "s.json"], []]) {
      const base = newBase()
      const log = join(base, "server.log")
      const model = await modelOf([{ call: ["button__hang", {}] }])
      const mcp = ["--mcp", `button=${process.execPath} ${MCP_SERVER} ${log}`, "--approve", "auto"]
      const { running, shown } = start(base, ["run", "--dir", "dir", ...state, ...mcp, ...endpoint(model.url), "--plain", "Look."])
      await until(() => existsSync(log) && readFileSync(log, "utf8").includes("hang"))
      running.child.kill("SIGINT")
      const { exitCode, signal, stderr } = await running
      expect({ exitCode, signal }).toEqual({ exitCode: 1, signal: null })
      if (state.length > 0) expect([stderr, shown().trimEnd().split("\n").at(-1)]).toEqual(["", expect.stringContaining(RESUME_RUN)])
      else expect(stderr).toBe("turn-machine: The turn was cancelled. To stop and resume a turn, use --state FILE.\n")
    }
  })
})

describe("a second SIGINT ends a run at once", () => {
  it("while it waits for a server that does not end", async () => {
    const base = newBase()
    const log = join(base, "server.log")
    const model = await modelOf([{ call: ["button__hang", {}] }])
    // The shell ignores SIGTERM and the end of its input, and stays after its server.
    const stubborn = `sh -c 'trap "" TERM; ${process.execPath} ${MCP_SERVER} ${log}; sleep 600'`
    const args = ["run", "--dir", "dir", "--state", "s.json", "--mcp", `button=${stubborn}`, "--approve", "auto", ...endpoint(model.url), "Look."]
    const { running, shown } = start(base, args)
    await until(() => existsSync(log) && readFileSync(log, "utf8").includes("hang"))
    running.child.kill("SIGINT")
    await until(() => shown().includes(RESUME_RUN))
    running.child.kill("SIGINT")
    expect(await running).toMatchObject({ exitCode: 1, signal: null, stderr: "" })
  })
})

describe("SIGINT stops a goal so that it resumes", () => {
  it.each(["silent", "stream", "busy"] as const)("during a model call (%s)", async (hold) => {
    const base = newBase()
    const steps = [{ text: "The first half, and the second." }, { call: ["update_goal", { status: "complete" }] as const }]
    const model = await modelOf(steps, { hold })
    const when = (shown: string): boolean =>
      hold === "silent" ? model.requests() > 0 : shown.includes(hold === "stream" ? "The first half" : "Attempt 2 of 3")
    await interrupted(base, ["goal", "--dir", "dir", ...endpoint(model.url), "Look."], when, RESUME_GOAL)
    model.release()
    expect(await spawnCli(bundled, ["goal", "resume"], { cwd: base })).toMatchObject({ exitCode: 0, stderr: "" })
  })

  it("while a check runs", async () => {
    const base = newBase()
    const started = join(base, "started")
    const check = join(fill(base, { "check.sh": `test -f ${base}/quick && exit 0\ntouch ${started}\nsleep 600\n` }), "check.sh")
    const model = await modelOf([{ text: "Looked." }, { call: ["update_goal", { status: "complete" }] }])
    const args = ["goal", "--dir", "dir", "--check", `sh ${check}`, ...endpoint(model.url), "Look."]
    await interrupted(base, args, () => existsSync(started), RESUME_GOAL)
    fill(base, { quick: "" })
    expect(await spawnCli(bundled, ["goal", "resume"], { cwd: base })).toMatchObject({ exitCode: 0, stderr: "" })
  })

  it("while the judge is asked", async () => {
    const base = newBase()
    const model = await modelOf([{ text: "Looked." }])
    const judge = await modelOf([], { hold: "silent" })
    const args = ["goal", "--dir", "dir", "--judge", "freeform", "--judge-base-url", judge.url, "--judge-model", "j", ...endpoint(model.url), "Look."]
    await interrupted(base, args, () => judge.requests() > 0, RESUME_GOAL)
  })

  it("between two turns, while it waits for the endpoint to recover", async () => {
    const base = newBase()
    const model = await modelOf([{ text: "Looked." }], { hold: "busy" })
    const args = ["goal", "--dir", "dir", "--retries", "0", ...endpoint(model.url), "Look."]
    await interrupted(base, args, (shown) => shown.includes("The next turn starts at"), RESUME_GOAL)
  })

  it.skipIf(!hasPty)("at a question in its terminal", async () => {
    const base = newBase()
    const change = { path: "a.txt", line: 1, oldText: "a", newText: "b" }
    const model = await modelOf([{ call: ["replace_line", change] }])
    const pty = new Pty(bundled, ["goal", "--dir", "dir", "--edit", ...endpoint(model.url), "Look."], { cwd: base })
    await pty.waitFor("[y] approve")
    pty.type("\u0003")
    expect(await pty.ended).toBe(1)
    expect(pty.shown).toContain("stopped, can be resumed")
    expect(pty.shown).toContain(RESUME_GOAL)
    expect(readFileSync(join(base, "dir/a.txt"), "utf8")).toBe("a")
  })

  it("before it began", async () => {
    const base = newBase()
    const model = await modelOf([{ call: ["update_goal", { status: "complete" }] }], { hold: "list" })
    const args = ["goal", "--dir", "dir", "--base-url", model.url, "--model", "tiny", "Look."]
    const { running } = start(base, args)
    await until(() => model.requests() > 0)
    running.child.kill("SIGINT")
    expect(await running).toMatchObject({
      exitCode: 1,
      signal: null,
      stderr: "turn-machine: Stopped before the goal began. Run the same command again, with --resume.\n",
    })
    model.release()
    expect(await spawnCli(bundled, [...args, "--resume"], { cwd: base })).toMatchObject({ exitCode: 0, stderr: "" })
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
