import * as z from "zod"
import { TurnError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import type { ModelReturn, PendingToolCall, ToolControl, ToolFailure, ToolSpec } from "../../schemas/tool.ts"
import { type EffectContext, type Host, type Recovered, type ToolAnswer, type ToolEffects, ToolError } from "../host.ts"
import { invalidToolResult, toolFailureOf } from "../run/failures.ts"
import { toJson } from "../run/plain-json.ts"

/** What a tool is given besides its input. `effectId` and `callId` together name the call, also when it is handed out again. */
export interface ToolContext extends EffectContext {
  readonly callId: string
}

/** A tool: what the model is shown of it, and how one call is run. Write one by hand where there is a JSON Schema but no zod schema. */
export interface Tool {
  readonly spec: ToolSpec
  /** Runs one call. Never throws: what went wrong is a failure in the answer. */
  call(call: PendingToolCall, context: EffectContext): Promise<ToolAnswer>
  /** What a call does to the world. Absent: it may be run again after a crash, as with `idempotent`. */
  readonly effects?: ToolEffects
  /** Finds out what became of a `once` call that a crash cut off. */
  recover?(call: PendingToolCall, context: EffectContext): Promise<Recovered>
}

/** What {@link defineTool} takes. */
export interface ToolDefinition<Input extends z.core.$ZodType, Value = unknown> {
  readonly name: string
  readonly description: string
  /** A zod schema (classic or mini) of an object. The model is shown what goes in, `execute` gets what comes out. */
  readonly input: Input
  /** A zod schema of what `execute` returns. Absent: any JSON. */
  readonly output?: z.core.$ZodType<unknown, Value>
  /** Milliseconds that one call may take; after them it fails as `timeout` and its signal is aborted. Absent: no limit. */
  readonly timeoutMs?: number
  /**
   * Runs one call and returns its value, or a {@link ToolReply}. Whatever JSON can say is a value: `undefined` is null,
   * dates are their text. Throw {@link ToolError} to say what kind of failure it was; the model reads the message of any error.
   */
  execute(input: z.core.output<Input>, context: ToolContext): Returned<NoInfer<Value>> | Promise<Returned<NoInfer<Value>>>
  /** What a call does to the world, and so whether it may be run again after a crash. Default `idempotent`: it may. */
  readonly effects?: ToolEffects
  /**
   * Only for `effects: "once"`: finds out what became of a call that a crash cut off, mostly by its `idempotencyKey`.
   * `{ ran: true, value }` is its result, `{ ran: false }` lets it run; `undefined`, or an error, reports it as unknown.
   */
  recover?(input: z.core.output<Input>, context: ToolContext): Recovery<NoInfer<Value>> | Promise<Recovery<NoInfer<Value>>>
}

/** What a tool found out about a call that a crash cut off. `undefined`: nothing. */
export type Recovery<Value = unknown> = { readonly ran: true; readonly value: Returned<Value> } | { readonly ran: false } | undefined

type Returned<Value> = Value | ToolReply<Value>

/** What a tool returns that has more to say than its value: what the model is shown instead, or that the turn is to end. */
export class ToolReply<Value = unknown> {
  readonly value: Value
  readonly extra: { readonly modelReturn?: ModelReturn; readonly control?: ToolControl }

  constructor(value: Value, extra: { readonly modelReturn?: ModelReturn; readonly control?: ToolControl }) {
    this.value = value
    this.extra = extra
  }
}

export type ToolDefinitionErrorCode =
  | "invalid_name"
  | "invalid_input_schema"
  | "invalid_output_schema"
  | "invalid_timeout"
  | "invalid_effects"
  | "duplicate_tool"

/** A tool that cannot be offered to a model. Thrown while tools are defined, never while a turn runs. */
export class ToolDefinitionError extends TurnError<ToolDefinitionErrorCode> {}

/**
 * Makes a tool from zod schemas and a function. Arguments that do not fit are answered with a failure that tells the
 * model what is wrong where; `execute` only sees those that fit.
 * @throws {ToolDefinitionError} `invalid_name`, `invalid_input_schema`, `invalid_output_schema`, `invalid_timeout`, `invalid_effects`
 */
export function defineTool<Input extends z.core.$ZodType, Value = unknown>(definition: ToolDefinition<Input, Value>): Tool {
  const { name, description, input, output, timeoutMs, effects = "idempotent", recover } = definition
  if (name.trim() === "") throw new ToolDefinitionError("invalid_name", "A tool needs a name.")
  if (timeoutMs !== undefined && !(timeoutMs > 0))
    throw new ToolDefinitionError("invalid_timeout", `The tool "${name}" cannot have a timeout of ${timeoutMs} ms.`)
  if (recover !== undefined && effects !== "once")
    throw new ToolDefinitionError("invalid_effects", `The tool "${name}" is run again after a crash; only one with effects "once" is looked up.`)
  const inputSchema = jsonSchema(name, input, "input")
  const outputSchema = output === undefined ? undefined : jsonSchema(name, output, "output")
  return {
    spec: { name, description, inputSchema, ...(outputSchema !== undefined && { outputSchema }) },
    call: (call, context) => callTool(definition, call, context),
    effects,
    ...(recover !== undefined && { recover: (call: PendingToolCall, context: EffectContext) => recoverCall(definition, call, context) }),
  }
}

/**
 * Puts tools together: their specs for the turn's configuration, and the executor for the host.
 *
 *     const tools = toolbox([readFile, listFiles])
 *     const machine = new TurnMachine({ ...config, tools: tools.specs }, start)
 *     await runTurn(machine, { llmCall, ...tools })
 *
 * @throws {ToolDefinitionError} `duplicate_tool`
 */
export function toolbox(tools: readonly Tool[]): {
  readonly specs: readonly ToolSpec[]
} & Required<Pick<Host, "toolCall" | "toolEffects" | "recoverToolCall">> {
  // A map, because a model may ask for a tool named "constructor".
  const byName = new Map<string, Tool>()
  for (const tool of tools) {
    const { name } = tool.spec
    if (byName.has(name)) throw new ToolDefinitionError("duplicate_tool", `There are two tools named "${name}".`)
    byName.set(name, tool)
  }
  return {
    specs: tools.map((tool) => tool.spec),
    async toolCall(call, context) {
      const tool = byName.get(call.toolName)
      if (tool !== undefined) return tool.call(call, context)
      const known = byName.size === 0 ? "There are no tools." : `The tools are: ${[...byName.keys()].join(", ")}.`
      return failed(invalidRequest("unknown_tool", `There is no tool ${shortened(call.toolName)}. ${known}`))
    },
    toolEffects: ({ toolName }) => byName.get(toolName)?.effects ?? "idempotent",
    recoverToolCall: async (call, context) => byName.get(call.toolName)?.recover?.(call, context),
  }
}

function jsonSchema(name: string, schema: z.core.$ZodType, io: "input" | "output"): Json {
  const refuse = (why: string, cause?: unknown): ToolDefinitionError =>
    new ToolDefinitionError(`invalid_${io}_schema`, `The ${io} of the tool "${name}" cannot be shown to a model: ${why}`, { cause })
  let shown: Json
  try {
    const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io })
    shown = toJson(rest)
  } catch (cause) {
    throw refuse(cause instanceof Error ? cause.message : String(cause), cause)
  }
  if (io === "input" && (shown as { readonly type?: Json }).type !== "object") {
    throw refuse("it is not an object. Wrap it: z.object({ … }).")
  }
  return shown
}

async function callTool<Input extends z.core.$ZodType, Value>(
  definition: ToolDefinition<Input, Value>,
  { callId, args }: PendingToolCall,
  context: EffectContext,
): Promise<ToolAnswer> {
  const { name, input, output, timeoutMs } = definition
  let returned: Returned<Value>
  try {
    const fitting = await z.safeParseAsync(input, args)
    if (!fitting.success) return failed(invalidArguments(name, fitting.error.issues))
    returned = await withinTime(name, timeoutMs, context.signal, async (signal) =>
      definition.execute(fitting.data, { ...contextOf(context, callId), signal }),
    )
  } catch (error) {
    return failed(toolFailureOf(error))
  }
  return answerOf(output, returned)
}

async function recoverCall<Input extends z.core.$ZodType, Value>(
  { input, output, recover }: ToolDefinition<Input, Value>,
  { callId, args }: PendingToolCall,
  context: EffectContext,
): Promise<Recovered> {
  const fitting = await z.safeParseAsync(input, args)
  // Then it was not run before, either; running it says what is wrong.
  if (!fitting.success) return { ran: false }
  const recovery = await recover?.(fitting.data, contextOf(context, callId))
  return recovery?.ran === true ? { ran: true, answer: await answerOf(output, recovery.value) } : recovery
}

function contextOf(context: EffectContext, callId: string): ToolContext {
  const { effectId, idempotencyKey, signal } = context
  return { effectId, idempotencyKey, callId, signal, emit: (event) => context.emit(event) }
}

async function answerOf<Value>(output: z.core.$ZodType<unknown, Value> | undefined, returned: Returned<Value>): Promise<ToolAnswer> {
  try {
    const { value, extra } = returned instanceof ToolReply ? returned : { value: returned, extra: {} }
    const { control, modelReturn } = extra as ToolReply["extra"]
    const checked = toJson(output === undefined ? value : await z.parseAsync(output, value))
    return { output: { status: "success", value: checked, ...(control && { control }) }, ...(modelReturn && { modelReturn }) }
  } catch (error) {
    return failed(
      invalidToolResult(error instanceof z.core.$ZodError ? new TypeError(`It does not fit the output schema:\n${describe(error.issues)}`) : error),
    )
  }
}

/** Timers hold 31 bits of milliseconds, about 24 days; a longer one would go off at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

async function withinTime<Value>(
  name: string,
  timeoutMs: number | undefined,
  outer: AbortSignal,
  execute: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  if (timeoutMs === undefined || timeoutMs > MAX_TIMER_MS) return execute(outer)
  const controller = new AbortController()
  const abort = (): void => controller.abort(outer.reason)
  if (outer.aborted) abort()
  outer.addEventListener("abort", abort)
  let timer: ReturnType<typeof setTimeout> | undefined
  const timedOut = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const message = `The tool "${name}" did not end within ${timeoutMs} ms and was stopped.`
      const error = new ToolError({ class: "timeout", code: "tool_timeout", message, source: "runtime" })
      reject(error)
      controller.abort(error)
    }, timeoutMs)
  })
  try {
    return await Promise.race([timedOut, execute(controller.signal)])
  } finally {
    clearTimeout(timer)
    outer.removeEventListener("abort", abort)
  }
}

function failed(failure: ToolFailure): ToolAnswer {
  return { output: { status: "failure", failure } }
}

function invalidRequest(code: string, message: string): ToolFailure {
  return { class: "invalid_request", code, message, source: "runtime", retry: { type: "never" } }
}

function invalidArguments(name: string, issues: readonly z.core.$ZodIssue[]): ToolFailure {
  return invalidRequest("invalid_arguments", `The arguments do not fit the tool "${name}", which was not run:\n${describe(issues)}`)
}

const MAX_ISSUES = 20

/** One line for each thing that is wrong, with its path: `- files[0].path: expected string, received number`. */
function describe(issues: readonly z.core.$ZodIssue[]): string {
  const lines = issues.slice(0, MAX_ISSUES).map((issue) => {
    const path = issue.path.length === 0 ? "(the whole)" : shortened(z.core.toDotPath(issue.path), false)
    return `- ${path}: ${explain(issue)}`
  })
  if (issues.length > MAX_ISSUES) lines.push(`- and ${issues.length - MAX_ISSUES} more`)
  return lines.join("\n")
}

/** A union that fits in no way says so for each of its ways; zod's own message only says that it does not fit. */
function explain(issue: z.core.$ZodIssue): string {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return shortened(issue.message, false)
  const ways = issue.errors.map((errors) =>
    errors
      .slice(0, MAX_ISSUES)
      .map((error) => (error.path.length === 0 ? explain(error) : `${z.core.toDotPath(error.path)}: ${explain(error)}`))
      .join(" and "),
  )
  return shortened(`fits none of its forms: ${ways.join("; or ")}`, false)
}

const MAX_SHOWN = 300

/** What a model made up may be of any length. */
function shortened(text: string, quoted = true): string {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
  return quoted ? JSON.stringify(shown) : shown
}
