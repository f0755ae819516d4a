/** The journal of a turn in a store, and a host whose turns are journaled. */

export type { ResumeOptions } from "../../replay/replay.ts"
export { encryptedJournalStore, type JournalEncryption, type LinePlace } from "./encrypted-store.ts"
export { type JournaledHost, type JournaledOptions, type JournaledRunOptions, type JournaledTurn, journaled } from "./journaled.ts"
export type { DecisionResult, OutsideAnswerCode, OutsideAnswerResult } from "./outside-answers.ts"
export type { OutsideOptions } from "./outside-inputs.ts"
export { type PendingApproval, type PendingApprovalsOptions, pendingApprovals, type UnreadableJournal } from "./pending-approvals.ts"
export { readTurnJournal } from "./read-journal.ts"
export { type BeginOptions, TurnJournal, type TurnJournalOptions } from "./turn-journal.ts"
