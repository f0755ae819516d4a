import { spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { beforeAll, describe, expect, test } from "vitest"
import { pinned, UserFolder } from "../package/support.ts"
import { installTools } from "./tools.ts"

// The packed package as npm installs it, without a bundler. docs/edge.md names the flags.

const PROGRAM = `
import { chatDriver, chatProjector } from "turn-machine"
import { defineTool, memoryJournalStore, toolbox } from "turn-machine/hosts"
import { runThread, Thread } from "turn-machine/hosts/thread"
import { scriptedModel } from "turn-machine/testing"
import * as z from "zod"

const add = defineTool({ name: "add", description: "Adds.", input: z.object({ a: z.number(), b: z.number() }), execute: ({ a, b }) => a + b })
const tools = toolbox([add])
const { llmCall } = scriptedModel([{ toolCalls: [{ toolName: "add", args: { a: 2, b: 40 } }] }, "It is 42."])
const config = { driver: chatDriver(), projector: chatProjector, model: "scripted", tools: tools.specs }
const thread = await Thread.open(memoryJournalStore(), "sums", { config, goals: false })
await thread.say("What is 2 + 40?")
const { outcome } = await runThread(thread, { llmCall, tools })
console.log(JSON.stringify(outcome))
`

const PRINTED = '{"type":"finished","finish":{"type":"assistant_message","text":"It is 42."}}\n'

/** A turn that visits five stops, journaled in files. At the stop that is given, it says so and waits until it is killed. */
const JOURNEY = `
import process from "node:process"
import { chatDriver, chatProjector, userMessage } from "turn-machine"
import { defineTool, toolbox } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { fileJournalStore } from "turn-machine/hosts/node"
import { scriptedModel } from "turn-machine/testing"
import * as z from "zod"

const [place, waitsAt] = process.argv.slice(2)
const visit = defineTool({
  name: "visit",
  description: "Visits a stop.",
  input: z.object({ stop: z.int() }),
  async execute({ stop }) {
    if (String(stop) !== waitsAt) return \`\${stop} in \${place}\`
    console.log("waits")
    await new Promise((resolve) => setTimeout(resolve, 600_000))
  },
})
const tools = toolbox([visit])
const calls = [1, 2, 3, 4, 5].map((stop) => ({ toolCalls: [{ toolName: "visit", args: { stop } }] }))
const config = { driver: chatDriver(), projector: chatProjector, model: "scripted", tools: tools.specs }
const host = { llmCall: scriptedModel([...calls, "Done."]).llmCall, tools }
const turn = { config, start: { messages: [userMessage("Go.")] }, turnId: "journey" }
const { messages } = await journaled(host, fileJournalStore("journals"), { waitMs: 60_000 }).run("journey.jsonl", turn)
for (const { parts } of messages) for (const part of parts) if (part.type === "tool_result") console.log(part.text)
`

/** Runs a turn with the runtime's own SQLite, and prints the journals in the database. */
const SQLITE = `
import process from "node:process"
import { chatDriver, chatProjector, userMessage } from "turn-machine"
import { sqliteJournalStore } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { scriptedModel } from "turn-machine/testing"

const name = process.argv[2]
const { Database, DatabaseSync } = await import(name === "bun" ? "bun:sqlite" : "node:sqlite")
const database = name === "bun" ? new Database("turns.db") : new DatabaseSync("turns.db")
const store = sqliteJournalStore(database)
const config = { driver: chatDriver(), projector: chatProjector, model: "scripted" }
const turn = { config, start: { messages: [userMessage("Hello")] } }
const { outcome } = await journaled({ llmCall: scriptedModel(["Hi."]).llmCall }, store).run(name, turn)
for await (const each of store.list()) console.log(outcome.type, each)
database.close()
`

/** Starts a program and kills it when it prints a line. */
async function killedAtLine(cwd: string, command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "inherit"] })
  const closed = new Promise((resolve) => child.once("close", resolve))
  let printed = ""
  for await (const line of createInterface({ input: child.stdout })) {
    printed += line
    child.kill("SIGKILL")
  }
  await closed
  return printed
}

describe("the packed package without a bundler", () => {
  const user = new UserFolder()
  let modules: string | undefined
  let missing = ""

  beforeAll(async () => {
    modules = await installTools().catch((error: unknown) => {
      if (process.env["CI"] === "true") throw error
      missing = String(error)
      return undefined
    })
    if (modules === undefined) return
    await user.install("turn-machine", pinned("zod"))
    user.write("main.mjs", PROGRAM)
    user.write("journey.mjs", JOURNEY)
    user.write("sqlite.mjs", SQLITE)
  }, 600_000)

  /** The command of a runtime, without the program. */
  function command(runtime: string): readonly [string, ...string[]] {
    if (runtime === "bun") return [join(modules ?? "", ".bin/bun")]
    if (runtime === "deno") return [join(modules ?? "", ".bin/deno"), "run", "--no-prompt", "--quiet"]
    return [join(modules ?? "", runtime, "bin/node")]
  }

  test.each(["node-20", "node-24", "bun"])("runs in %s", async (runtime) => {
    if (modules === undefined) return
    const [file, ...args] = command(runtime)
    expect(await user.run(file, ...args, "main.mjs")).toEqual({ failed: false, output: PRINTED })
  })

  test("runs in Deno, which needs one permission", async ({ skip }) => {
    if (modules === undefined) return skip(missing)
    const [file, ...args] = command("deno")
    expect(await user.run(file, ...args, "--allow-env=NODE_ENV", "main.mjs")).toEqual({ failed: false, output: PRINTED })
    const refused = await user.run(file, ...args, "main.mjs")
    expect(refused.failed).toBe(true)
    expect(refused.output).toContain('Requires env access to "NODE_ENV"')
  })

  test("stores journals in one SQLite database from Bun, Deno and Node 24, each with its own SQLite", async ({ skip }) => {
    if (modules === undefined) return skip(missing)
    let expected = ""
    for (const runtime of ["bun", "deno", "node-24"]) {
      const [file, ...args] = command(runtime)
      const all = runtime === "deno" ? ["-A"] : []
      expected += `finished ${runtime}\n`
      expect(await user.run(file, ...args, ...all, "sqlite.mjs", runtime)).toEqual({ failed: false, output: expected })
    }
  })

  test("continues a turn in files where another runtime was killed", async ({ skip }) => {
    if (modules === undefined) return skip(missing)
    for (const [runtime, stop] of [
      ["bun", "2"],
      ["deno", "3"],
      ["node-20", "4"],
    ] as const) {
      const [file, ...args] = command(runtime)
      const all = runtime === "deno" ? ["-A"] : []
      expect(await killedAtLine(user.path, file, [...args, ...all, "journey.mjs", runtime, stop])).toBe("waits")
    }
    const [file, ...args] = command("node-24")
    const began = Date.now()
    expect(await user.run(file, ...args, "journey.mjs", "node-24", "none")).toEqual({
      failed: false,
      output: "1 in bun\n2 in deno\n3 in node-20\n4 in node-24\n5 in node-24\n",
    })
    // Each knows at once that the one before is gone. Waiting for its heartbeat would take 37.5 seconds.
    expect(Date.now() - began).toBeLessThan(30_000)
  })
})
