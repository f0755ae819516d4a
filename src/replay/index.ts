/** Journals of turns: recording, reading, replaying, resuming, forking and comparing them. */
export {
  type Difference,
  ForkError,
  type ForkErrorCode,
  JournalError,
  type JournalErrorCode,
  ReplayDivergence,
  type ReplayErrorCode,
} from "../errors.ts"
export { canonicalJson } from "../json.ts"
export type {
  ChildGrant,
  JournalBase,
  JournalCallStarted,
  JournalChildGranted,
  JournalEffect,
  JournalEnd,
  JournalHeader,
  JournalInterruption,
  JournalOpened,
  JournalParent,
  JournalReconfigured,
  JournalRecord,
  JournalSnapshot,
  JournalTraced,
} from "../wire/journal.ts"
export { withHistory } from "./base.ts"
export { compareJournals, type JournalComparison, type JournalParting } from "./compare.ts"
export { digest } from "./digest.ts"
export { differences } from "./divergence.ts"
export { fingerprint } from "./fingerprint.ts"
export { type ForkOptions, fork, forkLines } from "./fork.ts"
export type { AsciiText, EncodeAscii } from "./hash.ts"
export {
  compacted,
  compactedJournal,
  isUnfinishedHeader,
  type Journal,
  type JournalMigrations,
  JournalReader,
  type JournalReaderOptions,
  type JournalValidation,
  JournalWriter,
  journalLines,
  type LogHistory,
  readJournal,
  type WrittenLines,
} from "./journal.ts"
export type { JournalEntry } from "./journal-entry.ts"
export { MAX_LINE_CHARS } from "./lines.ts"
export { type JournalOutline, journalOutline, type OutlineFacts, type OutlineRow, type OutlineTotals, workedMs } from "./outline.ts"
export { type BrokenPrefix, type PrefixBreak, type PrefixReport, prefixBreaks, type RequestPrefix, requestPrefix } from "./prefix.ts"
export { Recorder, type RecorderOptions } from "./recorder.ts"
export { type ReplayOptions, type ResumeOptions, replay, resume } from "./replay.ts"
export { type ReplayReport, type VerifyOptions, verifyReplay } from "./verify.ts"
