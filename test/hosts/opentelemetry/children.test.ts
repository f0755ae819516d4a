import { context } from "@opentelemetry/api"
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks"
import { afterAll, beforeAll, expect, test } from "vitest"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { childTool, detachedChildren } from "../../../src/hosts/child/index.ts"
import type { Host, Suspended } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { asked, configOf, START, says, USAGE } from "../child/support.ts"
import { watch } from "./support.ts"

beforeAll(() => void context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()))
afterAll(() => context.disable())

const pay = {
  spec: { name: "pay", description: "", inputSchema: { type: "object" } },
  call: async () => ({ output: { status: "success" as const, value: "paid" } }),
}

/** A process whose parent has one child, which pays and is asked before. */
function processOf(store = memoryJournalStore(), isDetached = false) {
  const watched = watch()
  const { runTurn } = watched.telemetry
  const llmCall: Host["llmCall"] = async (effect) => {
    const { task, answers } = asked(effect)
    if (task === "parent") return answers === 0 ? says("", "sub:c1:bill") : says("done")
    return answers === 0 && !isDetached ? says("", "pay:p1:tea") : says("paid")
  }
  const driver = approvalDriver(chatDriver(), { policy: () => ({ hold: {} }) })
  const tools = toolbox([pay])
  const children = detachedChildren()
  const options = { name: "sub", description: "", config: configOf([pay], { driver }), host: { llmCall, tools }, runTurn }
  const sub = childTool({ ...options, ...(isDetached && { detached: children }) })
  const host: Host = { llmCall, tools: toolbox([sub]) }
  const run = (signal?: AbortSignal) =>
    journaled(host, store, { runTurn }).run(
      "t",
      { config: configOf([sub]), start: START, turnId: "T" },
      { suspend: true, ...(signal !== undefined && { signal }) },
    )
  return { ...watched, store, children, run }
}

test("a child's turn is in the span of its call; resumed in another process, in the span that resumes the call, with a link to the first, and to its own first run", async () => {
  const first = processOf()
  const suspended = (await first.run()) as Suspended
  expect(first.tree()).toBe(`
invoke_agent
  chat scripted
  execute_tool sub
    invoke_agent
      chat scripted
`)
  const call = first.span("execute_tool sub").spanContext()
  const [child] = suspended.children ?? []
  expect(child?.parent?.trace).toBe(`00-${call.traceId}-${call.spanId}-01`)
  const [, , , began] = first.spans()
  expect(began?.links).toEqual([])
  expect(began?.attributes).toMatchObject({ "turn_machine.parent.turn.id": "T", "turn_machine.parent.call.id": "c1" })

  const [held] = child?.held ?? []
  const journal = await TurnJournal.open(first.store, child?.name ?? "")
  await journal.decide([{ requestId: held?.requestId ?? "", digest: held?.digest ?? "", decision: "approve" }])
  await journal.close()

  const second = processOf(first.store)
  expect((await second.run()).type).toBe("done")
  expect(second.tree()).toBe(`
invoke_agent
  resume_tool sub
    invoke_agent
      execute_tool pay
      chat scripted
  chat scripted
`)
  const [parent, , resumed] = second.spans()
  // One model call each: what a child used is not counted again by the turn above it.
  const used = second
    .spans()
    .filter(({ name }) => name === "chat scripted")
    .map(({ attributes }) => attributes["gen_ai.usage.output_tokens"])
  expect(used).toEqual([USAGE.outputTokens, USAGE.outputTokens])
  for (const span of [parent, resumed]) expect(span?.attributes["gen_ai.usage.output_tokens"]).toBe(USAGE.outputTokens)
  expect(resumed?.attributes["turn_machine.resumed"]).toBe(true)
  const before = began?.spanContext()
  expect(resumed?.links.map((link) => link.context)).toMatchObject([
    { traceId: call.traceId, spanId: call.spanId },
    { traceId: before?.traceId, spanId: before?.spanId },
  ])
})

test("a child that is cancelled in another process is in the span that cancels the call", async () => {
  const first = processOf()
  await first.run()
  const second = processOf(first.store)
  await second.run(AbortSignal.abort("no"))
  expect(second.tree()).toBe(`
invoke_agent
  cancel_tool sub
    invoke_agent
`)
})

test("a child in the background is in the span of the call that began it", async () => {
  const { run, children, tree } = processOf(memoryJournalStore(), true)
  await run()
  await children.idle()
  expect(tree()).toContain(`
  execute_tool sub
    invoke_agent
      chat scripted
`)
})
