import { DEFAULT_MAX_ITERATIONS, DEFAULT_OUT, DEFAULT_RETRIES, DEFAULT_TIMEOUT_MS } from "../run/help.ts"
import { Wrap } from "../terminal/wrap.ts"

export const DEFAULT_STATE = "turn-machine-goal"
export const DEFAULT_OBJECTIVE =
  "Survey this folder part by part: for each, write a section on its files and its TODO and FIXME comments, and at last an overview of all sections."

export const GOAL_HELP = `turn-machine goal: works towards an objective over several turns, until it is reached, blocked or out of budget.

Usage
  turn-machine goal [flags] ["objective"]     start a goal
  turn-machine goal status                    show its status, also while it runs
  turn-machine goal pause                     stop after the running turn
  turn-machine goal resume [flags]            resume after a pause, a stop, a crash or Ctrl-C
  turn-machine goal edit "new objective"      change the objective
  turn-machine goal clear                     remove the goal
  turn-machine subgoal --help                 edit the judge's checklist

${new Wrap(100, "  ", 0).add(`Without an objective: ${DEFAULT_OBJECTIVE}`)}

All of these work from another terminal while the goal runs.

Budgets (default: none)
  --budget-tokens N     tokens, not counting prompt tokens read from the provider's cache
  --budget-time T       time, such as 90s, 10m or 1h30m
  --budget-cost X       cost, such as 0.50, with these prices per million tokens:
  --price-in X          prompt tokens          --price-out X   generated tokens
  --price-cached X      cached prompt tokens (default: --price-in)
  --max-continuations N pause after this many continuation turns (default: 50)

Judge
  --judge none          the model decides when the goal is reached (default)
  --judge checklist     a judge writes a checklist and checks it after each turn; its tokens count

Files and model
  --state DIR           folder for the goal's state (default: ${DEFAULT_STATE} in the current folder). A folder that
                        has a goal is refused: resume or clear that goal.
  --resume              resume the goal in the folder, if there is one
  --dir DIR             folder to read; nothing outside of it is read (default: the current folder)
  --out DIR             folder to write to (default: ${DEFAULT_OUT} in the current folder)
  --force               replace files that this program did not write, too
  --model embedded      a small offline planner that surveys the folder part by part (default)
  --base-url URL, --model NAME, --api-key-env NAME     an OpenAI-compatible endpoint
  --timeout-ms N        time limit of one model call, in milliseconds (default: ${DEFAULT_TIMEOUT_MS})
  --retries N           how often to retry a failed model call (default: ${DEFAULT_RETRIES})
  --max-iterations N    the most model calls in each turn (default: ${DEFAULT_MAX_ITERATIONS})
  --take-over           take the goal from a process on another computer that has ended

Whose settings count
  A resumed goal has the folders, the endpoint, the model and the key variable that you gave when you started it. A
  folder that you did not start here, or that was moved or replaced, is refused with exit code 2 until you give --dir,
  --out and, for an endpoint, --base-url, --model and --api-key-env again: see turn-machine run --help.

Flags of resume
  --add-tokens N, --add-time T, --add-cost X     extend a budget that was set
  --no-run              resume the goal without running it here
  --json (also of goal and status)               one JSON object per line instead of text

After Ctrl-C or a crash, the goal resumes in the interrupted turn. A second Ctrl-C ends the process immediately.

Exit codes: 0 complete, 1 stopped before that, 2 the command cannot run as given.

Examples
  turn-machine goal
  turn-machine goal --judge checklist
  turn-machine goal --budget-tokens 20000 --budget-time 10m "Survey the docs."
  turn-machine goal status
  turn-machine goal resume --add-tokens 20000
`

export const SUBGOAL_HELP = `turn-machine subgoal: edits the checklist of a goal's judge, also while the goal runs.

Usage
  turn-machine subgoal list                   show the checklist with its evidence
  turn-machine subgoal add "new item"         add an item
  turn-machine subgoal done N                 mark item N as done
  turn-machine subgoal impossible N           mark item N as impossible; it no longer counts
  turn-machine subgoal undo N                 reopen item N
  turn-machine subgoal remove N               remove item N

  --state DIR           the goal's folder (default: ${DEFAULT_STATE} in the current folder)
  --help                show this help

The goal needs --judge checklist at its start. When no item is open, the goal is complete.

Exit codes: 0 done, 1 refused, 2 the command cannot run as given.
`
