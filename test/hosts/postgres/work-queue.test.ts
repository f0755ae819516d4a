import pg from "pg"
import { expect, onTestFinished, test } from "vitest"
import { type ClaimedWork, postgresWorkQueue, type WorkQueue, type WorkQueueOptions } from "../../../src/hosts/postgres/work-queue.ts"
import { describeWithPostgres, newDatabase, newPool, startServer } from "../../support/postgres.ts"

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10))
}

describeWithPostgres("a queue of work in PostgreSQL", async () => {
  const server = await startServer()

  /** Queues of one database, as in several processes. */
  async function newQueues(
    options?: WorkQueueOptions,
  ): Promise<{ readonly pool: pg.Pool; readonly database: pg.PoolConfig; readonly open: () => WorkQueue }> {
    const database = await newDatabase(server)
    const pool = newPool(database)
    return { pool, database, open: () => postgresWorkQueue(pool, options) }
  }

  /** Ends the leases of all work. */
  const expire = (pool: pg.Pool): Promise<unknown> => pool.query("UPDATE turn_machine_work SET due = clock_timestamp() WHERE owner IS NOT NULL")

  test("hands out each key once, in the order in which they became due, with its payload", async () => {
    const { open } = await newQueues()
    const queue = open()
    const payloads: Readonly<Record<string, unknown>> = { a: { text: "\u0000 \ud800 語" }, b: [1], c: "'; DROP TABLE x; --" }
    for (const [key, payload] of Object.entries(payloads)) await queue.enqueue(key, { payload })
    await queue.enqueue("a")
    await queue.enqueue("d")
    expect(await queue.count()).toEqual({ due: 4, claimed: 0, later: 0 })
    const claimed: (ClaimedWork | undefined)[] = []
    for (let count = 0; count < 5; count += 1) claimed.push(await open().claim())
    expect(claimed.map((work) => work && [work.key, work.payload, work.attempt, work.epoch])).toEqual([
      ["a", payloads["a"], 1, 1],
      ["b", payloads["b"], 1, 1],
      ["c", payloads["c"], 1, 1],
      ["d", null, 1, 1],
      undefined,
    ])
    expect(await queue.count()).toEqual({ due: 0, claimed: 4, later: 0 })
    for (const work of claimed) expect(await work?.complete()).toBe(work && true)
    expect(await queue.count()).toEqual({ due: 0, claimed: 0, later: 0 })
  })

  test("does not hand out work to two of many that claim at once", async () => {
    const { open } = await newQueues()
    const keys = Array.from({ length: 60 }, (_, index) => `${100 + index}`)
    await Promise.all(keys.map((key) => open().enqueue(key)))
    const claimed = await Promise.all(Array.from({ length: 80 }, () => open().claim()))
    expect(claimed.flatMap((work) => (work === undefined ? [] : [work.key])).sort()).toEqual(keys)
  })

  test("hands out work again that was enqueued while it was performed, once, with the last payload", async () => {
    const { open } = await newQueues()
    const queue = open()
    await queue.enqueue("a", { payload: 1 })
    const first = await queue.claim()
    await queue.enqueue("a", { payload: 2 })
    await queue.enqueue("a", { payload: 3 })
    expect(await queue.claim()).toBeUndefined()
    expect(await first?.complete()).toBe(true)
    const second = await queue.claim()
    expect(second).toMatchObject({ key: "a", payload: 3, attempt: 1, epoch: 2 })
    expect(await first?.complete()).toBe(false)
    expect(await second?.complete()).toBe(true)
    expect(await queue.claim()).toBeUndefined()
  })

  test("hands out work when it is due", async () => {
    const { pool, open } = await newQueues()
    const queue = open()
    /** Moves the time of the database, as far as work goes that is due later. */
    const pass = (ms: number): Promise<unknown> =>
      pool.query("UPDATE turn_machine_work SET due = due - $1::int * interval '1 millisecond' WHERE owner IS NULL", [ms])
    await queue.enqueue("later", { delayMs: 600_000 })
    await queue.enqueue("sooner", { delayMs: 3_600_000 })
    await queue.enqueue("sooner")
    expect((await queue.claim())?.key).toBe("sooner")
    expect(await queue.claim()).toBeUndefined()
    expect(await queue.count()).toEqual({ due: 0, claimed: 1, later: 1 })
    await pass(600_000)
    const work = await queue.claim()
    expect(work?.key).toBe("later")
    expect(await work?.release({ delayMs: 600_000 })).toBe(true)
    expect(await queue.claim()).toBeUndefined()
    await pass(600_000)
    expect(await queue.claim()).toMatchObject({ key: "later", attempt: 2, epoch: 2 })
  })

  test("hands out the work of a worker that died, before what was enqueued later; that worker changes nothing more", async () => {
    const { pool, open } = await newQueues()
    const queue = open()
    await queue.enqueue("a")
    const dead = await queue.claim()
    await queue.enqueue("b")
    await expire(pool)
    expect(await dead?.renew()).toBe(true)
    expect((await queue.claim())?.key).toBe("b")
    await expire(pool)
    const next = await queue.claim()
    expect(next).toMatchObject({ key: "a", attempt: 2, epoch: 2 })
    for (const change of [dead?.renew, dead?.complete, dead?.release]) expect(await change?.()).toBe(false)
    expect(await queue.count()).toEqual({ due: 1, claimed: 1, later: 0 })
    expect(await next?.complete()).toBe(true)
  })

  test("separates queues by name, and refuses keys and options out of range", async () => {
    const { pool, open } = await newQueues()
    await open().enqueue("a")
    expect(await postgresWorkQueue(pool, { queue: "other" }).claim()).toBeUndefined()
    expect((await postgresWorkQueue(pool, { queue: "turns" }).claim())?.key).toBe("a")
    for (const key of ["", "a\u0000", "\ud800", "x".repeat(801)]) await expect(open().enqueue(key)).rejects.toThrow(RangeError)
    for (const delayMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) await expect(open().enqueue("a", { delayMs })).rejects.toThrow(RangeError)
    for (const options of [{ leaseMs: 100 }, { queue: "" }, { retryMs: -1 }, { schema: "" }])
      expect(() => postgresWorkQueue(pool, options)).toThrow(RangeError)
    expect(() => postgresWorkQueue({} as pg.Pool)).toThrow(TypeError)
    expect(() => open().work(async () => {}, { concurrency: 0 })).toThrow(RangeError)
  })

  test("workers perform all work, as much at a time as they may, and wake at notifications", async () => {
    const { open, database } = await newQueues()
    const done: string[] = []
    let running = 0
    let most = 0
    const worker = open().work(
      async ({ key }) => {
        running += 1
        most = Math.max(most, running)
        await eventually(() => most === 3)
        running -= 1
        done.push(key)
      },
      { concurrency: 3, pollMs: 3_600_000 },
    )
    onTestFinished(() => worker.stop())
    const listener = new pg.Client(database)
    await listener.connect()
    onTestFinished(() => listener.end())
    listener.on("notification", ({ payload }) => {
      expect(payload).toBe("turns")
      worker.wake()
    })
    await listener.query("LISTEN turn_machine_work")
    const keys = Array.from({ length: 20 }, (_, index) => `${10 + index}`)
    for (const key of keys) await open().enqueue(key)
    await eventually(() => done.length === 20)
    expect(done.sort()).toEqual(keys)
    expect(most).toBe(3)
    await eventually(async () => (await open().count()).claimed === 0)
  })

  test("workers try work again that failed, with a delay for each attempt, and work that says when it is due", async () => {
    const { open } = await newQueues()
    const attempts: number[] = []
    const errors: unknown[] = []
    const worker = open().work(
      async ({ attempt }) => {
        attempts.push(attempt)
        if (attempts.length < 3) throw new Error(`failure ${attempt}`)
        return attempts.length === 3 ? { dueInMs: 10 } : undefined
      },
      { pollMs: 10, retryDelayMs: (attempt) => attempt * 10, onError: (error, work) => errors.push([String(error), work?.key]) },
    )
    onTestFinished(() => worker.stop())
    await open().enqueue("a")
    await eventually(async () => attempts.length === 4 && (await open().count()).claimed === 0)
    expect(attempts).toEqual([1, 2, 3, 4])
    expect(errors).toEqual([
      ["Error: failure 1", "a"],
      ["Error: failure 2", "a"],
    ])
    expect(await open().count()).toEqual({ due: 0, claimed: 0, later: 0 })
  })

  test("workers renew their leases, and abort work whose lease was lost", async () => {
    const { pool, open } = await newQueues({ leaseMs: 1_500 })
    const reasons: string[] = []
    const worker = open().work(
      (work, signal) =>
        new Promise<void>((resolve) => {
          signal.addEventListener("abort", () => {
            reasons.push(work.key)
            resolve()
          })
        }),
      { pollMs: 10 },
    )
    onTestFinished(() => worker.stop())
    await open().enqueue("a")
    await eventually(async () => (await open().count()).claimed === 1)
    const end = async (): Promise<unknown> => (await pool.query("SELECT due::text FROM turn_machine_work")).rows[0].due
    for (let renewals = 0; renewals < 2; renewals += 1) {
      const before = await end()
      await eventually(async () => (await end()) !== before)
    }
    expect(reasons).toEqual([])
    await expire(pool)
    const [stolen] = (
      await pool.query("UPDATE turn_machine_work SET owner = gen_random_uuid(), due = clock_timestamp() + interval '1 hour' RETURNING owner")
    ).rows
    expect(stolen).toBeDefined()
    await eventually(() => reasons.length === 1)
    await worker.stop()
    expect(await open().count()).toEqual({ due: 0, claimed: 1, later: 0 })
  })

  test("workers that are stopped abort their work, wait for its end, and claim nothing more", async () => {
    const { open } = await newQueues()
    for (const key of ["a", "b", "c"]) await open().enqueue(key)
    let ended = 0
    const worker = open().work(
      (_work, signal) =>
        new Promise<{ readonly dueInMs: number }>((resolve) => {
          signal.addEventListener("abort", () =>
            setTimeout(() => {
              ended += 1
              resolve({ dueInMs: 0 })
            }, 50),
          )
        }),
      { concurrency: 2, pollMs: 10 },
    )
    await eventually(async () => (await open().count()).claimed === 2)
    await Promise.all([worker.stop(), worker.stop()])
    expect(ended).toBe(2)
    expect(await open().count()).toEqual({ due: 3, claimed: 0, later: 0 })
  })

  test("workers report errors of the database, and continue when it can be reached", async () => {
    const { pool } = await newQueues()
    let isDown = false
    const client = {
      query: async (text: string, values?: unknown[]) => {
        if (isDown) throw new Error("no route")
        return pool.query(text, values)
      },
    }
    const queue = postgresWorkQueue(client, { retryMs: 0 })
    await queue.enqueue("a")
    isDown = true
    const errors: string[] = []
    let performed = 0
    const worker = queue.work(
      async () => {
        performed += 1
      },
      { pollMs: 10, onError: (error) => void errors.push(String(error)) },
    )
    onTestFinished(() => worker.stop())
    await eventually(() => errors.length >= 2)
    expect(new Set(errors)).toEqual(new Set(["Error: no route"]))
    isDown = false
    await eventually(() => performed === 1)
  })
})
