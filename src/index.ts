/** What every host needs, by name. The folders have subpaths of their own for the rest. */
export { chatDriver } from "./drivers/chat.ts"
export { type CodeDriverOptions, codeDriver, codeInstructions } from "./drivers/code.ts"
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
export type { CompleteTurnConfig, TurnConfig, Validation } from "./machine/config.ts"
export type { DriverContext, ProtocolDriver, WaitingExec, WaitingLlm } from "./machine/driver.ts"
export { advance, begin, command, type HostCommand, handle } from "./machine/step.ts"
export type { StateName, Step, Turn, TurnState } from "./machine/turn.ts"
export { type UserMessageOptions, userMessage } from "./machine/user-message.ts"
export { chatProjector } from "./projectors/chat.ts"
export type { ProjectionInput, Projector, Transcript } from "./projectors/projector.ts"
export { wireValidation } from "./schemas/validation.ts"
export { TurnMachine } from "./validated-turn-machine.ts"
export type { DriverAction, OnEmpty } from "./wire/action.ts"
export type { TurnCheckpoint } from "./wire/checkpoint.ts"
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
} from "./wire/effect.ts"
export type { CheckpointKind, ErrorEnvelope, LogEvent, Outcome, TurnEvent } from "./wire/event.ts"
export type {
  Block,
  Generation,
  LlmFailure,
  LlmMessage,
  LlmRequest,
  LlmResponse,
  OutputPart,
  OutputSpec,
  TerminalReason,
  TokenUsage,
} from "./wire/llm.ts"
export type {
  AttachmentRef,
  CheckpointDelivery,
  DeliveredMessage,
  HistoryRecord,
  Message,
  Origin,
  Part,
  ReasoningReplay,
  ReplayMeta,
  ResponseMeta,
  Role,
  TurnCause,
} from "./wire/message.ts"
export type { CheckpointDelivered, ExecResult, ExecutionSurfaceSynced, LlmComplete, Response, ToolResults } from "./wire/response.ts"
export type {
  CompletedToolCall,
  ExecResponse,
  FailureSource,
  ModelReturn,
  PendingToolCall,
  ToolControl,
  ToolFailure,
  ToolOutput,
  ToolSpec,
} from "./wire/tool.ts"
