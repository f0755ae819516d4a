// The parts of Cloudflare's API that this folder uses, as structural types: the types of `@cloudflare/workers-types` fit them.

/** A value that a SQL statement is given. */
export type DurableObjectSqlValue = string | number | null | ArrayBuffer | Uint8Array<ArrayBuffer>

/** The rows of a SQL statement. */
export interface DurableObjectSqlCursor {
  toArray(): { readonly [column: string]: unknown }[]
}

/** The SQL database of a Durable Object: `ctx.storage.sql`. */
export interface DurableObjectSql {
  exec(query: string, ...values: DurableObjectSqlValue[]): DurableObjectSqlCursor
}

/** What a journal store needs of `ctx.storage`. */
export interface DurableObjectSqlStorage {
  readonly sql: DurableObjectSql
  transactionSync<Result>(closure: () => Result): Result
}

/** What a `TurnObject` needs of `ctx.storage`. */
export interface TurnObjectStorage extends DurableObjectSqlStorage {
  getAlarm(): Promise<number | null>
  setAlarm(scheduledTime: number): Promise<void>
  deleteAlarm(): Promise<void>
  sync(): Promise<void>
}

/** The server's end of a WebSocket. */
export interface TurnObjectSocket {
  send(message: string): void
  close(code?: number, reason?: string): void
  serializeAttachment(attachment: unknown): void
  deserializeAttachment(): unknown
}

/** What a `TurnObject` needs of its `ctx`. */
export interface TurnObjectContext {
  readonly id: { toString(): string }
  readonly storage: TurnObjectStorage
  acceptWebSocket(socket: TurnObjectSocket): void
  getWebSockets(): TurnObjectSocket[]
}
