/** The journal of a turn in a store, and a host whose turns are journaled. */

export type { ResumeOptions } from "../../replay/replay.ts"
export { type JournaledHost, type JournaledOptions, type JournaledRunOptions, type JournaledTurn, journaled } from "./journaled.ts"
export { type BeginOptions, TurnJournal, type TurnJournalOptions } from "./turn-journal.ts"
