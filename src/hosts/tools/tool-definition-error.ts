import { TurnError } from "../../errors.ts"

export type ToolDefinitionErrorCode =
  | "invalid_name"
  | "invalid_description"
  | "invalid_input_schema"
  | "invalid_output_schema"
  | "invalid_timeout"
  | "invalid_effects"
  | "invalid_execute"
  | "invalid_approval"
  | "unknown_key"
  | "not_a_tool"
  | "duplicate_tool"

/** A tool that cannot be offered to a model. Thrown while tools are defined, never while a turn runs. */
export class ToolDefinitionError extends TurnError<ToolDefinitionErrorCode> {}
