import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { readTurnJournal } from "turn-machine/hosts/journal"
import { postgresJournalStore, postgresWorkQueue } from "turn-machine/hosts/postgres"
import { SCHEMA, watchWrites } from "./database.ts"

/** How the orders are disturbed. */
export interface RunOptions {
  readonly orders: number
  readonly workers: number
  /** How many turns a worker runs concurrently. */
  readonly concurrency: number
  readonly leaseMs: number
  /** How many workers are killed, one about every second while enough others work. */
  readonly kills: number
  /** Whether one worker is paused with SIGSTOP for longer than its lease. */
  readonly pausesOne?: boolean
  /** Receives a line of text about what happens. */
  readonly onEvent?: (text: string) => void
}

/** What happened, as the database has it. */
export interface Report {
  readonly seconds: number
  readonly kills: number
  /** Turns by the number of ends in their journals: all must have one. */
  readonly endsOfTurns: ReadonlyMap<number, number>
  readonly shipped: number
  /** Turns whose charge was cut off: the model read that it may have been made. */
  readonly unknownCharges: number
  /** How often each tool ran. */
  readonly executions: ReadonlyMap<string, number>
  /** Orders that were charged more than once: must be empty. */
  readonly chargedTwice: readonly string[]
  /** Calls of one order and tool under different idempotency keys: must be empty. */
  readonly changedKeys: readonly string[]
  /** Writes to a journal by a worker that was not its owner then: must be 0. */
  readonly foreignWrites: number
  /** Turns that were continued by another worker. */
  readonly continued: number
  /** About the worker that was paused: its turns that others took over, and those that it was refused to write to when it continued. */
  readonly paused: { readonly takenOver: readonly string[]; readonly fenced: readonly string[]; readonly laterWrites: number } | undefined
}

const HERE = fileURLToPath(new URL(".", import.meta.url))

const KILL_EVERY_MS = 800

interface Running {
  readonly name: string
  readonly child: ChildProcess
  /** The orders that it performs. */
  readonly open: Set<string>
  readonly fenced: Set<string>
  readonly ready: Promise<void>
  readonly ended: Promise<void>
  isPaused: boolean
}

/** Runs orders in worker processes on one database to their ends, whatever happens to the workers. */
export async function runOrders(connection: pg.PoolConfig, options: RunOptions): Promise<Report> {
  const { orders, leaseMs, onEvent: say = () => {} } = options
  const pool = new pg.Pool({ max: 3, ...connection })
  pool.on("error", () => {})
  const store = postgresJournalStore(pool, { schema: SCHEMA, leaseMs })
  const queue = postgresWorkQueue(pool, { schema: SCHEMA, leaseMs })
  // Creates the tables, which are watched then.
  await (await store.open("first")).close()
  await store.delete("first")
  await watchWrites(connection)

  const names = Array.from({ length: orders }, (_, index) => `${index + 1}`)
  let incarnations = 0
  let kills = 0
  const ended = new Set<string>()
  const start = (): Running => {
    incarnations += 1
    return startWorker(`worker-${incarnations}`, connection, options, (order) => {
      ended.add(order)
      if (ended.size % (orders / 10) === 0) say(`${ended.size} of ${orders} orders have ended`)
    })
  }
  const workers = Array.from({ length: options.workers }, start)
  try {
    await Promise.all(workers.map(({ ready }) => ready))
    say(`${options.workers} workers are ready`)
    const begun = performance.now()
    await Promise.all(names.map((name) => queue.enqueue(name)))

    let isOver = false
    const killing = async (): Promise<void> => {
      while (!isOver && kills < options.kills) {
        await sleep(KILL_EVERY_MS * (0.5 + Math.random()))
        // Only those that work, and never more than half: a new process takes a second to start.
        const working = workers.filter(({ open, isPaused }) => open.size > 0 && !isPaused)
        const worker = working[Math.floor(Math.random() * working.length)]
        if (isOver || worker === undefined || working.length < options.workers / 2) continue
        worker.child.kill("SIGKILL")
        await worker.ended
        kills += 1
        say(`killed ${worker.name} in the middle of ${worker.open.size} orders`)
        workers[workers.indexOf(worker)] = start()
      }
    }
    let paused: Report["paused"]
    const pausing = async (): Promise<void> => {
      if (options.pausesOne !== true) return
      await until(() => ended.size >= orders / 4)
      paused = await pauseOne(pool, workers, options)
    }
    const done = async (): Promise<void> => {
      for (;;) {
        const { due, claimed, later } = await queue.count()
        if (due + claimed + later === 0) return
        await sleep(50)
      }
    }
    const killed = killing()
    await Promise.all([pausing(), done()])
    const seconds = (performance.now() - begun) / 1000
    isOver = true
    await killed
    say("the queue is empty")
    for (const worker of workers) worker.child.kill("SIGTERM")
    await Promise.all(workers.map((worker) => worker.ended))
    return { ...(await readWorld(pool)), ...(await readEnds(pool, names, leaseMs)), seconds, kills, paused }
  } finally {
    for (const { child } of workers) child.kill("SIGKILL")
    await pool.end()
  }
}

function startWorker(name: string, connection: pg.PoolConfig, options: RunOptions, onEnd: (order: string) => void): Running {
  const env = {
    ...process.env,
    WORKER: name,
    CONNECTION: JSON.stringify(connection),
    LEASE_MS: `${options.leaseMs}`,
    CONCURRENCY: `${options.concurrency}`,
  }
  const child = spawn(process.execPath, ["--import", "tsx", "worker.ts"], { cwd: HERE, env, stdio: ["ignore", "pipe", "inherit"] })
  const open = new Set<string>()
  const fenced = new Set<string>()
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  const ready = new Promise<void>((resolve, reject) => {
    let rest = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) {
        const event = JSON.parse(line) as { ready?: string; began?: string; ended?: string; failed?: string; code?: string; message?: string }
        if (event.ready !== undefined) resolve()
        if (event.began !== undefined) open.add(event.began)
        const over = event.ended ?? event.failed
        if (over !== undefined) open.delete(over)
        if (event.ended !== undefined) onEnd(event.ended)
        if (event.failed !== undefined && event.code === "fenced") fenced.add(event.failed)
        else if (event.message !== undefined) options.onEvent?.(`${name}: ${event.message}`)
      }
    })
    ended.then(() => reject(new Error(`${name} ended before it was ready.`)))
  })
  // A worker that is killed before it is ready.
  ready.catch(() => {})
  return { name, child, open, fenced, ready, ended, isPaused: false }
}

interface Held {
  readonly name: string
  readonly epoch: string
}

/** Stops a worker in the middle of turns, and returns the journals that it owns. */
async function stopOne(pool: pg.Pool, workers: readonly Running[]): Promise<{ readonly worker: Running; readonly held: readonly Held[] }> {
  for (;;) {
    for (const worker of workers.filter(({ open }) => open.size > 0)) {
      worker.isPaused = true
      worker.child.kill("SIGSTOP")
      // What the server had received before.
      await sleep(200)
      const { rows: held } = await pool.query<Held>(
        `SELECT DISTINCT j.name, j.epoch FROM ${SCHEMA}.turn_machine_journals AS j JOIN ${SCHEMA}.writes AS w ON w.journal = j.name AND w.epoch = j.epoch
        WHERE j.owner IS NOT NULL AND w.worker = $1`,
        [worker.name],
      )
      if (held.length > 0) return { worker, held }
      // It was between two turns, or waits for the journal of a worker that was killed.
      worker.child.kill("SIGCONT")
      worker.isPaused = false
    }
    await sleep(100)
  }
}

/** Stops a worker for longer than its lease, until others have taken over its turns, and continues it. */
async function pauseOne(pool: pg.Pool, workers: readonly Running[], { leaseMs, onEvent: say = () => {} }: RunOptions): Promise<Report["paused"]> {
  const { worker, held } = await stopOne(pool, workers)
  say(`paused ${worker.name}, which owns the journals of orders ${held.map(({ name }) => name).join(", ")}`)
  const ownersSince = async (): Promise<readonly string[]> => {
    const { rows } = await pool.query<{ name: string }>(
      `SELECT j.name FROM ${SCHEMA}.turn_machine_journals AS j JOIN unnest($1::text[], $2::bigint[]) AS held (name, epoch) ON held.name = j.name
      WHERE j.epoch > held.epoch`,
      [held.map(({ name }) => name), held.map(({ epoch }) => epoch)],
    )
    return rows.map(({ name }) => name)
  }
  await sleep(leaseMs)
  let takenOver = await ownersSince()
  while (takenOver.length < held.length) {
    await sleep(100)
    takenOver = await ownersSince()
  }
  say(`other workers took over orders ${takenOver.join(", ")}; ${worker.name} continues`)
  const { rows: times } = await pool.query<{ now: Date }>("SELECT clock_timestamp() AS now")
  worker.child.kill("SIGCONT")
  const fenced = (): readonly string[] => takenOver.filter((name) => worker.fenced.has(name))
  await until(() => fenced().length === takenOver.length)
  say(`${worker.name} was refused to write to the journals of orders ${fenced().join(", ")}`)
  const { rows } = await pool.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM ${SCHEMA}.writes AS w
    JOIN unnest($1::text[], $2::bigint[]) AS held (name, epoch) ON held.name = w.journal AND held.epoch = w.epoch WHERE w.at > $3`,
    [held.map(({ name }) => name), held.map(({ epoch }) => epoch), times[0]?.now],
  )
  worker.isPaused = false
  return { takenOver, fenced: fenced(), laterWrites: rows[0]?.count ?? 0 }
}

async function readWorld(pool: pg.Pool) {
  const select = async <Row extends pg.QueryResultRow>(text: string): Promise<readonly Row[]> => (await pool.query<Row>(text)).rows
  const executions = await select<{ tool: string; count: number }>(
    `SELECT tool, count(*)::int AS count FROM ${SCHEMA}.executions GROUP BY tool ORDER BY tool`,
  )
  const twice = await select<{ order_id: string }>(
    `SELECT order_id FROM ${SCHEMA}.executions WHERE tool = 'charge' GROUP BY order_id HAVING count(*) > 1`,
  )
  const keys = await select<{ call: string }>(
    `SELECT order_id || ' ' || tool AS call FROM ${SCHEMA}.executions GROUP BY order_id, tool HAVING count(DISTINCT key) > 1`,
  )
  // As each owner has an epoch of its own, one epoch has one writer, and no writer comes back after the next one.
  const foreign = await select<{ count: number }>(
    `SELECT count(*)::int AS count FROM (
      SELECT worker <> first_value(worker) OVER (PARTITION BY journal, epoch ORDER BY id) OR epoch < max(epoch) OVER (PARTITION BY journal ORDER BY id) AS is_foreign
      FROM ${SCHEMA}.writes
    ) AS watched WHERE is_foreign`,
  )
  const continued = await select<{ count: number }>(
    `SELECT count(*)::int AS count FROM (SELECT journal FROM ${SCHEMA}.writes GROUP BY journal HAVING count(DISTINCT worker) > 1) AS several`,
  )
  return {
    executions: new Map(executions.map(({ tool, count }) => [tool, count])),
    chargedTwice: twice.map(({ order_id }) => order_id),
    changedKeys: keys.map(({ call }) => call),
    foreignWrites: foreign[0]?.count ?? 0,
    continued: continued[0]?.count ?? 0,
  }
}

/** Reads all journals, whose checksums show that no line is missing or was written by another owner. */
async function readEnds(pool: pg.Pool, names: readonly string[], leaseMs: number) {
  const store = postgresJournalStore(pool, { schema: SCHEMA, leaseMs })
  const endsOfTurns = new Map<number, number>()
  let shipped = 0
  let unknownCharges = 0
  for (const name of names) {
    const journal = await readTurnJournal(store, name)
    const ends = journal?.entries.flatMap(({ record }) => (record.type === "end" ? [record] : [])) ?? []
    endsOfTurns.set(ends.length, (endsOfTurns.get(ends.length) ?? 0) + 1)
    const text = JSON.stringify(ends)
    if (text.includes("is shipped")) shipped += 1
    if (text.includes("may have been made")) unknownCharges += 1
  }
  return { endsOfTurns, shipped, unknownCharges }
}

async function until(isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!isTrue()) {
    if (Date.now() > deadline) throw new Error(`Waited a minute in vain for: ${isTrue.toString()}`)
    await sleep(20)
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
