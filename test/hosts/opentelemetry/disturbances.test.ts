import { type ContextManager, context, diag, type Meter, type Span, type Tracer } from "@opentelemetry/api"
import { afterEach, describe, expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { openTelemetry } from "../../../src/hosts/opentelemetry/index.ts"
import type { LlmCall } from "../../../src/schemas/effect.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { answer, answers, CONFIG, watch } from "./support.ts"

const success = { output: { status: "success", value: 1 } } as const

/** A host with an answer for everything, which counts what it is asked. */
function counting(): { readonly host: Host; readonly asked: string[] } {
  const asked: string[] = []
  const model = answers(answer("count#a", "count#b"), answer("Two."))
  const host: Host = {
    async llmCall() {
      asked.push("llm_call")
      return model()
    },
    tools: {
      async call({ callId }) {
        asked.push(callId)
        return success
      },
      effects: () => "idempotent",
    },
    checkpoint: async ({ checkpoint }) => void asked.push(checkpoint),
  }
  return { host, asked }
}

const ASKED = ["llm_call", "a", "b", "after_work", "llm_call", "before_completion"]

/** Whatever is asked of it throws. */
function broken<Thing extends object>(): Thing {
  return new Proxy({} as Thing, {
    get: () => () => {
      throw new Error("The telemetry is broken.")
    },
  })
}

afterEach(() => {
  context.disable()
  diag.disable()
})

describe("a turn runs unaffected", () => {
  test("without an SDK", async () => {
    const { host, asked } = counting()
    const done = await openTelemetry({ provider: "openai" }).runTurn(new TurnMachine(CONFIG, START), host)
    expect(done.outcome.type).toBe("finished")
    expect(asked).toEqual(ASKED)
  })

  test("with a tracer and a meter that throw", async () => {
    const { host, asked } = counting()
    const telemetry = openTelemetry({ provider: "openai", tracer: broken<Tracer>(), meter: broken<Meter>() })
    const done = await telemetry.runTurn(new TurnMachine(CONFIG, START), host)
    expect(done.outcome.type).toBe("finished")
    expect(asked).toEqual(ASKED)
    telemetry.recordGoal([{ type: "metric", name: "goal.created", value: 1, tags: {} }])
  })

  test("with spans that throw, and a diagnostic log that throws", async () => {
    const { host, asked } = counting()
    diag.setLogger(broken())
    const tracer: Pick<Tracer, "startSpan"> = { startSpan: () => broken<Span>() }
    const done = await openTelemetry({ provider: "openai", tracer: tracer as Tracer, captureContent: true }).runTurn(
      new TurnMachine(CONFIG, START),
      host,
    )
    expect(done.outcome.type).toBe("finished")
    expect(asked).toEqual(ASKED)
  })

  test.each(["before", "after", "never"] as const)("with a context manager that throws or does nothing, and runs the executor %s", async (when) => {
    const { host, asked } = counting()
    const fail = (): never => {
      throw new Error("The context is broken.")
    }
    const manager = {
      active: fail,
      with(_context: unknown, run: () => unknown) {
        if (when === "before") fail()
        if (when === "never") return
        run()
        fail()
      },
      bind: (_context: unknown, target: unknown) => target,
      enable: () => manager,
      disable: () => manager,
    } as ContextManager
    context.setGlobalContextManager(manager)
    const { telemetry } = watch()
    const done = await telemetry.runTurn(new TurnMachine(CONFIG, START), host)
    expect(done.outcome.type).toBe("finished")
    expect(asked).toEqual(ASKED)
  })
})

test("results and errors are passed on unchanged, with the host as `this`", async () => {
  class Hosted implements Host {
    readonly #answer = answer("One.")
    readonly #error = new Error("none")
    async llmCall() {
      return this.#answer
    }
    get tools() {
      const effects = this.#answer.text === "One." ? ("once" as const) : ("none" as const)
      return { call: (): Promise<never> => Promise.reject(this.#error), effects: () => effects }
    }
    get parts() {
      return { answer: this.#answer, error: this.#error }
    }
  }
  const hosted = new Hosted()
  const traced = watch().telemetry.traced(hosted)
  const signal = new AbortController().signal
  const effect = { effectId: 1, idempotencyKey: undefined, signal, emit: () => {} }
  const request: LlmCall["request"] = { model: "m", messages: [], attachments: [], tools: [], toolChoice: "auto", generation: {} }
  expect(await traced.llmCall({ type: "llm_call", id: 1, request }, effect)).toBe(hosted.parts.answer)
  await expect(traced.tools?.call({ callId: "a", toolName: "count", args: {} }, effect)).rejects.toBe(hosted.parts.error)
  expect(traced.tools?.effects({ callId: "a", toolName: "count", args: {} })).toBe("once")
})

test("content that cannot be serialized is left out of the span", async () => {
  const { telemetry, span } = watch({ captureContent: true })
  const circle: Record<string, unknown> = {}
  circle["circle"] = circle
  const traced = telemetry.traced({ llmCall: async () => answer("One."), tools: { call: async () => success, effects: () => "idempotent" } })
  const effect = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }
  await expect(traced.tools?.call({ callId: "a", toolName: "count", args: circle as never }, effect)).resolves.toBe(success)
  expect(span("execute_tool count").attributes).not.toHaveProperty("gen_ai.tool.call.arguments")
})
