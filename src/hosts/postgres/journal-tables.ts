import { leased } from "../journal/lease.ts"
import { createTables, hasTables, LOCK_TIMEOUT, type PostgresClient, PostgresConnection, schemaPrefix, type TableSet } from "./client.ts"

/**
 * `key` is the name in UTF-16, whose bytes have the order of its code units. `epoch` counts the owners, `writes` the writes of one owner.
 * The text of a journal is its rows of `generation` up to `last`. A replacement writes rows of another generation, and `stale` says
 * since when there may be some that do not count. Half of each page stays free, so that a write changes its row in place.
 */
const TABLES: TableSet = {
  versions: "turn_machine_journal_schema",
  version: 1,
  create: `
    CREATE TABLE IF NOT EXISTS {}turn_machine_journals (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key bytea NOT NULL UNIQUE, name text NOT NULL,
      owner uuid, since timestamptz NOT NULL, epoch bigint NOT NULL, expires timestamptz NOT NULL, lease_ms integer NOT NULL,
      writes bigint NOT NULL, generation bigint NOT NULL, last bigint NOT NULL, stale timestamptz
    ) WITH (fillfactor = 50);
    CREATE INDEX IF NOT EXISTS turn_machine_journals_stale ON {}turn_machine_journals (stale) WHERE stale IS NOT NULL;
    CREATE TABLE IF NOT EXISTS {}turn_machine_journal_texts (
      journal bigint NOT NULL REFERENCES {}turn_machine_journals ON DELETE CASCADE, generation bigint NOT NULL, position bigint NOT NULL,
      text bytea NOT NULL, PRIMARY KEY (journal, generation, position)
    );`,
}

/** How many names are read at once. */
export const NAMES_A_PAGE = 200

const ROWS_A_PAGE = 1_000
const BYTES_A_PAGE = 2 ** 21

/** How long the text before a replacement remains for those who read it, at least. */
const RETAINED = "interval '60 seconds'"
/** How often a store looks for such texts, in milliseconds, and how many journals it cleans then. */
const SWEEP_MS = 60_000
const SWEPT = 20

/** A text of a journal: rows of one generation. */
export interface TextPlace {
  readonly journal: string
  readonly generation: number
  /** The position of the last row. Positions begin at 1. */
  readonly last: number
}

/** One ownership of a journal. Writes check both: a late copy of the claim can make its owner the owner again, but in another epoch. */
export interface Claimed {
  readonly owner: string
  readonly epoch: number
  readonly text: TextPlace
  readonly writes: number
  /** Whether there may be rows of other generations. */
  readonly isStale: boolean
}

/** A row to be stored. */
export interface Row {
  readonly generation: number
  readonly position: number
  readonly text: Uint8Array
}

export interface TablesOptions {
  readonly schema: string | undefined
  readonly retryMs: number
  readonly leaseMs: number
}

/** The statements. Each is a transaction of its own, and has the same effect if it runs twice. */
export class JournalTables {
  readonly #connection: PostgresConnection
  readonly #options: TablesOptions
  readonly #journals: string
  readonly #texts: string
  #ready: Promise<void> | undefined
  #exist = false
  #swept = 0

  /** @throws {RangeError | TypeError} */
  constructor(client: PostgresClient, options: TablesOptions) {
    const { schema, retryMs, leaseMs } = options
    if (!Number.isInteger(leaseMs) || leaseMs < 300) throw new RangeError(`leaseMs must be a whole number of at least 300, not ${leaseMs}.`)
    this.#connection = new PostgresConnection("postgresJournalStore", client, retryMs)
    this.#options = options
    this.#journals = `${schemaPrefix(schema)}turn_machine_journals`
    this.#texts = `${schemaPrefix(schema)}turn_machine_journal_texts`
  }

  /** Makes the caller the owner of a journal. @throws {JournalStoreError} `in_use`, `invalid_name` */
  async claim(name: string, owner: string, takeOver: boolean): Promise<Claimed> {
    await this.#create()
    interface Row extends PlaceRow {
      readonly epoch: number
      readonly writes: number
      readonly stale: boolean
    }
    const { leaseMs } = this.#options
    for (;;) {
      const [row] = await this.#connection.run<Row>(
        `INSERT INTO ${this.#journals} AS j (key, name, owner, since, epoch, expires, lease_ms, writes, generation, last)
        SELECT $1::bytea, $2::text, $3::uuid, clock_timestamp(), 1, ${expiry("$4")}, $4::integer, 0, 1, 0 WHERE ${LOCK_TIMEOUT}
        ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, since = clock_timestamp(), expires = ${expiry("$4")},
          lease_ms = $4::integer, epoch = CASE WHEN j.owner = excluded.owner THEN j.epoch ELSE j.epoch + 1 END, writes = CASE WHEN j.owner = excluded.owner THEN j.writes ELSE 0 END
        WHERE $5::boolean OR j.owner IS NULL OR j.owner = excluded.owner OR j.expires <= clock_timestamp()
        RETURNING ${PLACE}, epoch::float8 AS epoch, writes::float8 AS writes, stale IS NOT NULL AS stale`,
        [keyOf(name), name, owner, leaseMs, takeOver],
      )
      if (row !== undefined) {
        this.#sweep()
        return { owner, epoch: row.epoch, text: placeOf(row), writes: row.writes, isStale: row.stale }
      }
      await this.#refuseIfOwned(name)
    }
  }

  /** The text of a journal; `undefined` if there is no journal of that name. Writes nothing. */
  async find(name: string): Promise<TextPlace | undefined> {
    if (!(await this.#found())) return undefined
    const [row] = await this.#connection.run<PlaceRow>(`SELECT ${PLACE} FROM ${this.#journals} WHERE key = $1`, [keyOf(name)])
    return row && placeOf(row)
  }

  /** The rows after a position: as many as make a page, and at least one if there is one. */
  page({ journal, generation, last }: TextPlace, after: number): Promise<readonly { readonly position: number; readonly text: Uint8Array }[]> {
    return this.#connection.run(
      `SELECT position::float8 AS position, text FROM (
        SELECT position, text, sum(octet_length(text)) OVER (ORDER BY position) - octet_length(text) AS before FROM (
          SELECT position, text FROM ${this.#texts}
          WHERE journal = $1 AND generation = $2 AND position > $3 AND position <= $4 ORDER BY position LIMIT ${ROWS_A_PAGE}
        ) AS rows
      ) AS sized WHERE before < ${BYTES_A_PAGE} ORDER BY position`,
      [journal, generation, after, last],
    )
  }

  async isOwner({ owner, epoch, text: { journal } }: Claimed): Promise<boolean> {
    const rows = await this.#connection.run(`SELECT 1 FROM ${this.#journals} WHERE ${MINE}`, [journal, owner, epoch])
    return rows.length > 0
  }

  /** Stores a row, and which text the journal has. Returns false and stores nothing if the journal has another owner. */
  async write({ owner, epoch }: Claimed, number: number, text: TextPlace, row: Row | undefined, isStale: boolean): Promise<boolean> {
    const { leaseMs } = this.#options
    const stored = await this.#connection.run(
      `WITH mine AS (
        UPDATE ${this.#journals} SET expires = ${expiry("$5")}, writes = $4, generation = $6, last = $7,
          stale = CASE WHEN $8::boolean THEN clock_timestamp() ELSE stale END
        WHERE ${MINE} AND writes <= $4 RETURNING id
      ), stored AS (
        INSERT INTO ${this.#texts} (journal, generation, position, text)
        SELECT id, $9::bigint, $10::bigint, $11::bytea FROM mine WHERE $11::bytea IS NOT NULL
        ON CONFLICT (journal, generation, position) DO UPDATE SET text = excluded.text
      ) SELECT 1 FROM mine`,
      [
        ...[text.journal, owner, epoch, number, leaseMs, text.generation, text.last, isStale],
        ...(row === undefined ? [null, null, null] : [row.generation, row.position, row.text]),
      ],
    )
    return stored.length > 0
  }

  /** Returns false if the journal has another owner. */
  async renew({ owner, epoch, text: { journal } }: Claimed): Promise<boolean> {
    const { leaseMs } = this.#options
    const rows = await this.#connection.run(
      `UPDATE ${this.#journals} SET expires = ${expiry("$4")} WHERE ${MINE} RETURNING 1`,
      [journal, owner, epoch, leaseMs],
      leaseMs / 3,
    )
    return rows.length > 0
  }

  /** Deletes the rows that are not the journal's text. */
  async clean({ owner, epoch }: Claimed, number: number, { journal, generation, last }: TextPlace): Promise<void> {
    await this.#connection.run(
      `WITH mine AS (
        UPDATE ${this.#journals} SET writes = $4, generation = $5, last = $6, stale = NULL
        WHERE ${MINE} AND writes <= $4 RETURNING id
      ) DELETE FROM ${this.#texts} AS t USING mine WHERE t.journal = mine.id AND (t.generation <> $5 OR t.position > $6)`,
      [journal, owner, epoch, number, generation, last],
    )
  }

  async release({ owner, epoch }: Claimed, number: number, { journal, generation, last }: TextPlace, retryMs: number): Promise<void> {
    await this.#connection.run(
      `UPDATE ${this.#journals} SET owner = NULL, writes = $4, generation = $5, last = $6 WHERE ${MINE} AND writes <= $4`,
      [journal, owner, epoch, number, generation, last],
      retryMs,
    )
  }

  /** @throws {JournalStoreError} `in_use` */
  async delete(name: string): Promise<void> {
    if (!(await this.#found())) return
    for (;;) {
      const deleted = await this.#connection.run(
        `DELETE FROM ${this.#journals} WHERE key = $1 AND (owner IS NULL OR expires <= clock_timestamp()) AND ${LOCK_TIMEOUT} RETURNING 1`,
        [keyOf(name)],
      )
      if (deleted.length > 0 || !(await this.#refuseIfOwned(name))) return
    }
  }

  /** The first names that begin with a prefix or are greater, or those after a name. */
  async names(prefix: string, after: string | undefined): Promise<readonly string[]> {
    if (!(await this.#found())) return []
    const rows = await this.#connection.run<{ readonly name: string }>(
      `SELECT name FROM ${this.#journals} WHERE key ${after === undefined ? ">=" : ">"} $1 ORDER BY key LIMIT ${NAMES_A_PAGE}`,
      [keyOf(after ?? prefix)],
    )
    return rows.map(({ name }) => name)
  }

  /** Returns whether the journal exists, now without an owner. @throws {JournalStoreError} `in_use` */
  async #refuseIfOwned(name: string): Promise<boolean> {
    const [row] = await this.#connection.run<{ readonly since: number; readonly left: number | null; readonly lease: number }>(
      `SELECT floor(extract(epoch FROM since) * 1000)::float8 AS since, lease_ms::int AS lease,
        CASE WHEN owner IS NOT NULL THEN (extract(epoch FROM expires - clock_timestamp()) * 1000)::float8 END AS left
      FROM ${this.#journals} WHERE key = $1`,
      [keyOf(name)],
    )
    if (row === undefined) return false
    const { since, left, lease } = row
    if (left === null || left <= 0) return true
    // The clock was set back. A living owner renews its lease by the new clock; a dead one does not have it for longer than usual.
    if (left > lease)
      await this.#connection.run(
        `UPDATE ${this.#journals} SET expires = ${expiry("lease_ms")} WHERE key = $1 AND expires > ${expiry("lease_ms")} AND ${LOCK_TIMEOUT}`,
        [keyOf(name)],
      )
    throw leased(name, { since }, Math.min(left, lease))
  }

  /** Deletes texts that were replaced, of journals without an owner; those of others are deleted by their owners. */
  #sweep(): void {
    const now = Date.now()
    if (now - this.#swept < SWEEP_MS) return
    this.#swept = now
    const sweep = this.#connection.once(
      `WITH old AS (
        SELECT id, generation FROM ${this.#journals} WHERE stale < clock_timestamp() - ${RETAINED} AND owner IS NULL
        LIMIT ${SWEPT} FOR UPDATE SKIP LOCKED
      ), cleaned AS (
        UPDATE ${this.#journals} AS j SET stale = NULL FROM old WHERE j.id = old.id
      ) DELETE FROM ${this.#texts} AS t USING old WHERE t.journal = old.id AND t.generation <> old.generation`,
    )
    // The next store that is opened tries it again.
    sweep.catch(() => {})
  }

  async #create(): Promise<void> {
    this.#ready ??= createTables(this.#connection, this.#options.schema, TABLES)
    try {
      await this.#ready
      this.#exist = true
    } catch (error) {
      this.#ready = undefined
      throw error
    }
  }

  /** Whether the tables exist. They are not created in order to read them. */
  async #found(): Promise<boolean> {
    this.#exist ||= await hasTables(this.#connection, this.#options.schema, TABLES)
    return this.#exist
  }
}

/** The condition of all that an owner does. */
const MINE = `id = $1 AND owner = $2 AND epoch = $3 AND ${LOCK_TIMEOUT}`

interface PlaceRow {
  readonly id: string
  readonly generation: number
  readonly last: number
}

/** Numbers of 64 bits are read as texts by some clients. */
const PLACE = "id::text AS id, generation::float8 AS generation, last::float8 AS last"

function placeOf({ id, generation, last }: PlaceRow): TextPlace {
  return { journal: id, generation, last }
}

function expiry(leaseMs: string): string {
  return `clock_timestamp() + ${leaseMs}::integer * interval '1 millisecond'`
}

function keyOf(name: string): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(2 * name.length))
  for (let index = 0; index < name.length; index += 1) bytes.setUint16(2 * index, name.charCodeAt(index))
  return new Uint8Array(bytes.buffer)
}
