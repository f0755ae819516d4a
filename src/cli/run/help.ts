import { DEFAULT_RETRIES, DEFAULT_TIMEOUT_MS, MODEL_HELP } from "../model/help.ts"

export const DEFAULT_TASK = "Find the TODO and FIXME comments in this folder, read around each, and write a report."
export const DEFAULT_OUT = "turn-machine-out"
export const DEFAULT_MAX_ITERATIONS = 30
/** The exit code of a command that stopped because calls wait for a decision. */
export const SUSPENDED_EXIT_CODE = 3

export const HELP = `turn-machine: runs turns of an LLM agent that can be stopped, saved and resumed at any point.

Usage
  turn-machine run [flags] ["task"]    run a task over the files of a folder
  turn-machine resume FILE             resume a stopped run from its state file
  turn-machine goal [flags] ["goal"]   work towards a goal over several turns, with budgets, pause, resume and a judge
  turn-machine subgoal                 edit the checklist of a goal's judge
  turn-machine approvals FILE|DIR      list the calls that wait for a decision
  turn-machine decide FILE|DIR CALL approve|reject|edit
                                       decide about one of them, also in another terminal
  turn-machine answer FILE|DIR CALL    give the result of a call whose work continued outside
  turn-machine journal                 inspect a state file: show, view, replay, diff, fork, compact
  turn-machine COMMAND --help          flags and examples of a command
  turn-machine --version               print the version

Exit codes: 0 finished, 1 stopped before the end, 2 the command cannot run as given, 3 waits for a decision.
`

export const APPROVAL_FLAGS = `  --edit                let the model change lines of files in DIR (the tool replace_line). Without it, the model only
                        reads, and writes to --out, which never asks: what others wrote is not replaced there.
  --approve ask         ask before each such change, and before each call of an MCP server that may change something
                        (default). Without a terminal, the command stops with exit code 3 and says how to decide.
  --approve auto        make every change and every call without asking
  --approve never       refuse them without asking; the model reads that they were refused
  --approve-within T    what is not approved within this time, such as 10m, is refused`

export const MCP_HELP = `  --mcp "COMMAND"       start this MCP server, in the folder of --dir, and give its tools to the model, as in
                        --mcp "npx -y @modelcontextprotocol/server-filesystem .". A URL connects to a server that runs.
                        The names of its tools begin with a name for it, which you can choose: --mcp "files=COMMAND".
                        Repeat the flag for more servers.
  --mcp-config FILE     the servers of a JSON file {"mcpServers": {"NAME": {"command", "args", "env"} or {"url",
                        "headers"}}}. In env and headers, \${NAME} is a variable of your environment.
  A server has no other variables of your environment than PATH, HOME, USER and the like. A call that its server does
  not call read-only is asked about: see --approve. Commands are stored, so do not write keys into them.
  Needs the package @modelcontextprotocol/client.`

export const RUN_HELP = `turn-machine run: runs a task over the files of a folder and shows its progress.

Usage
  turn-machine run [flags] ["task"]

Without a task: ${DEFAULT_TASK}

Files
  --dir DIR             folder to read; nothing outside of it is read (default: the current folder)
  --out DIR             folder to write to (default: ${DEFAULT_OUT} in the current folder).
                        Files that this program did not write, or that were edited since, are not replaced.
  --force               replace such files too

Changes
${APPROVAL_FLAGS}

MCP servers
${MCP_HELP}

Model
  --model embedded      a small offline planner that finds TODO comments or the words you name (default)
${MODEL_HELP}
  --max-iterations N    the most model calls in the turn (default: ${DEFAULT_MAX_ITERATIONS})
  --context-tokens N    the model's context window. When it is nearly full, a model call summarizes the conversation,
                        and work continues from the summary (default: as the endpoint lists it; off: never)

Stopping and resuming
  --state FILE          record each step of the turn in this journal as soon as it is done. An existing file is
                        refused without --resume.
  --resume              resume the turn in the state file. Task, folder, model and limit come from the file; if you
                        give them, they must match. If the file does not exist yet, the turn starts.
                        A failed model call is retried; a finished turn shows its answer again.
  --compact             when the state file exceeds 2 MB, drop the records that resuming does not need.
                        The turn can then no longer be replayed from its start.
  --no-check            resume even if this version would have made other requests than the recorded ones
  --take-over           take the state file from a process on another computer that has ended

Whose settings count
  A resumed turn has the folders, the endpoint, the model and the key variable that you gave when you started it. They
  are recorded in $XDG_STATE_HOME/turn-machine (default: ~/.local/state/turn-machine) and never taken from the state
  file, which may have come with the folder, for example from a repository. A file that you did not start here, that was
  moved or replaced, or that has no record, for example without a HOME, is refused with exit code 2 until you give
  --dir, --out and, for an endpoint, --base-url, --provider, --model and --api-key-env again, --edit if it may change
  files, and its MCP servers. The flags then count, not the file. An --mcp-config file that changed must be given
  again, too.

Output
  --json                one JSON object per line instead of text; the last one has the outcome and usage. Questions are
                        asked on standard error.
  --quiet, -q           write only the answer. Why there is none, and what to do, is written to standard error.
  --plain               lines without colours that are never written over, for screen readers and logs: without a status
                        line, but with a line about what takes longer than 30 s
  --help                show this help

In a terminal, Ctrl-C asks what to do, while the run continues: stop it, let it continue, or do something else that you
type, which redirects the turn. A second Ctrl-C stops the run, and so does the first one without a terminal or while
you are asked about a call: with --state the turn can be resumed, without it the turn is cancelled. One more Ctrl-C
ends the process immediately. Before the turn begins, while settings are read and servers start, Ctrl-C ends the
command. The exit code of a stop is 1.
Token counts of the embedded planner are estimates, at four characters per token.

Exit codes: 0 finished, 1 stopped (cancelled, limit, model failure), 2 the command cannot run as given, 3 waits for a
decision.

Examples
  turn-machine run
  turn-machine run --dir ~/shop 'where is "checkout" used?'
  turn-machine run --state run.json
  turn-machine resume run.json                 after Ctrl-C or a crash
  turn-machine run --edit --state run.json 'Replace "colour" with "color".'
  turn-machine run --base-url http://localhost:11434/v1 --model qwen3 "Explain how this project is built."
  turn-machine run --mcp-config mcp.json --base-url http://localhost:11434/v1 --model qwen3 "Close the stale issues."
  turn-machine run --model anthropic/claude-opus-5 "Review the tests."
  turn-machine run --model openai-responses/gpt-5 "Review the tests."
`

export const RESUME_HELP = `turn-machine resume: resumes a stopped run from its state file.

Usage
  turn-machine resume FILE [flags]

The same as turn-machine run --state FILE --resume, but the file must exist. Completed steps are not repeated, a failed
model call is retried, and a finished turn shows its answer again. It accepts the flags of turn-machine run; these are
useful here:

  --dir DIR, --out DIR, --base-url URL, --provider PROVIDER, --model NAME, --edit, --approve MODE, --approve-within T,
  --mcp "COMMAND", --mcp-config FILE
                        needed, with --api-key-env, if you did not start the run, or moved its file; see
                        turn-machine run --help. The refusal shows what the file asks for.
  --api-key-env NAME    the environment variable that holds the key, if its name changed
  --timeout-ms N        time limit of one model call, in milliseconds (default: ${DEFAULT_TIMEOUT_MS})
  --retries N           how often to retry a failed model call (default: ${DEFAULT_RETRIES})
  --force               replace files in the output folder that this program did not write
  --compact             when the state file exceeds 2 MB, drop the records that resuming does not need
  --no-check            resume even if this version would have made other requests than the recorded ones
  --take-over           take the file from a process on another computer that has ended
  --json                one JSON object per line instead of text
  --help                show this help

Exit codes: 0 finished, 1 stopped (cancelled, limit, model failure), 2 the command cannot run as given, 3 waits for a
decision.

Examples
  turn-machine resume run.json
  turn-machine resume run.json --retries 5
`
