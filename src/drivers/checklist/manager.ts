import { trim } from "../../text.ts"
import type { ChecklistCommand, ChecklistGoal, ChecklistItem, ChecklistPolicy, ChecklistState, JudgeValidation } from "../../wire/checklist.ts"
import { allTerminal, hasList, isTerminal, newItems } from "./checklist.ts"
import { looseIndex } from "./json-text.ts"
import { readChecklistState } from "./saved.ts"
import { type ChecklistSettings, checklistSettings } from "./settings.ts"

/** Why a command was not carried out. */
export type Refusal = "empty_goal" | "empty_item" | "no_goal" | "unknown_status" | "invalid_index" | "index_out_of_range" | "unknown_item"

/** The result of a command. `item` is the affected item. A refused command changes nothing; `message` explains why, for people. */
export type Managed =
  | { readonly ok: true; readonly state: ChecklistState; readonly item?: ChecklistItem }
  | { readonly ok: false; readonly state: ChecklistState; readonly refused: Refusal; readonly message: string }

/**
 * Applies a user's command to a goal. Pure. A user can change settled items; the judge cannot.
 * A command that must invalidate a pending judgement raises the goal's revision. Edits of items do not: a judgement names items
 * by id.
 */
export function manageChecklist(policy: ChecklistPolicy, state: ChecklistState, command: ChecklistCommand): Managed {
  const settings = checklistSettings(policy)
  const { goal } = state
  switch (command.type) {
    case "set":
      return setGoal(settings, state, command)
    case "edit":
      return editGoal(state, command)
    case "clear":
      return done(goal === undefined ? state : { nextGoalNumber: state.nextGoalNumber, clearedGoal: revise({ ...goal, status: "cleared" }) })
    case "pause": {
      const { reason } = command
      return change(state, (goal) =>
        revise({ ...goal, status: "paused", pausedReason: reason === undefined ? { type: "user" } : { type: "text", text: reason } }),
      )
    }
    case "resume":
      return change(state, (goal) => resumed(settings, goal, command.resetBudget ?? true))
    case "mark_done":
      return change(state, (goal) => revise({ ...goal, status: "done", lastVerdict: "done", lastReason: { type: "text", text: command.reason } }))
    case "clear_checklist":
      return change(state, (goal) => revise({ ...goal, checklist: [], decomposed: false, stalledTurns: 0 }))
    case "add_item":
      return addItem(settings, state, command)
    case "mark_item":
      return markItem(settings, state, command, command.status)
    case "undo_item":
      return markItem(settings, state, command, "pending")
    case "remove_item":
      return removeItem(settings, state, command)
  }
}

function done(state: ChecklistState, item?: ChecklistItem): Managed {
  return item === undefined ? { ok: true, state } : { ok: true, state, item }
}

function refuse(state: ChecklistState, refused: Refusal, message: string): Managed {
  return { ok: false, state, refused, message }
}

/** Edits the goal. Succeeds without a change if there is no goal. */
function change(state: ChecklistState, edit: (goal: ChecklistGoal) => ChecklistGoal): Managed {
  return done(state.goal === undefined ? state : { ...state, goal: edit(state.goal) })
}

function revise(goal: ChecklistGoal): ChecklistGoal {
  return { ...goal, revision: goal.revision + 1 }
}

function setGoal(settings: ChecklistSettings, state: ChecklistState, command: Extract<ChecklistCommand, { type: "set" }>): Managed {
  const text = trim(command.goal)
  if (text === "") return refuse(state, "empty_goal", "The text of a goal must not be empty.")
  const goal: ChecklistGoal = {
    goalId: `g${state.nextGoalNumber}`,
    revision: 0,
    goal: text,
    status: "active",
    ...contractOf(command.contract),
    turnsUsed: 0,
    maxTurns: command.maxTurns || settings.defaultMaxTurns,
    createdAt: command.at,
    consecutiveParseFailures: 0,
    consecutiveTransportFailures: 0,
    stalledTurns: 0,
    checklist: [],
    decomposed: false,
    nextItemNumber: 1,
  }
  return done({ nextGoalNumber: state.nextGoalNumber + 1, goal })
}

function contractOf(contract: string | undefined): Pick<ChecklistGoal, "contract"> {
  const text = trim(contract ?? "")
  return text === "" ? {} : { contract: text }
}

/** The judge's items belong to the old text; the user's own do not. A goal that was done continues, one that is paused stays so. */
function editGoal(state: ChecklistState, { goal: given, contract }: Extract<ChecklistCommand, { type: "edit" }>): Managed {
  const { goal } = state
  if (goal === undefined) return noGoal(state)
  const text = trim(given)
  if (text === "") return refuse(state, "empty_goal", "The text of a goal must not be empty.")
  const { notBefore: _until, waitsFor: _event, lastVerdict: _verdict, lastReason: _reason, lastResponse: _response, contract: old, ...rest } = goal
  return done({
    ...state,
    goal: revise({
      ...rest,
      goal: text,
      ...contractOf(contract ?? old),
      status: goal.status === "done" ? "active" : goal.status,
      turnsUsed: 0,
      ...NO_FAILURES,
      checklist: goal.checklist.filter(({ addedBy }) => addedBy === "user"),
      decomposed: false,
    }),
  })
}

const NO_FAILURES = { consecutiveParseFailures: 0, consecutiveTransportFailures: 0, stalledTurns: 0 } as const

function resumed({ reference }: ChecklistSettings, goal: ChecklistGoal, resetBudget: boolean): ChecklistGoal {
  const { pausedReason: _why, notBefore: _until, waitsFor: _event, ...rest } = goal
  return revise({ ...rest, status: "active", ...(resetBudget && { turnsUsed: 0 }), ...(!reference && NO_FAILURES) })
}

function addItem(settings: ChecklistSettings, state: ChecklistState, { text: given, at }: Extract<ChecklistCommand, { type: "add_item" }>): Managed {
  if (state.goal === undefined) return noGoal(state)
  const text = trim(given)
  if (text === "") return refuse(state, "empty_item", "The text of an item must not be empty.")
  const goal = { ...newItems(state.goal, [text], "user", at), ...(!settings.reference && { stalledTurns: 0 }) }
  return done({ ...state, goal }, goal.checklist.at(-1))
}

type ItemCommand = Extract<ChecklistCommand, { type: "mark_item" | "undo_item" | "remove_item" }>

function markItem(settings: ChecklistSettings, state: ChecklistState, command: ItemCommand, given: string): Managed {
  const status = trim(given).toLowerCase()
  if (state.goal === undefined) return noGoal(state)
  if (status !== "completed" && status !== "impossible" && status !== "pending")
    return refuse(state, "unknown_status", "The status of an item must be completed, impossible or pending.")
  const found = findItem(state, state.goal, command)
  if (!found.ok) return found.refusal
  const { completedAt: _then, ...rest } = found.item
  const item: ChecklistItem =
    status === "pending" ? { ...rest, status } : { ...rest, status, completedAt: command.at, evidence: rest.evidence ?? { type: "user_mark" } }
  const checklist = state.goal.checklist.map((other) => (other.id === item.id ? item : other))
  const goal: ChecklistGoal = { ...state.goal, checklist, ...(isTerminal(item) && { stalledTurns: 0 }) }
  return done({ ...state, goal: finishIfSettled(settings, goal) }, item)
}

function removeItem(settings: ChecklistSettings, state: ChecklistState, command: ItemCommand): Managed {
  if (state.goal === undefined) return noGoal(state)
  const found = findItem(state, state.goal, command)
  if (!found.ok) return found.refusal
  const { item } = found
  const checklist = state.goal.checklist.filter((other) => other.id !== item.id)
  return done({ ...state, goal: finishIfSettled(settings, { ...state.goal, checklist }) }, item)
}

/** Finishes the goal if the user has settled the last open item of its list. The reference waits for the judge. */
function finishIfSettled(settings: ChecklistSettings, goal: ChecklistGoal): ChecklistGoal {
  const open = goal.status === "active" || goal.status === "paused"
  if (settings.reference || !open || !allTerminal(goal.checklist) || !hasList(settings, goal)) return goal
  const { notBefore: _until, waitsFor: _event, ...rest } = goal
  return revise({ ...rest, status: "done", lastVerdict: "done", lastReason: { type: "user_marks" } })
}

type Found = { readonly ok: true; readonly item: ChecklistItem } | { readonly ok: false; readonly refusal: Managed }

function findItem(state: ChecklistState, { checklist }: ChecklistGoal, { itemId, index }: ItemCommand): Found {
  const refusal = (refused: Refusal, message: string): Found => ({ ok: false, refusal: refuse(state, refused, message) })
  if (itemId !== undefined) {
    const item = checklist.find(({ id }) => id === itemId)
    return item === undefined ? refusal("unknown_item", `There is no item ${itemId}.`) : { ok: true, item }
  }
  const number = looseIndex(index)
  if (number === undefined || !Number.isFinite(number)) return refusal("invalid_index", "An item is identified by its number in the list.")
  const item = number < 1 ? undefined : checklist[number - 1]
  if (item !== undefined) return { ok: true, item }
  return refusal("index_out_of_range", checklist.length === 0 ? "The list has no items." : `The list has items 1 to ${checklist.length}.`)
}

function noGoal(state: ChecklistState): Managed {
  return refuse(state, "no_goal", "No goal is set.")
}

/**
 * Restores a saved state from its JSON text or its parsed value. Under `compat: "reference"` a cleared goal is restored, as cleared.
 * @throws {CheckpointError} `not_json`, `invalid_checkpoint` if `validation` is given, `inconsistent_checkpoint`
 */
export function restoreChecklist(policy: ChecklistPolicy, value: unknown, validation?: JudgeValidation): ChecklistState {
  const state = readChecklistState(value, validation)
  const { clearedGoal, ...rest } = state
  if (policy.compat !== "reference" || clearedGoal === undefined || rest.goal !== undefined) return state
  return { ...rest, goal: clearedGoal }
}
