import { MODEL_HELP } from "../model/help.ts"
import { APPROVAL_FLAGS, DEFAULT_MAX_ITERATIONS, DEFAULT_OUT, MCP_HELP } from "../run/help.ts"
import { formatCount } from "../terminal/format.ts"
import { Wrap } from "../terminal/wrap.ts"
import type { GoalCommandName } from "./command-line.ts"
import { DEFAULT_BUDGET_TOKENS } from "./goal-settings.ts"

export const DEFAULT_STATE = "turn-machine-goal"
export const DEFAULT_OBJECTIVE =
  "Survey this folder part by part: for each, write a section on its files and its TODO and FIXME comments, and at last an overview of all sections."

const STATE_FLAG = `  --state DIR           the goal's folder (default: ${DEFAULT_STATE} in the current folder)`
const EXIT_CODES = "Exit codes: 0 complete, 1 stopped before that, 2 the command cannot run as given, 3 waits for a decision."
const REQUEST_CODES = "Exit codes: 0 done, 1 refused, 2 the command cannot run as given."

export const GOAL_HELP = `turn-machine goal: works towards an objective over several turns, until it is reached, blocked or out of budget.

Usage
  turn-machine goal [flags] ["objective"]     start a goal
  turn-machine goal status                    show its status, also while it runs
  turn-machine goal watch                     follow a goal that runs in another terminal
  turn-machine goal say "text"                send the model a message, also while it works
  turn-machine goal queue                     show the messages that no turn has received yet
  turn-machine goal retract ID                take one of them back
  turn-machine goal pause [--now]             stop at the next step of the running turn, or at once
  turn-machine goal resume [flags]            resume after a pause, a stop, a crash or Ctrl-C
  turn-machine goal edit "new objective"      change the objective, or with --contract FILE the contract
  turn-machine goal clear                     end the goal; the next one begins afresh
  turn-machine subgoal --help                 edit the judge's checklist
  turn-machine goal COMMAND --help            flags and examples of a command

${new Wrap(100, "  ", 0).add(`Without an objective: ${DEFAULT_OBJECTIVE}`)}

A word that is a command is one, also after flags. After --, all words are the objective.
All of these work from another terminal while the goal runs.

What the goal is
  --contract FILE       what counts as reached: a JSON object or lines "field: value" with the fields outcome,
                        verification, constraints, boundaries, stopWhen. Model and judge see it.
  --check "COMMAND"     run this command after each turn, in the folder of --dir, without a shell, for at most
                        5 minutes. The goal is complete only when it exits with 0. Repeat the flag for more checks.
                        $TURN_MACHINE_OUT names the output folder.

Budgets (default: ${formatCount(DEFAULT_BUDGET_TOKENS)} tokens for a model at an endpoint if you set no budget, otherwise none)
  --budget-tokens N     tokens, not counting prompt tokens read from the provider's cache; none: no limit
  --budget-time T       time, such as 90s, 10m or 1h30m
  --budget-cost X       cost in US dollars, such as 0.50; needs known prices: see --price
  --hard                start no model call that could exceed the token budget. Without it, the model may finish its
                        turn, and the end shows by how much the budget was exceeded.
  --max-continuations N pause after this many continuation turns (default: 50)

Judge (its tokens count)
  --judge none          the model decides when the goal is reached (default)
  --judge checklist     a judge writes a checklist and checks it after each turn
  --judge freeform      a judge rules on the whole goal after each turn
  --judge-model NAME    another model for the judge, at the same endpoint, or PROVIDER/NAME at its provider, or at
  --judge-base-url URL  an endpoint of its own, with
  --judge-provider PROVIDER    the API that it has, as --provider, and
  --judge-api-key-env NAME     the variable that holds its key. It does not get the key of the goal's model.

Changes
${APPROVAL_FLAGS}
  While the goal runs, turn-machine approvals and decide work from another terminal; the goal continues at once.

MCP servers
${MCP_HELP}

Files and model
  --state DIR           folder for the goal's state (default: ${DEFAULT_STATE} in the current folder). A folder
                        whose goal is neither complete nor cleared is refused: resume or clear that goal.
  --resume              resume the goal in the folder, if there is one
  --dir DIR             folder to read; nothing outside of it is read (default: the current folder)
  --out DIR             folder to write to (default: ${DEFAULT_OUT} in the current folder). One goal at a time uses it.
  --force               replace files that this program did not write, too
  --model embedded      a small offline planner that surveys the folder part by part (default)
${MODEL_HELP}
  --max-iterations N    the most model calls in each turn (default: ${DEFAULT_MAX_ITERATIONS})
  --context-tokens N    the model's context window. When it is nearly full, a model call summarizes the conversation,
                        and work continues from the summary (default: as the endpoint lists it; off: never)
  --take-over           take the goal from a process on another computer that has ended
  --json                one JSON object per line instead of text
  --quiet, -q           write only how the goal ended
  --plain               lines without colours that are never written over, for screen readers and logs: without a status
                        line, but with a line about what takes longer than 30 s

Whose settings count
  A resumed goal has the folders, the endpoints, the models, the key variables, the checks and the MCP servers that you
  gave when you started it. A folder that you did not start here, or that was moved or replaced, is refused with exit
  code 2 until you give --dir, --out and, where it has them, --base-url, --provider, --model, --api-key-env, those of
  the judge, every --check and every --mcp again: see turn-machine run --help. They are shown before anything is sent
  or run.

In a terminal, Ctrl-C asks what to do, while the goal continues: stop it, let it continue, or do something else that you
type, which redirects the turn. A second Ctrl-C stops the goal, and so does the first one without a terminal or while
you are asked about a call. One more ends the process immediately. Before the goal begins, while settings are read and
servers start, Ctrl-C ends the command. The exit code of a stop is 1. After a stop or a crash, the goal resumes in the
interrupted turn.

${EXIT_CODES}

Examples
  turn-machine goal
  turn-machine goal --judge checklist
  turn-machine goal --budget-tokens 20000 --budget-time 10m "Survey the docs."
  turn-machine goal --check "npm test" --base-url http://localhost:11434/v1 --model qwen3 "Explain each failing test."
  turn-machine goal --model anthropic/claude-opus-5 --budget-cost 2 --judge checklist "Survey the docs."
  turn-machine goal say "Look into src first."
  turn-machine goal resume --add-tokens 20000
`

/** The help of each command of `turn-machine goal`. */
export const GOAL_COMMAND_HELP: Readonly<Record<Exclude<GoalCommandName, "start">, string>> = {
  status: `turn-machine goal status: shows a goal, its usage, its budgets and the process that runs it. It only reads.

Usage
  turn-machine goal status [flags]

${STATE_FLAG}
  --all                 also show the earlier goals of the folder
  --json                one JSON object instead of text

Exit codes: 0 shown, 2 the command cannot run as given.

Examples
  turn-machine goal status
  turn-machine goal status --all --state my-goal
`,
  watch: `turn-machine goal watch: follows a goal that another process runs: turns, tools, usage, checks and verdicts.

Usage
  turn-machine goal watch [flags]

It only reads. It begins with the open turn, and waits where no process runs an active goal. It ends when the goal
rests, or with Ctrl-C, which does not affect the goal.

${STATE_FLAG}
  --json                one JSON object per line instead of text
  --plain               lines without colours that are never written over, for screen readers and logs

Exit codes: 0 complete, or Ctrl-C; 1 the goal stopped before that; 2 the command cannot run as given.

Examples
  turn-machine goal watch
  turn-machine goal watch --json --state my-goal
`,
  say: `turn-machine goal say: sends the model a message. A running turn receives it at its next step.

Usage
  turn-machine goal say [flags] "text"

If no process runs the goal, the text is recorded, and the next run begins with it. The answer names its id, for goal
retract.

  --when TIME           now (default): at the next step of the running turn
                        turn_end: when the running turn would end, one message each time
                        next_turn: a turn of its own begins with it, before the goal continues
${STATE_FLAG}

${REQUEST_CODES}

Examples
  turn-machine goal say "The tests are in spec/, not in test/."
  turn-machine goal say --when next_turn "Then look at docs/, too."
`,
  queue: `turn-machine goal queue: shows what was said and what no turn has received yet, in the order of delivery. It only reads.

Usage
  turn-machine goal queue [flags]

Each line has the id, the time (see goal say --when) and the text.

${STATE_FLAG}
  --json                one JSON object instead of text

Exit codes: 0 shown, 2 the command cannot run as given.

Examples
  turn-machine goal queue
`,
  retract: `turn-machine goal retract: takes back what was said, if no turn has received it.

Usage
  turn-machine goal retract [flags] ID

${STATE_FLAG}

${REQUEST_CODES}

Examples
  turn-machine goal retract user-3
`,
  pause: `turn-machine goal pause: pauses a goal. What it used until then counts.

Usage
  turn-machine goal pause [flags]

A turn that continues the goal ends at its next step: after the running model call or tool. A turn that began with your
own words continues to its end.

  --now                 end the running turn at once, and the model call with it
${STATE_FLAG}

${REQUEST_CODES}

Examples
  turn-machine goal pause
  turn-machine goal pause --now
`,
  resume: `turn-machine goal resume: resumes a goal after a pause, a stop, a crash or Ctrl-C.

Usage
  turn-machine goal resume [flags]

  --add-tokens N        extend the token budget: from the budget, or from the usage where that is higher
  --add-time T          extend the time budget, such as 10m
  --add-cost X          extend the cost budget, such as 0.50
  --no-run              resume the goal without running it here
  --check "COMMAND"     replace the checks of the goal. Repeat the flag for several.
${STATE_FLAG}
  --dir DIR, --out DIR, --base-url URL, --provider PROVIDER, --model NAME, --api-key-env NAME, --judge-base-url URL,
  --judge-provider PROVIDER, --judge-model NAME, --judge-api-key-env NAME, --edit, --approve MODE, --approve-within T
                        needed if you did not start the goal here, or moved its folder; the refusal shows them
  --timeout-ms N, --retries N, --force, --take-over, --json, --quiet, --plain
                                       as at the start: turn-machine goal --help

While another process runs the goal, the budgets are extended there. A goal that waits stops waiting.

${EXIT_CODES}

Examples
  turn-machine goal resume
  turn-machine goal resume --add-tokens 20000 --add-time 10m
`,
  edit: `turn-machine goal edit: changes the objective or the contract of a goal.

Usage
  turn-machine goal edit [flags] ["new objective"]

A running turn is informed, and a complete goal becomes active again. The judge writes a new checklist; the items that
you added stay. To replace the checks, pause the goal, and then: turn-machine goal resume --check "COMMAND".

  --contract FILE       replace the contract; none removes it
${STATE_FLAG}

${REQUEST_CODES}

Examples
  turn-machine goal edit "Survey the docs and the examples."
  turn-machine goal edit --contract contract.txt
`,
  clear: `turn-machine goal clear: ends a goal without completing it. The folder is free for the next goal.

Usage
  turn-machine goal clear [flags]

The cleared goal stays readable: turn-machine goal status --all

${STATE_FLAG}

${REQUEST_CODES}

Examples
  turn-machine goal clear
`,
}

export const SUBGOAL_HELP = `turn-machine subgoal: edits the checklist of a goal's judge, also while the goal runs.

Usage
  turn-machine subgoal list                   show the checklist with its evidence
  turn-machine subgoal add "new item"         add an item
  turn-machine subgoal done N                 mark item N as done
  turn-machine subgoal impossible N           mark item N as impossible; it no longer counts
  turn-machine subgoal undo N                 reopen item N
  turn-machine subgoal remove N               remove item N
  turn-machine subgoal clear                  remove all items; the judge writes a new list

${STATE_FLAG}
  --help                show this help, or that of a command

The goal needs --judge checklist at its start. When no item is open, the goal is complete.

${REQUEST_CODES}
`

const subgoalHelp = (usage: string, text: string, example: string): string => `turn-machine subgoal ${text}

Usage
  turn-machine subgoal ${usage}

${STATE_FLAG}

${REQUEST_CODES}

Examples
  turn-machine subgoal ${example}
`

/** The help of each command of `turn-machine subgoal`. */
export const SUBGOAL_COMMAND_HELP = {
  list: subgoalHelp("list [flags]", "list: shows the checklist of a goal's judge with its evidence. It only reads.", "list"),
  add: subgoalHelp('add [flags] "new item"', "add: adds an item to the checklist of a goal's judge.", 'add "The overview names every section."'),
  done: subgoalHelp("done [flags] N", "done: marks item N as done. When no item is open, the goal is complete.", "done 2"),
  impossible: subgoalHelp("impossible [flags] N", "impossible: marks item N as impossible. It no longer counts.", "impossible 2"),
  undo: subgoalHelp("undo [flags] N", "undo: reopens item N.", "undo 2"),
  remove: subgoalHelp("remove [flags] N", "remove: removes item N from the list.", "remove 2"),
  clear: subgoalHelp("clear [flags]", "clear: removes all items. The judge writes a new list after the next turn.", "clear"),
} as const
