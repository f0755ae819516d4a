import { describe, expect, test } from "vitest"
import { withMembers, withSignal } from "../../../src/hosts/run/lazy-signal.ts"

/** A source that counts how often its signal is read. */
class Source {
  readonly #controller = new AbortController()
  reads = 0

  get signal(): AbortSignal {
    this.reads += 1
    return this.#controller.signal
  }

  abort(): void {
    this.#controller.abort(new Error("stopped"))
  }
}

describe("a context with a signal", () => {
  test("reads it from its source when somebody asks", () => {
    const source = new Source()
    const context = withSignal({ effectId: 7 }, source)
    expect([context.effectId, source.reads]).toEqual([7, 0])
    expect([context.signal.aborted, source.reads]).toEqual([false, 1])
    source.abort()
    expect(context.signal.reason).toEqual(new Error("stopped"))
  })

  test("is copied with its signal: by spreading, by Object.assign, and as a list of its keys", () => {
    const source = new Source()
    const context = withSignal({ effectId: 7 }, source)
    for (const copy of [{ ...context }, Object.assign({}, context)]) expect(copy.signal).toBe(source.signal)
    const { signal, ...rest } = context
    expect(signal).toBe(source.signal)
    expect(rest).toEqual({ effectId: 7 })
    expect(Object.keys(context)).toEqual(["effectId", "signal"])
  })

  test("is asked through an object that has it as its prototype", () => {
    const source = new Source()
    const context = withSignal({ effectId: 7 }, source)
    expect((Object.create(context) as typeof context).signal).toBe(source.signal)
  })

  test("gets more members without its signal being read, also when it is one of a host", () => {
    const source = new Source()
    const context = withMembers(withMembers(withSignal({ effectId: 7, name: "a" }, source), { callId: "c" }), { name: "b" })
    expect([context.effectId, context.callId, context.name, source.reads]).toEqual([7, "c", "b", 0])
    expect(context.signal).toBe(source.signal)
    expect(withMembers({ signal: source.signal }, { callId: "c" })).toEqual({ signal: source.signal, callId: "c" })
  })

  test("keeps what a host puts around it: a proxy, or other members of its own", () => {
    const source = new Source()
    const proxy = new Proxy(withSignal({ effectId: 7, name: "a" }, source), {
      get: (target, key, receiver) => (key === "name" ? "of the host" : (Reflect.get(target, key, receiver) as unknown)),
    })
    expect(withMembers(proxy, { callId: "c" })).toEqual({ effectId: 7, name: "of the host", callId: "c", signal: source.signal })
    const derived = Object.assign(Object.create(withSignal({ effectId: 7, name: "a" }, source)) as { signal: AbortSignal }, { name: "of the host" })
    expect(withMembers(derived, { callId: "c" })).toEqual({ effectId: 7, name: "of the host", callId: "c", signal: source.signal })
    const context = withSignal<{ effectId: number; name: string; extra?: number }>({ effectId: 7, name: "a" }, source)
    context.name = "of the host"
    context.extra = 1
    const { name, extra } = withMembers(context, { callId: "c" })
    expect([name, extra]).toEqual(["of the host", 1])
  })

  test("takes another signal, as an object with a plain one would", () => {
    const source = new Source()
    const other = new AbortController().signal
    const context: { signal: AbortSignal } = withSignal({ effectId: 7 }, source)
    context.signal = other
    expect(context.signal).toBe(other)
    expect(withMembers(context, { callId: "c" }).signal).toBe(other)
    expect({ ...context }).toEqual({ effectId: 7, signal: other })
  })
})
