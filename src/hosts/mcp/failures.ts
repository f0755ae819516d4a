import type { Json } from "../../json.ts"
import { cutMiddle } from "../../text.ts"
import type { ToolFailure } from "../../wire/tool.ts"
import type { ToolEffects } from "../host.ts"
import { messageOf } from "../run/failures.ts"
import { ownJson } from "../run/plain-json.ts"
import { McpToolboxError } from "./mcp-error.ts"
import { UnusableResult } from "./result.ts"

/** What went wrong with one request, as far as the clients say. */
export type Trouble =
  | { readonly type: "answered"; readonly code: number; readonly message: string; readonly data: unknown }
  | { readonly type: "timeout" }
  | { readonly type: "unauthorized"; readonly message: string }
  /** The server has no such session: it did not do anything. */
  | { readonly type: "session_gone" }
  | { readonly type: "unusable"; readonly message: string; readonly isTooLarge: boolean }
  /** There is no connection, and the request was not sent. */
  | { readonly type: "not_sent"; readonly message: string }
  /** The connection failed before an answer. */
  | { readonly type: "lost"; readonly message: string }

/** JSON-RPC's own code, and that of version 1 of the client for a timeout. */
const INVALID_PARAMS = -32_602
const TIMEOUT = -32_001
const MESSAGE_CHARS = 10_000

/**
 * Classifies an error of a client. `isLost`: the client's connection has ended. The two versions have different classes, and a program may have
 * copies of both, so that only names and codes tell them apart.
 */
export function troubleOf(error: unknown, isLost: boolean): Trouble {
  if (error instanceof UnusableResult) return { type: "unusable", message: error.message, isTooLarge: error.isTooLarge }
  if (error instanceof McpToolboxError) return { type: "not_sent", message: error.message }
  const { name, code, data, status } = (typeof error === "object" && error !== null ? error : {}) as {
    readonly [key in "name" | "code" | "data" | "status"]?: unknown
  }
  const message = cutMiddle(messageOf(error), MESSAGE_CHARS)
  if (isLost) return { type: "lost", message }
  if (code === "REQUEST_TIMEOUT" || (name === "McpError" && code === TIMEOUT && /time(?:d )?out/i.test(message))) return { type: "timeout" }
  if (code === "NOT_CONNECTED") return { type: "not_sent", message }
  if (code === "INVALID_RESULT" || code === "UNSUPPORTED_RESULT_TYPE" || name === "ZodError") return { type: "unusable", message, isTooLarge: false }
  if (typeof code === "number" && (name === "McpError" || name === "ProtocolError" || code < 0))
    return { type: "answered", code, message: message.replace(/^MCP error -?\d+: /, ""), data }
  const http = typeof status === "number" ? status : code
  if (name === "UnauthorizedError" || http === 401 || http === 403) return { type: "unauthorized", message }
  if (http === 429) return { type: "not_sent", message: "The MCP server accepts no more calls now (429)." }
  // 404 is what the protocol says; servers that were restarted also say 400.
  if (typeof http === "number" && http >= 400 && http < 500) return { type: "session_gone" }
  return { type: "lost", message }
}

/** The failure of a call, for the model. */
export function failureOf(trouble: Trouble, tool: string, effects: ToolEffects, timeoutMs: number): ToolFailure {
  const mayHaveRun = effects === "once" ? " It may have taken effect. Find out before asking for it once more." : ""
  switch (trouble.type) {
    case "answered":
      return answered(trouble)
    case "timeout":
      return failure("timeout", "tool_timeout", `The tool "${tool}" did not answer within ${timeoutMs} ms and was cancelled.${mayHaveRun}`)
    case "unauthorized":
      return failure("permission_denied", "mcp_unauthorized", `The MCP server refused access: ${trouble.message}`)
    case "unusable": {
      const message = `The tool "${tool}" ran, but its result cannot be used. ${trouble.message}`
      return trouble.isTooLarge ? failure("resource_limit", "mcp_result_too_large", message) : failure("external", "mcp_invalid_result", message)
    }
    case "session_gone":
      return failure("unavailable", "mcp_not_connected", "The MCP server has ended the session, so the call did not run.", { type: "safe" })
    case "not_sent":
      return failure("unavailable", "mcp_not_connected", `The call did not run. ${trouble.message}`, { type: "safe" })
    case "lost":
      if (effects === "once")
        return failure(
          "internal",
          "outcome_unknown",
          `The connection to the MCP server was lost during the call: it may have taken effect or not, and was not run again. Find out before asking for it once more. ${trouble.message}`,
        )
      return failure("unavailable", "mcp_connection_lost", `The connection to the MCP server was lost during the call. ${trouble.message}`, {
        type: "safe",
      })
  }
}

function answered({ code, message, data }: Extract<Trouble, { readonly type: "answered" }>): ToolFailure {
  const raw: Json = { code, ...dataOf(data) }
  const text = message === "" ? `The MCP server answered with the error ${code}.` : message
  // Which of the two is wrong, the server says only in words: the tool does not exist, or its arguments do not match.
  if (code === INVALID_PARAMS) return { ...failure("invalid_request", "mcp_invalid_params", text), source: "tool", raw }
  return { ...failure("external", "mcp_server_error", text), source: "tool", raw }
}

function dataOf(data: unknown): { readonly data?: Json } {
  if (data === undefined) return {}
  try {
    const json = ownJson(data)
    return JSON.stringify(json).length > MESSAGE_CHARS ? {} : { data: json }
  } catch {
    return {}
  }
}

function failure(type: ToolFailure["class"], code: string, message: string, retry: ToolFailure["retry"] = { type: "never" }): ToolFailure {
  return { class: type, code, message, source: "runtime", retry }
}
