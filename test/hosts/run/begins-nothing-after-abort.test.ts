import { describe, expect, test } from "vitest"
import * as z from "zod"
import type { Host, HostTools } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { PendingToolCall } from "../../../src/schemas/tool.ts"
import { calls, configOf, deferred, execDriver, neverCalled, says, script, start } from "./support.ts"

const crash = new Error("The process was killed.")
const isFatal = (error: unknown): boolean => error === crash
const CODE = { observations: ["2"], toolCalls: [], images: [], printedImages: [], durationMs: 1 }

/** Lets everything run that is ready. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 5)
  })
}

describe("once work whose lookup ends after the run was stopped", () => {
  test("does not begin after the turn was cancelled", async () => {
    const store = memoryJournalStore()
    const turn = { config: configOf(), start }
    const killed: Host = {
      llmCall: script(calls(["c1", "pay"])),
      tools: {
        effects: () => "once",
        call: async () => {
          throw crash
        },
      },
    }
    await expect(journaled(killed, store).run("t", turn, { isFatal })).rejects.toBe(crash)
    const found = deferred<{ ran: false }>()
    const controller = new AbortController()
    let ran = 0
    const call = async (): Promise<never> => {
      ran += 1
      throw new Error("It began.")
    }
    const host: Host = { llmCall: neverCalled, tools: { effects: () => "once", call, recover: () => found.promise } }
    setTimeout(() => controller.abort("Stop."), 1)
    const done = await journaled(host, store).run("t", turn, { signal: controller.signal, cancelGraceMs: 5 })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    found.resolve({ ran: false })
    await nextTask()
    expect(ran).toBe(0)
  })

  test("does not begin a second time beside the next run", async () => {
    const store = memoryJournalStore()
    const turn = { config: configOf(), start }
    const began: string[] = []
    const tools = (call: (given: PendingToolCall) => Promise<void>, recover?: () => Promise<{ ran: false }>): HostTools => ({
      effects: ({ toolName }) => (toolName === "pay" ? "once" : "none"),
      call: async (given) => {
        await call(given)
        return { output: { status: "success", value: "fine" } }
      },
      ...(recover && { recover }),
    })
    const killed = tools(async () => {
      throw crash
    })
    await expect(journaled({ llmCall: script(calls(["c1", "pay"], ["c2", "look"])), tools: killed }, store).run("t", turn, { isFatal })).rejects.toBe(
      crash,
    )
    const found = deferred<{ ran: false }>()
    const host = (recover: () => Promise<{ ran: false }>): Host => ({
      llmCall: script(says("Done.")),
      tools: tools(async ({ toolName }) => void began.push(toolName), recover),
    })
    const onEvent = ({ type }: { readonly type: string }): void => {
      if (type === "tool_call") throw new Error("The screen is gone.")
    }
    await expect(
      journaled(
        host(() => found.promise),
        store,
      ).run("t", turn, { onEvent }),
    ).rejects.toThrow("The screen is gone.")
    await journaled(
      host(async () => ({ ran: false })),
      store,
    ).run("t", turn)
    found.resolve({ ran: false })
    await nextTask()
    expect(began.filter((name) => name === "pay")).toHaveLength(1)
  })

  test("code does not begin either", async () => {
    const store = memoryJournalStore()
    const turn = { config: configOf({ driver: execDriver }), start }
    const killed: Host = {
      llmCall: neverCalled,
      code: {
        effects: "once",
        run: async () => {
          throw crash
        },
      },
    }
    await expect(journaled(killed, store).run("t", turn, { isFatal })).rejects.toBe(crash)
    const found = deferred<{ ran: false }>()
    const controller = new AbortController()
    let ran = 0
    const run = async (): Promise<typeof CODE> => {
      ran += 1
      return CODE
    }
    setTimeout(() => controller.abort("Stop."), 1)
    const host: Host = { llmCall: neverCalled, code: { effects: "once", run, recover: () => found.promise } }
    await journaled(host, store).run("t", turn, { signal: controller.signal, cancelGraceMs: 5 })
    found.resolve({ ran: false })
    await nextTask()
    expect(ran).toBe(0)
  })
})

test("a defined tool does not begin after an abort during the check of its arguments", async () => {
  const checked = deferred<boolean>()
  let ran = 0
  const pay = defineTool({
    name: "pay",
    description: "Pays.",
    input: z.object({}).refine(() => checked.promise),
    effects: "once",
    execute: () => {
      ran += 1
      return "paid"
    },
  })
  const tools = toolbox([pay])
  const controller = new AbortController()
  setTimeout(() => controller.abort("Stop."), 1)
  const host: Host = { llmCall: script(calls(["c1", "pay"])), tools }
  const turn = { config: configOf({ tools: tools.specs }), start }
  await journaled(host, memoryJournalStore()).run("t", turn, { signal: controller.signal, cancelGraceMs: 5 })
  checked.resolve(true)
  await nextTask()
  expect(ran).toBe(0)
})
