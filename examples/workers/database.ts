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
    );`,
  )
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
