import { type $ZodType, safeParseAsync, toJSONSchema } from "zod/v4/core"
import type { Json } from "../../json.ts"
import type { ModelReturn, PendingToolCall, ToolControl } from "../../wire/tool.ts"
import { wrapMembers } from "../../wrap.ts"
import { type EffectContext, type Recovered, type ToolAnswer, type ToolEffects, ToolError } from "../host.ts"
import { invalidToolResult, messageOf, toolFailureOf } from "../run/failures.ts"
import { toJson } from "../run/plain-json.ts"
import { MAX_TIMER_MS } from "../timers.ts"
import { describeIssues, messageOptions } from "./argument-errors.ts"
import { ToolDefinitionError } from "./tool-definition-error.ts"
import { failed, invalidRequest, type Tool } from "./toolbox.ts"

/** The context of a tool call. `effectId` and `callId` together identify the call, also when it is redelivered. */
export interface ToolContext extends EffectContext {
  readonly callId: string
}

/**
 * A zod 4 schema, classic or mini, of any copy of zod. The type is structural, so the declarations of this package import no types of
 * zod, and a program with another minor version of zod compiles.
 */
export interface ZodSchema<Output = unknown, Input = unknown> {
  readonly _zod: { readonly output: Output; readonly input: Input }
}

/** The definition of a tool for {@link defineTool}. */
export interface ToolDefinition<Input extends ZodSchema, Value = unknown, Name extends string = string> {
  readonly name: Name
  readonly description: string
  /** A zod schema of an object. The model sees its input type; `execute` gets its output type. */
  readonly input: Input
  /** A zod schema of what `execute` returns. Default: any JSON. */
  readonly output?: ZodSchema<unknown, Value>
  /** Milliseconds that one call may take. After that it fails as `timeout` (code `tool_timeout`) and its signal is aborted. Default: no limit. */
  readonly timeoutMs?: number
  /**
   * Runs one call and returns its value, or a {@link ToolReply}. Any value with a JSON form is accepted: `undefined` becomes null, and
   * a date becomes its text. Throw {@link ToolError} to classify a failure; the model sees the message of any error.
   */
  execute(input: Input["_zod"]["output"], context: ToolContext): Returned<NoInfer<Value>> | Promise<Returned<NoInfer<Value>>>
  /** What a call does to the world, which decides whether it may run again after a crash. Default `idempotent`: it may. */
  readonly effects?: ToolEffects
  /**
   * Only for `effects: "once"`: finds out whether a call that a crash interrupted took effect, usually by its `idempotencyKey`.
   * `{ ran: true, value }` is its result; `{ ran: false }` lets it run; `undefined`, or an error, reports it as unknown.
   */
  recover?(input: Input["_zod"]["output"], context: ToolContext): Recovery<NoInfer<Value>> | Promise<Recovery<NoInfer<Value>>>
}

/** What a tool knows about a call that a crash interrupted. `undefined`: nothing. */
export type Recovery<Value = unknown> = { readonly ran: true; readonly value: Returned<Value> } | { readonly ran: false } | undefined

/** The return value of a tool: the value, or a {@link ToolReply} with more. */
export type Returned<Value> = Value | ToolReply<Value>

/** A return value with more than the value itself: `modelReturn` is what the model sees instead, and `control` ends the turn. */
export class ToolReply<Value = unknown> {
  readonly value: Value
  readonly extra: { readonly modelReturn?: ModelReturn; readonly control?: ToolControl }

  constructor(value: Value, extra: { readonly modelReturn?: ModelReturn; readonly control?: ToolControl }) {
    this.value = value
    this.extra = extra
  }
}

/** The JSON form of a value, as the turn stores it. */
export type JsonOf<Value> = Value extends Json ? Value : Json

/** What {@link defineTool} returns: a tool that knows its name and the type of its values. */
export interface DefinedTool<Name extends string, Value> extends Tool<Name> {
  call(call: PendingToolCall, context: EffectContext): Promise<ToolAnswer<JsonOf<Value>>>
}

/**
 * Creates a tool from zod schemas and a function. Arguments that do not match the schema fail the call, and the model sees what is wrong
 * and where. `execute` only receives arguments that match.
 * @throws {ToolDefinitionError} `invalid_name`, `invalid_input_schema`, `invalid_output_schema`, `invalid_timeout`, `invalid_effects`, `invalid_execute`
 */
export function defineTool<Input extends ZodSchema, Value = unknown, const Name extends string = string>(
  definition: ToolDefinition<Input, Value, Name>,
): DefinedTool<Name, NoInfer<Value>> {
  const { name, description, input, output, timeoutMs, effects = "idempotent", execute, recover } = definition
  if (typeof name !== "string" || name.trim() === "") throw new ToolDefinitionError("invalid_name", "A tool needs a name.")
  if (typeof execute !== "function") throw new ToolDefinitionError("invalid_execute", `The tool "${name}" needs an execute function.`)
  if (timeoutMs !== undefined && !(timeoutMs > 0))
    throw new ToolDefinitionError("invalid_timeout", `The tool "${name}" cannot have a timeout of ${timeoutMs} ms; it must be positive.`)
  if (recover !== undefined && effects !== "once")
    throw new ToolDefinitionError("invalid_effects", `The tool "${name}" has a recover function, which only a tool with effects "once" uses.`)
  const inputSchema = jsonSchema(name, input, "input")
  const outputSchema = output === undefined ? undefined : jsonSchema(name, output, "output")
  return {
    spec: { name, description, inputSchema, ...(outputSchema !== undefined && { outputSchema }) },
    call: (call, context) => callTool(definition, call, context),
    effects,
    ...(recover !== undefined && { recover: (call: PendingToolCall, context: EffectContext) => recoverCall(definition, call, context) }),
  }
}

function jsonSchema(name: string, schema: ZodSchema, io: "input" | "output"): object {
  const refuse = (why: string, cause?: unknown): ToolDefinitionError =>
    new ToolDefinitionError(`invalid_${io}_schema`, `The ${io} schema of the tool "${name}" ${why}`, { cause })
  if (!isZodSchema(schema)) throw refuse(whyNotZodSchema(schema))
  let shown: { readonly type?: unknown }
  try {
    const { $schema: _dialect, ...rest } = toJSONSchema(schema, { io })
    shown = toJson(rest) as { readonly type?: unknown }
  } catch (cause) {
    throw refuse(`cannot be shown to a model: ${messageOf(cause)}`, cause)
  }
  if (io === "input" && shown.type !== "object") throw refuse("is not an object. Wrap it: z.object({ … }).")
  return shown
}

function isZodSchema(value: unknown): value is $ZodType {
  return typeof value === "object" && value !== null && "_zod" in value
}

function whyNotZodSchema(value: unknown): string {
  if (value === undefined || value === null) return "is missing. Give a zod schema: z.object({ … })."
  if (typeof value === "object" && "_def" in value)
    return 'is a zod 3 schema; zod 4 is needed. With zod 3.25 or later, import { z } from "zod/v4"; else upgrade zod.'
  return "is not a zod schema. For a JSON Schema, write the tool by hand: { spec, call }."
}

/** A schema as zod's core types it. Another version of zod has the same shape at run time. */
function coreSchema(schema: ZodSchema): $ZodType {
  return schema as unknown as $ZodType
}

async function callTool<Input extends ZodSchema, Value>(
  definition: ToolDefinition<Input, Value>,
  { callId, args }: PendingToolCall,
  context: EffectContext,
): Promise<ToolAnswer<JsonOf<Value>>> {
  const { name, input, output, timeoutMs } = definition
  let returned: Returned<Value>
  try {
    const parsed = await safeParseAsync(coreSchema(input), args, messageOptions())
    if (!parsed.success) {
      const wrong = describeIssues(parsed.error.issues)
      return failed(invalidRequest("invalid_arguments", `The arguments do not match the schema of the tool "${name}", which was not run:\n${wrong}`))
    }
    returned = await withinTime(name, timeoutMs, context.signal, async (signal) =>
      definition.execute(parsed.data, contextOf(context, callId, signal)),
    )
  } catch (error) {
    return failed(toolFailureOf(error))
  }
  return answerOf(output, returned)
}

async function recoverCall<Input extends ZodSchema, Value>(
  { input, output, recover }: ToolDefinition<Input, Value>,
  { callId, args }: PendingToolCall,
  context: EffectContext,
): Promise<Recovered> {
  const parsed = await safeParseAsync(coreSchema(input), args)
  // Invalid arguments never ran. Running the call reports what is wrong with them.
  if (!parsed.success) return { ran: false }
  const recovery = await recover?.(parsed.data, contextOf(context, callId))
  return recovery?.ran === true ? { ran: true, answer: await answerOf(output, recovery.value) } : recovery
}

function contextOf(context: EffectContext, callId: string, signal: AbortSignal = context.signal): ToolContext {
  return Object.assign(wrapMembers(context, {}), { callId, signal })
}

async function answerOf<Value>(output: ZodSchema<unknown, Value> | undefined, returned: Returned<Value>): Promise<ToolAnswer<JsonOf<Value>>> {
  try {
    const { value, extra } = returned instanceof ToolReply ? returned : { value: returned, extra: {} }
    const { control, modelReturn } = extra as ToolReply["extra"]
    const checked = toJson(output === undefined ? value : await parseOutput(output, value)) as JsonOf<Value>
    return { output: { status: "success", value: checked, ...(control && { control }) }, ...(modelReturn && { modelReturn }) }
  } catch (error) {
    return failed(invalidToolResult(error))
  }
}

async function parseOutput(output: ZodSchema, value: unknown): Promise<unknown> {
  const parsed = await safeParseAsync(coreSchema(output), value, messageOptions())
  if (parsed.success) return parsed.data
  throw new TypeError(`It does not match the output schema:\n${describeIssues(parsed.error.issues)}`)
}

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
      const message = `The tool "${name}" did not finish within ${timeoutMs} ms and was stopped.`
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
