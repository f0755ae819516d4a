/** Hosts that need Node: journals and attachments in files, and checks that are commands. */
export { type CommandCheckOptions, commandChecks } from "./command-checks.ts"
export { fileAttachmentStore } from "./file-attachment-store.ts"
export { type FileJournalStoreOptions, fileJournalStore } from "./file-journal-store.ts"
