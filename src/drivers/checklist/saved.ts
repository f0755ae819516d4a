import { CheckpointError } from "../../errors.ts"
import type { ChecklistItem, ChecklistState, Evaluation, EvidenceTranscript, JudgeCheckpoint, JudgeValidation } from "../../wire/checklist.ts"
import { LAST_ATTEMPT } from "./judge-request.ts"

const FORMAT: JudgeCheckpoint["format"] = "turn-machine/checklist-judge"
const VERSION: JudgeCheckpoint["version"] = 1

export function writeJudgeCheckpoint(evaluation: Evaluation, withTranscript: boolean): JudgeCheckpoint {
  if (withTranscript) return { format: FORMAT, version: VERSION, evaluation }
  const { transcript: _elsewhere, ...rest } = evaluation
  return { format: FORMAT, version: VERSION, evaluation: rest }
}

/**
 * Reads a judge's checkpoint from its JSON text or its parsed value. `transcript` replaces the one that was left out.
 * @throws {CheckpointError} `not_json`, `not_a_checkpoint`, `unsupported_version`, `invalid_checkpoint`, `inconsistent_checkpoint`
 */
export function readJudgeCheckpoint(value: unknown, validation: JudgeValidation | undefined, transcript?: EvidenceTranscript): Evaluation {
  const identified = identify(typeof value === "string" ? parseText(value, "judge's checkpoint") : value)
  const { evaluation: saved } = validation === undefined ? (identified as JudgeCheckpoint) : validation.checkpoint(identified)
  const isMissing = saved.transcript === undefined && transcript !== undefined && transcript.messages.length > 0
  const evaluation = isMissing ? { ...saved, transcript } : saved
  checkEvaluation(evaluation)
  return evaluation
}

/**
 * Reads a saved state from its JSON text or its parsed value.
 * @throws {CheckpointError} `not_json`, `invalid_checkpoint` if `validation` is given, `inconsistent_checkpoint`
 */
export function readChecklistState(value: unknown, validation: JudgeValidation | undefined): ChecklistState {
  const parsed = typeof value === "string" ? parseText(value, "checklist's state") : value
  const state = validation === undefined ? (parsed as ChecklistState) : validation.state(parsed)
  checkState(state)
  return state
}

function parseText(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new CheckpointError("not_json", "", `The ${what} is not JSON text; it may have been cut off.`, { cause })
  }
}

function identify(value: unknown): object {
  const { format, version } = readHeader(value)
  if (format !== FORMAT) throw new CheckpointError("not_a_checkpoint", "/format", `Not a judge's checkpoint: its format is not "${FORMAT}".`)
  if (version !== VERSION)
    throw new CheckpointError(
      "unsupported_version",
      "/version",
      `The judge's checkpoint has a version that this package does not read; it reads version ${VERSION}.`,
    )
  return value as object
}

function readHeader(value: unknown): { readonly format?: unknown; readonly version?: unknown } {
  if (typeof value !== "object" || value === null) throw new CheckpointError("not_a_checkpoint", "", "Not a judge's checkpoint: it is not an object.")
  try {
    const { format, version } = value as { readonly format?: unknown; readonly version?: unknown }
    return { format, version }
  } catch (cause) {
    throw new CheckpointError("not_a_checkpoint", "", "Not a judge's checkpoint: reading its properties throws.", { cause })
  }
}

function checkEvaluation({ state, nextEffectId, requests, items, transcript }: Evaluation): void {
  require(nextEffectId === requests + 1, "/evaluation/nextEffectId", `${requests} calls were made, but the next id is ${nextEffectId}`)
  checkItems(items, "/evaluation/items")
  if (state.type === "finished") return
  const { id } = state.outstanding
  require(id === nextEffectId - 1, "/evaluation/state/outstanding/id", `effect ${id} is outstanding while the next id is ${nextEffectId}`)
  require(state.attempt <= LAST_ATTEMPT, "/evaluation/state/attempt", `there are ${LAST_ATTEMPT + 1} attempts, counted from 0`)
  if (state.type !== "evaluating") return
  require(items.length > 0, "/evaluation/items", "items are being judged, but there are none")
  require(state.pagesLeft === 0 || transcript !== undefined, "/evaluation/state/pagesLeft", "pages are left of a missing transcript")
}

/** Checks the ids: a duplicate could apply a ruling to another item, or a late judgement to another goal. */
function checkState({ goal, clearedGoal, nextGoalNumber }: ChecklistState): void {
  for (const [path, saved] of [["/goal", goal] as const, ["/clearedGoal", clearedGoal] as const]) {
    if (saved === undefined) continue
    const { goalId, checklist, nextItemNumber } = saved
    require(isBefore(goalId, "g", nextGoalNumber), `${path}/goalId`, `the next goal is number ${nextGoalNumber}, but ${goalId} exists`)
    checkItems(checklist, `${path}/checklist`)
    for (const [index, { id }] of checklist.entries())
      require(isBefore(id, "i", nextItemNumber), `${path}/checklist/${index}/id`, `the next item is number ${nextItemNumber}, but ${id} exists`)
  }
}

function checkItems(items: readonly ChecklistItem[], path: string): void {
  const ids = new Set<string>()
  for (const [index, { id }] of items.entries()) {
    require(!ids.has(id), `${path}/${index}/id`, `two items have the id ${id}`)
    ids.add(id)
  }
}

/** Whether an id cannot be assigned again: its number is smaller than the next one, or it has none. */
function isBefore(id: string, prefix: "g" | "i", next: number): boolean {
  const [, number] = new RegExp(`^${prefix}([0-9]+)$`).exec(id) ?? []
  return number === undefined || Number(number) < next
}

function require(holds: boolean, path: string, message: string): void {
  if (!holds) throw new CheckpointError("inconsistent_checkpoint", path, `The saved data is inconsistent at "${path}": ${message}.`)
}
