/** What every host needs, by name. The folders have subpaths of their own for the rest. */

export { wireValidation } from "./checks/validation.ts"
export { type ChatDriverOptions, chatDriver } from "./drivers/chat.ts"
export { type CodeDriverOptions, codeDriver, codeInstructions } from "./drivers/code.ts"
export { type OutputCheck, type OutputOptions, type OutputSchema, outputOf } from "./drivers/output.ts"
export {
  CheckpointError,
  type CheckpointErrorCode,
  DriverError,
  type DriverErrorCode,
  ProtocolError,
  type ProtocolErrorCode,
  SchemaError,
  type SchemaErrorCode,
  type SchemaIssue,
  TurnError,
} from "./errors.ts"
export type { Json } from "./json.ts"
export type { BatchParts, WaitingTools } from "./machine/batch.ts"
export type { CompleteTurnConfig, TurnConfig, Validation } from "./machine/config.ts"
export type { DriverContext, ProtocolDriver, WaitingDecisions, WaitingExec, WaitingLlm } from "./machine/driver.ts"
export type { History } from "./machine/history.ts"
export { advance, begin, command, type HostCommand, handle } from "./machine/step.ts"
export { isAnswerable } from "./machine/transitions.ts"
export type { ExecutionSurface, StateName, Step, Turn, TurnPosition, TurnRecord, TurnState } from "./machine/turn.ts"
export { type UserMessageOptions, userMessage } from "./machine/user-message.ts"
export { type ChatProjectorOptions, chatProjector, createChatProjector } from "./projectors/chat.ts"
export type { ProjectionInput, Projector, Transcript } from "./projectors/projector.ts"
export { TurnMachine } from "./validated-turn-machine.ts"
export type { DriverAction, Finish, OnEmpty, ReleaseCalls, SettleCalls, StartCheckpoint, StartExec, StartLlm, StartTools } from "./wire/action.ts"
export type {
  ApprovalChoice,
  ApprovalGrant,
  ApprovalGrantRevoked,
  ApprovalRecord,
  ApprovalScope,
  Ask,
  DecidedCall,
  Decision,
  DecisionFacts,
  ExternalCall,
  GrantKey,
  HeldCall,
  HoldCall,
  Verdict,
} from "./wire/approval.ts"
export type { SavedDone, SavedEffect, SavedProgress, SavedRecord, SavedState, SettledCall, TurnCheckpoint } from "./wire/checkpoint.ts"
export type { CompleteTurnConfigData, TurnConfigData, TurnStart } from "./wire/config.ts"
export type {
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
} from "./wire/effect.ts"
export type {
  CheckpointKind,
  ErrorEnvelope,
  FinishedOutcome,
  FrameSwitchOutcome,
  LogEvent,
  Outcome,
  PartDigest,
  PluginEvent,
  StoppedOutcome,
  TurnEvent,
} from "./wire/event.ts"
export type {
  Block,
  FileBlock,
  Generation,
  ImageBlock,
  LlmFailure,
  LlmFailureKind,
  LlmMessage,
  LlmRequest,
  LlmResponse,
  OpaqueBlock,
  OutputPart,
  OutputSpec,
  ReasoningBlock,
  Replayed,
  TerminalReason,
  TextBlock,
  TextOutput,
  TokenUsage,
  ToolCallBlock,
  ToolResultBlock,
} from "./wire/llm.ts"
export type {
  AttachmentRef,
  CheckpointDelivery,
  CodePart,
  ConversationRecord,
  DeliveredMessage,
  FilePart,
  HistoryRecord,
  ImagePart,
  InterruptedPart,
  InterruptedReason,
  Message,
  OpaqueContent,
  OpaquePart,
  Origin,
  Part,
  PartBase,
  PluginOrigin,
  ProcessOrigin,
  Producer,
  ProtocolRecord,
  Prune,
  ReasoningPart,
  ReasoningReplay,
  ReplayMeta,
  ResponseMeta,
  ReturnPart,
  Role,
  SurfaceChange,
  TextPart,
  ToolCallPart,
  ToolResultPart,
  TurnCause,
} from "./wire/message.ts"
export type {
  CheckpointDelivered,
  ExecResult,
  ExecutionSurfaceSynced,
  LlmComplete,
  Response,
  ToolDecisions,
  ToolPending,
  ToolResults,
} from "./wire/response.ts"
export type {
  CancelledOutput,
  CompletedToolCall,
  ExecResponse,
  FailedOutput,
  FailureSource,
  ModelReturn,
  PendingToolCall,
  ToolControl,
  ToolFailure,
  ToolOutput,
  ToolRetry,
  ToolSpec,
  ToolSuccess,
} from "./wire/tool.ts"
