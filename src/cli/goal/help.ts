import { DEFAULT_MAX_ITERATIONS, DEFAULT_OUT, DEFAULT_RETRIES, DEFAULT_TIMEOUT_MS } from "../run/help.ts"

export const DEFAULT_STATE = "turn-machine-goal"
export const DEFAULT_OBJECTIVE =
  "Survey this folder part by part: for each, write a section on its files and its TODO and FIXME comments, and at last an overview of all sections."

export const GOAL_HELP = `turn-machine goal: pursues an objective, turn after turn, until it is reached or something stops it.

Usage
  turn-machine goal [flags] ["objective"]     begin
  turn-machine goal status                    how it stands, also while it runs
  turn-machine goal pause                     end in order after the running turn
  turn-machine goal resume [flags]            go on, after a stop, a crash or Ctrl-C
  turn-machine goal edit "new objective"      what is to be achieved instead
  turn-machine goal clear                     give it up
  turn-machine subgoal --help                 edit the list of a judge

Without an objective: ${DEFAULT_OBJECTIVE}

All of these work from another terminal while the goal runs.

Budgets (default: none)
  --budget-tokens N     tokens, without those read from a provider's cache
  --budget-time T       time, as 90s, 10m, 1h30m
  --budget-cost X       cost, as 0.50, by these prices for a million tokens:
  --price-in X          prompt tokens          --price-out X   generated tokens
  --price-cached X      prompt tokens read from the cache (default: as --price-in)
  --max-continuations N turns after which it pauses (default: 50)

Judge
  --judge none          the model itself says when the goal is reached (default)
  --judge checklist     a judge writes a list and rules on it after each turn; its tokens count

Files and model
  --state DIR           folder for the goal's state (default: ${DEFAULT_STATE} in the current folder). One that holds a
                        goal is not begun anew: resume or clear it.
  --resume              go on with the goal in the folder, if there is one
  --dir DIR             folder to work on; nothing outside of it is read (default: the current folder)
  --out DIR             folder for what is written (default: ${DEFAULT_OUT} in the current folder)
  --force               replace files of others in it as well
  --model embedded      a small planner without a network, which surveys the folder part by part (default)
  --base-url URL, --model NAME, --api-key-env NAME     an OpenAI-compatible endpoint
  --timeout-ms N        how long one model call may take (default: ${DEFAULT_TIMEOUT_MS})
  --retries N           how often a failed model call is tried again (default: ${DEFAULT_RETRIES})
  --max-iterations N    how many model calls each turn may take (default: ${DEFAULT_MAX_ITERATIONS})
  --take-over           take the goal from a process of another computer that is known to be gone

Flags of resume
  --add-tokens N, --add-time T, --add-cost X     more of a budget that was set
  --no-run              only set it going again
  --json (also of goal and status)               one JSON object per line instead of text

Ctrl-C leaves the turn as it stands; so does a crash. A second Ctrl-C ends the process at once.

Exit codes: 0 complete, 1 stopped otherwise, 2 the command cannot be run as given.

Examples
  turn-machine goal
  turn-machine goal --judge checklist
  turn-machine goal --budget-tokens 20000 --budget-time 10m "Survey the docs."
  turn-machine goal status
  turn-machine goal resume --add-tokens 20000
`

export const SUBGOAL_HELP = `turn-machine subgoal: edits the list by which a judge rules on a goal, also while it runs.

Usage
  turn-machine subgoal list                   the list with its evidence
  turn-machine subgoal add "what must hold"
  turn-machine subgoal done N                 item N holds
  turn-machine subgoal impossible N           it cannot be reached, and does not count any more
  turn-machine subgoal undo N                 it is open again
  turn-machine subgoal remove N

  --state DIR           the goal's folder (default: ${DEFAULT_STATE} in the current folder)
  --help                this text

The goal must have been begun with --judge checklist. Who settles the last open item completes the goal.

Exit codes: 0 done, 1 refused, 2 the command cannot be run as given.
`
