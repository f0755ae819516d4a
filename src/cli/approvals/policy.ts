import * as z from "zod"
import { type AskOptions, approvalDriver } from "../../drivers/approval/index.ts"
import { answerOf, readHints } from "../../hosts/mcp/hints.ts"
import type { ProtocolDriver } from "../../machine/driver.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import { oneLine } from "../terminal/format.ts"
import { REPLACE_LINE } from "../workspace/tools.ts"

/**
 * What happens to a call that changes files outside of the output folder, or that an MCP server does not call read-only. `ask`: it is held until a person decides. `auto`: it runs.
 * `never`: it is refused.
 */
export const APPROVE_MODES = ["never", "ask", "auto"] as const
export type ApproveMode = (typeof APPROVE_MODES)[number]

/** The settings of a run or goal about such calls. They are the same in every process that runs it. */
export const approvalFields = {
  /** The model may change files in the folder that it reads. */
  edit: z.literal(true).exactOptional(),
  /** Absent: `ask`. */
  approve: z.enum(["never", "auto"]).exactOptional(),
  /** Milliseconds after which a held call counts as refused. */
  approveWithinMs: z.int().positive().exactOptional(),
}
export type Approval = { readonly edit?: true; readonly approve?: "never" | "auto"; readonly approveWithinMs?: number }

/** The tools that change something outside of the output folder, so that a person is asked. Everything else only reads, or writes there. */
const ASKED: ReadonlySet<string> = new Set([REPLACE_LINE])

const REFUSED = "The user refuses every change outside of the output folder (--approve never). Say in your answer what you would change."
const REFUSED_CALL = "The user refuses every call of a tool that may change something (--approve never). Say in your answer what you would do."

/**
 * Wraps a driver so that calls that need approval are held or refused: changes of files, and calls of MCP servers that may change something.
 * Without such a tool, or with `auto`, the driver stays as it is. `mcp`: the tools of servers may be among those of the turn.
 */
export function withApproval(driver: ProtocolDriver, { edit, approve, approveWithinMs }: Approval, mcp = false): ProtocolDriver {
  if ((edit !== true && !mcp) || approve === "auto") return driver
  return approvalDriver(driver, {
    policy: (call, facts) => {
      const { broken, tool } = facts
      if (mcp && tool !== undefined && readHints(tool) !== undefined) {
        const answer = answerOf("unless-read-only", call, facts)
        return answer !== "run" && approve === "never" ? { deny: REFUSED_CALL } : answer
      }
      if (!ASKED.has(call.toolName)) return "run"
      return approve === "never" ? { deny: REFUSED } : { hold: askAbout(call, broken === true) }
    },
    ...(approveWithinMs !== undefined && { ttlMs: approveWithinMs }),
  })
}

function askAbout({ args }: Pick<PendingToolCall, "args">, isBroken: boolean): AskOptions {
  const { path, line } = (typeof args === "object" && args !== null ? args : {}) as { readonly path?: unknown; readonly line?: unknown }
  const what = `Changes line ${typeof line === "number" ? line : "?"} of ${typeof path === "string" ? path : "a file"}.`
  return { summary: isBroken ? "The arguments are not JSON. Edit them, or reject the call." : oneLine(what).slice(0, 300), risk: "medium" }
}
