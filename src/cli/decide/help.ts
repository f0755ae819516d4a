export const APPROVALS_HELP = `turn-machine approvals: lists the calls that wait for a decision, or for a result from outside.

Usage
  turn-machine approvals FILE|DIR [CALL] [flags]

FILE is the state file of a run, DIR the folder of a goal, or any other folder of journals. It only reads, also while a
process works on them. With CALL, only that call is shown, with all of its arguments.

  --json        one JSON object per line: each call, and last the totals
  --help        show this help

In arguments, characters that a terminal would hide or obey are shown as \\u202e.

Exit codes: 0 shown, 1 a journal cannot be read, 2 the command cannot run as given.

Examples
  turn-machine approvals run.json
  turn-machine approvals turn-machine-goal
`

export const DECIDE_HELP = `turn-machine decide: decides about a call that waits. Nothing runs here; the next run of the turn continues.

Usage
  turn-machine decide FILE|DIR CALL approve [flags]
  turn-machine decide FILE|DIR CALL reject [--message TEXT] [flags]
  turn-machine decide FILE|DIR CALL edit [--args JSON] [flags]

CALL is a call id, a request id or a digest as turn-machine approvals shows it, or the beginning of one. While a process
runs a goal, that process receives the decision, and continues at once.

  --message TEXT        why the call is rejected; the model reads it
  --args JSON           the arguments that the call runs with; @FILE reads them from a file, - from standard input.
                        Without it, they are edited in $VISUAL or $EDITOR.
  --scope call          decide about this call alone (default)
  --scope turn          the same for every later call of this tool in the turn
  --scope thread        the same for every later call of this tool in the conversation, such as all turns of a goal
  --by NAME             who decides (default: your login name). It is recorded.
  --note TEXT           a note for the record. The model does not read it.
  --json                one JSON object instead of text
  --help                show this help

The first decision counts: the same again changes nothing, and another one is refused and says who was first.

Exit codes: 0 decided, 1 refused or too late, 2 the command cannot run as given.

Examples
  turn-machine decide run.json call_2 approve
  turn-machine decide run.json call_3 reject --message "Leave the examples as they are."
  turn-machine decide run.json call_4 edit --args '{"path":"a.ts","line":3,"oldText":"a","newText":"b"}'
  turn-machine decide turn-machine-goal call_2 approve --scope thread
`

export const ANSWER_HELP = `turn-machine answer: gives the result of a call whose work continued outside, such as a job or a form.

Usage
  turn-machine answer FILE|DIR CALL --value JSON
  turn-machine answer FILE|DIR CALL --error TEXT

CALL is the call id or the token, or the beginning of one. Nothing runs here; the next run of the turn continues.

  --value JSON          the result; @FILE reads it from a file, - from standard input
  --error TEXT          the call failed; the model reads why
  --json                one JSON object instead of text
  --help                show this help

Exit codes: 0 recorded, 1 refused, 2 the command cannot run as given.

Examples
  turn-machine answer turns call_7 --value '{"status":"done"}'
  turn-machine answer turns job-381 --error "The job was cancelled."
`
