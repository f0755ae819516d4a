import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { type Database, HOW_TO_GET_ONE, openDatabase } from "./database.ts"
import { findPostgres } from "./local-postgres.ts"
import { type Report, runOrders } from "./run-orders.ts"

vi.setConfig({ testTimeout: 3_600_000, hookTimeout: 3_600_000 })

// `ORDERS=2000 KILLS=300 npm test` runs longer. `ORDERS=0` skips the tests.
const ORDERS = Number(process.env["ORDERS"] ?? "200")
const KILLS = Number(process.env["KILLS"] ?? "12")

const hasDatabase = process.env["DATABASE_URL"] !== undefined || findPostgres() !== undefined
if (!hasDatabase && process.env["CI"] === "true") throw new Error(HOW_TO_GET_ONE)
if (!hasDatabase) console.warn(`The tests are skipped. ${HOW_TO_GET_ONE}`)

describe.skipIf(!hasDatabase || ORDERS === 0)(`${ORDERS} orders in four workers that are killed at random, one of which is suspended`, () => {
  let database: Database | undefined
  let report: Report

  beforeAll(async () => {
    database = await openDatabase()
    if (database === undefined) throw new Error(HOW_TO_GET_ONE)
    const load = { orders: ORDERS, workers: 4, concurrency: 2, leaseMs: 2_000 }
    report = await runOrders(database.connection, { ...load, kills: KILLS, pausesOne: true })
    console.log(
      `${report.kills} kills, ${report.continued} turns continued, ${report.unknownCharges} charges cut off, ${report.seconds.toFixed(1)} s`,
    )
  })
  afterAll(() => database?.close())

  test("each turn ends exactly once, in an order shipped or left to a person", () => {
    expect([...report.endsOfTurns]).toEqual([[1, ORDERS]])
    expect(report.shipped + report.unknownCharges).toBe(ORDERS)
    expect(report.executions.get("ship") ?? 0).toBeGreaterThanOrEqual(report.shipped)
  })

  test("workers were killed in the middle of turns, which others continued", () => {
    expect(report.kills).toBe(Math.min(KILLS, ORDERS - 1))
    expect(report.continued).toBeGreaterThan(0)
  })

  test("no customer is charged twice, and calls are repeated under the same key", () => {
    expect(report.chargedTwice).toEqual([])
    expect(report.changedKeys).toEqual([])
    expect(report.executions.get("charge") ?? 0).toBeGreaterThanOrEqual(report.shipped)
  })

  test("only the owner of a journal writes to it", () => {
    expect(report.foreignWrites).toBe(0)
  })

  test("a worker that was suspended for longer than its lease is refused to write to the turns that others took over", () => {
    expect(report.paused?.fenced.length).toBeGreaterThan(0)
    expect(report.paused?.laterWrites).toBe(0)
  })
})
