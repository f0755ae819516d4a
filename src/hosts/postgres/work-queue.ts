import { every, sleep } from "../timers.ts"
import { createTables, LOCK_TIMEOUT, type PostgresClient, PostgresConnection, type PostgresOptions, schemaPrefix, type TableSet } from "./client.ts"

/** Options of {@link postgresWorkQueue}. */
export interface WorkQueueOptions extends PostgresOptions {
  /** The name of the queue: at most 80 characters. Several queues share one table. Default `turns`. */
  readonly queue?: string
  /**
   * How long a worker has its work without a sign of life, in milliseconds. It renews the lease three times as often. The work of a
   * worker that died can be claimed when the lease has expired. Default 30,000; at least 300.
   */
  readonly leaseMs?: number
}

/** Options of {@link WorkQueue.enqueue}. */
export interface EnqueueOptions {
  /** What the worker gets, as JSON. Absent: what was given before for this key, or `null`. */
  readonly payload?: unknown
  /** In how many milliseconds the work is due. Default 0. */
  readonly delayMs?: number
}

/** Work that is due, by key: for example the ids of turns or threads. Each key is performed by one worker at a time. */
export interface WorkQueue {
  /**
   * Makes work due. A key is a text of at most 800 characters. A key that is already due is performed once. A key that a worker performs is due again when that worker is done, so
   * nothing that happened after it began is missed.
   */
  enqueue(key: string, options?: EnqueueOptions): Promise<void>
  /** Claims the work that has been due for the longest time, and skips what other workers have. `undefined`: nothing is due. */
  claim(): Promise<ClaimedWork | undefined>
  /** Starts a worker: it claims work and performs it until it is stopped. */
  work(perform: PerformWork, options?: WorkerOptions): Worker
  /** How much work is due, performed by a worker, and due later. Work of a worker that died counts as due once its lease has expired. */
  count(): Promise<WorkCounts>
}

/** The work in a queue. */
export interface WorkCounts {
  readonly due: number
  readonly claimed: number
  readonly later: number
}

/** Work that a worker has a lease for. After the lease is lost, these methods change nothing. */
export interface ClaimedWork {
  readonly key: string
  readonly payload: unknown
  /** How often it was claimed since it was last completed: 1 for the first time. */
  readonly attempt: number
  /** Increases with each claim of a key, as long as the key is in the queue: a fencing token for other systems. */
  readonly epoch: number
  /** Renews the lease. Resolves to false if it was lost. */
  renew(): Promise<boolean>
  /** The work is done. It leaves the queue, unless it was enqueued again since it was claimed. Resolves to false if the lease was lost. */
  complete(): Promise<boolean>
  /** The work is not done: another worker may claim it, in `delayMs` milliseconds. Resolves to false if the lease was lost. */
  release(options?: { readonly delayMs?: number }): Promise<boolean>
}

/**
 * Performs work. Resolves when it is done, or with when it is due again. If it rejects, it is due again after a delay.
 * `signal` is aborted when the lease was lost, and when the worker is stopped: pass it to a turn as `pause`, not as `signal`, which would
 * cancel the turn.
 */
export type PerformWork = (work: ClaimedWork, signal: AbortSignal) => Promise<{ readonly dueInMs: number } | undefined> | Promise<void>

/** Options of {@link WorkQueue.work}. */
export interface WorkerOptions {
  /** How much work is performed concurrently. Default 1. */
  readonly concurrency?: number
  /** How often to look for work while there is none, in milliseconds. Default 1,000. See {@link Worker.wake}. */
  readonly pollMs?: number
  /**
   * In how many milliseconds work is due again that failed in this attempt. Default: 1 second, doubled with each attempt up to 1 minute, also where
   * this function fails. Attempts have no limit: work that must not be tried again returns, and does not reject.
   */
  readonly retryDelayMs?: (attempt: number) => number
  /** Receives the errors of work, and those of the database, which have no work. The worker continues, also if this function throws. */
  readonly onError?: (error: unknown, work?: ClaimedWork) => void
}

/** A worker of a {@link WorkQueue}. */
export interface Worker {
  /** Looks for work now: call it for each notification of `LISTEN turn_machine_work`, whose payload is the name of the queue. */
  wake(): void
  /** Claims nothing more, aborts the signals of running work, and resolves when that has ended. Idempotent. */
  stop(): Promise<void>
}

const TABLES: TableSet = {
  versions: "turn_machine_work_schema",
  version: 1,
  // `due`: when the work can be claimed. A claim moves it to the end of the lease. `since`: when it was due before that, so that the work of
  // a worker that died is claimed before what was enqueued later. `again`: it was enqueued since it was claimed.
  create: `
    CREATE TABLE IF NOT EXISTS {}turn_machine_work (
      queue text NOT NULL, key text NOT NULL, payload text NOT NULL, due timestamptz NOT NULL, since timestamptz NOT NULL,
      again timestamptz, owner uuid, epoch bigint NOT NULL, attempt integer NOT NULL, PRIMARY KEY (queue, key)
    ) WITH (fillfactor = 50);
    CREATE INDEX IF NOT EXISTS turn_machine_work_since ON {}turn_machine_work (queue, since);`,
}

/**
 * Creates a queue of work in PostgreSQL, in a table `turn_machine_work` that is created if needed, for workers on any number of machines.
 * Workers claim with `FOR UPDATE SKIP LOCKED`, so they do not wait for each other, and each claim has a lease.
 *
 * The queue only says which work is due: work may be claimed again after a worker died, and what must not happen twice is up to the
 * journal. A worker that lost its lease finds its journal fenced by the next one.
 * @throws {RangeError} an option is out of its range
 * @throws {TypeError} the client is not one, for example a connection string
 */
export function postgresWorkQueue(
  client: PostgresClient,
  { schema, retryMs = 10_000, queue = "turns", leaseMs = 30_000 }: WorkQueueOptions = {},
): WorkQueue {
  checkText("queue", queue, MOST_QUEUE_UNITS)
  if (!Number.isInteger(leaseMs) || leaseMs < 300) throw new RangeError(`leaseMs must be a whole number of at least 300, not ${leaseMs}.`)
  const connection = new PostgresConnection("postgresWorkQueue", client, retryMs)
  const table = `${schemaPrefix(schema)}turn_machine_work`
  let created: Promise<void> | undefined
  const run = async <Row>(text: string, values: readonly unknown[], repeatMs = retryMs): Promise<readonly Row[]> => {
    created ??= createTables(connection, schema, TABLES)
    try {
      await created
    } catch (error) {
      created = undefined
      throw error
    }
    return connection.run<Row>(text, [queue, ...values], repeatMs)
  }
  const changed = async (text: string, values: readonly unknown[], repeatMs?: number): Promise<boolean> =>
    (await run(text, values, repeatMs)).length > 0

  const claim = async (): Promise<ClaimedWork | undefined> => {
    const owner = crypto.randomUUID()
    const [row] = await run<{ readonly key: string; readonly payload: string; readonly epoch: number; readonly attempt: number }>(
      `WITH next AS MATERIALIZED (
        SELECT key FROM ${table} WHERE queue = $1 AND due <= clock_timestamp() ORDER BY since LIMIT 1 FOR UPDATE SKIP LOCKED
      ) UPDATE ${table} AS w SET owner = $2, epoch = epoch + 1, attempt = attempt + 1, due = ${inMs("$3")},
        again = CASE WHEN again > clock_timestamp() THEN again END
      FROM next WHERE w.queue = $1 AND w.key = next.key
      RETURNING w.key, payload, epoch::float8 AS epoch, attempt::int AS attempt`,
      [owner, leaseMs],
    )
    if (row === undefined) return undefined
    const { key, payload, epoch, attempt } = row
    return {
      ...{ key, payload: JSON.parse(payload) as unknown, epoch, attempt },
      renew: () => changed(`UPDATE ${table} SET due = ${inMs("$4")} WHERE ${MINE} RETURNING 1`, [key, owner, leaseMs], leaseMs / 3),
      async complete() {
        if (await changed(`DELETE FROM ${table} WHERE ${MINE} AND again IS NULL RETURNING 1`, [key, owner])) return true
        const values = [key, owner]
        return changed(`UPDATE ${table} SET owner = NULL, attempt = 0, due = again, since = again, again = NULL WHERE ${MINE} RETURNING 1`, values)
      },
      release: ({ delayMs = 0 } = {}) =>
        changed(
          `UPDATE ${table} SET owner = NULL, due = least(again, ${inMs("$4")}), since = least(again, ${inMs("$4")}), again = NULL
          WHERE ${MINE} RETURNING 1`,
          [key, owner, checkMs("delayMs", delayMs)],
        ),
    }
  }

  return {
    async enqueue(key: string, { payload, delayMs = 0 }: EnqueueOptions = {}): Promise<void> {
      checkText("A key", key, MOST_KEY_UNITS)
      const json = payload === undefined ? null : JSON.stringify(payload)
      await run(
        `WITH given AS (
          INSERT INTO ${table} AS w (queue, key, payload, due, since, epoch, attempt)
          SELECT $1::text, $2::text, coalesce($3::text, 'null'), at, at, 0, 0 FROM (SELECT ${inMs("$4")} AS at) AS due WHERE ${LOCK_TIMEOUT}
          ON CONFLICT (queue, key) DO UPDATE SET payload = coalesce($3::text, w.payload),
            due = CASE WHEN w.owner IS NULL THEN least(w.due, excluded.due) ELSE w.due END,
            since = CASE WHEN w.owner IS NULL THEN least(w.since, excluded.since) ELSE w.since END,
            again = CASE WHEN w.owner IS NULL THEN NULL ELSE least(w.again, excluded.due) END
        ) SELECT pg_notify('turn_machine_work', $1::text)`,
        [key, json, checkMs("delayMs", delayMs)],
      )
    },
    claim,
    work: (perform, options) => new QueueWorker(claim, perform, leaseMs, options),
    async count(): Promise<WorkCounts> {
      const [row] = await run<WorkCounts>(
        `SELECT count(*) FILTER (WHERE due <= clock_timestamp())::int AS due,
          count(*) FILTER (WHERE due > clock_timestamp() AND owner IS NOT NULL)::int AS claimed,
          count(*) FILTER (WHERE due > clock_timestamp() AND owner IS NULL)::int AS later
        FROM ${table} WHERE queue = $1`,
        [],
      )
      return row ?? { due: 0, claimed: 0, later: 0 }
    },
  }
}

const MINE = `queue = $1 AND key = $2 AND owner = $3 AND ${LOCK_TIMEOUT}`

function inMs(ms: string): string {
  return `clock_timestamp() + ${ms}::float8 * interval '1 millisecond'`
}

function checkMs(name: string, ms: number): number {
  if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY)) throw new RangeError(`${name} must be at least 0, not ${ms}.`)
  return ms
}

/** The longest names in UTF-16 code units, of at most 3 bytes each: together they fit into an index. */
const MOST_QUEUE_UNITS = 80
const MOST_KEY_UNITS = 800

function checkText(what: string, text: string, most: number): void {
  const isText = typeof text === "string" && text !== "" && text.length <= most && !text.includes("\0") && !/\p{Surrogate}/u.test(text)
  if (!isText) throw new RangeError(`${what} must be a text of 1 to ${most} characters without a zero character, not ${JSON.stringify(text)}.`)
}

/** The delay after a failed attempt, in milliseconds. */
function retryDelayOf(attempt: number): number {
  return Math.min(1_000 * 2 ** (attempt - 1), 60_000)
}

class QueueWorker implements Worker {
  readonly #claim: () => Promise<ClaimedWork | undefined>
  readonly #perform: PerformWork
  readonly #leaseMs: number
  readonly #options: WorkerOptions
  readonly #running = new Set<Promise<void>>()
  readonly #stopping = new AbortController()
  readonly #ended: Promise<void>
  /** Ends the pause between two polls. */
  #wake: AbortController = new AbortController()

  constructor(claim: () => Promise<ClaimedWork | undefined>, perform: PerformWork, leaseMs: number, options: WorkerOptions = {}) {
    const { concurrency = 1, pollMs = 1_000 } = options
    if (!(Number.isInteger(concurrency) && concurrency > 0))
      throw new RangeError(`concurrency must be a whole number of at least 1, not ${concurrency}.`)
    this.#claim = claim
    this.#perform = perform
    this.#leaseMs = leaseMs
    this.#options = options
    this.#ended = this.#loop(concurrency, checkMs("pollMs", pollMs))
  }

  wake(): void {
    this.#wake.abort()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.wake()
    await this.#ended
  }

  async #loop(concurrency: number, pollMs: number): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      // Made before looking for work: a notification that arrives during the look is not lost.
      this.#wake = new AbortController()
      const work = this.#running.size < concurrency ? await this.#next() : undefined
      if (work !== undefined && this.#stopping.signal.aborted) await this.#giveBack(work)
      else if (work === undefined) await sleep(pollMs * (0.75 + Math.random() / 2), this.#wake.signal)
      else this.#start(work)
    }
    await Promise.all(this.#running)
  }

  async #next(): Promise<ClaimedWork | undefined> {
    try {
      return await this.#claim()
    } catch (error) {
      this.#report(error)
      return undefined
    }
  }

  /** The worker was stopped while it claimed. If the database cannot be reached, the lease expires. */
  async #giveBack(work: ClaimedWork): Promise<void> {
    await work.release().catch((error: unknown) => this.#report(error))
  }

  #report(error: unknown, work?: ClaimedWork): void {
    try {
      this.#options.onError?.(error, work)
    } catch {
      // A log that fails must not end the worker.
    }
  }

  #retryDelay(work: ClaimedWork): number {
    try {
      return checkMs("retryDelayMs", (this.#options.retryDelayMs ?? retryDelayOf)(work.attempt))
    } catch (error) {
      this.#report(error, work)
      return retryDelayOf(work.attempt)
    }
  }

  #start(work: ClaimedWork): void {
    const running = this.#run(work).finally(() => {
      this.#running.delete(running)
      this.wake()
    })
    this.#running.add(running)
  }

  async #run(work: ClaimedWork): Promise<void> {
    const lost = new AbortController()
    let renewed = performance.now()
    const endRenewal = every(this.#leaseMs / 3, () => {
      const asked = performance.now()
      work.renew().then(
        (isMine) => {
          if (isMine) renewed = Math.max(renewed, asked)
          else lost.abort()
        },
        // The database cannot be reached. Another worker claims the work when the lease has expired.
        () => {
          if (performance.now() - renewed > this.#leaseMs) lost.abort()
        },
      )
    })
    try {
      const again = await this.#perform(work, AbortSignal.any([lost.signal, this.#stopping.signal]))
      await (again === undefined ? work.complete() : work.release({ delayMs: again.dueInMs }))
    } catch (error) {
      this.#report(error, work)
      // If the database cannot be reached, the lease expires.
      await work.release({ delayMs: this.#retryDelay(work) }).catch(() => {})
    } finally {
      endRenewal()
    }
  }
}
