import { describe, expect, test, vi } from "vitest"
import type { TurnObjectContext } from "../../../src/hosts/cloudflare/platform.ts"
import { TurnObject, type TurnObjectRunOptions, type TurnObjectStatus } from "../../../src/hosts/cloudflare/turn-object.ts"
import type { Host } from "../../../src/hosts/host.ts"
import type { ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { chatDriver, chatProjector, type LlmResponse } from "../../../src/index.ts"
import type { ThreadEvent } from "../../../src/wire/thread-event.ts"
import { until } from "../../cli/harness.ts"
import { FakePlace } from "./fake-object.ts"

const USAGE = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }

function said(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
}

/** How an object of the tests works. */
interface Plan {
  readonly answer?: (signal: AbortSignal) => Promise<LlmResponse>
  readonly options?: Partial<ThreadOptions>
  readonly run?: TurnObjectRunOptions
  readonly recoverAfterMs?: number
  readonly refuse?: Response
}

class Tested extends TurnObject<Plan> {
  readonly errors: unknown[] = []

  protected override threadOptions(): ThreadOptions {
    return { config: { driver: chatDriver(), projector: chatProjector, model: "m" }, goals: false, ...this.env.options }
  }

  protected override host(): Host {
    const { answer } = this.env
    return { llmCall: async (_effect, { signal }) => (answer === undefined ? said("Hello.") : answer(signal)) }
  }

  protected override runOptions(): TurnObjectRunOptions {
    return this.env.run ?? {}
  }

  protected override authorize(): Response | undefined {
    return this.env.refuse
  }

  protected override onError(error: unknown): void {
    this.errors.push(error)
  }

  protected override get recoverAfterMs(): number {
    return this.env.recoverAfterMs ?? 30_000
  }
}

function make(place: FakePlace, plan: Plan = {}): Tested {
  return new Tested(place.context(), plan)
}

async function rested(object: Tested): Promise<TurnObjectStatus> {
  let status = await object.status()
  while (status.isRunning) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    status = await object.status()
  }
  return status
}

async function recorded(object: Tested): Promise<readonly ThreadEvent[]> {
  const text = await new Response(await object.events({ live: false })).text()
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as ThreadEvent)
}

/** A promise that a test settles. */
function gate<Value>(): { readonly promise: Promise<Value>; readonly open: (value: Value) => void } {
  let open: (value: Value) => void = () => {}
  const promise = new Promise<Value>((resolve) => {
    open = resolve
  })
  return { promise, open }
}

describe("a TurnObject", () => {
  test("sets an alarm before an input is stored, and removes it when the thread rests", async () => {
    const place = new FakePlace()
    const object = make(place)
    expect(await object.say("Hi.")).toEqual({ inputId: "user-1", status: "queued" })
    expect(await rested(object)).toMatchObject({ turns: 1, queue: [], rest: { reason: "No input waits." } })
    await until(() => place.alarmAt === null)
    expect(place.happened[0]).toBe("setAlarm")
    expect(place.happened.at(-1)).toBe("deleteAlarm")
    expect(place.happened.filter((event) => event === "setAlarm")).toHaveLength(1)
  })

  test("is continued by its alarm in a new instance, which needs nothing else", async () => {
    const place = new FakePlace()
    const asked = gate<void>()
    const first = make(place, {
      answer: () => {
        asked.open()
        return new Promise(() => {})
      },
    })
    await first.say("Hi.")
    await asked.promise
    expect(place.alarmAt).not.toBeNull()

    // The first instance is gone with its memory.
    const second = make(place)
    await place.ring(second)
    expect(await rested(second)).toMatchObject({ turns: 1 })
    const events = await recorded(second)
    expect(events.filter(({ type }) => type === "turn_started")).toHaveLength(1)
    expect(events.at(-1)).toMatchObject({ type: "turn_ended", outcome: { type: "finished" } })
    expect(place.alarmAt).toBeNull()
  })

  test("sets the alarm again each time it comes while the thread runs", async () => {
    const place = new FakePlace()
    const answer = gate<LlmResponse>()
    const object = make(place, { answer: () => answer.promise, recoverAfterMs: 40 })
    await object.say("Hi.")
    for (let count = 0; count < 3; count += 1) {
      const before = place.happened.filter((event) => event === "setAlarm").length
      await place.ring(object)
      expect(place.happened.filter((event) => event === "setAlarm")).toHaveLength(before + 1)
      expect(place.alarmAt).toBeGreaterThan(Date.now() - 60_000)
    }
    answer.open(said("Hello."))
    await rested(object)
    await until(() => place.alarmAt === null)
  })

  test("is woken when its goal may continue", async () => {
    const place = new FakePlace()
    const notBefore = Date.now() + 3_600_000
    let isLate = false
    const object = make(place, {
      options: { goals: true },
      run: { between: () => (isLate ? undefined : { notBefore }) },
    })
    await object.command({ type: "set", objective: "Say hello." })
    const { rest } = await rested(object)
    expect(rest).toMatchObject({ notBefore })
    await until(() => place.alarmAt === notBefore)

    isLate = true
    const turns = (await object.status()).turns
    await place.ring(object)
    expect((await object.status()).turns).toBeGreaterThan(turns)
    await object.command({ type: "pause" })
    await rested(object)
    await until(() => place.alarmAt === null)
  })

  test("tries a run that failed again by its alarm, later each time, and loses nothing", async () => {
    const place = new FakePlace()
    const object = make(place)
    const { onStatement } = place.storage
    let writes = 0
    place.storage.onStatement = (query) => {
      if (!query.startsWith("INSERT INTO turn_machine_do_texts")) return
      writes += 1
      // The header of the log and the input are stored.
      if (writes > 2) throw new Error("database or disk is full: SQLITE_FULL")
    }
    await object.say("Hi.", { key: "k" })
    const delays: number[] = []
    for (let count = 0; count < 3; count += 1) {
      if (count > 0) await place.ring(object)
      await until(() => object.errors.length === count + 1)
      const { error } = await rested(object)
      expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining("database or disk is full") })
      await until(() => place.alarmAt === error?.retryAt)
      delays.push((error?.retryAt ?? 0) - Date.now())
    }
    expect(delays.map((ms) => Math.round(ms / 1000))).toEqual([1, 2, 4])

    place.storage.onStatement = onStatement
    await place.ring(object)
    const status = await rested(object)
    expect(status).not.toHaveProperty("error")
    expect((await recorded(object)).at(-1)).toMatchObject({ type: "turn_ended" })
    await until(() => place.alarmAt === null)
  })

  test("fails its alarm if no further alarm can be set, so that the platform repeats it", async () => {
    const place = new FakePlace()
    const object = make(place)
    place.alarmError = new Error("disk I/O error")
    await expect(place.ring(object)).rejects.toThrow("disk I/O error")
    await expect(object.say("Hi.")).rejects.toThrow("disk I/O error")
    place.alarmError = undefined
    await object.say("Hi.")
    await until(() => place.alarmAt === null)
    expect((await recorded(object)).filter(({ type }) => type === "input_queued")).toHaveLength(1)
  })

  test("streams events over a failure of a run, each once", async () => {
    const place = new FakePlace()
    const object = make(place)
    const response = await object.fetch(new Request("http://object/threads/a/events"))
    expect(response.headers.get("content-type")).toBe("text/event-stream")
    let text = ""
    const reading = (async () => {
      const decoder = new TextDecoder()
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        text += decoder.decode(chunk)
        if (text.includes('"turn_ended"')) return
      }
    })()
    let left = 4
    place.storage.onStatement = (query) => {
      if (!query.startsWith("INSERT INTO turn_machine_do_texts")) return
      left -= 1
      if (left === 0) throw new Error("database or disk is full: SQLITE_FULL")
    }
    await object.say("Hi.")
    await until(() => object.errors.length === 1)
    await place.ring(object)
    await reading
    const types = [...text.matchAll(/^id: .*\ndata: \{"type":"(\w+)"/gm)].map(([, type]) => type)
    expect(types).toEqual(["input_queued", "turn_started", "message", "model_call_ended", "message", "turn_ended"])
  })

  test("answers errors with their codes, and hides those without", async () => {
    const place = new FakePlace()
    const object = make(place)
    const post = async (route: string, body: unknown) => {
      const response = await object.fetch(new Request(`http://object/${route}`, { method: "POST", body: JSON.stringify(body) }))
      const { error } = (await response.json()) as { readonly error?: { readonly code: string } }
      return [response.status, error?.code]
    }
    expect(await post("say", { input: "Hi.", key: "k" })).toEqual([200, undefined])
    expect(await post("say/", { input: "Ho.", key: "k" })).toEqual([409, "key_reused"])
    expect(await post("say", { input: "Hi.", when: "later" })).toEqual([400, "bad_request"])
    expect(await post("say", { input: "Hi.", key: "" })).toEqual([400, "bad_request"])
    expect(await post("redirect", { input: "Hi.", when: "now" })).toEqual([400, "bad_request"])
    expect(await post("event", {})).toEqual([400, "bad_request"])
    expect(await post("answer", { callId: "a" })).toEqual([400, "bad_request"])
    expect(await post("fly", {})).toEqual([404, "unknown_route"])
    expect(await post("status", {})).toEqual([405, "method_not_allowed"])
    expect(await post("say", { input: "x".repeat(8_000_001) })).toEqual([413, "request_too_large"])
    const refused = make(place, { refuse: new Response("no", { status: 403 }) })
    expect((await refused.fetch(new Request("http://object/status"))).status).toBe(403)

    vi.spyOn(object, "status").mockRejectedValue(new Error("a secret"))
    const failed = await object.fetch(new Request("http://object/status"))
    expect([failed.status, await failed.json()]).toEqual([
      500,
      { error: { code: "internal_error", message: "The object failed. Its log has the error." } },
    ])
    expect(object.errors).toEqual([new Error("a secret")])
  })

  test("deletes its thread while it runs, with its alarm", async () => {
    const place = new FakePlace()
    const asked = gate<void>()
    let isAborted = false
    const object = make(place, {
      answer: (signal) => {
        asked.open()
        return new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            isAborted = true
            reject(signal.reason)
          })
        })
      },
    })
    await object.say("Hi.")
    await asked.promise
    await object.delete()
    expect(isAborted).toBe(true)
    expect(object.errors).toEqual([])
    expect(place.alarmAt).toBeNull()
    expect(await object.status()).toMatchObject({ turns: 0, queue: [] })
  })

  test("needs SQLite storage", () => {
    const storage = { ...new FakePlace().storage, transactionSync: undefined, sql: undefined }
    const context = { ...new FakePlace().context(), storage } as unknown as TurnObjectContext
    expect(() => new Tested(context, {})).toThrow(/new_sqlite_classes/)
  })
})
