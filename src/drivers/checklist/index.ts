export type {
  ChangeItem,
  ChecklistCommand,
  ChecklistGoal,
  ChecklistItem,
  ChecklistPolicy,
  ChecklistState,
  Evaluation,
  Evidence,
  EvidenceTranscript,
  Finding,
  ItemRuling,
  ItemStatus,
  JudgeCheckpoint,
  JudgedFinding,
  JudgedTurn,
  Judgement,
  JudgeReason,
  JudgeState,
  JudgeValidation,
  MarkItem,
  PauseReason,
} from "../../wire/checklist.ts"
export {
  allTerminal,
  countItems,
  hasGoal,
  type ItemCounts,
  isActive,
  newChecklistState,
  renderChecklist,
  renderItems,
  statusLine,
} from "./checklist.ts"
export { type Decision, type DecisionReason, decisionReasonText, decisionText, type Notice } from "./decision.ts"
export { JUDGE_TRANSITIONS, type JudgeStateName } from "./evaluation.ts"
export { ChecklistJudge, type JudgeConfig, type RestoreJudgeOptions } from "./judge.ts"
export { type Applied, applyJudgement } from "./judgement.ts"
export { type Managed, manageChecklist, type Refusal, restoreChecklist } from "./manager.ts"
export { continuationPrompt } from "./prompts.ts"
export { evidenceText, pauseText, reasonText } from "./wording.ts"
