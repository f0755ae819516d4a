import pg from "pg"
import { findPostgres, startPostgres } from "./local-postgres.ts"

/** Everything is in one schema, so that this example changes nothing else in a database. */
export const SCHEMA = "turn_machine_workers"

/** A database for the example, and how pg connects to it. */
export interface Database {
  readonly connection: pg.PoolConfig
  /** Removes what the example created, and stops its server. */
  close(): Promise<void>
}

export const HOW_TO_GET_ONE = [
  "This example needs PostgreSQL. Either set DATABASE_URL, or install it, so that a temporary server can be started:",
  "  Debian, Ubuntu: apt-get install postgresql",
  "  macOS: brew install postgresql",
  "  anything with Docker: docker run --rm -p 127.0.0.1:54329:5432 -e POSTGRES_PASSWORD=example postgres",
  "    and DATABASE_URL=postgres://postgres:example@127.0.0.1:54329/postgres",
  "PG_BIN names the folder of its programs if they are not found.",
].join("\n")

/** The database of `DATABASE_URL`, or a temporary server; `undefined` if there is neither. */
export async function openDatabase(): Promise<Database | undefined> {
  const connectionString = process.env["DATABASE_URL"]
  if (connectionString !== undefined) {
    const connection = { connectionString }
    await createTables(connection)
    return { connection, close: () => query(connection, `DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE`) }
  }
  const bin = findPostgres()
  if (bin === undefined) return undefined
  const { connection, stop } = await startPostgres(bin)
  await createTables(connection)
  return { connection, close: stop }
}

/**
 * The world of the agent: `executions` has a line for each time that a tool did something. Nothing in it refuses a second charge, so the
 * agent must not ask for one. `writes` is for the check at the end: which worker wrote to which journal, as its how-manieth owner.
 */
async function createTables(connection: pg.PoolConfig): Promise<void> {
  await query(
    connection,
    `DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE;
    CREATE SCHEMA ${SCHEMA};
    CREATE TABLE ${SCHEMA}.executions (
      order_id text NOT NULL, tool text NOT NULL, key text NOT NULL, worker text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE TABLE ${SCHEMA}.writes (
      id bigint GENERATED ALWAYS AS IDENTITY, journal text NOT NULL, epoch bigint NOT NULL, worker text NOT NULL,
      at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE FUNCTION ${SCHEMA}.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      PERFORM pg_advisory_xact_lock_shared(hashtext(NEW.order_id), hashtext(NEW.tool));
      RETURN NEW;
    END $$;
    CREATE TRIGGER hold BEFORE INSERT ON ${SCHEMA}.executions FOR EACH ROW EXECUTE FUNCTION ${SCHEMA}.hold();`,
  )
}

/** The tools whose calls are in `executions`. */
export const TOOLS: readonly string[] = ["reserve", "charge", "ship"]

/** A tool that does not answer for one order, as a slow service would not. Its calls wait, so that a worker can be disturbed in one. */
export interface HeldTool {
  readonly order: string
  readonly tool: string
  /** The workers that wait for an answer. */
  callers(): Promise<readonly string[]>
  /** Lets the tool answer. What a worker asked for that was killed since then is done, too. Idempotent. */
  release(): Promise<void>
}

/** Holds a tool. The calls wait in the trigger of `executions`. */
export async function holdTool(pool: pg.Pool, order: string, tool: string): Promise<HeldTool> {
  // The lock belongs to a connection.
  const client = await pool.connect()
  await client.query("SELECT pg_advisory_lock(hashtext($1), hashtext($2))", [order, tool])
  let isHeld = true
  return {
    order,
    tool,
    async callers() {
      const { rows } = await pool.query<{ worker: string }>(
        `SELECT a.application_name AS worker FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid::int4 = hashtext($1) AND l.objid::int4 = hashtext($2) AND l.objsubid = 2 AND NOT l.granted`,
        [order, tool],
      )
      return rows.map(({ worker }) => worker)
    },
    async release() {
      if (!isHeld) return
      isHeld = false
      try {
        await client.query("SELECT pg_advisory_unlock(hashtext($1), hashtext($2))", [order, tool])
      } finally {
        client.release()
      }
    },
  }
}

/** Records who writes to journals. The tables of the store exist once a journal was opened. */
export async function watchWrites(connection: pg.PoolConfig): Promise<void> {
  await query(
    connection,
    `CREATE FUNCTION ${SCHEMA}.watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO ${SCHEMA}.writes (journal, epoch, worker)
      SELECT name, epoch, current_setting('application_name') FROM ${SCHEMA}.turn_machine_journals WHERE id = NEW.journal;
      RETURN NULL;
    END $$;
    CREATE TRIGGER watch AFTER INSERT OR UPDATE ON ${SCHEMA}.turn_machine_journal_texts FOR EACH ROW EXECUTE FUNCTION ${SCHEMA}.watch();`,
  )
}

async function query(connection: pg.PoolConfig, text: string): Promise<void> {
  const client = new pg.Client(connection)
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
