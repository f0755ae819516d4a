import * as z from "zod"
import { type AskOptions, approvalDriver } from "../../drivers/approval/index.ts"
import type { ProtocolDriver } from "../../machine/driver.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import { oneLine } from "../terminal/format.ts"
import { REPLACE_LINE } from "../workspace/tools.ts"

/**
 * What happens to a call that changes files outside of the output folder. `ask`: it is held until a person decides. `auto`: it runs.
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

/** Wraps a driver so that calls that need approval are held or refused. Without such a tool, or with `auto`, the driver stays as it is. */
export function withApproval(driver: ProtocolDriver, { edit, approve, approveWithinMs }: Approval): ProtocolDriver {
  if (edit !== true || approve === "auto") return driver
  return approvalDriver(driver, {
    policy: (call, { broken }) => {
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
