export const JOURNAL_HELP = `turn-machine journal: looks into the journal of a turn, as turn-machine run --state FILE keeps one.

Usage
  turn-machine journal show FILE             what happened, one line a record
  turn-machine journal replay FILE           does this version still ask for what was answered then?
  turn-machine journal diff FIRST SECOND     where two journals part
  turn-machine journal fork FILE --at N --out NEW
                                             a new journal that goes another way at record N
  turn-machine journal compact FILE          drops what a resumed turn does not need
  turn-machine journal COMMAND --help        flags and examples of a command

Only fork and compact write anything; only turn-machine run and resume call models and run tools.
`

export const SHOW_HELP = `turn-machine journal show: shows what happened in a turn, one line a record of its journal.

Usage
  turn-machine journal show FILE [flags]

  --record N    that record in full, as JSON
  --json        one JSON object per line: the journal, its records, and last what is damaged, if anything is
  --help        this text

Each line has the record's number, the time at which it was written, the effect that it answers, its size in the file
and what it is. A damaged journal is shown as far as it is whole.

Exit codes: 0 shown, 1 the journal is damaged, 2 the command cannot be run as given.

Examples
  turn-machine journal show run.json
  turn-machine journal show run.json --record 2
`

export const REPLAY_HELP = `turn-machine journal replay: goes through a turn once more from its journal. No model is called and no tool is run.

Usage
  turn-machine journal replay FILE [flags]

  --at N        only up to record N, and says where the turn stood there
  --json        one JSON object instead of text
  --help        this text

Everything that this version of the program asks for is compared with what was asked for when the journal was written.
At the first difference it says which record, which effect, and what differs.

Exit codes: 0 all is as recorded, 1 something differs or the journal is damaged, 2 the command cannot be run as given.

Examples
  turn-machine journal replay run.json
  turn-machine journal replay run.json --at 7
`

export const DIFF_HELP = `turn-machine journal diff: finds where two journals part.

Usage
  turn-machine journal diff FIRST SECOND [flags]

  --json        one JSON object instead of text
  --help        this text

Times, durations, snapshots, how often a turn was taken up, and in which order tools that ran at once ended, count for
nothing.

Exit codes: 0 no difference, 1 they differ, 2 the command cannot be run as given.

Examples
  turn-machine journal diff monday.json tuesday.json
`

export const FORK_HELP = `turn-machine journal fork: writes a new journal that is the same up to a record, and goes another way there.

Usage
  turn-machine journal fork FILE --at N --out NEW [flags]

  --at N              the record in whose place the fork goes on. One more than there are records: at the end.
  --out NEW           the new journal, a file that does not exist yet
  --text TEXT         what the model says in that record instead; it calls no tools then
  --answer JSON       the answer that stands there instead, like one that show --record N prints
  --answer-file FILE  the same from a file
  --help              this text

Without an answer the new journal ends before record N: what was asked for there is done once more. Go on with it by
turn-machine resume NEW. Files are written to the folder that FILE's turn writes to.

Exit codes: 0 written, 1 it could not be written, 2 the command cannot be run as given.

Examples
  turn-machine journal fork run.json --at 9 --out other.json --text "That is all I need to know."
  turn-machine resume other.json
`

export const COMPACT_HELP = `turn-machine journal compact: drops from a journal what its last snapshot made superfluous.

Usage
  turn-machine journal compact FILE

  --take-over   take the file from a process of another computer that is known to be gone
  --help        this text

The turn can be resumed as before; it can no longer be shown or replayed from its beginning. A snapshot is written every
300 records or million characters; where there is none yet, nothing is dropped. A journal in use is left alone.

Exit codes: 0 done, 1 it could not be written, 2 the command cannot be run as given.
`
