/** A journal store and a work queue in PostgreSQL, for processes on any number of machines. */

export type { PostgresClient, PostgresOptions } from "./client.ts"
export { type PostgresJournalStoreOptions, postgresJournalStore } from "./journal-store.ts"
export {
  type ClaimedWork,
  type EnqueueOptions,
  type PerformWork,
  postgresWorkQueue,
  type WorkCounts,
  type Worker,
  type WorkerOptions,
  type WorkQueue,
  type WorkQueueOptions,
} from "./work-queue.ts"
