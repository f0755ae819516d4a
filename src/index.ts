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
export type { DriverContext, ProtocolDriver } from "./machine/driver.ts"
export type { StateName, Step, Turn, TurnConfig, TurnState, Validation } from "./machine/turn.ts"
export { advance, begin, command, type HostCommand, handle } from "./machine/turn-machine.ts"
export { chatProjector } from "./projectors/chat.ts"
export type { ProjectionInput, Projector, Transcript } from "./projectors/projector.ts"
export type { DriverAction } from "./schemas/action.ts"
export type { TurnCheckpoint } from "./schemas/checkpoint.ts"
export type { TurnConfigData, TurnStart } from "./schemas/config.ts"
export type { AnswerableEffect, Effect } from "./schemas/effect.ts"
export type { LogEvent, Outcome, TurnEvent } from "./schemas/event.ts"
export type { Json } from "./schemas/json.ts"
export type { LlmFailure, LlmRequest, LlmResponse, TokenUsage } from "./schemas/llm.ts"
export type { CheckpointDelivery, HistoryRecord, Message, TurnCause } from "./schemas/message.ts"
export type { Response } from "./schemas/response.ts"
export type { CompletedToolCall, PendingToolCall, ToolOutput, ToolSpec } from "./schemas/tool.ts"
export { wireValidation } from "./schemas/validation.ts"
export { TurnMachine } from "./turn-machine.ts"
