import { TurnError } from "../../errors.ts"

/**
 * Why the tools of an MCP server cannot be offered. `invalid_client`, `invalid_option`, `unknown_option`, `invalid_prefix`: what the caller
 * passed. `connect_failed`, `list_failed`: what the server did. `too_many_tools`: more than `limits.tools`. `unknown_tool`: `allow` names a tool
 * that the server does not have.
 */
export type McpToolboxErrorCode =
  | "invalid_client"
  | "invalid_option"
  | "unknown_option"
  | "invalid_prefix"
  | "connect_failed"
  | "list_failed"
  | "too_many_tools"
  | "unknown_tool"

/** The tools of an MCP server that cannot be offered. Thrown by `mcpToolbox` and by `refresh`, never for one call. */
export class McpToolboxError extends TurnError<McpToolboxErrorCode> {}
