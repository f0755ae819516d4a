import type { JudgeValidation } from "../wire/checklist.ts"
import { parse, parseSaved } from "./checking.ts"
import { checklistPolicy, checklistState, judgeCheckpoint, judgedTurn } from "./generated/judge.ts"
import { response } from "./generated/turn.ts"

/** Checks every value from outside for a judge. */
export const judgeValidation: JudgeValidation = {
  policy: (value) => parse(checklistPolicy, value, "invalid_config", "checklist policy"),
  turn: (value) => parse(judgedTurn, value, "invalid_start", "turn to judge"),
  response: (value) => parse(response, value, "invalid_response", "response"),
  checkpoint: (value) => parseSaved(judgeCheckpoint, value, "judge's checkpoint"),
  state: (value) => parseSaved(checklistState, value, "checklist's state"),
}
