/** What hosts on Node have beside the web-standard ones: journals in files. */
export { type FileJournalStoreOptions, fileJournalStore } from "./file-journal-store.ts"
