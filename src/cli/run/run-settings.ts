import { constants } from "node:fs"
import { access, lstat, realpath, stat } from "node:fs/promises"
import { resolve } from "node:path"
import { fileReason } from "../../hosts/node/file-error.ts"
import { APPROVE_MODES, type Approval, type ApproveMode } from "../approvals/policy.ts"
import { hasServers, type McpFields } from "../mcp/mcp-fields.ts"
import { MCP_FLAGS, type McpSettings, resolveMcp } from "../mcp/mcp-settings.ts"
import { listedWindow } from "../model/listed-window.ts"
import { differsFromSaved, MODEL_FLAGS, type ModelChoice, modelMeta, resolveModel, withKey } from "../model/model-settings.ts"
import { resolvePrices, type StoredPrices } from "../model/prices.ts"
import { didYouMean, type FlagSpecs, readCount, readSeconds } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { OUTPUT_FLAGS } from "../terminal/output-flags.ts"
import type { Confirmed } from "../trust/confirm.ts"
import type { WorkSettings } from "../trust/own-states.ts"
import { checkWritable } from "../workspace/out-folder.ts"
import { DEFAULT_MAX_ITERATIONS, DEFAULT_OUT, DEFAULT_TASK } from "./help.ts"
import type { RunMeta } from "./run-config.ts"

export const RUN_FLAGS = {
  dir: { type: "string" },
  out: { type: "string" },
  force: { type: "boolean" },
  ...MODEL_FLAGS,
  price: { type: "string" },
  "max-iterations": { type: "string" },
  "context-tokens": { type: "string" },
  edit: { type: "boolean" },
  approve: { type: "string" },
  "approve-within": { type: "string" },
  ...MCP_FLAGS,
  state: { type: "string" },
  resume: { type: "boolean" },
  compact: { type: "boolean" },
  "no-check": { type: "boolean" },
  "take-over": { type: "boolean" },
  ...OUTPUT_FLAGS,
  help: { type: "boolean", short: "h" },
} as const

/** The values of parsed flags. */
export type Flags<Specs extends FlagSpecs> = {
  readonly [Name in keyof Specs]?: Specs[Name]["type"] extends "boolean" ? boolean : Specs[Name]["multiple"] extends true ? string[] : string
}
export type RunFlags = Flags<typeof RUN_FLAGS>

/** The settings of a run, with defaults filled in and paths resolved. */
export interface RunSettings {
  readonly task: string
  /** Real path of the folder to read. */
  readonly dir: string
  /** Absolute path of the folder to write to. */
  readonly out: string
  readonly force: boolean
  readonly model: ModelChoice
  readonly maxIterations: number
  /** The context window of the model, in tokens. `undefined`: unknown, and nothing is compacted. */
  readonly contextTokens: number | undefined
  /** `undefined`: unknown, and no cost is shown. */
  readonly prices: StoredPrices | undefined
  readonly approval: Approval
  readonly mcp: McpSettings
}

/**
 * Resolves the settings of a run from its flags, its words and, on resume, the confirmed settings. `isOver`: the turn has ended.
 * @throws {CliError} a setting is invalid, missing, or differs from the saved one
 */
export async function resolveRun(
  flags: RunFlags,
  words: readonly string[],
  { cwd, env }: Pick<Io, "cwd" | "env">,
  confirmed?: Confirmed<RunMeta>,
  isOver = false,
): Promise<RunSettings> {
  const saved = confirmed?.meta
  // Settings of a state that is not known to be the user's come from the flags alone.
  const known = confirmed?.when === "before" ? saved : undefined
  const model = resolveModel(flags, env, saved, known)
  const task = await resolveTask(words, flags, cwd, saved)
  const dir = await resolveDir(flags.dir, cwd, known)
  const out = await resolveOut(flags.out, cwd, known)
  const limit = resolveLimit(flags["max-iterations"], saved, isOver)
  const withItsKey = withKey(model, env)
  const mcp = await resolveServers(flags, { cwd, env }, saved, known, isOver)
  return {
    task,
    dir,
    out,
    force: flags.force ?? false,
    model: withItsKey,
    maxIterations: limit,
    contextTokens: await resolveWindow(flags["context-tokens"], withItsKey, saved, isOver),
    prices: resolvePrices(flags.price, withItsKey, saved),
    approval: resolveApproval(flags, saved, known, isOver, hasServers(mcp.fields)),
    mcp,
  }
}

/** The MCP servers. They cannot change on resume: their tools are part of what the recorded turn was asked. */
async function resolveServers(
  flags: RunFlags,
  io: Pick<Io, "cwd" | "env">,
  saved: RunMeta | undefined,
  known: RunMeta | undefined,
  isOver: boolean,
): Promise<McpSettings> {
  // A turn that has ended calls no server, whose configuration may be gone.
  if (isOver) return { fields: mcpFieldsOf(saved), servers: [], isChanged: false }
  const mcp = await resolveMcp(flags, io, known)
  if (saved === undefined) return mcp
  const { mcp: commands = [], mcpConfig } = mcp.fields
  const before = saved.mcp ?? []
  if (JSON.stringify(commands) !== JSON.stringify(before)) throw differsFromSaved("list of MCP servers", before.join("; ") || "none", "--mcp")
  if (mcpConfig !== saved.mcpConfig) throw differsFromSaved("configuration of MCP servers", saved.mcpConfig ?? "none", "--mcp-config")
  return mcp
}

function mcpFieldsOf({ mcp, mcpConfig, mcpConfigDigest }: McpFields = {}): McpFields {
  return {
    ...(mcp !== undefined && { mcp }),
    ...(mcpConfig !== undefined && { mcpConfig }),
    ...(mcpConfigDigest !== undefined && { mcpConfigDigest }),
  }
}

/** The settings that decide what is read and written, and where a key is sent. */
export function workOf({ dir, out, model, approval, mcp }: RunSettings): WorkSettings {
  const { mcp: commands, ...config } = mcp.fields
  return { dir, out, ...modelMeta(model), ...approval, ...(commands !== undefined && { mcp: [...commands] }), ...config }
}

/** The limit cannot change on resume: under another one the recorded turn might have ended earlier. */
function resolveLimit(given: string | undefined, saved: RunMeta | undefined, isOver: boolean): number {
  const limit = given === undefined ? undefined : readCount("--max-iterations", given, 1, 10_000)
  if (saved === undefined) return limit ?? DEFAULT_MAX_ITERATIONS
  if (limit !== undefined && limit !== saved.maxIterations && !isOver)
    throw differsFromSaved("limit", `${saved.maxIterations} iterations`, "--max-iterations")
  return saved.maxIterations
}

/** The smallest window in which the tools, their results and a summary have room. */
const LEAST_WINDOW = 2_000

/**
 * The context window: as given, otherwise as the endpoint's list of models says. It cannot change on resume: under another one the recorded
 * turn would have made other requests.
 */
async function resolveWindow(
  given: string | undefined,
  model: ModelChoice,
  saved: RunMeta | undefined,
  isOver: boolean,
): Promise<number | undefined> {
  const window = given === undefined || given === "off" ? undefined : readCount("--context-tokens", given, LEAST_WINDOW, 100_000_000)
  if (saved === undefined) return given === undefined && model.type === "endpoint" ? listedWindow(model) : window
  if (given !== undefined && window !== saved.contextTokens && !isOver)
    throw differsFromSaved("context window", saved.contextTokens === undefined ? "off" : `${saved.contextTokens} tokens`, "--context-tokens")
  return saved.contextTokens
}

/**
 * What the model may change, and who is asked. It cannot change on resume: under other rules the recorded turn might have continued
 * differently. `known`: the saved settings, if they are the user's.
 */
function resolveApproval(flags: RunFlags, saved: RunMeta | undefined, known: RunMeta | undefined, isOver: boolean, hasMcp: boolean): Approval {
  const { edit, approve, "approve-within": within } = flags
  const mode = approve === undefined ? undefined : readMode(approve)
  const approveWithinMs = within === undefined ? undefined : readSeconds("--approve-within", within) * 1_000
  const given: Approval = {
    ...((edit ?? known?.edit) === true && { edit: true }),
    ...(mode === undefined ? known?.approve !== undefined && { approve: known.approve } : mode !== "ask" && { approve: mode }),
    ...((approveWithinMs ?? known?.approveWithinMs) !== undefined && { approveWithinMs: (approveWithinMs ?? known?.approveWithinMs) as number }),
  }
  // Without --edit and without servers no call needs an approval.
  const settings: Approval = given.edit === true || hasMcp ? given : {}
  if (saved !== undefined && !isOver) {
    if (settings.edit !== saved.edit) throw differsFromSaved("kind of work", saved.edit === true ? "with --edit" : "without --edit", "--edit")
    if (settings.approve !== saved.approve) throw differsFromSaved("way of approving", saved.approve ?? "ask", "--approve")
    if (settings.approveWithinMs !== saved.approveWithinMs)
      throw differsFromSaved(
        "time to decide",
        saved.approveWithinMs === undefined ? "no limit" : `${saved.approveWithinMs / 1_000} s`,
        "--approve-within",
      )
  }
  return settings
}

function readMode(text: string): ApproveMode {
  const mode = APPROVE_MODES.find((known) => known === text)
  if (mode !== undefined) return mode
  throw new CliError(
    `--approve takes ${APPROVE_MODES.slice(0, -1).join(", ")} or ${APPROVE_MODES.at(-1)}, not "${oneLine(text)}".${didYouMean(text, APPROVE_MODES)}`,
  )
}

async function resolveTask(words: readonly string[], flags: RunFlags, cwd: string, saved: RunMeta | undefined): Promise<string> {
  if (words.length === 0) return saved?.task ?? DEFAULT_TASK
  const task = words.join(" ").trim()
  if (task === "") throw new CliError("The task is empty. Describe what to do, or omit it for the default task.")
  const folder = words.length === 1 && flags.dir === undefined && (await stat(resolve(cwd, task)).catch(() => undefined))?.isDirectory()
  if (folder) throw new CliError(`"${oneLine(task)}" is a folder, not a task. To work on it, use: --dir ${oneLine(task)}`)
  if (saved === undefined || saved.task === task) return task
  throw differsFromSaved("task", shorten(saved.task), "task")
}

async function resolveDir(given: string | undefined, cwd: string, saved: RunMeta | undefined): Promise<string> {
  const path = given ?? saved?.dir ?? cwd
  const shown = oneLine(path)
  try {
    const real = await realpath(resolve(cwd, path))
    if (!(await stat(real)).isDirectory()) throw new CliError(`--dir ${shown} is a file, not a folder. Pass the folder that contains it.`)
    await access(real, constants.R_OK | constants.X_OK)
    if (saved === undefined || saved.dir === real) return real
  } catch (error) {
    if (error instanceof CliError) throw error
    const remedy =
      given === undefined && saved !== undefined
        ? "The state file needs this folder: restore it, or pass another --state path."
        : "Pass a readable folder with --dir."
    throw new CliError(`The folder ${shown} cannot be read: ${fileReason(error)}. ${remedy}`)
  }
  throw differsFromSaved("folder", saved.dir, "--dir")
}

async function resolveOut(given: string | undefined, cwd: string, saved: RunMeta | undefined): Promise<string> {
  const path = resolve(cwd, given ?? saved?.out ?? DEFAULT_OUT)
  if (given === undefined && saved === undefined) await checkDefault(path, "--out")
  if (saved !== undefined && saved.out !== path) throw differsFromSaved("output folder", saved.out, "--out")
  try {
    await checkWritable(path)
    return path
  } catch (error) {
    throw new CliError(`The output folder ${oneLine(path)} cannot be written to: ${fileReason(error)}. Pass another one with --out.`)
  }
}

/** A folder that the user did not name may be a link that came with the current folder. @throws {CliError} */
export async function checkDefault(path: string, flag: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found?.isSymbolicLink() === true) throw new CliError(`${path} is a link. To use the folder that it leads to, pass ${flag} with its path.`)
}

function shorten(task: string): string {
  const line = oneLine(task)
  return `"${line.length > 100 ? `${line.slice(0, 99)}…` : line}"`
}
