/** Threads as Durable Objects of Cloudflare Workers: a journal store over their SQL storage, and a base class. */

export { durableObjectJournalStore } from "./durable-object-journal-store.ts"
export type {
  DurableObjectSql,
  DurableObjectSqlCursor,
  DurableObjectSqlStorage,
  DurableObjectSqlValue,
  TurnObjectContext,
  TurnObjectSocket,
  TurnObjectStorage,
} from "./platform.ts"
export type { TurnObjectFailure } from "./responses.ts"
export type { TurnObjectNamespace, TurnObjectStub } from "./stub.ts"
export { TurnObject, type TurnObjectRunOptions, type TurnObjectStatus } from "./turn-object.ts"
export type { TurnObjectErrorCode } from "./turn-object-error.ts"
export { TurnObjectError } from "./turn-object-error.ts"
