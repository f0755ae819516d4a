import { CheckpointError } from "../../errors.ts"
import type { Evaluation, JudgeCheckpoint, JudgeValidation } from "../../schemas/checklist.ts"

const FORMAT: JudgeCheckpoint["format"] = "turn-machine/checklist-judge"
const VERSION: JudgeCheckpoint["version"] = 1

export function writeJudgeCheckpoint(evaluation: Evaluation): JudgeCheckpoint {
  return { format: FORMAT, version: VERSION, evaluation }
}

/**
 * Reads a judge's checkpoint: its JSON text or its parsed value.
 * @throws {CheckpointError} `not_json`, `not_a_checkpoint`, `unsupported_version`, `invalid_checkpoint`, `inconsistent_checkpoint`
 */
export function readJudgeCheckpoint(value: unknown, validation: JudgeValidation | undefined): Evaluation {
  const identified = identify(typeof value === "string" ? parseText(value) : value)
  const { evaluation } = validation === undefined ? (identified as JudgeCheckpoint) : validation.checkpoint(identified)
  checkConsistency(evaluation)
  return evaluation
}

function parseText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new CheckpointError("not_json", "", "The judge's checkpoint is not JSON text; it may have been cut off.", { cause })
  }
}

function identify(value: unknown): object {
  const { format, version } = readHeader(value)
  if (format !== FORMAT) throw new CheckpointError("not_a_checkpoint", "/format", `Not a judge's checkpoint: its format is not "${FORMAT}".`)
  if (version !== VERSION)
    throw new CheckpointError(
      "unsupported_version",
      "/version",
      `The judge's checkpoint is of a version that this package does not read; it reads ${VERSION}.`,
    )
  return value as object
}

function readHeader(value: unknown): { readonly format?: unknown; readonly version?: unknown } {
  if (typeof value !== "object" || value === null) throw new CheckpointError("not_a_checkpoint", "", "Not a judge's checkpoint: it is no object.")
  try {
    const { format, version } = value as { readonly format?: unknown; readonly version?: unknown }
    return { format, version }
  } catch (cause) {
    throw new CheckpointError("not_a_checkpoint", "", "Not a judge's checkpoint: looking at it throws.", { cause })
  }
}

function checkConsistency({ state, nextEffectId, requests, items, transcript }: Evaluation): void {
  const require = (holds: boolean, path: string, message: string): void => {
    if (!holds) throw new CheckpointError("inconsistent_checkpoint", path, `The judge's checkpoint contradicts itself at "${path}": ${message}.`)
  }
  require(nextEffectId === requests + 1, "/evaluation/nextEffectId", `${requests} calls were made, and the next id is ${nextEffectId}`)
  if (state.type === "finished") return
  const { id } = state.outstanding
  require(id === nextEffectId - 1, "/evaluation/state/outstanding/id", `effect ${id} is outstanding while the next id is ${nextEffectId}`)
  if (state.type !== "evaluating") return
  require(items.length > 0, "/evaluation/items", "items are ruled on, and there are none")
  require(state.pagesLeft === 0 || transcript !== undefined, "/evaluation/state/pagesLeft", "pages are left of a transcript that is not there")
}
