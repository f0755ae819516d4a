import { sleep } from "../timers.ts"

/**
 * A client of PostgreSQL: a `Pool` or `Client` of pg, or a `PGlite`. For postgres.js, pass
 * `{ query: async (text, values) => ({ rows: await sql.unsafe(text, values) }) }`.
 */
export interface PostgresClient {
  /** Runs one statement, in a transaction of its own. `values` are its parameters `$1`, `$2`, … Bytes are a `Uint8Array`. */
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>
}

/** Options of a connection. */
export interface PostgresOptions {
  /** The schema of the tables, created if needed. Default: the first one of the connection's `search_path`. */
  readonly schema?: string
  /**
   * How long a call repeats a statement whose connection was lost, or that the server could not run then, before it fails. Milliseconds.
   * Default 10,000.
   */
  readonly retryMs?: number
}

/** Delays between attempts, in milliseconds: they double from the first to the last one. */
const FIRST_DELAY_MS = 50
const LAST_DELAY_MS = 1_000

/** How long an answer that has arrived may take to be read, in milliseconds. */
const UNREAD_MS = 200

/** How long a statement waits for a lock: another connection of the same owner may have lost its client in the middle of a statement. */
const LOCK_TIMEOUT_MS = 10_000

/** A condition that is always true, and limits how long its statement waits for locks. */
export const LOCK_TIMEOUT: string = `(SELECT set_config('lock_timeout', '${LOCK_TIMEOUT_MS}', true)) IS NOT NULL`

/** What a server reports that another attempt may not meet: a failover, a deadlock, too many connections. */
const TRANSIENT = /^(?:08...|57P0[1-5]|40001|40P01|53300|25006)$/

/**
 * Runs statements that have the same effect once and twice, so that one can be repeated whose result is unknown because its connection
 * was lost.
 */
export class PostgresConnection {
  readonly #client: PostgresClient
  readonly #retryMs: number

  /** @throws {RangeError | TypeError} */
  constructor(caller: string, client: PostgresClient, retryMs: number) {
    if (typeof client?.query !== "function") throw new TypeError(`${caller} takes a client of PostgreSQL, such as new Pool() of pg.`)
    if (!(retryMs >= 0)) throw new RangeError(`retryMs must be at least 0, not ${retryMs}.`)
    this.#client = client
    this.#retryMs = retryMs
  }

  /** Runs a statement, and again while its connection is lost, and returns its rows. */
  async run<Row>(text: string, values: readonly unknown[] = [], retryMs: number = this.#retryMs): Promise<readonly Row[]> {
    const deadline = performance.now() + retryMs
    for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(2 * delayMs, LAST_DELAY_MS)) {
      try {
        // A connection that is half open never answers, so the last attempt has a limit, too.
        return await inTime(this.once<Row>(text, values), Math.max(deadline - performance.now(), LAST_DELAY_MS))
      } catch (error) {
        if (!isTransient(error) || performance.now() + delayMs >= deadline) throw described(error)
      }
      await sleep(delayMs)
    }
  }

  /** Runs a statement once. */
  async once<Row>(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    const { rows } = await this.#client.query(text, [...values])
    // A statement reads the columns that it names.
    return rows as readonly Row[]
  }
}

function isTransient(error: unknown): boolean {
  const code = sqlState(error)
  return code === undefined || TRANSIENT.test(code)
}

/** The code that the server reported; `undefined` if the connection failed, whose errors have no code or one of the system. */
export function sqlState(error: unknown): string | undefined {
  const { code } = error as { readonly code?: unknown }
  return typeof code === "string" && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/** An error with a message. If a host name has several addresses, Node's error has none. */
function described(error: unknown): unknown {
  if (!(error instanceof Error) || error.message !== "") return error
  const { code = error.name } = error as { readonly code?: string }
  return new Error(`the server cannot be reached (${code})`, { cause: error })
}

async function inTime<Result>(pending: Promise<Result>, ms: number): Promise<Result> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_resolve, reject) => {
    // In a process that was suspended, timers fire before an answer that has arrived is read.
    timer = setTimeout(() => {
      timer = setTimeout(() => reject(new Error(`the server did not answer in ${Math.round(ms)} ms`)), UNREAD_MS)
    }, ms)
  })
  try {
    return await Promise.race([pending, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The longest name in bytes: PostgreSQL cuts longer ones, so that two schemas would be one. */
const MOST_NAME_BYTES = 63

/** A prefix for the names of tables: `"my schema".`, or nothing. @throws {RangeError} */
export function schemaPrefix(schema: string | undefined): string {
  if (schema === undefined) return ""
  const isName =
    schema !== "" && !schema.includes("\0") && !/\p{Surrogate}/u.test(schema) && new TextEncoder().encode(schema).length <= MOST_NAME_BYTES
  if (!isName) throw new RangeError(`schema must be the name of a schema, of 1 to ${MOST_NAME_BYTES} bytes, not ${JSON.stringify(schema)}.`)
  return `"${schema.replaceAll('"', '""')}".`
}

/** A text in SQL, whatever the connection's `standard_conforming_strings`. */
export function literal(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes("\\") ? `E${quoted.replaceAll("\\", "\\\\")}` : quoted
}

/** Tables that a store creates, with a version. */
export interface TableSet {
  /** The name of the table that holds the version. */
  readonly versions: string
  readonly version: number
  /** Statements that create the tables if they do not exist, each with its `;`. `{}` is where the prefix of the schema goes. */
  readonly create: string
}

/** Whether tables exist. Writes nothing. @throws {Error} they have a version that this package does not support */
export async function hasTables(connection: PostgresConnection, schema: string | undefined, tables: TableSet): Promise<boolean> {
  const prefix = schemaPrefix(schema)
  const table = `${prefix}${tables.versions}`
  const [found] = await connection.run<{ readonly found: boolean }>(`SELECT to_regclass(${literal(table)}) IS NOT NULL AS found`)
  if (found?.found !== true) return false
  const [row] = await connection.run<{ readonly version: number }>(`SELECT version::int AS version FROM ${table}`)
  if (row === undefined) return false
  if (row.version !== tables.version) throw new Error(`its tables have version ${row.version}, but this package supports version ${tables.version}`)
  return true
}

/** Creates tables if needed. Processes that do so at the same time wait for each other. */
export async function createTables(connection: PostgresConnection, schema: string | undefined, tables: TableSet): Promise<void> {
  if (await hasTables(connection, schema, tables)) return
  const prefix = schemaPrefix(schema)
  const table = `${prefix}${tables.versions}`
  // One statement, because some clients accept no more. To create a schema that exists needs a right that its owner may not have.
  const inSchema =
    schema === undefined
      ? ""
      : `IF to_regnamespace(${literal(prefix.slice(0, -1))}) IS NULL THEN CREATE SCHEMA IF NOT EXISTS ${prefix.slice(0, -1)}; END IF;`
  const body = `BEGIN
      PERFORM pg_advisory_xact_lock(hashtextextended(${literal(table)}, 0)), set_config('client_min_messages', 'warning', true);
      ${inSchema}
      CREATE TABLE IF NOT EXISTS ${table} (version integer NOT NULL);
      INSERT INTO ${table} SELECT ${tables.version} WHERE NOT EXISTS (SELECT 1 FROM ${table});
      ${tables.create.split("{}").join(prefix)}
    END`
  // A literal, because the name of a schema may contain whatever would end a dollar quote.
  await connection.run(`DO ${literal(body)}`)
  if (!(await hasTables(connection, schema, tables))) throw new Error(`its table ${table} is empty`)
}
