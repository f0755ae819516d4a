/** Hosts that need Node: journals and attachments in files. */
export { fileAttachmentStore } from "./file-attachment-store.ts"
export { type FileJournalStoreOptions, fileJournalStore } from "./file-journal-store.ts"
