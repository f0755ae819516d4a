import * as z from "zod"
import { chatDriver } from "../../drivers/chat.ts"
import { compactingDriver } from "../../drivers/compaction/driver.ts"
import { toolbox } from "../../hosts/tools/toolbox.ts"
import type { Json } from "../../json.ts"
import type { TurnConfig } from "../../machine/config.ts"
import { chatProjector } from "../../projectors/chat.ts"
import { viewProjector } from "../../projectors/view.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { type Approval, approvalFields, withApproval } from "../approvals/policy.ts"
import { hasServers, type McpFields, mcpFields } from "../mcp/mcp-fields.ts"
import { modelFields } from "../model/model-fields.ts"
import { StoredPrices } from "../model/prices.ts"
import { oneLine } from "../terminal/format.ts"
import { EditFolder } from "../workspace/edit-folder.ts"
import { Folder } from "../workspace/folder.ts"
import { OutFolder } from "../workspace/out-folder.ts"
import { fileTools } from "../workspace/tools.ts"

/** The folders and the model that a command works with. */
export const workFields = {
  /** Real path of the folder to read. */
  dir: z.string(),
  /** Absolute path of the folder to write to. */
  out: z.string(),
  ...modelFields,
  /** Of each turn. */
  maxIterations: z.int().positive(),
  /** The context window of the model, in tokens. Absent: unknown, and nothing is compacted. */
  contextTokens: z.int().positive().exactOptional(),
  /** Absent: unknown, and no cost is shown. */
  prices: StoredPrices.exactOptional(),
  ...mcpFields,
  ...approvalFields,
}

/** The settings of a run in the header of its journal. It names the variable of an API key, never the key. */
export const RunMeta = z.strictObject({
  format: z.literal("turn-machine/run"),
  // Version 1 was a separate file with a checkpoint.
  version: z.literal(2),
  task: z.string(),
  ...workFields,
})
export type RunMeta = Readonly<z.infer<typeof RunMeta>>

/** Reads the settings of a run from a header's `meta`; a string says why it has none. */
export function readRunMeta(meta: Json | undefined): RunMeta | string {
  const { format, version } = (typeof meta === "object" && meta !== null ? meta : {}) as { readonly format?: Json; readonly version?: Json }
  if (format !== "turn-machine/run") return "another program wrote it"
  if (version !== 2) return `it has version ${oneLine(JSON.stringify(version) ?? "none")} of the run settings, and this program reads version 2`
  const result = RunMeta.safeParse(meta)
  if (result.success) return result.data
  const [issue] = result.error.issues
  if (issue?.code === "unrecognized_keys") return `its run settings have the unknown key "${oneLine(issue.keys[0] ?? "")}"`
  return `its run settings are invalid at "${issue?.path.join("/") ?? ""}"`
}

const APART = "What you write goes to a separate output folder, so no file that you read is changed."
const EDITS =
  "write_file writes to a separate output folder; only replace_line changes files that you read. The user decides about such a change, and may refuse it: then do not ask for it again."

const SERVERS =
  "Tools with __ in their names are of other programs. They do not know this folder by relative paths, and may change what you cannot see: the user decides about calls that may, and may refuse them."

const systemPrompt = (edit: boolean, mcp: boolean): string => `You work on the files of one folder with the tools you are given.
Paths are relative to that folder; nothing outside of it can be read. ${edit ? EDITS : APART}${mcp ? `\n${SERVERS}` : ""}
Ask for several tools in one answer where they do not wait for each other. Where a tool says that something was cut, ask for the rest if it matters.
When you are done, answer in a few sentences with what you found and where you wrote it. Say what you could not do; do not guess.`

/** The turn's configuration: equal in every process for the same settings. */
export function runConfig(
  { model, maxIterations, contextTokens, ...settings }: Pick<RunMeta, "model" | "maxIterations" | "contextTokens"> & Approval & McpFields,
  tools: readonly ToolSpec[],
): TurnConfig {
  const mcp = hasServers(settings)
  const compacting = contextTokens !== undefined
  return {
    driver: withApproval(compacting ? compactingDriver(chatDriver()) : chatDriver(), settings, mcp),
    projector: compacting ? viewProjector(chatProjector) : chatProjector,
    ...(compacting && { maxContextTokens: contextTokens }),
    model,
    sessionId: "run",
    systemPrompt: systemPrompt(settings.edit === true, mcp),
    tools,
    maxIterations,
    generation: {},
    // The tools of servers change while they run.
    syncExecutionSurface: mcp,
    emitLlmTrace: false,
  }
}

/**
 * The configuration of a turn that is only read: its tools are declared and never run. `shown`: those that the turn began with, which alone
 * has the tools of its servers.
 */
export function recordedConfig(meta: RunMeta, shown?: readonly ToolSpec[]): TurnConfig {
  return runConfig(meta, hasServers(meta) && shown !== undefined ? shown : recordedTools(meta))
}

/** The tools of a turn that is only read: declared and never run. */
export function recordedTools({ dir, out, edit }: Pick<RunMeta, "dir" | "out"> & Approval): readonly ToolSpec[] {
  const folder = new Folder(dir)
  return toolbox(fileTools(folder, new OutFolder(out), edit === true ? new EditFolder(folder) : undefined)).specs
}

export function runStart(task: string): TurnStart {
  return { messages: [{ id: "task", role: "user", parts: [{ id: "task.p0", type: "text", text: task }] }] }
}
