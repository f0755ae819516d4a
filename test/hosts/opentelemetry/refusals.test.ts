import { expect, test } from "vitest"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type Host, pending } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { answer, answers, CONFIG, watch } from "./support.ts"

const success = { output: { status: "success", value: 1 } } as const
const MODEL = { "gen_ai.provider.name": "openai", "gen_ai.request.model": "m" }
const FUNCTION = { "gen_ai.tool.type": "function" }

test("a call that no tool ran has a span with the reason, and is counted apart from those that ran", async () => {
  const { telemetry, tree, spans, metric } = watch()
  const driver = approvalDriver(chatDriver(), { policy: ({ toolName }) => (toolName === "pay" ? { deny: "secret reason" } : "run") })
  const ran: string[] = []
  const host: Host = {
    llmCall: answers(answer("count#a", "pay#b", "invented secret tool#c"), answer("Done.")),
    tools: {
      async call({ toolName }) {
        ran.push(toolName)
        return success
      },
      effects: () => "idempotent",
    },
  }
  await telemetry.runTurn(new TurnMachine({ ...CONFIG, driver }, START), host, { suspend: true })
  expect(ran).toEqual(["count"])
  expect(tree()).toBe(`
invoke_agent
  chat m
  execute_tool pay !denied_by_policy
  execute_tool _OTHER !unknown_tool
  execute_tool count
  chat m
`)
  const [, , denied] = spans()
  expect(denied?.attributes).toEqual({
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "pay",
    "gen_ai.tool.call.id": "b",
    ...FUNCTION,
    "turn_machine.tool.refused": true,
    "turn_machine.iteration": 0,
    "error.type": "denied_by_policy",
  })
  expect(denied?.events).toEqual([])
  expect(denied?.status.message).toBeUndefined()
  // A name that the model made up is no tag.
  expect(await metric("turn_machine.tool.refusals")).toEqual([
    { attributes: { ...MODEL, "gen_ai.tool.name": "pay", ...FUNCTION, "error.type": "denied_by_policy" }, value: 1 },
    { attributes: { ...MODEL, "gen_ai.tool.name": "_OTHER", ...FUNCTION, "error.type": "unknown_tool" }, value: 1 },
  ])
  expect(await metric("gen_ai.execute_tool.duration")).toMatchObject([{ attributes: { "gen_ai.tool.name": "count" }, value: { count: 1 } }])
  expect(await metric("gen_ai.invoke_agent.tool_calls")).toEqual([{ attributes: MODEL, value: { count: 1, sum: 1 } }])
})

test("a host without tools refuses each call", async () => {
  const { telemetry, tree } = watch()
  await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: answers(answer("count#a"), answer("Done.")) })
  expect(tree()).toBe("\ninvoke_agent\n  chat m\n  execute_tool count !no_tools\n  chat m\n")
})

test("the same id in a later batch is a call of its own", async () => {
  const { telemetry, tree } = watch()
  const tools: NonNullable<Host["tools"]> = { call: async () => success, effects: () => "idempotent" }
  await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: answers(answer("count#a"), answer("no such#a"), answer("Done.")), tools })
  expect(tree()).toBe("\ninvoke_agent\n  chat m\n  execute_tool count\n  chat m\n  execute_tool _OTHER !unknown_tool\n  chat m\n")
})

test("a call that failed outside was not refused", async () => {
  const store = memoryJournalStore()
  const turn = { config: CONFIG, start: START, turnId: "T" }
  const host: Host = {
    llmCall: answers(answer("count#a"), answer("Done.")),
    tools: { call: async () => pending({ token: "job" }), effects: () => "once" },
  }
  const first = watch()
  await journaled(host, store, { runTurn: first.telemetry.runTurn }).run("t", turn, { suspend: true })
  const journal = await TurnJournal.open(store, "t")
  const failure = { class: "external", code: "job_failed", message: "No.", source: "tool", retry: { type: "never" } } as const
  await journal.answer("a", { output: { status: "failure", failure } })
  await journal.close()
  const second = watch()
  const done = await journaled(host, store, { runTurn: second.telemetry.runTurn }).run("t", turn, {})
  expect(done.outcome.type).toBe("finished")
  expect(second.tree()).not.toContain("job_failed")
  expect(await second.metric("turn_machine.tool.refusals")).toEqual([])
})
