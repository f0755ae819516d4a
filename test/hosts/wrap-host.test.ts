import { describe, expect, test } from "vitest"
import { type EffectContext, type Host, wrapHost } from "../../src/hosts/host.ts"
import { openTelemetry } from "../../src/hosts/opentelemetry/index.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"

const USAGE = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
const CONTEXT: EffectContext = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }
const REQUEST = { model: "m", messages: [], attachments: [], tools: [], toolChoice: "auto", generation: {} } as const
const CALL = { callId: "c", toolName: "look", args: {} }

/** A host whose members are inherited and need its private fields, with members that no interface here declares. */
class LaterHost implements Host {
  readonly #text = "yes"
  async llmCall(): Promise<LlmResponse> {
    return { text: this.#text, parts: [], usage: USAGE, terminalReason: "stop" }
  }
  get tools() {
    return {
      call: async () => ({ output: { status: "success", value: this.#text } }) as const,
      effects: () => "once" as const,
      list: () => this.#text,
    }
  }
  laterMember(): string {
    return this.#text
  }
  laterValue = 7
}

function later(host: Host): { laterMember(): string; laterValue: number; tools: { list(): string } } {
  return host as never
}

describe("a view of a host", () => {
  const none = async (): Promise<LlmResponse> => Promise.reject(new Error("unused"))

  test("reads a member when it is used, not before", () => {
    class Lazy implements Host {
      llmCall = none
      get database(): string {
        throw new Error("not open yet")
      }
    }
    const wrapped = wrapHost(new Lazy(), { llmCall: (next, effect, context) => next(effect, context) })
    expect(() => (wrapped as Lazy).database).toThrow("not open yet")
    expect(wrapped.tools).toBeUndefined()
  })

  test("shows tools that the host replaces later, wrapped", async () => {
    const toolsOf = (value: string) => ({ call: async () => ({ output: { status: "success", value } }) as const, effects: () => "none" as const })
    const host: { llmCall: Host["llmCall"]; tools: ReturnType<typeof toolsOf> } = { llmCall: none, tools: toolsOf("first") }
    const called: string[] = []
    const wrapped = wrapHost(host, {
      tools: {
        call(next, call, context) {
          called.push(call.callId)
          return next(call, context)
        },
      },
    })
    expect(await wrapped.tools?.call(CALL, CONTEXT)).toEqual({ output: { status: "success", value: "first" } })
    expect(wrapped.tools).toBe(wrapped.tools)
    host.tools = toolsOf("second")
    expect(await wrapped.tools?.call(CALL, CONTEXT)).toEqual({ output: { status: "success", value: "second" } })
    expect(called).toEqual(["c", "c"])
  })

  test("works for a stub that makes its members when they are read, and for a frozen host", async () => {
    const stub = new Proxy({}, { get: (_target, name) => (name === "llmCall" ? async () => String(name) : undefined) }) as Host
    for (const host of [stub, Object.freeze({ llmCall: async () => "llmCall" }) as unknown as Host]) {
      const wrapped = wrapHost(host, { llmCall: (next, effect, context) => next(effect, context) })
      expect(await wrapped.llmCall({ type: "llm_call", id: 1, request: REQUEST }, CONTEXT)).toBe("llmCall")
    }
  })

  test("can be changed and spread without changing the host", () => {
    const host: Host = { llmCall: none, save: () => {} }
    const wrapped = wrapHost(host, { checkpoint: async () => ({}) })
    const save = (): void => {}
    Object.assign(wrapped, { save })
    expect([wrapped.save, host.save === save]).toEqual([save, false])
    expect(Object.keys({ ...wrapped }).sort()).toEqual(["checkpoint", "llmCall", "save"])
  })
})

describe("wrapHost", () => {
  test("a member of a later version passes through, with the host as its `this`", async () => {
    for (const wrapped of [
      wrapHost(new LaterHost(), {
        llmCall: (next, effect, context) => next(effect, context),
        tools: { call: (next, call, context) => next(call, context) },
      }),
      openTelemetry({ provider: "none" }).traced(new LaterHost()),
    ]) {
      expect(later(wrapped).laterMember()).toBe("yes")
      expect(later(wrapped).laterValue).toBe(7)
      expect(later(wrapped).tools.list()).toBe("yes")
      expect(wrapped.tools?.effects(CALL)).toBe("once")
      expect(await wrapped.llmCall({ type: "llm_call", id: 1, request: REQUEST }, CONTEXT)).toMatchObject({ text: "yes" })
      expect(await wrapped.tools?.call(CALL, CONTEXT)).toEqual({ output: { status: "success", value: "yes" } })
    }
  })

  test("a wrapper receives the host's own function and the arguments", async () => {
    const seen: unknown[] = []
    const wrapped = wrapHost(new LaterHost(), {
      async llmCall(next, effect, context) {
        seen.push(effect.id, context)
        return { ...(await next(effect, context)), text: "no" }
      },
      tools: { effects: (next, call) => (next(call) === "once" ? "none" : "once") },
    })
    expect(await wrapped.llmCall({ type: "llm_call", id: 3, request: REQUEST }, CONTEXT)).toMatchObject({ text: "no" })
    expect(seen).toEqual([3, CONTEXT])
    expect(wrapped.tools?.effects(CALL)).toBe("none")
    expect({ ...wrapped.tools }).toHaveProperty("call")
  })

  test("for a missing optional member `next` does nothing, and missing tools stay missing", async () => {
    const wrapped = wrapHost(
      { llmCall: async () => Promise.reject(new Error("unused")) },
      {
        checkpoint: async (next, effect, context) => (await next(effect, context)) ?? { events: [1] },
        tools: { call: (next, call, context) => next(call, context) },
        code: { run: (next, effect, context) => next(effect, context) },
      },
    )
    expect(await wrapped.checkpoint?.({ type: "checkpoint", id: 1, checkpoint: "after_work" }, CONTEXT)).toEqual({ events: [1] })
    expect(wrapped.tools).toBeUndefined()
    expect(wrapped.code).toBeUndefined()
    expect("save" in wrapped).toBe(false)
  })
})
