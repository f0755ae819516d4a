/** The tools of MCP servers, as a toolbox: for the client of either version of the protocol's SDK. */

export type { LiveToolbox } from "../tools/merge-toolboxes.ts"
export type { McpClient } from "./client.ts"
export type { McpConnect } from "./connection.ts"
export type { McpApproval, McpHints } from "./hints.ts"
export type { McpAllow, McpLimits, McpProblem } from "./listed-tools.ts"
export { McpToolboxError, type McpToolboxErrorCode } from "./mcp-error.ts"
export { type McpTool, type McpToolbox, mcpToolbox } from "./mcp-toolbox.ts"
export type { McpToolboxOptions } from "./options.ts"
