import * as z from "zod"

/**
 * The settings of a run or goal about its MCP servers. They have no environment and no header, which may contain keys: the configuration file
 * is read again, and its digest says whether it is still what the user gave.
 */
export const mcpFields = {
  /** The commands of `--mcp`, as they were given. */
  mcp: z.array(z.string()).exactOptional(),
  /** The absolute path of `--mcp-config`. */
  mcpConfig: z.string().exactOptional(),
  /** The SHA-256 of that file when it was given. */
  mcpConfigDigest: z.string().exactOptional(),
}
export type McpFields = { readonly mcp?: readonly string[]; readonly mcpConfig?: string; readonly mcpConfigDigest?: string }

/** Whether a run or a goal has servers. */
export function hasServers({ mcp = [], mcpConfig }: McpFields): boolean {
  return mcp.length > 0 || mcpConfig !== undefined
}
