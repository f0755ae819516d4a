import type { DurableObjectSqlStorage } from "./platform.ts"

const VERSION = 1

/**
 * `sort` has the order of names in UTF-16; SQLite would sort them by their bytes in UTF-8. A journal has one text at a time: `text` is its id.
 * Ids of texts are not used again, so a reader of a replaced text cannot meet the rows of another one.
 */
const TABLES = `
  CREATE TABLE IF NOT EXISTS turn_machine_do_schema (version INTEGER NOT NULL, last_text INTEGER NOT NULL);
  INSERT INTO turn_machine_do_schema SELECT ${VERSION}, 0 WHERE NOT EXISTS (SELECT 1 FROM turn_machine_do_schema);
  CREATE TABLE IF NOT EXISTS turn_machine_do_journals (sort TEXT PRIMARY KEY, name TEXT NOT NULL, text INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS turn_machine_do_texts (
    text INTEGER NOT NULL, position INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (text, position)
  ) WITHOUT ROWID;
`

/** How many names are read at once. */
const NAMES_PAGE = 200

/** How many rows are read at once. Each is below 790 kB. */
const ROWS_PAGE = 8

/** A row of a text. */
export interface TextRow {
  readonly position: number
  readonly text: ArrayBuffer
}

/** The SQL of the journals. Everything throws what the platform throws. */
export class Tables {
  readonly #storage: DurableObjectSqlStorage
  #isReady = false

  constructor(storage: DurableObjectSqlStorage) {
    this.#storage = storage
  }

  /** The id of a journal's text; `undefined` if the journal does not exist. */
  find(name: string): number | undefined {
    const [row] = this.#exec("SELECT text FROM turn_machine_do_journals WHERE sort = ?", sortKey(name))
    return row && Number(row["text"])
  }

  /** The id of the text of a journal, which is created if needed. */
  findOrCreate(name: string): number {
    return (
      this.find(name) ??
      this.transaction(() => {
        const text = this.newText()
        this.#exec("INSERT INTO turn_machine_do_journals (sort, name, text) VALUES (?, ?, ?)", sortKey(name), name, text)
        return text
      })
    )
  }

  /** An id for a text, which has no rows. */
  newText(): number {
    const [row] = this.#exec("UPDATE turn_machine_do_schema SET last_text = last_text + 1 RETURNING last_text")
    return Number(row?.["last_text"])
  }

  /** The position of the last row; 0 for an empty text. */
  lastPosition(text: number): number {
    const [row] = this.#exec("SELECT MAX(position) AS last FROM turn_machine_do_texts WHERE text = ?", text)
    return Number(row?.["last"] ?? 0)
  }

  /** The first rows after a position, up to another one. */
  rows(text: number, after: number, end: number): readonly TextRow[] {
    const rows = this.#exec(
      `SELECT position, content FROM turn_machine_do_texts WHERE text = ? AND position > ? AND position <= ? ORDER BY position LIMIT ${ROWS_PAGE}`,
      text,
      after,
      end,
    )
    return rows.map(({ position, content }) => ({ position: Number(position), text: content as ArrayBuffer }))
  }

  /** Adds rows after a position: all of them, or none. */
  append(text: number, after: number, rows: readonly Uint8Array<ArrayBuffer>[]): void {
    const insert = (row: Uint8Array<ArrayBuffer>, index: number): void => {
      this.#exec("INSERT INTO turn_machine_do_texts (text, position, content) VALUES (?, ?, ?)", text, after + 1 + index, row)
    }
    if (rows.length <= 1) rows.forEach(insert)
    else this.transaction(() => rows.forEach(insert))
  }

  /** Makes a text that of a journal, and deletes the old one, if it is given. Call it in a transaction. */
  switch(name: string, text: number, old: number | undefined): void {
    this.#exec("UPDATE turn_machine_do_journals SET text = ? WHERE sort = ?", text, sortKey(name))
    if (old !== undefined) this.drop(old)
  }

  /** Deletes the rows of a text. */
  drop(text: number): void {
    this.#exec("DELETE FROM turn_machine_do_texts WHERE text = ?", text)
  }

  /** Deletes a journal, and its text, if it is given. */
  delete(name: string, text: number | undefined): void {
    this.transaction(() => {
      this.#exec("DELETE FROM turn_machine_do_journals WHERE sort = ?", sortKey(name))
      if (text !== undefined) this.drop(text)
    })
  }

  /** The first names that begin with a prefix or are greater, or those after a name. */
  names(prefix: string, after: string | undefined): readonly string[] {
    const from = after === undefined ? ">=" : ">"
    const rows = this.#exec(
      `SELECT name FROM turn_machine_do_journals WHERE sort ${from} ? ORDER BY sort LIMIT ${NAMES_PAGE}`,
      sortKey(after ?? prefix),
    )
    return rows.map(({ name }) => String(name))
  }

  transaction<Result>(act: () => Result): Result {
    this.#prepare()
    return this.#storage.transactionSync(act)
  }

  #exec(query: string, ...values: Parameters<DurableObjectSqlStorage["sql"]["exec"]>[1][]): { readonly [column: string]: unknown }[] {
    this.#prepare()
    return this.#storage.sql.exec(query, ...values).toArray()
  }

  /** Creates the tables, and deletes texts that a former instance of the object did not complete, or could not delete. */
  #prepare(): void {
    if (this.#isReady) return
    const { sql } = this.#storage
    this.#storage.transactionSync(() => {
      sql.exec(TABLES).toArray()
      const [row] = sql.exec("SELECT version FROM turn_machine_do_schema").toArray()
      const version = Number(row?.["version"])
      if (version > VERSION) throw new Error(`its tables have version ${version}, but this package supports version ${VERSION}`)
      const used = "SELECT text FROM turn_machine_do_journals"
      // Only the first row of each text is looked at.
      sql
        .exec(
          `WITH RECURSIVE texts (text) AS (
             SELECT MIN(text) FROM turn_machine_do_texts
             UNION ALL SELECT (SELECT MIN(text) FROM turn_machine_do_texts WHERE text > texts.text) FROM texts WHERE texts.text IS NOT NULL
           )
           DELETE FROM turn_machine_do_texts WHERE text IN (SELECT text FROM texts WHERE text IS NOT NULL AND text NOT IN (${used}))`,
        )
        .toArray()
    })
    this.#isReady = true
  }
}

/** A text that has the order of a name's UTF-16 code units, in the order of SQLite. */
function sortKey(name: string): string {
  let key = ""
  for (let index = 0; index < name.length; index += 1) key += name.charCodeAt(index).toString(16).padStart(4, "0")
  return key
}
