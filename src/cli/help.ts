export const DEFAULT_TASK = "Find the TODO and FIXME comments in this folder, read around each, and write a report."
export const DEFAULT_OUT = "turn-machine-out"
export const DEFAULT_MAX_ITERATIONS = 30
export const DEFAULT_TIMEOUT_MS = 120_000
export const DEFAULT_RETRIES = 2

export const HELP = `turn-machine: runs one turn of an agent that can be stopped, saved and resumed at any point.

Usage
  turn-machine run [flags] ["task"]    run a task over the files of a folder
  turn-machine run --help              its flags, with examples
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
  --state FILE          save the turn after each step. A file that exists is never overwritten without --resume.
  --resume              go on with the turn in the state file. Task, folder and model are those of the file;
                        where they are given, they must be the same. Without a file yet, the turn begins.
                        A failed model call is tried again; a finished turn shows its answer again.

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
  turn-machine run --state run.json --resume
  turn-machine run --base-url http://localhost:11434/v1 --model qwen3 "Explain how this project is built."
  turn-machine run --base-url https://api.openai.com/v1 --model gpt-5 --api-key-env OPENAI_API_KEY "Review the tests."
`
