import Database from "libsql"
import type { DurableObjectSqlCursor, DurableObjectSqlStorage, DurableObjectSqlValue } from "../../../src/hosts/cloudflare/platform.ts"

// The limits of https://developers.cloudflare.com/durable-objects/platform/limits/ (read on 2026-11-27).
const MAX_VALUE_BYTES = 2_000_000
const MAX_STATEMENT_BYTES = 100_000
const MAX_PARAMETERS = 100

/** The SQL storage of a Durable Object over libsql, with the limits of the platform. */
export class FakeStorage implements DurableObjectSqlStorage {
  readonly database: InstanceType<typeof Database>
  /** Called before each statement: what it throws, the statement throws. */
  onStatement: (query: string) => void = () => {}
  /** The size of the greatest value that was stored, in bytes. */
  greatest = 0
  statements = 0

  constructor(database: InstanceType<typeof Database> = new Database(":memory:")) {
    this.database = database
  }

  readonly sql = {
    exec: (query: string, ...values: DurableObjectSqlValue[]): DurableObjectSqlCursor => {
      this.statements += 1
      if (new TextEncoder().encode(query).length > MAX_STATEMENT_BYTES) throw new Error("statement too long: SQLITE_TOOBIG")
      if (values.length > MAX_PARAMETERS) throw new Error("too many SQL variables: SQLITE_ERROR")
      if (/^\s*(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|PRAGMA|ATTACH)/i.test(query)) throw new Error("not authorized: SQLITE_AUTH")
      for (const value of values) this.#measure(value)
      this.onStatement(query)
      const rows = values.length === 0 && query.includes(";") ? this.#runAll(query) : this.#run(query, values)
      return { toArray: () => rows }
    },
  }

  transactionSync<Result>(closure: () => Result): Result {
    // The platform's transactions nest.
    this.database.exec("SAVEPOINT fake")
    try {
      const result = closure()
      this.database.exec("RELEASE fake")
      return result
    } catch (error) {
      this.database.exec("ROLLBACK TO fake")
      this.database.exec("RELEASE fake")
      throw error
    }
  }

  #measure(value: DurableObjectSqlValue): void {
    const bytes = typeof value === "string" ? new TextEncoder().encode(value).length : value instanceof Object ? value.byteLength : 8
    if (bytes > MAX_VALUE_BYTES) throw new Error("string or blob too big: SQLITE_TOOBIG")
    this.greatest = Math.max(this.greatest, bytes)
  }

  #runAll(query: string): { readonly [column: string]: unknown }[] {
    this.database.exec(query)
    return []
  }

  #run(query: string, values: readonly DurableObjectSqlValue[]): { readonly [column: string]: unknown }[] {
    const statement = this.database.prepare(query)
    if (!statement.reader) {
      statement.run(...values)
      return []
    }
    return statement
      .all(...values)
      .map((row) => Object.fromEntries(Object.entries(row as object).map(([column, value]) => [column, ofPlatform(value)])))
  }
}

/** The platform returns bytes as an `ArrayBuffer`. */
function ofPlatform(value: unknown): unknown {
  return value instanceof Uint8Array ? value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength) : value
}
