export const JOURNAL_HELP = `turn-machine journal: inspects the journal of a turn, which turn-machine run --state FILE writes.

Usage
  turn-machine journal show FILE             list the records, one line each
  turn-machine journal view FILE|FOLDER      write a page that shows runs in a browser
  turn-machine journal replay FILE           check that this version still makes the recorded requests
  turn-machine journal diff FIRST SECOND     find where two journals diverge
  turn-machine journal fork FILE --at N --out NEW
                                             write a new journal with another answer at record N
  turn-machine journal compact FILE          drop the records that resuming does not need
  turn-machine journal COMMAND --help        flags and examples of a command

Only view, fork and compact write files. Only turn-machine run and resume call models and run tools.
`

export const SHOW_HELP = `turn-machine journal show: lists the records of a turn's journal, one line each.

Usage
  turn-machine journal show FILE [flags]

  --record N    print record N in full, as JSON
  --json        one JSON object per line: the journal, its records, and last the damage, if there is any
  --help        show this help

Each line has the record's number, the time it was written, the effect it answers, its size in the file and a summary.
A model request that does not begin with the request before is marked: the provider's cache does not apply to it. For
journals of turn-machine run, a replay computes the requests; other journals need the recorded effects.
Of a damaged journal, the intact records are shown. Subagents have journals of their own beside FILE, which are listed.

Exit codes: 0 shown, 1 the journal is damaged, 2 the command cannot run as given.

Examples
  turn-machine journal show run.json
  turn-machine journal show run.json --record 2
`

export const REPLAY_HELP = `turn-machine journal replay: replays a turn from its journal. It calls no model and runs no tool.

Usage
  turn-machine journal replay FILE [flags]

  --at N        replay only up to record N, and show the turn's state there
  --json        one JSON object instead of text
  --help        show this help

Each request that this version makes is compared with the recorded one. The first difference is reported with its
record, its effect and the values that differ.

Exit codes: 0 no difference, 1 a difference or a damaged journal, 2 the command cannot run as given.

Examples
  turn-machine journal replay run.json
  turn-machine journal replay run.json --at 7
`

export const DIFF_HELP = `turn-machine journal diff: finds where two journals diverge.

Usage
  turn-machine journal diff FIRST SECOND [flags]

  --json        one JSON object instead of text
  --help        show this help

It ignores times, durations, snapshots, how often a turn was resumed, and the order in which parallel tools ended.
Requests of either journal that do not begin with the request before are listed last.

Exit codes: 0 no difference, 1 they differ, 2 the command cannot run as given.

Examples
  turn-machine journal diff monday.json tuesday.json
`

export const FORK_HELP = `turn-machine journal fork: copies a journal up to a record, to continue differently from there.

Usage
  turn-machine journal fork FILE --at N --out NEW [flags]

  --at N              the first record that is not copied. The number of records plus one forks at the end.
  --out NEW           path of the new journal, which must not exist
  --text TEXT         replace record N with this answer of the model, without tool calls
  --answer JSON       replace record N with this answer, in the shape that show --record N prints
  --answer-file FILE  read that answer from a file
  --help              show this help

Without an answer the new journal ends before record N, and resuming performs that request again. Resume it with
turn-machine resume NEW. The resumed turn writes to the same output folder as FILE's. A fork of a run that you did not
start is not yours either: resuming it asks for its settings.

Exit codes: 0 written, 1 it could not be written, 2 the command cannot run as given.

Examples
  turn-machine journal fork run.json --at 9 --out other.json --text "That is all I need to know."
  turn-machine resume other.json
`

export const COMPACT_HELP = `turn-machine journal compact: drops the records of a journal that its last snapshot replaces.

Usage
  turn-machine journal compact FILE

  --take-over   take the file from a process on another computer that has ended
  --help        show this help

The turn can still be resumed, but no longer shown or replayed from its start. A snapshot is written every 300 records
or million characters; without one, nothing is dropped. A journal in use is not changed.

Exit codes: 0 done, 1 it could not be written, 2 the command cannot run as given.
`
