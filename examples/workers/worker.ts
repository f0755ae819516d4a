/** One worker: claims orders from the queue and runs their turns, until it gets SIGTERM. Prints what happens as lines of JSON. */
import pg from "pg"
import { JournalStoreError } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { postgresJournalStore, postgresWorkQueue } from "turn-machine/hosts/postgres"
import { orderAgent } from "./agent.ts"
import { SCHEMA } from "./database.ts"

const name = process.env["WORKER"] ?? `worker-${process.pid}`
const connection = JSON.parse(process.env["CONNECTION"] ?? "{}") as pg.PoolConfig
const leaseMs = Number(process.env["LEASE_MS"] ?? "30000")
const concurrency = Number(process.env["CONCURRENCY"] ?? "4")

const pool = new pg.Pool({ ...connection, application_name: name })
// A connection that is lost while idle: the pool opens another one.
pool.on("error", () => {})

const { host, turnOf } = orderAgent(pool, name)
const queue = postgresWorkQueue(pool, { schema: SCHEMA, leaseMs })
// The journal of a worker that died is free when its lease has expired, perhaps a little later than the work in the queue.
const turns = journaled(host, postgresJournalStore(pool, { schema: SCHEMA, leaseMs }), { waitMs: 2 * leaseMs })

const worker = queue.work(
  async ({ key, attempt }, signal) => {
    report({ began: key, attempt })
    const end = await turns.run(key, turnOf(key), { pause: signal })
    // A worker that was stopped, or that lost its lease, leaves the turn to the next one.
    if (end.type === "suspended") {
      report({ suspended: key })
      return { dueInMs: 0 }
    }
    report({ ended: key })
    return undefined
  },
  {
    concurrency,
    pollMs: 500,
    onError(error, work) {
      report({ failed: work?.key, code: error instanceof JournalStoreError ? error.code : undefined, message: String(error) })
    },
  },
)

// With notifications, idle workers start new orders at once, and poll only for those of workers that died.
const listener = new pg.Client({ ...connection, application_name: name })
listener.on("notification", () => worker.wake())
listener.on("error", () => {})
await listener.connect()
await listener.query("LISTEN turn_machine_work")
report({ ready: name })

process.once("SIGTERM", async () => {
  await worker.stop()
  await Promise.all([listener.end(), pool.end()])
})

function report(event: object): void {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}
