import { existsSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, onTestFinished, test, vi } from "vitest"
import { type Script, type ScriptedAnswer, type StrictServer, startStrictServer } from "../support/strict-server.ts"
import { bundleCli, fill, newFolder, type Ran, runCli, spawnCli, TestTerminal, until } from "./harness.ts"

// Runs and goals with MCP servers, which are processes. They start slowly on a busy machine.

vi.setConfig({ testTimeout: 120_000 })

const bundled = await bundleCli()
const SERVER = fileURLToPath(new URL("../fixtures/mcp/server.mjs", import.meta.url))

const calls = (name: string, args: object = {}): ScriptedAnswer => ({ calls: [{ name, args }] })

interface Place {
  readonly base: string
  readonly model: StrictServer
  /** The flag of the server, and those of the model. */
  readonly flags: readonly string[]
  readonly mcp: readonly string[]
  /** What the server noted. */
  log(): readonly string[]
  run(args: readonly string[], terminal?: TestTerminal, env?: Record<string, string>): Promise<Ran>
}

async function place(script: Script | readonly (ScriptedAnswer | string)[], mode = ""): Promise<Place> {
  const base = newFolder()
  fill(base, { "files/a.txt": "a" })
  const model = await startStrictServer(script)
  onTestFinished(() => model.close())
  const log = join(base, "server.log")
  const mcp = ["--mcp", `button=${process.execPath} ${SERVER} ${log} ${mode}`.trim()]
  return {
    base,
    model,
    mcp,
    flags: [...mcp, "--dir", "files", "--out", "out", "--base-url", model.url, "--model", "m"],
    log: () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []),
    run: (args, terminal, env) => runCli(args, { cwd: base, ...(terminal !== undefined && { terminal }), ...(env !== undefined && { env }) }),
  }
}

/** The processes that a server noted are gone. */
async function allGone(log: readonly string[]): Promise<void> {
  const pids = log.flatMap((line) => (line.startsWith("start ") ? [Number(line.slice("start ".length))] : []))
  expect(pids.length).toBeGreaterThan(0)
  for (const pid of pids) await until(() => !isAlive(pid))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** What the model read of the results. */
function resultsRead({ model }: Place): readonly string[] {
  const last = model.requests.at(-1)?.body.messages ?? []
  return last.flatMap(({ role, content }) => (role === "tool" && typeof content === "string" ? [content] : []))
}

describe("run --mcp", () => {
  test("offers the tools of the server, and ends it with the run", async () => {
    const found = await place([calls("button__look", { what: "x" }), calls("button__env"), "Done."])
    const { exitCode, stdout, stderr } = await found.run(["run", ...found.flags, "--state", "s.json", "Look."], undefined, { SECRET_KEY: "s3cret" })
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
    expect(stdout).toContain("servers  button: 4 tools, 1 left out (bad: invalid schema)\n")
    expect(stdout).toContain("✓ button__look x")
    const names = (found.model.requests[0]?.body.tools ?? []).map((tool) => tool.function.name)
    expect(names).toEqual(["list_files", "read_file", "search_text", "write_file", "button__env", "button__hang", "button__look", "button__press"])
    const [, env = ""] = resultsRead(found)
    expect(env.split(" ")).toContain("PATH")
    expect(env).not.toContain("SECRET_KEY")
    expect(env).not.toContain("XDG_STATE_HOME")
    expect(found.log().slice(1)).toEqual(['call look {"what":"x"}', "call env {}", "end"])
    await allGone(found.log())
  })

  test("asks a person before a call that may change something, and a changed list is a new request", async () => {
    const found = await place([calls("button__press", { what: "red" }), calls("button__fresh"), "Done."])
    const terminal = new TestTerminal(["a"])
    const { exitCode, stdout } = await found.run(["run", ...found.flags, "Press."], terminal)
    expect(exitCode).toBe(0)
    expect(terminal.shown).toContain("button__press")
    expect(stdout).toContain("✓ button__press red")
    expect(found.log().slice(1)).toEqual(['call press {"what":"red"}', "call fresh {}", "end"])
    const tools = found.model.requests.map(({ body }) => (body.tools ?? []).some((tool) => tool.function.name === "button__fresh"))
    expect(tools).toEqual([false, true, true])
  })

  test("a rejected call does not reach the server", async () => {
    const found = await place([calls("button__press"), "Done."])
    const { exitCode } = await found.run(["run", ...found.flags, "Press."], new TestTerminal(["n", ""]))
    expect(exitCode).toBe(0)
    expect(found.log().slice(1)).toEqual(["end"])
    expect(resultsRead(found)[0]).toContain("rejected this call")
  })

  test.each([
    ["auto", ["call press {}", "end"], "press done"],
    ["never", ["end"], "The user refuses every call of a tool that may change something"],
  ])("--approve %s", async (mode, log, read) => {
    const found = await place([calls("button__press"), calls("button__look"), "Done."])
    const { exitCode } = await found.run(["run", ...found.flags, "--approve", mode, "Press."])
    expect(exitCode).toBe(0)
    expect(found.log().slice(1)).toEqual([...log.slice(0, -1), "call look {}", "end"])
    expect(resultsRead(found)[0]).toContain(read)
  })

  test("without a terminal and without a state file, a run that may ask is refused before a server starts", async () => {
    const found = await place(["Done."])
    expect(await found.run(["run", ...found.flags, "Press."])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("--mcp asks before each call"),
    })
    expect(found.log()).toEqual([])
  })

  test("waits for a decision, and the resumed run connects again", async () => {
    const found = await place([calls("button__press"), "Done."])
    const state = ["--state", "s.json"]
    expect(await found.run(["run", ...found.flags, ...state, "Press."])).toMatchObject({ exitCode: 3, stderr: "" })
    await allGone(found.log())
    expect(await found.run(["decide", "s.json", await heldId(found, "s.json"), "approve"])).toMatchObject({ exitCode: 0, stderr: "" })
    expect(await found.run(["resume", "s.json"])).toMatchObject({ exitCode: 0, stderr: "" })
    expect(found.log().filter((line) => !line.startsWith("start"))).toEqual(["end", "call press {}", "end"])
    expect(found.log().filter((line) => line.startsWith("start"))).toHaveLength(2)
    expect(await found.run(["journal", "show", "s.json"])).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("button__press") })
    expect(await found.run(["journal", "replay", "s.json"])).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("all as recorded") })
    // A turn that has ended is shown without its servers.
    expect(await found.run(["resume", "s.json"])).toMatchObject({ exitCode: 0 })
    expect(found.log().filter((line) => line.startsWith("start"))).toHaveLength(2)
  })

  test("a run that is killed in the middle of a call is resumed: the call is not made again", async () => {
    const found = await place([calls("button__hang"), "Done."])
    const args = ["run", ...found.flags, "--approve", "auto", "--state", "s.json", "Hang."]
    const spawned = spawnCli(bundled, args, { cwd: found.base })
    await until(() => found.log().some((line) => line.startsWith("call hang")))
    spawned.child.kill("SIGKILL")
    await spawned
    // The server ends with its input.
    await allGone(found.log())
    const resumed = await found.run(["resume", "s.json"])
    expect(resumed).toMatchObject({ exitCode: 0 })
    expect(found.log().filter((line) => line.startsWith("call"))).toEqual(["call hang {}"])
    expect(resultsRead(found)[0]).toContain("it may have taken effect or not, and was not run again")
  })

  test("the state of someone else starts no server until its command is given again", async () => {
    const found = await place([calls("button__press"), "Done."])
    await found.run(["run", ...found.flags, "--state", "s.json", "Press."])
    const before = found.log().length
    const stranger = { XDG_STATE_HOME: newFolder() }
    const refused = await found.run(["resume", "s.json"], undefined, stranger)
    expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/give them again: .*--mcp/) })
    expect(found.log()).toHaveLength(before)
    const given = await found.run(["resume", "s.json", ...found.flags], undefined, stranger)
    expect(given.stderr).toContain("It starts MCP servers: button=")
    expect(given.exitCode).toBe(3)
  })

  test("other servers on resume are refused", async () => {
    const found = await place([calls("button__press"), "Done."])
    await found.run(["run", ...found.flags, "--state", "s.json", "Press."])
    expect(await found.run(["resume", "s.json", "--mcp", "node other.js"])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("another list of MCP servers"),
    })
  })

  test("a server that does not start names what it wrote, and the others are ended", async () => {
    const found = await place(["Done."], "broken")
    const other = await place(["Done."])
    const { exitCode, stderr } = await found.run([
      "run",
      ...found.flags,
      "--mcp",
      `other=${(other.mcp[1] ?? "").slice("button=".length)}`,
      "--approve",
      "auto",
      "Go.",
    ])
    expect(exitCode).toBe(2)
    expect(stderr).toMatch(
      /^turn-machine: The MCP server button cannot be used\. .* Its process ended with exit code 1\. It wrote: no such account\n$/,
    )
    await allGone(other.log())
  })

  test("a program that is not an MCP server is shown by what it writes", async () => {
    const found = await place(["Done."], "web")
    const { exitCode, stderr } = await found.run(["run", ...found.flags, "--approve", "auto", "Go."])
    expect(exitCode).toBe(2)
    expect(stderr).toMatch(/cannot be reached: [^.]*\. Its process ended with exit code 0\. /)
    expect(stderr).toContain(" A line that it wrote to standard output is not a message of MCP: Listening on port 3000\n")
  })

  test("a refusal over HTTP does not repeat a key, to the model or in a file", async () => {
    const server = createServer((request, response) => {
      let text = ""
      request.on("data", (piece: Buffer) => {
        text += piece.toString()
      })
      request.on("end", () => {
        if (request.method !== "POST") return void response.writeHead(405).end()
        const { id, method } = JSON.parse(text) as { readonly id?: number; readonly method: string }
        const answer = (result: object): void =>
          void response.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, result }))
        if (id === undefined) return void response.writeHead(202).end()
        if (method === "initialize")
          return answer({ protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo: { name: "s", version: "1" } })
        if (method === "tools/list")
          return answer({ tools: [{ name: "look", inputSchema: { type: "object" }, annotations: { readOnlyHint: true } }] })
        response.writeHead(403).end(`No access for ${request.headers.authorization ?? ""}`)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const found = await place([calls("web__look"), "Done."])
    const web = { url: `http://127.0.0.1:${port}/mcp`, headers: { Authorization: `Bearer $\u007bWEB_KEY}` } }
    fill(found.base, { "mcp.json": JSON.stringify({ mcpServers: { web } }) })
    const args = ["run", "--mcp-config", "mcp.json", ...found.flags.slice(2), "--approve", "auto", "--state", "s.json", "Look."]
    const ran = await found.run(args, undefined, { WEB_KEY: "key-0123456789" })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    const state = readFileSync(join(found.base, "s.json"), "utf8")
    expect(state).toContain("No access for [secret]")
    for (const text of [ran.stdout, state, JSON.stringify(found.model.requests)]) expect(text).not.toContain("key-0123456789")
  })

  test("a program that does not exist is named", async () => {
    const found = await place(["Done."])
    const { exitCode, stderr } = await found.run(["run", "--mcp", "no-such-program-here", ...found.flags.slice(2), "--approve", "auto", "Go."])
    expect(exitCode).toBe(2)
    expect(stderr).toContain('the program "no-such-program-here" was not found')
  })

  test("Ctrl-C reaches this program alone, and ends the server with it", async () => {
    const found = await place([calls("button__hang"), "Done."])
    const spawned = spawnCli(bundled, ["run", ...found.flags, "--approve", "auto", "Hang."], { cwd: found.base, detached: true })
    await until(() => found.log().some((line) => line.startsWith("call hang")))
    // As a terminal does: to the whole group of the command.
    process.kill(-(spawned.child.pid as number), "SIGINT")
    expect((await spawned).exitCode).toBe(1)
    await allGone(found.log())
    expect(found.log()).not.toContain("SIGINT")
  })

  test("--json reports the servers", async () => {
    const found = await place(["Done."])
    const { stdout } = await found.run(["run", ...found.flags, "--approve", "auto", "--json", "Go."])
    const [started] = stdout.split("\n").map((line) => JSON.parse(line || "null"))
    expect(started).toMatchObject({
      type: "run_started",
      servers: [
        {
          name: "button",
          tools: ["button__env", "button__hang", "button__look", "button__press"],
          problems: [{ tool: "bad", code: "invalid_schema" }],
        },
      ],
    })
  })
})

async function heldId(found: Place, state: string): Promise<string> {
  const { stdout } = await found.run(["approvals", state, "--json"])
  return (JSON.parse(stdout.split("\n")[0] ?? "") as { readonly requestId: string }).requestId
}

describe("run --mcp-config", () => {
  const config = (found: Place, more: object = {}): string =>
    JSON.stringify({ mcpServers: { "my button": { command: process.execPath, args: [SERVER, join(found.base, "server.log")], ...more } } })

  test("starts the servers of the file, with the environment that it gives", async () => {
    const found = await place([calls("my_button__env"), "Done."])
    fill(found.base, { "mcp.json": config(found, { env: { TOKEN_OF_BUTTON: `$\{MY_TOKEN}` } }) })
    const args = ["run", "--mcp-config", "mcp.json", ...found.flags.slice(2), "--approve", "auto", "--state", "s.json", "Go."]
    expect(await found.run(args)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("needs the environment variable MY_TOKEN") })
    expect(await found.run(args, undefined, { MY_TOKEN: "s3cret" })).toMatchObject({ exitCode: 0 })
    expect(resultsRead(found)[0]?.split(" ")).toContain("TOKEN_OF_BUTTON")
    expect(readFileSync(join(found.base, "s.json"), "utf8")).not.toContain("s3cret")
  })

  test("a file that changed since is not started until it is given again", async () => {
    const found = await place([calls("my_button__press"), "Done."])
    fill(found.base, { "mcp.json": config(found) })
    const args = ["run", "--mcp-config", "mcp.json", ...found.flags.slice(2), "--state", "s.json", "Go."]
    expect(await found.run(args)).toMatchObject({ exitCode: 3 })
    const started = found.log().length
    fill(found.base, { "mcp.json": config(found, { env: { OTHER: "1" } }) })
    expect(await found.run(["resume", "s.json"])).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("changed since you gave it") })
    expect(found.log()).toHaveLength(started)
    expect(await found.run(["resume", "s.json", "--mcp-config", "mcp.json"])).toMatchObject({ exitCode: 3, stderr: "" })
    expect(await found.run(["resume", "s.json"])).toMatchObject({ exitCode: 3, stderr: "" })
  })
})

describe("goal --mcp", () => {
  const done = calls("update_goal", { status: "complete" })

  test("uses the tools in each turn, asks, and ends the server with the goal", async () => {
    const found = await place([calls("button__press"), calls("button__look"), "Looked.", done, "Done."])
    const { exitCode, stdout } = await found.run(
      ["goal", ...found.flags, "--budget-tokens", "none", "Press the button."],
      new TestTerminal(["a", "a"]),
    )
    expect(exitCode).toBe(0)
    expect(stdout).toContain("servers  button: 4 tools, 1 left out")
    expect(found.log().slice(1)).toEqual(["call press {}", "call look {}", "end"])
    await allGone(found.log())
  })

  test("waits for a decision, and goal resume connects again", async () => {
    const found = await place([calls("button__press"), done, "Done."])
    const flags = ["goal", ...found.flags, "--budget-tokens", "none", "--state", "g"]
    expect(await found.run([...flags, "Press."])).toMatchObject({ exitCode: 3 })
    await allGone(found.log())
    expect(await found.run(["decide", "g", await heldId(found, "g"), "approve"])).toMatchObject({ exitCode: 0, stderr: "" })
    expect(await found.run(["goal", "resume", "--state", "g"])).toMatchObject({ exitCode: 0 })
    expect(found.log().filter((line) => line.startsWith("call"))).toEqual(["call press {}"])
    expect(await found.run(["goal", "status", "--state", "g"])).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("complete") })
  })
})
