/** The journal of a turn in a store, and a host whose turns are journaled. */
export {
  type BeginOptions,
  type JournaledHost,
  type JournaledOptions,
  type JournaledTurn,
  journaled,
  TurnJournal,
  type TurnJournalOptions,
} from "./turn-journal.ts"
