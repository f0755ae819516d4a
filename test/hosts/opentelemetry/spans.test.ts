import { SpanKind, SpanStatusCode } from "@opentelemetry/api"
import { describe, expect, test } from "vitest"
import * as z from "zod"
import { codeDriver } from "../../../src/drivers/code.ts"
import { type EffectContext, type Host, LlmCallError, ToolError } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { redirectRun } from "../../../src/hosts/run/wake-run.ts"
import { runThread, Thread } from "../../../src/hosts/thread/index.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { LlmCall } from "../../../src/schemas/effect.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { answer, answers, CONFIG, USAGE, watch } from "./support.ts"

const CALL: LlmCall = {
  type: "llm_call",
  id: 1,
  request: {
    model: "m",
    messages: [{ role: "user", blocks: [{ type: "image", attachmentIndex: 0 }] }],
    attachments: [{ id: "cat", mediaType: "image/png", byteLength: 9 }],
    tools: [],
    toolChoice: "auto",
    generation: {},
    outputSpec: { type: "json_object" },
  },
}

function effect(signal: AbortSignal = new AbortController().signal): EffectContext {
  return { effectId: 1, idempotencyKey: undefined, signal, emit: () => {} }
}

const success = { output: { status: "success", value: 1 } } as const

describe("a turn", () => {
  test("is a span, with a child for each model call, tool and checkpoint", async () => {
    const { telemetry, tree } = watch()
    const host: Host = {
      llmCall: answers(answer("count#a", "count#b"), answer("add#c"), answer("Three.")),
      tools: { call: async () => success, effects: () => "idempotent" },
      checkpoint: async () => undefined,
    }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), host)
    expect(tree()).toBe(`
invoke_agent
  chat m
  execute_tool count
  execute_tool count
  checkpoint after_work
  chat m
  execute_tool add
  checkpoint after_work
  chat m
  checkpoint before_completion
`)
  })

  test("records the provider, the request, the outcome and the usage", async () => {
    const { telemetry, spans } = watch({ agentName: "counter" })
    const host: Host = { llmCall: answers(answer("count#a"), answer("One.")), tools: { call: async () => success, effects: () => "idempotent" } }
    const config = { ...CONFIG, generation: { maxOutputTokens: 50 } }
    await telemetry.runTurn(new TurnMachine(config, START), host, { turnId: "turn-1", conversationId: "thread-1" })
    expect(spans().map(({ name, kind, attributes, status, events }) => ({ name, kind, attributes, status, events }))).toEqual([
      {
        name: "invoke_agent counter",
        kind: SpanKind.INTERNAL,
        status: { code: SpanStatusCode.UNSET },
        events: [],
        attributes: {
          "gen_ai.operation.name": "invoke_agent",
          "gen_ai.provider.name": "openai",
          "gen_ai.agent.name": "counter",
          "gen_ai.conversation.id": "thread-1",
          "gen_ai.request.model": "m",
          "gen_ai.usage.input_tokens": 200,
          "gen_ai.usage.output_tokens": 24,
          "turn_machine.turn.id": "turn-1",
          "turn_machine.iteration": 1,
          "turn_machine.outcome.type": "finished",
          "turn_machine.outcome.finish": "assistant_message",
        },
      },
      {
        name: "chat m",
        kind: SpanKind.CLIENT,
        status: { code: SpanStatusCode.UNSET },
        events: [],
        attributes: {
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "openai",
          "gen_ai.conversation.id": "thread-1",
          "gen_ai.request.model": "m",
          "gen_ai.request.max_tokens": 50,
          "gen_ai.response.finish_reasons": ["tool_call"],
          "gen_ai.usage.input_tokens": 100,
          "gen_ai.usage.cache_read.input_tokens": 70,
          "gen_ai.usage.output_tokens": 12,
          "gen_ai.usage.reasoning.output_tokens": 5,
          "turn_machine.effect.id": 1,
          "turn_machine.idempotency_key": "turn-1:1",
          "turn_machine.iteration": 0,
        },
      },
      {
        name: "execute_tool count",
        kind: SpanKind.INTERNAL,
        status: { code: SpanStatusCode.UNSET },
        events: [],
        attributes: {
          "gen_ai.operation.name": "execute_tool",
          "gen_ai.agent.name": "counter",
          "gen_ai.tool.name": "count",
          "gen_ai.tool.call.id": "a",
          "gen_ai.tool.type": "function",
          "turn_machine.effect.id": 2,
          "turn_machine.idempotency_key": "turn-1:2:a",
          "turn_machine.iteration": 0,
        },
      },
      {
        name: "chat m",
        kind: SpanKind.CLIENT,
        status: { code: SpanStatusCode.UNSET },
        events: [],
        attributes: {
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "openai",
          "gen_ai.conversation.id": "thread-1",
          "gen_ai.request.model": "m",
          "gen_ai.request.max_tokens": 50,
          "gen_ai.response.finish_reasons": ["stop"],
          "gen_ai.usage.input_tokens": 100,
          "gen_ai.usage.cache_read.input_tokens": 70,
          "gen_ai.usage.output_tokens": 12,
          "gen_ai.usage.reasoning.output_tokens": 5,
          "turn_machine.effect.id": 4,
          "turn_machine.idempotency_key": "turn-1:4",
          "turn_machine.iteration": 1,
        },
      },
    ])
  })

  test("names the purpose of side calls", async () => {
    const { telemetry, spans } = watch()
    const host = telemetry.traced({ llmCall: answers(answer("Summary."), answer("Three.")) })
    await host.llmCall({ ...CALL, purpose: "compaction" }, effect())
    await host.llmCall(CALL, effect())
    expect(spans().map(({ attributes }) => attributes["turn_machine.llm.purpose"])).toEqual(["compaction", undefined])
  })

  test("uses the conversation id of its requests by default", async () => {
    const { telemetry, span } = watch()
    await telemetry.runTurn(new TurnMachine({ ...CONFIG, runSessionId: "run-9" }, START), { llmCall: answers(answer("One.")) })
    expect(span("invoke_agent").attributes["gen_ai.conversation.id"]).toBe("run-9")
    expect(span("chat m").attributes["gen_ai.conversation.id"]).toBe("run-9")
  })

  test("a turn of a thread has the thread's id as its conversation, unless the run has one", async () => {
    const { telemetry, spans } = watch()
    const thread = await Thread.open(memoryJournalStore(), "ada", { config: CONFIG, goals: false })
    const host = { llmCall: answers(answer("One."), answer("Two.")) }
    await thread.say("Hello")
    await runThread(thread, host, { runTurn: telemetry.runTurn })
    await thread.say("Hello again")
    await runThread(thread, host, { runTurn: telemetry.runTurn, conversationId: "ticket-7" })
    const conversations = spans().map(({ name, attributes }) => [name, attributes["gen_ai.conversation.id"]])
    expect(conversations.filter(([name]) => name !== "checkpoint before_completion")).toEqual([
      ["invoke_agent", "ada"],
      ["chat m", "ada"],
      ["invoke_agent", "ticket-7"],
      ["chat m", "ticket-7"],
    ])
  })

  test("has no token attributes if the endpoint reports no usage", async () => {
    const { telemetry, spans } = watch()
    const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: answers({ ...answer("One."), usage }) })
    for (const { attributes } of spans()) expect(Object.keys(attributes).filter((name) => name.startsWith("gen_ai.usage"))).toEqual([])
  })

  test("shows each retry of a model call as an event of its span", async () => {
    const { telemetry, span } = watch({ captureErrorMessages: true })
    const shown: string[] = []
    await telemetry.runTurn(
      new TurnMachine(CONFIG, START),
      {
        async llmCall(_effect, { emit }) {
          const envelope = { kind: "llm_provider", code: "rate_limit_exceeded", userMessage: "Slow down." }
          emit({ type: "retry_status", waitSeconds: 0.5, attempt: 1, maxAttempts: 4, reason: "Slow down.", envelope })
          emit({ type: "retry_status", waitSeconds: 2, attempt: 2, maxAttempts: 4, reason: "No route." })
          return answer("One.")
        },
      },
      { onEvent: ({ type }) => shown.push(type) },
    )
    expect(span("chat m").events.map(({ name, attributes }) => ({ name, attributes }))).toEqual([
      {
        name: "turn_machine.retry",
        attributes: {
          "turn_machine.retry.attempt": 1,
          "turn_machine.retry.max_attempts": 4,
          "turn_machine.retry.wait_s": 0.5,
          "turn_machine.retry.reason": "Slow down.",
          "error.type": "rate_limit_exceeded",
        },
      },
      {
        name: "turn_machine.retry",
        attributes: {
          "turn_machine.retry.attempt": 2,
          "turn_machine.retry.max_attempts": 4,
          "turn_machine.retry.wait_s": 2,
          "turn_machine.retry.reason": "No route.",
        },
      },
    ])
    expect(span("chat m").status.code).toBe(SpanStatusCode.UNSET)
    expect(shown.filter((type) => type === "retry_status")).toHaveLength(2)
  })

  test("runs code in a span, and marks code that failed", async () => {
    const { telemetry, tree, spans, metric } = watch()
    const output = { observations: ["2"], toolCalls: [], images: [], printedImages: [], durationMs: 3 }
    const results = [output, { ...output, error: "x is not defined" }].values()
    const host: Host = {
      llmCall: answers(answer("```ts\n1 + 1\n```"), answer("```ts\nx\n```"), answer("Two.")),
      code: { run: async () => results.next().value ?? output },
    }
    await telemetry.runTurn(new TurnMachine({ ...CONFIG, tools: [], driver: codeDriver() }, START), host)
    expect(tree()).toContain("\n  chat m\n  execute_tool exec_code\n  chat m\n  execute_tool exec_code !code_failed\n  chat m\n")
    const [ran] = spans().filter(({ name }) => name === "execute_tool exec_code")
    expect(ran?.attributes).toEqual({
      "gen_ai.operation.name": "execute_tool",
      "gen_ai.tool.name": "exec_code",
      "gen_ai.tool.type": "extension",
      "turn_machine.effect.id": 2,
      "turn_machine.iteration": 0,
      "turn_machine.code.language": "ts",
    })
    const tool = { "gen_ai.tool.name": "exec_code", "gen_ai.tool.type": "extension", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m" }
    expect((await metric("gen_ai.execute_tool.duration")).map(({ attributes }) => attributes)).toEqual([
      tool,
      { ...tool, "error.type": "code_failed" },
    ])
  })

  test("asks for prompt and tools in a span", async () => {
    const { telemetry, tree } = watch()
    const host: Host = { llmCall: answers(answer("One.")), syncExecutionSurface: async () => undefined }
    await telemetry.runTurn(new TurnMachine({ ...CONFIG, syncExecutionSurface: true }, START), host)
    expect(tree()).toBe("\ninvoke_agent\n  sync_execution_surface\n  chat m\n")
  })
})

describe("a failure", () => {
  test("of a tool is an error of its span, with the failure's code, and not of the turn, which continues", async () => {
    const { telemetry, tree, spans } = watch({ captureErrorMessages: true })
    const told = {
      status: "failure",
      failure: { class: "external", code: "sold_out", message: "None left.", source: "tool", retry: { type: "never" } },
    } as const
    const host: Host = {
      llmCall: answers(answer("told#a", "thrown#b", "crashed#c", "fine#d", "stopped#e"), answer("Done.")),
      tools: {
        async call({ toolName }) {
          if (toolName === "told") return { output: told }
          if (toolName === "thrown") throw new ToolError({ class: "timeout", code: "too_slow", message: "It took too long." })
          if (toolName === "crashed") throw new TypeError("x is undefined")
          if (toolName === "stopped") return { output: { status: "cancelled", message: "Stopped.", source: "policy" } }
          return success
        },
        effects: () => "idempotent",
      },
    }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), host)
    expect(tree()).toBe(`
invoke_agent
  chat m
  execute_tool told !sold_out
  execute_tool thrown !too_slow
  execute_tool crashed !tool_threw
  execute_tool fine
  execute_tool stopped
  chat m
`)
    const failed = spans().filter(({ name }) => /told|thrown|crashed/.test(name))
    expect(failed.map(({ status }) => status.message)).toEqual(["None left.", "It took too long.", "x is undefined"])
    expect(
      failed.map(({ events }) => events.map(({ name, attributes = {} }) => [name, attributes["exception.type"], attributes["exception.message"]])),
    ).toEqual([
      [["exception", "sold_out", "None left."]],
      [["exception", "ToolError", "It took too long."]],
      [["exception", "TypeError", "x is undefined"]],
    ])
    expect(spans().find(({ name }) => name.endsWith("stopped"))?.attributes["turn_machine.cancelled"]).toBe(true)
  })

  test("of a tool made with defineTool is recorded, too", async () => {
    const { telemetry, tree } = watch()
    const divide = defineTool({ name: "divide", description: "Divides.", input: z.object({ by: z.number() }), execute: ({ by }) => 1 / by })
    await telemetry.runTurn(new TurnMachine(CONFIG, START), {
      llmCall: answers(answer("divide#a", "none#b"), answer("Done.")),
      tools: toolbox([divide]),
    })
    expect(tree()).toContain("\n  execute_tool divide !invalid_arguments\n  execute_tool none !unknown_tool\n")
  })

  test("of a model call that ends the turn gives its code to the turn's span, which also has the kind of the stop", async () => {
    const { telemetry, tree, span } = watch({ captureErrorMessages: true })
    const failure = { message: "No such model.", retryable: false, code: "model_not_found", terminalReason: "provider_error", usage: USAGE } as const
    const host: Host = { llmCall: () => Promise.reject(new LlmCallError(failure)) }
    const done = await telemetry.runTurn(new TurnMachine(CONFIG, START), host)
    const { code, terminalReason } = failure
    const error = { kind: "llm_provider", code, terminalReason, userMessage: "LLM error: No such model." }
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "provider_error", error } })
    expect(tree()).toBe("\ninvoke_agent !model_not_found\n  chat m !model_not_found\n")
    expect(span("chat m").status.message).toBe("No such model.")
    expect(span("chat m").attributes["gen_ai.usage.output_tokens"]).toBe(12)
    expect(span("invoke_agent").attributes).toMatchObject({ "turn_machine.outcome.type": "stopped", "turn_machine.outcome.stop": "provider_error" })
    expect(span("invoke_agent").events).toEqual([])
  })

  test("is recorded for invalid answers", async () => {
    const { telemetry, tree } = watch()
    const nothing = (): Promise<never> => Promise.resolve(undefined as never)
    await telemetry.runTurn(new TurnMachine(CONFIG, START), {
      llmCall: answers(answer("count#a"), nothing),
      tools: { call: nothing, effects: () => "idempotent" },
    })
    expect(tree()).toBe(`
invoke_agent !invalid_llm_response
  chat m
  execute_tool count !invalid_tool_result
  chat m !invalid_llm_response
`)
  })

  test("is also an answer that the provider ended with an error, but not a cancelled call", async () => {
    const { telemetry, tree, spans } = watch({ captureErrorMessages: true })
    const cut = { ...answer("On"), terminalReason: "provider_error", terminalDiagnostic: "The stream broke." } as const
    const cancelled = { message: "The call was cancelled.", retryable: false, code: "cancelled", terminalReason: "cancelled", usage: USAGE } as const
    const host = telemetry.traced({ llmCall: answers(cut, () => Promise.reject(new LlmCallError(cancelled))) })
    await host.llmCall(CALL, effect())
    await expect(host.llmCall(CALL, effect())).rejects.toThrow("cancelled")
    expect(tree()).toBe("\nchat m !provider_error\nchat m\n")
    expect(
      spans().map(({ status, attributes }) => [status.message, attributes["turn_machine.cancelled"], attributes["gen_ai.usage.output_tokens"]]),
    ).toEqual([
      ["The stream broke.", undefined, 12],
      [undefined, true, 12],
    ])
  })

  test("is not recorded for work that was cancelled before it started", async () => {
    const { telemetry, tree, span } = watch()
    const host = telemetry.traced({ llmCall: () => Promise.reject(new Error("aborted")) })
    await expect(host.llmCall(CALL, effect(AbortSignal.abort()))).rejects.toThrow("aborted")
    expect(tree()).toBe("\nchat m\n")
    expect(span("chat m").attributes["turn_machine.cancelled"]).toBe(true)
  })

  test("of the host itself ends the span and rejects the run", async () => {
    const { telemetry, tree, span } = watch({ captureErrorMessages: true })
    const full = new RangeError("The disk is full.")
    const run = telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: answers(answer("One.")), save: () => Promise.reject(full) })
    await expect(run).rejects.toBe(full)
    expect(tree()).toBe("\ninvoke_agent !RangeError\n")
    expect(span("invoke_agent").events.map(({ attributes }) => attributes?.["exception.message"])).toEqual(["The disk is full."])
  })
})

describe("a cancelled turn", () => {
  test("ends the spans of running work, and is not an error", async () => {
    const { telemetry, tree, spans } = watch()
    const controller = new AbortController()
    const host: Host = {
      llmCall: answers(answer("quick#a", "endless#b")),
      tools: {
        async call({ toolName }) {
          if (toolName === "quick") return success
          setTimeout(() => controller.abort("Enough."), 0)
          return new Promise(() => {})
        },
        effects: () => "idempotent",
      },
    }
    const done = await telemetry.runTurn(new TurnMachine(CONFIG, START), host, { signal: controller.signal })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(tree()).toBe("\ninvoke_agent\n  chat m\n  execute_tool quick\n  execute_tool endless\n")
    expect(spans().map(({ attributes, status }) => [attributes["turn_machine.cancelled"], status.code])).toEqual([
      [true, SpanStatusCode.UNSET],
      [undefined, SpanStatusCode.UNSET],
      [undefined, SpanStatusCode.UNSET],
      [true, SpanStatusCode.UNSET],
    ])
    expect(spans()[0]?.attributes["turn_machine.outcome.stop"]).toBe("cancelled")
  })

  test("counts what a stopped model call used, which its client says when it ends", async () => {
    const { telemetry, metric, span } = watch({ prices: () => ({ input: 1, cachedInput: 0.1, output: 10 }) })
    const controller = new AbortController()
    const machine = new TurnMachine(CONFIG, START)
    const partial = { ...answer("One, tw"), terminalReason: "cancelled" } as const
    const failure = { message: "The call was cancelled.", retryable: false, terminalReason: "cancelled" } as const
    const llmCall = async (): Promise<never> => {
      controller.abort()
      await new Promise((resolve) => setTimeout(resolve, 20))
      throw new LlmCallError(failure, { partial })
    }
    await telemetry.runTurn(machine, { llmCall }, { signal: controller.signal, cancelGraceMs: 60_000 })
    expect(machine.usage).toMatchObject(USAGE)
    expect(span("chat m").status.code).toBe(SpanStatusCode.UNSET)
    // 30 + 70 tokens are read, 12 written: 30 + 7 + 120 millionths of a dollar.
    expect(span("chat m").attributes).toMatchObject({
      "turn_machine.cancelled": true,
      "gen_ai.usage.input_tokens": 100,
      "gen_ai.usage.output_tokens": 12,
      "turn_machine.cost.usd": 0.000157,
    })
    expect(await metric("gen_ai.client.inference.usage.output_tokens")).toMatchObject([{ value: 12 }])
    expect(await metric("turn_machine.cost.usd")).toMatchObject([{ value: 0.000157 }])
    expect(await metric("gen_ai.client.inference.duration")).toEqual([])
  })

  test("ends the span of a model call that never ends before the turn continues without it", async () => {
    const { telemetry, spans } = watch()
    const calls = () => spans().filter(({ name }) => name === "chat m")
    const machine = new TurnMachine(CONFIG, START)
    let asked = 0
    let endedBefore = 0
    const llmCall = async (): Promise<LlmResponse> => {
      asked += 1
      if (asked === 2) {
        await new Promise((resolve) => setTimeout(resolve, 0))
        endedBefore = calls().length
        return answer("Redirected.")
      }
      void redirectRun(machine, [{ id: "u2", role: "user", parts: [{ id: "u2.p0", type: "text", text: "The other one." }] }])
      return new Promise(() => {})
    }
    await telemetry.runTurn(machine, { llmCall }, { cancelGraceMs: 10 })
    expect(calls().map(({ attributes }) => attributes["turn_machine.cancelled"])).toEqual([true, undefined])
    expect(endedBefore).toBe(1)
  })

  test("does not count the error of a stopped call as a failure", async () => {
    const { telemetry, tree } = watch()
    const controller = new AbortController()
    const host: Host = {
      llmCall: (_effect, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(new Error("aborted")))
          controller.abort()
        }),
    }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), host, { signal: controller.signal })
    expect(tree()).toBe("\ninvoke_agent\n  chat m\n")
  })
})

describe("a resumed turn", () => {
  const turn = { config: CONFIG, start: START, turnId: "turn-1" }
  const effects = { none: "none", once: "once" } as const

  test("has the same turn id, marks repeated work, and counts only the tokens of its own calls", async () => {
    const store = memoryJournalStore()
    const first = watch()
    let killed = false
    const dying: Host = {
      llmCall: answers(answer("count#a", "pay#b")),
      tools: {
        effects: ({ toolName }) => (toolName === "pay" ? effects.once : effects.none),
        call: async ({ toolName }) => {
          if (toolName === "count") return success
          killed = true
          throw new Error("The process dies here.")
        },
      },
      progress() {
        if (killed) throw new Error("killed")
      },
    }
    const broken = { ...store, open: async (...args: Parameters<typeof store.open>) => dyingAtResults(await store.open(...args)) }
    await expect(journaled(dying, broken, { runTurn: first.telemetry.runTurn }).run("t", turn)).rejects.toThrow("killed")
    expect(first.span("invoke_agent").attributes["turn_machine.turn.id"]).toBe("turn-1")
    expect(first.span("invoke_agent").attributes["turn_machine.resumed"]).toBeUndefined()

    const second = watch()
    const host: Host = {
      llmCall: answers(answer("Done.")),
      tools: {
        effects: dying.tools?.effects ?? (() => effects.none),
        call: async () => success,
        recover: async () => ({ ran: true, answer: success }),
      },
    }
    const done = await journaled(host, store, { runTurn: second.telemetry.runTurn }).run("t", turn, {})
    expect(done.outcome.type).toBe("finished")
    expect(second.tree()).toBe(`
invoke_agent
  execute_tool count
  recover_tool pay
  chat m
`)
    expect(second.spans().map(({ attributes }) => attributes["turn_machine.redelivered"])).toEqual([undefined, true, true, undefined])
    expect(second.span("invoke_agent").attributes).toMatchObject({
      "turn_machine.turn.id": "turn-1",
      "turn_machine.resumed": true,
      "gen_ai.usage.output_tokens": 12,
      "turn_machine.outcome.type": "finished",
    })
    expect(second.span("execute_tool count").attributes["turn_machine.idempotency_key"]).toBe("turn-1:2:a")
    expect(second.span("recover_tool pay").attributes).toEqual({
      "gen_ai.tool.name": "pay",
      "gen_ai.tool.call.id": "b",
      "gen_ai.tool.type": "function",
      "turn_machine.effect.id": 2,
      "turn_machine.idempotency_key": "turn-1:2:b",
      "turn_machine.iteration": 0,
      "turn_machine.redelivered": true,
      "turn_machine.recovered": "ran",
    })
  })
})

/** A journal that keeps no tool result: its process dies before. */
function dyingAtResults<Stored extends { append(text: string): Promise<void> }>(stored: Stored): Stored {
  return new Proxy(stored, {
    get(target, name) {
      if (name !== "append") {
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === "function" ? value.bind(target) : value
      }
      return (text: string) => (text.includes('"tool_results"') ? Promise.reject(new Error("killed")) : target.append(text))
    },
  })
}

describe("content", () => {
  const host = (): Host => ({
    llmCall: answers(
      { ...answer("count#a"), parts: [{ type: "reasoning", text: "secret thought" }, ...answer("count#a").parts] },
      answer("secret answer"),
    ),
    tools: { call: async () => ({ output: { status: "success", value: { secret: 7 } } }), effects: () => "idempotent" },
  })
  const start = { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "secret question" }] }] } as const

  test("is not recorded by default", async () => {
    const { telemetry, spans } = watch()
    await telemetry.runTurn(new TurnMachine({ ...CONFIG, systemPrompt: "secret prompt" }, start), host())
    expect(JSON.stringify(spans().map(({ name, attributes, events }) => ({ name, attributes, events })))).not.toContain("secret")
  })

  test("is recorded with `captureContent`", async () => {
    const { telemetry, spans, span } = watch({ captureContent: true })
    await telemetry.runTurn(new TurnMachine({ ...CONFIG, systemPrompt: "secret prompt" }, start), host())
    const [first, second] = spans().filter(({ name }) => name === "chat m")
    expect(JSON.parse(String(first?.attributes["gen_ai.output.messages"]))).toEqual([
      {
        role: "assistant",
        parts: [
          { type: "reasoning", content: "secret thought" },
          { type: "tool_call", id: "a", name: "count", arguments: { n: 1 } },
        ],
      },
    ])
    expect(JSON.parse(String(second?.attributes["gen_ai.input.messages"]))).toEqual([
      { role: "system", parts: [{ type: "text", content: "secret prompt" }] },
      { role: "user", parts: [{ type: "text", content: "secret question" }] },
      {
        role: "assistant",
        parts: [{ type: "tool_call", id: "a", name: "count", arguments: { n: 1 } }],
      },
      { role: "tool", parts: [{ type: "tool_call_response", id: "a", response: '{"secret":7}' }] },
    ])
    expect(JSON.parse(String(second?.attributes["gen_ai.output.messages"]))).toEqual([
      { role: "assistant", parts: [{ type: "text", content: "secret answer" }] },
    ])
    expect(span("execute_tool count").attributes).toMatchObject({
      "gen_ai.tool.call.arguments": '{"n":1}',
      "gen_ai.tool.call.result": '{"secret":7}',
    })
  })
})

test("images are named, not recorded, and a request for JSON is marked", async () => {
  const { telemetry, span } = watch({ captureContent: true })
  await telemetry.traced({ llmCall: answers(answer("A cat.")) }).llmCall(CALL, effect())
  expect(span("chat m").attributes).toMatchObject({
    "gen_ai.output.type": "json",
    "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"file","modality":"image","mime_type":"image/png","file_id":"cat"}]}]',
  })
})

test("a traced host works in any loop, and does not add missing members", async () => {
  const { telemetry, tree } = watch()
  const bare = telemetry.traced({ llmCall: answers(answer("count#a"), answer("Done.")) })
  expect(Object.keys(bare)).toEqual(["llmCall"])
  const done = await runTurn(new TurnMachine(CONFIG, START), bare)
  expect(done.messages[2]?.parts[0]).toMatchObject({ text: expect.stringContaining("This host runs no tools.") })
  expect(tree()).toBe("\nchat m\nchat m\n")
})
