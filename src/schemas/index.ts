/** One zod schema per wire value; each name is the schema and, as a type, what it parses to. `z.toJSONSchema` works on all. */
export { judgeValidation } from "../checks/judge.ts"
export { journalValidation } from "../checks/records.ts"
export { wireValidation } from "../checks/validation.ts"
export type { JudgeValidation } from "../wire/checklist.ts"
export { DriverAction, OnEmpty } from "./action.ts"
export {
  ApprovalGrant,
  ApprovalGrantRevoked,
  ApprovalRecord,
  ApprovalScope,
  Ask,
  DecidedCall,
  Decision,
  ExternalCall,
  HeldCall,
  HoldCall,
} from "./approval.ts"
export {
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
  JUDGE_CHECKPOINT_FORMAT,
  JUDGE_CHECKPOINT_VERSION,
  JudgeCheckpoint,
  JudgedTurn,
  Judgement,
  JudgeReason,
  JudgeState,
  PauseReason,
} from "./checklist.ts"
export { CHECKPOINT_FORMAT, CHECKPOINT_VERSION, TurnCheckpoint } from "./checkpoint.ts"
export {
  CompactionDelivered,
  CompactionFailed,
  CompactionNeeded,
  CompactionReason,
  CompactionRecord,
  CompactionRequested,
} from "./compaction.ts"
export { TurnConfigData, TurnStart } from "./config.ts"
export {
  AnswerableEffect,
  CancelLlm,
  Checkpoint,
  Done,
  Effect,
  Emit,
  ExecCode,
  LlmCall,
  Log,
  Progress,
  SyncExecutionSurface,
  ToolCalls,
  ToolCallsReleased,
} from "./effect.ts"
export { CheckpointKind, ErrorEnvelope, LogEvent, Outcome, PluginEvent, TurnEvent } from "./event.ts"
export {
  Goal,
  GoalCause,
  GoalCheck,
  GoalCheckMemory,
  GoalCheckResult,
  GoalCommand,
  GoalContract,
  GoalEvent,
  GoalInput,
  GoalMemory,
  GoalMetricName,
  GoalMode,
  GoalOutput,
  GoalPolicyData,
  GoalRefusal,
  GoalState,
  GoalStatus,
  GoalToolName,
  GoalTurn,
  GoalWait,
  TurnOrigin,
} from "./goal.ts"
export {
  JOURNAL_FORMAT,
  JOURNAL_VERSION,
  JournalEffect,
  JournalEnd,
  JournalHeader,
  JournalInterruption,
  JournalRecord,
  JournalSnapshot,
} from "./journal.ts"
export { Count, Json, MAX_JSON_DEPTH, type Readonlys, type Schema, type Tagged, Timestamp } from "./json.ts"
export { Block, Generation, LlmFailure, LlmFailureKind, LlmMessage, LlmRequest, LlmResponse, OutputPart, TerminalReason, TokenUsage } from "./llm.ts"
export {
  AttachmentRef,
  CheckpointDelivery,
  DeliveredMessage,
  HistoryRecord,
  Message,
  Origin,
  Part,
  Producer,
  Prune,
  ReasoningReplay,
  ReplayMeta,
  ResponseMeta,
  ReturnPart,
  Role,
  SurfaceChange,
  TurnCause,
} from "./message.ts"
export {
  CheckpointDelivered,
  ExecResult,
  ExecutionSurfaceSynced,
  LlmComplete,
  Response,
  ToolDecisions,
  ToolPending,
  ToolResults,
} from "./response.ts"
export { DurableThreadEvent, LiveThreadEvent, ThreadEvent } from "./thread-event.ts"
export {
  CompletedToolCall,
  ExecResponse,
  FailureSource,
  ModelReturn,
  PendingToolCall,
  ToolControl,
  ToolFailure,
  ToolOutput,
  ToolSpec,
} from "./tool.ts"
