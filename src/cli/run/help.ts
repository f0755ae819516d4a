export const DEFAULT_TASK = "Find the TODO and FIXME comments in this folder, read around each, and write a report."
export const DEFAULT_OUT = "turn-machine-out"
export const DEFAULT_MAX_ITERATIONS = 30
export const DEFAULT_TIMEOUT_MS = 120_000
export const DEFAULT_RETRIES = 2

export const HELP = `turn-machine: runs one turn of an agent that can be stopped, saved and resumed at any point.

Usage
  turn-machine run [flags] ["task"]    run a task over the files of a folder
  turn-machine resume FILE             go on with a run that was stopped, from its state file
  turn-machine goal [flags] ["goal"]   pursue a goal, turn after turn: with budgets, pause, resume, a judge
  turn-machine subgoal                 edit the list by which a judge rules on a goal
  turn-machine journal                 look into such a file: show, replay, diff, fork, compact
  turn-machine COMMAND --help          flags and examples of a command
  turn-machine --version               the version

Exit codes: 0 finished, 1 stopped before the end, 2 the command cannot be run as given.
`

export const RUN_HELP = `turn-machine run: runs a task over the files of a folder, and shows what happens.

Usage
  turn-machine run [flags] ["task"]

Without a task: ${DEFAULT_TASK}

Files
  --dir DIR             folder to work on; nothing outside of it is read (default: the current folder)
  --out DIR             folder for what is written (default: ${DEFAULT_OUT} in the current folder).
                        Files in it that this program did not write, or that were edited since, are kept.
  --force               replace such files as well

Model
  --model embedded      a small planner without a network that finds TODO comments, or words that you name (default)
  --base-url URL        an OpenAI-compatible endpoint, as http://localhost:11434/v1; needs --model.
                        What the model asks to read in DIR is sent there.
  --model NAME          the endpoint's name for the model
  --api-key-env NAME    the environment variable that holds the key. The key is never printed or saved.
  --timeout-ms N        how long one model call may take (default: ${DEFAULT_TIMEOUT_MS})
  --retries N           how often a failed model call is tried again (default: ${DEFAULT_RETRIES})
  --max-iterations N    how many model calls the turn may take (default: ${DEFAULT_MAX_ITERATIONS})

Stopping and resuming
  --state FILE          keep each step of the turn in a journal as soon as it is done. A file that exists is never
                        overwritten without --resume.
  --resume              go on with the turn in the state file. Task, folder, model and limit are those of the file;
                        where they are given, they must be the same. Without a file yet, the turn begins.
                        A failed model call is tried again; a finished turn shows its answer again.
  --compact             let a long run's state file lose, when it exceeds 2 MB, what the run does not need to go on.
                        It can then not be replayed from its beginning any more.
  --no-check            resume a turn even though this version would not have asked for what was answered
  --take-over           take the state file from a process of another computer that is known to be gone

Output
  --json                one JSON object per line instead of text; the last one holds outcome and usage
  --help                this text

Ctrl-C stops in order: with --state the turn can be resumed, without it the turn is cancelled. A second one ends the
process at once.
Token counts of the embedded planner are estimates, at four characters a token.

Exit codes: 0 finished, 1 stopped (cancelled, limit, model failure), 2 the command cannot be run as given.

Examples
  turn-machine run
  turn-machine run --dir ~/shop 'where is "checkout" used?'
  turn-machine run --state run.json            then, after Ctrl-C or a crash:
  turn-machine resume run.json                 the same: turn-machine run --state run.json --resume
  turn-machine run --base-url http://localhost:11434/v1 --model qwen3 "Explain how this project is built."
  turn-machine run --base-url https://api.openai.com/v1 --model gpt-5 --api-key-env OPENAI_API_KEY "Review the tests."
`

export const RESUME_HELP = `turn-machine resume: goes on with a run that was stopped, from its state file.

Usage
  turn-machine resume FILE [flags]

The same as turn-machine run --state FILE --resume, but there must be such a file. What was done is not done again;
a failed model call is tried again; a finished turn shows its answer again. The flags are those of turn-machine run,
of which these are of use here:

  --api-key-env NAME    the environment variable that holds the key, if it is another one now
  --timeout-ms N        how long one model call may take (default: ${DEFAULT_TIMEOUT_MS})
  --retries N           how often a failed model call is tried again (default: ${DEFAULT_RETRIES})
  --force               replace files in the output folder that this program did not write
  --compact             let the state file lose what the run does not need to go on, when it exceeds 2 MB
  --no-check            go on even though this version would not have asked for what was answered
  --take-over           take the file from a process of another computer that is known to be gone
  --json                one JSON object per line instead of text
  --help                this text

Exit codes: 0 finished, 1 stopped (cancelled, limit, model failure), 2 the command cannot be run as given.

Examples
  turn-machine resume run.json
  turn-machine resume run.json --retries 5
`
