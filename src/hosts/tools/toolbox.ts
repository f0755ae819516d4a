import type { ApprovalPolicy, AskOptions } from "../../drivers/approval/policy.ts"
import { unknownKey } from "../../unknown-key.ts"
import type { ExternalCall } from "../../wire/approval.ts"
import type { PendingToolCall, ToolFailure, ToolSpec } from "../../wire/tool.ts"
import type { Attachment, AttachmentInfo, AttachmentStore } from "../attachments/store.ts"
import type { EffectContext, HostTools, Recovered, ToolAnswer, ToolEffects } from "../host.ts"
import { messageOf } from "../run/failures.ts"
import { toJson } from "../run/plain-json.ts"
import { shorten } from "./argument-errors.ts"
import { checkDescription, checkEffects, checkName, isPlainObject, isZodLike, kindOf } from "./definition-checks.ts"
import { ToolDefinitionError } from "./tool-definition-error.ts"

/**
 * A tool: its description for the model, and how one call runs. `defineTool` creates one from a zod schema. Write one by hand if you have a
 * JSON Schema instead.
 */
export interface Tool<Name extends string = string> {
  readonly spec: ToolDescription<Name>
  /** Runs one call. Must not throw: return a failure instead. */
  call(call: PendingToolCall, context: ToolCallContext): Promise<ToolAnswer>
  /** What a call does to the world. Default `idempotent`: a call that a crash interrupted runs again. */
  readonly effects?: ToolEffects
  /** Finds out whether a `once` call that a crash interrupted took effect. */
  recover?(call: PendingToolCall, context: ToolCallContext): Promise<Recovered>
  /** Resumes the work of a call that continues outside, as {@link HostTools.resume}. */
  resume?(call: ExternalCall, context: ToolCallContext): Promise<ToolAnswer | undefined>
  /** Ends what is left of a call when its turn is cancelled, as {@link HostTools.cancel}. */
  cancel?(call: PendingToolCall, context: ToolCallContext): Promise<ToolAnswer | undefined>
  /**
   * What a person is asked before a call runs; `false`: it runs without a question; `deny`: it fails, and the model reads the text. Pure and
   * synchronous. The turn's driver must then be an
   * `approvalDriver` with the toolbox's `approvals`. Default: no question.
   */
  approval?(call: PendingToolCall): AskOptions | false | { readonly deny: string }
}

/** The context that a toolbox passes to its tools. */
export interface ToolCallContext extends EffectContext {
  /** Stores bytes in the toolbox's attachment store. Returns a reference to them, for the tool's value. Absent: the toolbox has no store. */
  readonly attach?: (bytes: Uint8Array, info: AttachmentInfo) => Promise<Attachment>
}

/** Options of {@link toolbox}. */
export interface ToolboxOptions {
  /** Where tools store bytes that they return. Absent: `attach` fails. */
  readonly attachments?: AttachmentStore
}

/** The description of a tool for the model. Each schema is a JSON Schema as an object, of any type. */
export interface ToolDescription<Name extends string = string> {
  readonly name: Name
  readonly description: string
  readonly inputSchema: object
  readonly outputSchema?: object
}

/** A set of tools: `specs` for the turn's config, `approvals` for its driver, and the rest for `Host.tools`. */
export interface Toolbox extends Required<HostTools> {
  readonly specs: readonly ToolSpec[]
  /** Holds the calls that the tools' `approval` asks about: `approvalDriver(chatDriver(), { policy: tools.approvals })`. */
  readonly approvals: ApprovalPolicy
}

/**
 * Combines tools into their specs for the turn's config, and `Host.tools`.
 *
 *     const tools = toolbox([readFile, listFiles])
 *     const machine = new TurnMachine({ ...config, tools: tools.specs }, start)
 *     await runTurn(machine, { llmCall, tools })
 *
 * @throws {ToolDefinitionError} `not_a_tool`, `unknown_key`, `invalid_name`, `invalid_description`, `invalid_input_schema`,
 *   `invalid_output_schema`, `invalid_effects`, `invalid_approval`, `duplicate_tool`
 */
export function toolbox(tools: readonly Tool[], options: ToolboxOptions = {}): Toolbox {
  if (!Array.isArray(tools)) throw new ToolDefinitionError("not_a_tool", "toolbox takes a list: toolbox([add]).")
  const unknown = unknownKey(options, ["attachments"])
  if (unknown !== undefined) {
    const { key, hint = "the option is attachments." } = unknown
    throw new ToolDefinitionError("unknown_key", `toolbox was given the unknown option ${JSON.stringify(key)}; ${hint}`)
  }
  const { attachments } = options
  // A map, because a model may call a tool named "constructor".
  const byName = new Map<string, Tool>()
  const specs = tools.map((tool, index) => {
    const spec = specOf(tool, index)
    if (byName.has(spec.name)) throw new ToolDefinitionError("duplicate_tool", `Two tools are named "${spec.name}".`)
    byName.set(spec.name, tool)
    return spec
  })
  const withStore = (context: EffectContext): ToolCallContext =>
    attachments === undefined ? context : { ...context, attach: async (bytes, info) => ({ $attachment: await attachments.put(bytes, info) }) }
  return {
    specs,
    approvals(call, { broken }) {
      // A model corrects its own broken arguments.
      const ask = broken ? false : (byName.get(call.toolName)?.approval?.(call) ?? false)
      if (ask === false) return "run"
      return "deny" in ask ? ask : { hold: ask }
    },
    // Not async: that would add two promises to each call.
    call(call, context) {
      const tool = byName.get(call.toolName)
      if (tool === undefined) return Promise.resolve(failed(unknownTool(call.toolName, [...byName.keys()])))
      try {
        // In plain JavaScript, a tool may return its answer itself.
        return Promise.resolve(tool.call(call, withStore(context)))
      } catch (error) {
        return Promise.reject(error)
      }
    },
    asks: (toolName) => byName.get(toolName)?.approval !== undefined,
    effects: ({ toolName }) => byName.get(toolName)?.effects ?? "idempotent",
    recover: async (call, context) => byName.get(call.toolName)?.recover?.(call, withStore(context)),
    resume: async (call, context) => byName.get(call.toolName)?.resume?.(call, withStore(context)),
    cancel: async (call, context) => byName.get(call.toolName)?.cancel?.(call, withStore(context)),
  }
}

function specOf(tool: Tool, index: number): ToolSpec {
  const { spec, call, effects, approval } = (tool ?? {}) as Partial<Tool>
  if (typeof spec !== "object" || spec === null || typeof call !== "function")
    throw new ToolDefinitionError("not_a_tool", `Item ${index} given to toolbox is not a tool. Pass what defineTool returns, or { spec, call }.`)
  const { name, description, inputSchema, outputSchema } = spec
  checkName(name, `Item ${index} given to toolbox`)
  checkDescription(name, description)
  checkEffects(name, effects)
  if (approval !== undefined && typeof approval !== "function")
    throw new ToolDefinitionError("invalid_approval", `approval of the tool "${name}" must be a function of the call.`)
  return {
    name,
    description,
    inputSchema: jsonSchemaOf(name, "input", inputSchema),
    ...(outputSchema !== undefined && { outputSchema: jsonSchemaOf(name, "output", outputSchema) }),
  }
}

function jsonSchemaOf(name: string, io: "input" | "output", schema: unknown): ToolSpec["inputSchema"] {
  const refuse = (message: string, options?: ErrorOptions): ToolDefinitionError => new ToolDefinitionError(`invalid_${io}_schema`, message, options)
  if (typeof schema === "object" && schema !== null && isZodLike(schema))
    throw refuse(`${io}Schema of the tool "${name}" is a zod schema. Make the tool with defineTool.`)
  if (!isPlainObject(schema)) throw refuse(`${io}Schema of the tool "${name}" must be a JSON Schema as an object, not ${kindOf(schema)}.`)
  try {
    return toJson(schema)
  } catch (cause) {
    throw refuse(`The ${io} schema of the tool "${name}" cannot be shown to a model: ${messageOf(cause)}`, { cause })
  }
}

/** The answer of a call that failed. */
export function failed(failure: ToolFailure): ToolAnswer<never> {
  return { output: { status: "failure", failure } }
}

/** The failure of a call of a tool that does not exist. */
export function unknownTool(name: string, known: readonly string[]): ToolFailure {
  const list = known.length === 0 ? "There are no tools." : `The tools are: ${known.join(", ")}.`
  return invalidRequest("unknown_tool", `There is no tool ${JSON.stringify(shorten(name))}. ${list}`)
}

/** The failure of a call that the model got wrong. */
export function invalidRequest(code: string, message: string): ToolFailure {
  return { class: "invalid_request", code, message, source: "runtime", retry: { type: "never" } }
}
