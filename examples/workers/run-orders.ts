import pg from "pg"
import { readTurnJournal } from "turn-machine/hosts/journal"
import { postgresJournalStore, postgresWorkQueue } from "turn-machine/hosts/postgres"
import { type HeldTool, holdTool, SCHEMA, TOOLS, watchWrites } from "./database.ts"
import { type RunningWorker, Workers } from "./worker-processes.ts"

/** How the orders are disturbed. */
export interface RunOptions {
  readonly orders: number
  readonly workers: number
  /** How many turns a worker runs concurrently. */
  readonly concurrency: number
  readonly leaseMs: number
  /** How many workers are killed, each in or after a tool call of an order of its own: at most one less than there are orders. */
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
  /**
   * About the worker that was paused: its turns that others took over, those that it was refused to write to when it continued, and how
   * often it wrote to any of them after that.
   */
  readonly paused: { readonly takenOver: readonly string[]; readonly fenced: readonly string[]; readonly laterWrites: number } | undefined
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

  const ended = new Set<string>()
  const workers = new Workers(connection, options, (order) => {
    ended.add(order)
    if (ended.size % Math.ceil(orders / 10) === 0) say(`${ended.size} of ${orders} orders have ended`)
  })
  try {
    await workers.allReady()
    say(`${options.workers} workers are ready`)
    const begun = performance.now()
    const disturbances = disturbancesOf(options)
    let kills = 0
    let paused: Report["paused"]
    const names = Array.from({ length: orders }, (_, index) => `${index + 1}`)
    // The orders come in as many parts as there are disturbances, and each disturbance waits for the first order of its part. So there is
    // work to disturb, however fast the workers are.
    for (const [index, part] of inParts(names, disturbances.length).entries()) {
      const [first = "", ...others] = part
      const disturbance = disturbances[index]
      const tool = TOOLS[Math.floor(Math.random() * TOOLS.length)] ?? "charge"
      const held = disturbance === undefined ? undefined : await holdTool(pool, first, tool)
      await queue.enqueue(first)
      await Promise.all(others.map((name) => queue.enqueue(name)))
      if (held === undefined) continue
      try {
        const worker = await workers.until(`a worker calls ${tool} of order ${first}`, async () => workers.named(await held.callers()))
        if (disturbance === "pause") paused = await pauseOne(pool, workers, worker, held, options)
        else {
          await killOne(workers, worker, held, disturbance === "kill in a call", say)
          kills += 1
        }
      } finally {
        await held.release()
      }
    }
    await workers.until("the queue is empty", async () => {
      const { due, claimed, later } = await queue.count()
      return due + claimed + later === 0 || undefined
    })
    const seconds = (performance.now() - begun) / 1000
    say("the queue is empty")
    await workers.stop()
    return { ...(await readWorld(pool)), ...(await readEnds(pool, names, leaseMs)), seconds, kills, paused }
  } finally {
    workers.kill()
    await pool.end()
  }
}

type Disturbance = "kill in a call" | "kill later" | "pause"

/** Half of the workers die in the middle of a call, the others at a random time after it. The pause comes after a quarter of them. */
function disturbancesOf({ orders, kills, pausesOne = false }: RunOptions): readonly Disturbance[] {
  const count = Math.min(kills, orders - 1)
  const list = Array.from({ length: count }, (_, index): Disturbance => (index % 2 === 0 ? "kill in a call" : "kill later"))
  return pausesOne ? [...list.slice(0, count / 4), "pause", ...list.slice(count / 4)] : list
}

/** Divides a list into parts of about the same length: as many as are asked for, and at least one. */
function inParts<Item>(items: readonly Item[], parts: number): readonly (readonly Item[])[] {
  const count = Math.max(parts, 1)
  const startOf = (part: number): number => Math.floor((items.length * part) / count)
  return Array.from({ length: count }, (_, part) => items.slice(startOf(part), startOf(part + 1)))
}

/** How long a worker that is killed later runs on at most after a call. In this time it stores results and calls the model. */
const LATER_MS = 300

async function killOne(workers: Workers, worker: RunningWorker, held: HeldTool, inCall: boolean, say: (text: string) => void): Promise<void> {
  if (!inCall) {
    await held.release()
    await sleep(LATER_MS * Math.random())
  }
  await workers.replace(worker)
  if (inCall) await held.release()
  say(`killed ${worker.name} ${inCall ? `in a call of ${held.tool}` : "at a random time"}, in the middle of ${worker.open.size} orders`)
}

/** Stops a worker that is in a call for longer than its lease, until others have taken over the order, and continues it. */
async function pauseOne(
  pool: pg.Pool,
  workers: Workers,
  worker: RunningWorker,
  held: HeldTool,
  { onEvent: say = () => {} }: RunOptions,
): Promise<Report["paused"]> {
  worker.child.kill("SIGSTOP")
  await held.release()
  say(`paused ${worker.name} in a call of ${held.tool} of order ${held.order}`)
  const lost = async (): Promise<readonly { readonly name: string; readonly epoch: string }[]> => {
    const { rows } = await pool.query<{ name: string; epoch: string }>(
      `SELECT j.name, max(w.epoch) AS epoch FROM ${SCHEMA}.turn_machine_journals AS j JOIN ${SCHEMA}.writes AS w ON w.journal = j.name
      WHERE w.worker = $1 AND j.name = ANY ($2) GROUP BY j.name, j.epoch HAVING j.epoch > max(w.epoch)`,
      [worker.name, [...worker.open]],
    )
    return rows
  }
  const taken = await workers.until(`another worker takes over order ${held.order}`, async () => {
    const rows = await lost()
    return rows.some(({ name }) => name === held.order) ? rows : undefined
  })
  const takenOver = taken.map(({ name }) => name)
  say(`other workers took over orders ${takenOver.join(", ")}; ${worker.name} continues`)
  const { rows: times } = await pool.query<{ now: Date }>("SELECT clock_timestamp() AS now")
  worker.left.clear()
  worker.child.kill("SIGCONT")
  await workers.until(`${worker.name} leaves orders ${takenOver.join(", ")}`, () => takenOver.every((name) => worker.left.has(name)) || undefined)
  // What has no result to store when it notices that its lease is lost is left without a write.
  const fenced = takenOver.filter((name) => worker.left.get(name) === "fenced")
  say(`${worker.name} was refused to write to the journals of orders ${fenced.join(", ")}`)
  const { rows } = await pool.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM ${SCHEMA}.writes AS w
    JOIN unnest($1::text[], $2::bigint[]) AS held (name, epoch) ON held.name = w.journal AND held.epoch = w.epoch WHERE w.at > $3`,
    [takenOver, taken.map(({ epoch }) => epoch), times[0]?.now],
  )
  return { takenOver, fenced, laterWrites: rows[0]?.count ?? 0 }
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

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
