/** Hosts that need Node: journals in files. */
export { type FileJournalStoreOptions, fileJournalStore } from "./file-journal-store.ts"
