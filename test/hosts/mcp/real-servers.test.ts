import { mkdtemp, realpath, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Client as ClientTwo } from "@modelcontextprotocol/client"
import { StdioClientTransport as StdioTwo } from "@modelcontextprotocol/client/stdio"
import { Client as ClientOne } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport as StdioOne } from "@modelcontextprotocol/sdk/client/stdio.js"
import { afterAll, describe, expect, test } from "vitest"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import type { EffectContext, ToolAnswer } from "../../../src/hosts/host.ts"
import { type McpToolbox, type McpToolboxOptions, mcpToolbox } from "../../../src/hosts/mcp/index.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"

// The servers of the protocol's own project, as processes, with both versions of its client.

const { resolve } = createRequire(import.meta.url)
const EVERYTHING = [join(dirname(resolve("@modelcontextprotocol/server-everything/package.json")), "dist/index.js"), "stdio"]
const FILESYSTEM = [join(dirname(resolve("@modelcontextprotocol/server-filesystem/package.json")), "dist/index.js")]

const open: McpToolbox[] = []
afterAll(() => Promise.all(open.map((box) => box.close())))

async function start(
  version: 1 | 2,
  args: readonly string[],
  options: McpToolboxOptions,
): Promise<{ readonly box: McpToolbox; readonly pids: (number | null)[] }> {
  const pids: (number | null)[] = []
  const given = { command: process.execPath, args: [...args], stderr: "ignore" as const }
  const box = await mcpToolbox(async () => {
    if (version === 1) {
      const client = new ClientOne({ name: "test", version: "1" })
      const transport = new StdioOne(given)
      await client.connect(transport)
      pids.push(transport.pid)
      return client
    }
    const client = new ClientTwo({ name: "test", version: "1" })
    const transport = new StdioTwo(given)
    await client.connect(transport)
    pids.push(transport.pid)
    return client
  }, options)
  open.push(box)
  return { box, pids }
}

async function call(box: McpToolbox, toolName: string, args: object = {}, more: Partial<EffectContext> = {}): Promise<ToolAnswer> {
  const context = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {}, ...more }
  return box.call({ callId: "c1", toolName, args: args as never }, context)
}

describe.each([1, 2] as const)("with version %i of the client", { timeout: 120_000 }, (version) => {
  test("server-everything", async () => {
    const attachments = memoryAttachmentStore()
    const { box, pids } = await start(version, EVERYTHING, { prefix: "all", attachments, resources: true, prompts: true })
    expect(box.server?.name).toContain("everything")
    const names = box.specs.map(({ name }) => name)
    for (const name of ["all__echo", "all__get-sum", "all__trigger-long-running-operation", "all__read_resource", "all__get_prompt"])
      expect(names).toContain(name)
    for (const { description } of box.specs) expect(description).toMatch(/\[MCP all: [a-z, -]+\]$/)

    expect((await call(box, "all__echo", { message: "hi" })).output).toEqual({ status: "success", value: "Echo: hi" })
    expect((await call(box, "all__get-sum", { a: 2, b: 40 })).output).toMatchObject({ status: "success", value: expect.stringContaining("42") })
    // The server says what is wrong as a result, and the model reads it.
    expect((await call(box, "all__get-sum", { a: "two" })).output).toMatchObject({
      status: "failure",
      failure: { code: expect.stringMatching(/^mcp_/) },
    })

    const image = await call(box, "all__get-tiny-image")
    const attached = image.modelReturn?.parts.find((part) => part.type === "attachment")
    expect(attached?.type === "attachment" && attached.attachment.mediaType).toBe("image/png")
    const bytes = attached?.type === "attachment" ? await attachments.get(attached.attachment.id) : undefined
    expect([...(bytes ?? [])].slice(1, 4)).toEqual([0x50, 0x4e, 0x47])

    const weather = await call(box, "all__get-structured-content", { location: "New York" })
    expect(weather.output).toMatchObject({ status: "success", value: { conditions: expect.any(String) } })

    const events: TurnEvent[] = []
    const steps = await call(box, "all__trigger-long-running-operation", { duration: 1, steps: 3 }, { emit: (event) => events.push(event) })
    expect(steps.output).toMatchObject({ status: "success" })
    // The clients drop a notification that arrives together with the result.
    expect(events[0]).toMatchObject({ type: "tool_progress", name: "all__trigger-long-running-operation", progress: 1, total: 3 })

    const controller = new AbortController()
    const running = call(box, "all__trigger-long-running-operation", { duration: 60, steps: 60 }, { signal: controller.signal })
    const stopped = expect(running).rejects.toThrow("enough")
    setTimeout(() => controller.abort(new Error("enough")), 300)
    await stopped

    const { output: listed } = await call(box, "all__list_resources")
    const resources = listed.status === "success" ? (listed.value as { readonly resources: readonly { readonly uri: string }[] }).resources : []
    expect(resources.length).toBeGreaterThan(0)
    expect((await call(box, "all__read_resource", { uri: resources[0]?.uri })).output).toMatchObject({ status: "success" })
    expect((await call(box, "all__read_resource", { uri: "nothing://here" })).output).toMatchObject({ status: "failure" })

    // The process of the server is killed: the next call has another one.
    process.kill(pids[0] as number, "SIGKILL")
    await expect.poll(() => box.server, { timeout: 30_000 }).toBeUndefined()
    expect((await call(box, "all__echo", { message: "again" })).output).toEqual({ status: "success", value: "Echo: again" })
    expect(pids).toHaveLength(2)
  })

  test("server-filesystem", async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "mcp-files-")))
    await writeFile(join(folder, "notes.md"), "Buy milk.")
    const { box } = await start(version, [...FILESYSTEM, folder], { prefix: "files", allow: ["read_text_file", "write_file", "list_directory"] })
    expect(box.tools.map(({ name, effects, hints }) => `${name} ${effects} ${hints.readOnly}`)).toEqual([
      "list_directory none true",
      "read_text_file none true",
      "write_file idempotent false",
    ])
    const read = await call(box, "files__read_text_file", { path: join(folder, "notes.md") })
    expect(read.modelReturn?.parts[0] ?? read.output).toMatchObject({ text: "Buy milk." })
    const outside = await call(box, "files__read_text_file", { path: "/etc/hostname" })
    expect(outside.output).toMatchObject({
      status: "failure",
      failure: { code: "mcp_tool_error", message: expect.stringMatching(/denied|outside/i) },
    })
    const answers = box.specs.map((tool) => [
      tool.name,
      box.approvals({ callId: "c", toolName: tool.name, args: {} }, { grants: [], tool, iteration: 1 }),
    ])
    expect(Object.fromEntries(answers)).toMatchObject({ files__list_directory: "run", files__read_text_file: "run", files__write_file: { hold: {} } })
    await expect(start(version, [...FILESYSTEM, folder], { allow: ["read_fil"] })).rejects.toMatchObject({
      code: "unknown_tool",
      message: expect.stringContaining("read_file"),
    })
  })
})
