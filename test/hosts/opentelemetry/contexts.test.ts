import { context, trace } from "@opentelemetry/api"
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks"
import { afterAll, beforeAll, expect, test } from "vitest"
import { judgeValidation } from "../../../src/checks/judge.ts"
import { ChecklistJudge, manageChecklist, newChecklistState } from "../../../src/drivers/checklist/index.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { runJudge } from "../../../src/hosts/judge/run-judge.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { answer, answers, CONFIG, watch } from "./support.ts"

beforeAll(() => void context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()))
afterAll(() => context.disable())

test("spans that executors start are children of their span, also concurrently, and the turn's span is a child of the caller's", async () => {
  const { telemetry, tracer, tree } = watch()
  const begin = async (name: string): Promise<void> => {
    await Promise.resolve()
    tracer.startSpan(name).end()
  }
  const model = answers(answer("one#a", "two#b"), answer("Three."))
  const host: Host = {
    async llmCall() {
      await begin("POST")
      return model()
    },
    tools: {
      async call({ toolName }) {
        await begin(`query ${toolName}`)
        return { output: { status: "success", value: 1 } }
      },
      effects: () => "idempotent",
    },
    save: () => begin("save"),
  }
  await tracer.startActiveSpan("request", async (request) => {
    await telemetry.runTurn(new TurnMachine(CONFIG, START), host)
    expect(trace.getActiveSpan()).toBe(request)
    request.end()
  })
  expect(tree().replaceAll("    save\n", "")).toBe(`
request
  invoke_agent
    chat m
      POST
    execute_tool one
      query one
    execute_tool two
      query two
    chat m
      POST
`)
  expect(tree()).toContain("\n    save\n")
})

test("a judge's calls are children of the active span", async () => {
  const { telemetry, tracer, tree } = watch()
  const config = { model: "judge", validation: judgeValidation }
  const { state } = manageChecklist(config, newChecklistState(), { type: "set", goal: "ship it", at: 0 })
  const judge = new ChecklistJudge(config, state, { response: "I shipped it.", at: 0 })
  await tracer.startActiveSpan("judgement", async (judgement) => {
    await runJudge(judge, telemetry.traced({ llmCall: () => Promise.reject(new Error("down")) }))
    judgement.end()
  })
  expect(tree()).toBe("\njudgement\n  chat judge !executor_threw\n")
})
