import { describe, expect, test } from "vitest"
import { TurnObject } from "../../../src/hosts/cloudflare/turn-object.ts"
import type { Host } from "../../../src/hosts/host.ts"
import type { ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { chatDriver, chatProjector, type LlmResponse } from "../../../src/index.ts"
import { until } from "../../cli/harness.ts"
import { FakePlace } from "./fake-object.ts"

const SAID: LlmResponse = {
  text: "Hello.",
  parts: [{ type: "text", text: "Hello." }],
  usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
  terminalReason: "stop",
}

/** What an object of the tests does where others do nothing. */
interface Plan {
  readonly onError?: (error: unknown) => void
  readonly llmCall?: (signal: AbortSignal) => Promise<LlmResponse>
}

class Tested extends TurnObject<Plan> {
  protected override threadOptions(): ThreadOptions {
    return { config: { driver: chatDriver(), projector: chatProjector, model: "m" } }
  }

  protected override host(): Host {
    return { llmCall: async (_effect, { signal }) => this.env.llmCall?.(signal) ?? SAID }
  }

  protected override onError(error: unknown): void {
    this.env.onError?.(error)
  }

  protected override get recoverAfterMs(): number {
    return 20_000
  }
}

async function rest(object: Tested): Promise<void> {
  while ((await object.status()).isRunning) await new Promise((resolve) => setTimeout(resolve, 5))
}

async function ends(object: Tested): Promise<readonly string[]> {
  const text = await new Response(await object.events({ live: false })).text()
  return [...text.matchAll(/"type":"turn_ended".*?"outcome":\{"type":"(\w+)"/g)].map(([, type = ""]) => type)
}

describe("a TurnObject whose surroundings fail", () => {
  test.each([
    ["before it began", "INSERT INTO turn_machine_do_texts", ["finished", "finished"]],
    ["in the middle, so that it is completed first", "DELETE FROM turn_machine_do_journals", ["finished"]],
  ])("completes turns after it could not be deleted: it failed %s", async (_when, failing, expected) => {
    const place = new FakePlace()
    const object = new Tested(place.context(), {})
    await object.say("Hi.")
    await rest(object)
    const { onStatement } = place.storage
    place.storage.onStatement = (query) => {
      if (query.startsWith(failing)) throw new Error("database or disk is full: SQLITE_FULL")
    }
    await expect(object.delete()).rejects.toThrow(/SQLITE_FULL/)
    place.storage.onStatement = onStatement
    await object.say("Ho.")
    await rest(object)
    expect(await ends(object)).toEqual(expected)
    await object.delete()
    expect(await object.status()).toMatchObject({ turns: 0 })
    expect(place.alarmAt).toBeNull()
  })

  test("completes a deletion in a new instance, woken by its alarm", async () => {
    const place = new FakePlace()
    const first = new Tested(place.context(), {})
    await first.say("Hi.")
    await rest(first)
    const { onStatement } = place.storage
    place.storage.onStatement = (query) => {
      if (query.startsWith("DELETE FROM turn_machine_do_journals")) throw new Error("the process is killed")
    }
    await expect(first.delete()).rejects.toThrow(/killed/)
    place.storage.onStatement = onStatement
    expect(place.alarmAt).not.toBeNull()
    const second = new Tested(place.context(), {})
    await place.ring(second)
    await rest(second)
    expect(await second.status()).toMatchObject({ turns: 0, queue: [] })
    expect(await ends(second)).toEqual([])
    await until(() => place.alarmAt === null)
  })

  test("deletes its thread while inputs and readers come, and the next thread has what came after", async () => {
    const place = new FakePlace()
    const errors: unknown[] = []
    const object = new Tested(place.context(), { onError: (error) => errors.push(error) })
    await object.say("Hi.")
    const others: Promise<unknown>[] = []
    for (let count = 0; count < 5; count += 1) {
      others.push(object.status())
      const deleted = object.delete()
      for (let step = 0; step < 12; step += 1) {
        others.push(object.say(`Ho ${count} ${step}.`, { key: `${count} ${step}` }), object.status())
        await Promise.resolve()
        await new Promise((resolve) => setTimeout(resolve, 0))
      }
      await deleted
    }
    await Promise.all(others)
    await rest(object)
    expect(errors).toEqual([])
    expect(new Set(await ends(object))).toEqual(new Set(["finished"]))
    await until(() => place.alarmAt === null)
    await object.delete()
    expect(await object.status()).toMatchObject({ turns: 0, queue: [] })
  })

  test("is continued by its alarm if onError throws", async () => {
    const place = new FakePlace()
    let reported = 0
    const object = new Tested(place.context(), {
      onError() {
        reported += 1
        throw new Error("no log")
      },
    })
    let writes = 0
    const { onStatement } = place.storage
    place.storage.onStatement = (query) => {
      if (query.startsWith("INSERT INTO turn_machine_do_texts") && ++writes > 2) throw new Error("database or disk is full: SQLITE_FULL")
    }
    await object.say("Hi.")
    await until(() => reported === 1)
    await rest(object)
    expect((await object.status()).error).toMatchObject({ code: "unavailable" })
    await until(() => place.alarmAt !== null)
    place.storage.onStatement = onStatement
    await place.ring(object)
    await rest(object)
    expect(await ends(object)).toEqual(["finished"])
    await until(() => place.alarmAt === null)
  })

  test("hides its hooks from Workers, which can call what is on the prototype, and not what the object has itself", async () => {
    const object = new Tested(new FakePlace().context(), {})
    for (const hook of ["threadOptions", "host", "runOptions", "authorize", "onError", "recoverAfterMs"]) {
      expect(Object.hasOwn(object, hook), hook).toBe(true)
      expect(Object.keys(object)).not.toContain(hook)
    }
    for (const method of ["say", "status", "fetch", "alarm"]) expect(Object.hasOwn(object, method), method).toBe(false)
    await object.say("Hi.")
    await rest(object)
    expect(await ends(object)).toEqual(["finished"])
  })

  const HOSTILE: readonly unknown[] = [
    null,
    true,
    0,
    "",
    "x",
    "\u0000\ud800",
    [],
    [[]],
    [null],
    [{}],
    [{ type: "text" }],
    {},
    { type: "x" },
    { toString: 1 },
    { role: "user" },
    { output: 1 },
    { output: { status: "success" } },
    { type: "set" },
    { type: "set", objective: 5 },
    [{ requestId: 1, digest: [], decision: {} }],
    [{ requestId: "a", digest: "b", decision: "expired" }],
    [{ requestId: "a", digest: "b", decision: "edit", args: 5 }],
    JSON.parse('{"__proto__":{"type":"set","objective":"x"}}'),
  ]

  test.each([
    ["say", ["input", "when", "key", "attachments"], { input: "Hi." }],
    ["redirect", ["input", "key", "attachments"], { input: "Hi." }],
    ["retract", ["inputId"], {}],
    ["command", ["command", "key"], { command: { type: "pause" } }],
    ["event", ["name", "key"], { name: "a" }],
    ["decide", ["decisions", "turnId"], { decisions: [] }],
    ["answer", ["callId", "answer", "turnId"], { callId: "c", answer: { output: { status: "success", value: 1 } } }],
    ["interrupt", ["reason"], {}],
  ] as const)("answers hostile bodies of %s with a code, and never fails itself", async (route, fields, valid) => {
    const errors: unknown[] = []
    const object = new Tested(new FakePlace().context(), { onError: (error) => errors.push(error) })
    const bodies = [
      ...fields.flatMap((field) => HOSTILE.map((value) => JSON.stringify({ ...valid, [field]: value }))),
      ...["", "null", "[]", "5", "{", "\ufeff{}", `{"${route}":`, "[".repeat(100_000), `{"input":${"[".repeat(50_000)}${"]".repeat(50_000)}}`],
    ]
    for (const body of bodies) {
      const response = await object.fetch(new Request(`http://object/t/${route}`, { method: "POST", body }))
      const text = await response.text()
      expect(errors, `${body.slice(0, 200)}: ${text}`).toEqual([])
      expect(response.status, `${body.slice(0, 200)}: ${text}`).toBeLessThan(500)
      if (response.status !== 200) expect((JSON.parse(text) as { error: { code: string } }).error.code).not.toBe("internal_error")
    }
    // The thread still works.
    await rest(object)
    expect(await object.say("Hello?", { key: "last" })).toMatchObject({ status: expect.any(String) })
    await rest(object)
    expect((await object.status()).error).toBeUndefined()
  })

  test.each(["x", "", "0", "-1", "1.5", "999999999", "1 OR 1=1", "%00", "thread:1", "\u0000", "0.0.0", "é".repeat(5_000), '{"a":1}', "1e9", "NaN"])(
    "answers the cursor %j with events or a code",
    async (after) => {
      const errors: unknown[] = []
      const object = new Tested(new FakePlace().context(), { onError: (error) => errors.push(error) })
      await object.say("Hi.")
      await rest(object)
      const response = await object.fetch(new Request(`http://object/t/events?after=${encodeURIComponent(after)}`))
      expect([200, 400]).toContain(response.status)
      await response.body?.cancel()
      expect(errors).toEqual([])
    },
  )

  test.each(["/", "//", "/status/x", "/constructor", "/__proto__", "/toString", "/delete", "/alarm", "/%2e%2e/status%00", "/say/../fly"])(
    "has no route %s",
    async (path) => {
      const object = new Tested(new FakePlace().context(), {})
      for (const method of ["GET", "POST"]) {
        const response = await object.fetch(new Request(`http://object${path}`, { method, ...(method === "POST" && { body: "{}" }) }))
        expect([404, 405]).toContain(response.status)
      }
    },
  )
})
