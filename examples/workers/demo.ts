/** `npm start`: runs 200 orders in four workers that are killed at random, and shows that nothing was done twice or lost. */
import { HOW_TO_GET_ONE, openDatabase } from "./database.ts"
import { runOrders } from "./run-orders.ts"

const database = await openDatabase()
if (database === undefined) {
  console.error(HOW_TO_GET_ONE)
  process.exit(1)
}
/** `npm start -- calm`: nothing is killed, and the work takes no time, to measure how many turns a second four workers run. */
const isCalm = process.argv[2] === "calm"
if (isCalm) process.env["WORK_MS"] = "0"
const ORDERS = isCalm ? 2_000 : 200
const started = Date.now()
try {
  const report = await runOrders(database.connection, {
    ...{ orders: ORDERS, workers: 4, concurrency: isCalm ? 8 : 2, leaseMs: 2_000 },
    ...(isCalm ? { kills: 0 } : { kills: 20, pausesOne: true }),
    onEvent: (text) => console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(5)} s  ${text}`),
  })
  const { endsOfTurns, shipped, unknownCharges, executions, chargedTwice, kills, seconds, continued, foreignWrites, paused } = report
  const rows: readonly (readonly [what: string, value: unknown])[] = [
    ["orders", ORDERS],
    ["turns that ended exactly once", endsOfTurns.get(1) ?? 0],
    ["  of them shipped", shipped],
    ["  of them left to a person, because a charge was cut off", unknownCharges],
    ["orders charged twice", chargedTwice.length],
    ["workers killed", kills],
    ["turns that another worker continued", continued],
    ["writes to a journal by a worker that was not its owner", foreignWrites],
    ["turns of the paused worker that others took over", paused?.takenOver.length ?? 0],
    ["  what it wrote to them after that", paused?.laterWrites ?? 0],
    ["calls of reserve, charge and ship", ["reserve", "charge", "ship"].map((tool) => executions.get(tool) ?? 0).join(", ")],
    ["seconds", seconds.toFixed(1)],
    ["turns a second", (ORDERS / seconds).toFixed(1)],
  ]
  console.log()
  for (const [what, value] of rows) console.log(`${what.padEnd(60)} ${value}`)
} finally {
  await database.close()
}
