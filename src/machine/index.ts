/** The pure core, without validation: values are trusted to have the types they are declared with. */

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
} from "../errors.ts"
export { MAX_JSON_DEPTH } from "../json.ts"
export { type Applied, applyActions, type MachineAction, type StepFacts } from "./apply-actions.ts"
export type { BatchParts, WaitingTools } from "./batch.ts"
export type { CompleteTurnConfig, TurnConfig, Validation } from "./config.ts"
export type { TurnContext } from "./context.ts"
export type { DriverContext, ProtocolDriver, WaitingDecisions, WaitingExec, WaitingLlm } from "./driver.ts"
export { History } from "./history.ts"
export { addKnown, addUsage, NO_USAGE, resultLimit } from "./limits.ts"
export { advance, begin, command, type HostCommand, handle } from "./step.ts"
export { errorEvent, failWith, type StopType, stopFor, stopped } from "./terminal.ts"
export { deriveModelReturn, toolResultParts } from "./tool-results.ts"
export {
  ANSWERS,
  isAnswerable,
  isAnswerTo,
  PREPARATION,
  type ResponseOf,
  type ResponseType,
  type Rule,
  type RuleResult,
  TRANSITIONS,
  type TransitionTable,
} from "./transitions.ts"
export type { ExecutionSurface, StateName, StateOf, Step, Turn, TurnPosition, TurnRecord, TurnState } from "./turn.ts"
export { TurnMachine } from "./turn-machine.ts"
export { type UserMessageOptions, userMessage } from "./user-message.ts"
