import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { pending } from "../../src/hosts/index.ts"
import { journaled } from "../../src/hosts/journal/journaled.ts"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import { defineTool } from "../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { LlmResponse } from "../../src/wire/llm.ts"
import { newFolder, runCli } from "./harness.ts"

const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }

/** A program that uses the library: its tool starts jobs, and the jobs report later. */
async function waitingForJobs(): Promise<{ readonly base: string; run(): Promise<string> }> {
  const base = newFolder()
  const job = defineTool({
    name: "start_job",
    description: "Starts a job.",
    effects: "once",
    input: z.object({ name: z.string() }),
    execute: ({ name }) => pending({ token: `job-${name}`, note: "It may take a day." }),
  })
  const tools = toolbox([job])
  const config: TurnConfig = {
    driver: chatDriver(),
    projector: chatProjector,
    model: "test",
    sessionId: "test",
    systemPrompt: "",
    tools: tools.specs,
    maxIterations: 5,
    generation: {},
    syncExecutionSurface: false,
    emitLlmTrace: false,
  }
  const host: Host = {
    tools,
    llmCall: async ({ request }): Promise<LlmResponse> => {
      const results = request.messages.flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === "tool_result" ? [block.text] : [])))
      if (results.length > 0) return { text: results.join("|"), parts: [{ type: "text", text: results.join("|") }], usage, terminalReason: "stop" }
      const parts = ["one", "two"].map(
        (name) => ({ type: "tool_call", callId: `call_${name}`, toolName: "start_job", inputJson: JSON.stringify({ name }) }) as const,
      )
      return { text: "", parts, usage, terminalReason: "tool_use" }
    },
  }
  const turn = { config, start: { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Go." }] }] } } as const
  const run = async (): Promise<string> => {
    const result = await journaled(host, fileJournalStore(join(base, "turns")), { snapshotEveryRecords: 1 }).run("t1", turn, { suspend: true })
    if (result.type === "suspended") return `suspended: ${result.pending.map(({ token }) => token).join(", ")}`
    return result.outcome.type === "finished" && result.outcome.finish.type === "assistant_message" ? result.outcome.finish.text : result.outcome.type
  }
  expect(await run()).toBe("suspended: job-one, job-two")
  return { base, run }
}

describe("turn-machine answer", () => {
  it("gives the results of calls that continued outside, and the turn continues with them", async () => {
    const { base, run } = await waitingForJobs()
    const listed = await runCli(["approvals", "turns"], { cwd: base })
    expect(listed.stdout).toContain(
      "start_job, call call_one, as job-one: It may take a day.\n  turn-machine answer turns/t1 call_one --value JSON\n",
    )
    const json = (await runCli(["approvals", "turns", "--json"], { cwd: base })).stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(json.map(({ type }) => type)).toEqual(["pending", "pending", "approvals"])

    expect(await runCli(["answer", "turns", "job-one", "--value", '{"ok":true}'], { cwd: base })).toEqual({
      exitCode: 0,
      stderr: "",
      stdout: "Answered: start_job (call_one). The next run of the turn continues.\n",
    })
    expect(await run()).toBe("suspended: job-two")
    expect(await runCli(["answer", "turns/t1", "call_two", "--error", "It broke."], { cwd: base })).toMatchObject({ exitCode: 0 })
    expect(await run()).toBe('{"ok":true}|[Tool execution failed]\nIt broke.')
  })

  it("reads a value from standard input, and explains what it cannot use", async () => {
    const { base } = await waitingForJobs()
    const before = readFileSync(join(base, "turns/t1"), "utf8")
    const error = async (...args: readonly string[]): Promise<string> => (await runCli(["answer", "turns", ...args], { cwd: base })).stderr
    expect(await error("call_one", "--value", "done")).toMatch(/^turn-machine: --value is not JSON: .*\. A text needs quotes: --value '"done"'\.\n$/)
    expect(await error("call", "--value", "1")).toBe(
      "turn-machine: call names 2 calls. Give more of the id.\n   call_one  start_job, outside as job-one\n   call_two  start_job, outside as job-two\n",
    )
    expect(await error("call_onr", "--value", "1")).toContain(
      "is named call_onr. Did you mean call_one? To list them: turn-machine approvals turns\n",
    )
    expect(await error("call_one", "--value", "1", "--error", "x")).toContain("either --value JSON or --error TEXT")
    expect((await runCli(["decide", "turns", "call_one", "approve"], { cwd: base })).stderr).toBe(
      "turn-machine: No call in turns waits for a decision.\n",
    )
    expect(readFileSync(join(base, "turns/t1"), "utf8")).toBe(before)
    expect(await runCli(["answer", "turns", "call_one", "--value", "-"], { cwd: base, input: "[1]" })).toMatchObject({ exitCode: 0 })
    expect(await error("call_one", "--value", "2")).toContain("No call in turns that waits for a result from outside is named call_one.")
  })
})
