import { safeParse, safeParseAsync } from "zod/v4/core"
import type { AskOptions } from "../../drivers/approval/policy.ts"
import type { Json } from "../../json.ts"
import { unknownKey } from "../../unknown-key.ts"
import type { ModelReturn, PendingToolCall, ToolControl } from "../../wire/tool.ts"
import type { Attachment, AttachmentInfo } from "../attachments/store.ts"
import { type EffectContext, PendingAnswer, type Recovered, type ToolAnswer, type ToolEffects, ToolError } from "../host.ts"
import { invalidToolResult, toolFailureOf } from "../run/failures.ts"
import { withMembers } from "../run/lazy-signal.ts"
import { toJson } from "../run/plain-json.ts"
import { MAX_TIMER_MS, onAbort } from "../timers.ts"
import { describeIssues, messageOptions } from "./argument-errors.ts"
import { checkDescription, checkEffects, checkName, checkNameForModels } from "./definition-checks.ts"
import { parseInput } from "./parse-input.ts"
import { ToolDefinitionError } from "./tool-definition-error.ts"
import { failed, invalidRequest, type Tool, type ToolCallContext } from "./toolbox.ts"
import { coreSchema, jsonSchemaOf, type ZodSchema } from "./zod-schema.ts"

/** The context of a tool call. `effectId` and `callId` together identify the call, also when it is redelivered. */
export interface ToolContext extends EffectContext {
  readonly callId: string
  /** Emits a `tool_progress` event for this call at once. Does nothing after the call has ended. */
  progress(progress: ToolProgress): void
  /**
   * Stores bytes in the toolbox's attachment store. Return the result as the tool's value, or anywhere in it: the model is shown the
   * attachment in its place. The call fails with code `no_attachment_store` if the toolbox has no store.
   */
  attach(bytes: Uint8Array, info: AttachmentInfo): Promise<Attachment>
}

/** How far a tool call has come. */
export interface ToolProgress {
  /** What the tool does now, for people. */
  readonly message?: string
  /** How much is done, in any unit. */
  readonly progress?: number
  /** How much there is to do, in the same unit. Absent: unknown. */
  readonly total?: number
}

/** The definition of a tool for {@link defineTool}. `Value` is the type of `output`'s values, `Result` what `execute` returns. */
export interface ToolDefinition<
  Input extends ZodSchema,
  Value = unknown,
  Name extends string = string,
  Result extends ToolReturn<Value> = ToolReturn<Value>,
> {
  /** 1 to 64 characters: letters from A to Z, digits, `_` and `-`. */
  readonly name: Name
  readonly description: string
  /** A zod schema of an object; a union has to be wrapped in one. The model sees its input type; `execute` gets its output type. */
  readonly input: Input
  /** A zod schema of what `execute` returns. Default: any JSON. */
  readonly output?: ZodSchema<unknown, Value>
  /** Milliseconds that one call may take. After that it fails as `timeout` (code `tool_timeout`) and its signal is aborted. Default: no limit. */
  readonly timeoutMs?: number
  /**
   * Runs one call and returns its value, or a {@link ToolReply}. Any value with a JSON form is accepted: `undefined` becomes null, and
   * a date becomes its text. Bytes are refused: return an attachment (`context.attach`), or text. Throw {@link ToolError} to classify a failure; the model sees the message of any error.
   */
  execute(input: Input["_zod"]["output"], context: ToolContext): Result
  /** What a call does to the world, which decides whether it may run again after a crash. Default `idempotent`: it may. */
  readonly effects?: ToolEffects
  /**
   * Only for `effects: "once"`: finds out whether a call that a crash interrupted took effect, usually by its `idempotencyKey`.
   * `{ ran: true, value }` is its result; `{ ran: false }` lets it run; `undefined`, or an error, reports it as unknown.
   */
  recover?(input: Input["_zod"]["output"], context: ToolContext): Recovery<NoInfer<Value>> | Promise<Recovery<NoInfer<Value>>>
  /**
   * Whether a person is asked before a call runs. The turn's driver must then be an `approvalDriver` with the toolbox's `approvals`. `always`: for
   * each call. A function decides by the arguments, and says what is asked; `false`: the call runs. It is pure and synchronous. Arguments that
   * do not match the schema are not asked about: the call is denied, and the model reads what is wrong. Default `never`.
   */
  readonly approval?: "never" | "always" | ((input: Input["_zod"]["output"]) => AskOptions | false)
}

/** What a tool knows about a call that a crash interrupted. `undefined`: nothing. */
export type Recovery<Value = unknown> = { readonly ran: true; readonly value: Returned<Value> } | { readonly ran: false } | undefined

/** The return value of a tool: the value, a {@link ToolReply} with more, or {@link PendingAnswer} for work that continues outside. */
export type Returned<Value> = Value | ToolReply<Value> | PendingAnswer

/** What `execute` may return for values of the output schema. */
export type ToolReturn<Value> = Returned<NoInfer<Value>> | Promise<Returned<NoInfer<Value>>>

/** The type of a tool's values: that of its output schema, or, without one, that of what `execute` returns. */
export type ToolValue<Value, Result> = unknown extends Value
  ? Awaited<Result> extends infer Each
    ? Each extends PendingAnswer
      ? never
      : Each extends ToolReply<infer Inner>
        ? Inner
        : Each
    : never
  : Value

/** A return value with more than the value itself: `modelReturn` is what the model sees instead, and `control` ends the turn. */
export class ToolReply<Value = unknown> {
  readonly value: Value
  readonly extra: { readonly modelReturn?: ModelReturn; readonly control?: ToolControl }

  /** @throws {TypeError} an unknown key: a misspelled `modelReturn` would show the model the value */
  constructor(value: Value, extra: { readonly modelReturn?: ModelReturn; readonly control?: ToolControl }) {
    const unknown = unknownKey(extra, ["modelReturn", "control"])
    if (unknown !== undefined)
      throw new TypeError(`A ToolReply has the unknown key ${JSON.stringify(unknown.key)}; the keys are modelReturn and control.`)
    this.value = value
    this.extra = extra
  }
}

/** The JSON form of a value, as the turn stores it. */
export type JsonOf<Value> = unknown extends Value ? Json : Value extends Json ? Value : Json

/** What {@link defineTool} returns: a tool that knows its name and the type of its values. */
export interface DefinedTool<Name extends string, Value> extends Tool<Name> {
  call(call: PendingToolCall, context: ToolCallContext): Promise<ToolAnswer<JsonOf<Value>>>
}

/**
 * Creates a tool from zod schemas and a function. Arguments that do not match the schema fail the call, and the model sees what is wrong
 * and where. `execute` only receives arguments that match.
 * @throws {ToolDefinitionError} `not_a_tool`, `unknown_key`, `invalid_name`, `invalid_description`, `invalid_input_schema`,
 *   `invalid_output_schema`, `invalid_timeout`, `invalid_effects`, `invalid_execute`, `invalid_approval`
 */
export function defineTool<
  Input extends ZodSchema,
  Value = unknown,
  const Name extends string = string,
  Result extends ToolReturn<Value> = ToolReturn<Value>,
>(definition: ToolDefinition<Input, Value, Name, Result>): DefinedTool<Name, NoInfer<ToolValue<Value, Result>>> {
  checkKeys(definition)
  const { name, description, input, output, timeoutMs, effects = "idempotent", execute, recover, approval = "never" } = definition
  checkName(name, "A tool")
  checkNameForModels(name)
  checkDescription(name, description)
  if (typeof execute !== "function") throw new ToolDefinitionError("invalid_execute", `The tool "${name}" needs an execute function.`)
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs > 0))
    throw new ToolDefinitionError("invalid_timeout", `timeoutMs of the tool "${name}" must be a positive number, not ${String(timeoutMs)}.`)
  checkEffects(name, effects)
  if (recover !== undefined && effects !== "once")
    throw new ToolDefinitionError("invalid_effects", `The tool "${name}" has a recover function, which only a tool with effects "once" uses.`)
  if (approval !== "never" && approval !== "always" && typeof approval !== "function")
    throw new ToolDefinitionError("invalid_approval", `approval of the tool "${name}" must be "never", "always" or a function of the input.`)
  const inputSchema = schemaOf(name, input, "input")
  const outputSchema = output === undefined ? undefined : schemaOf(name, output, "output")
  return {
    spec: { name, description, inputSchema, ...(outputSchema !== undefined && { outputSchema }) },
    // Which of the two types a value has depends on whether there is an output schema, which TypeScript does not follow into callTool.
    call: (call, context) => callTool(definition, call, context) as Promise<ToolAnswer<never>>,
    effects,
    ...(recover !== undefined && { recover: (call: PendingToolCall, context: ToolCallContext) => recoverCall(definition, call, context) }),
    ...(approval !== "never" && { approval: ({ args }: PendingToolCall) => askAbout(input, approval, args) }),
  }
}

/** What a person is asked about a call; `false` if it runs without a question; why it must not run. */
function askAbout<Input extends ZodSchema>(
  input: Input,
  approval: "always" | ((input: Input["_zod"]["output"]) => AskOptions | false),
  args: Json,
): AskOptions | false | { readonly deny: string } {
  let parsed: ReturnType<typeof safeParse>
  try {
    parsed = safeParse(coreSchema(input), args, messageOptions())
  } catch {
    // An async schema: whether the arguments match is known only when the call runs.
    return {}
  }
  // Not left to the run of the call: a schema that looks at the world may fail now and pass then, although no person was asked.
  if (!parsed.success) return { deny: `Its arguments do not match the schema of the tool:\n${describeIssues(parsed.error.issues)}` }
  return approval === "always" ? {} : approval(parsed.data)
}

const KEYS: { readonly [Key in keyof Required<ToolDefinition<ZodSchema>>]: true } = {
  name: true,
  description: true,
  input: true,
  output: true,
  timeoutMs: true,
  execute: true,
  effects: true,
  recover: true,
  approval: true,
}

/** What other libraries call these keys. */
const ALIASES = {
  parameters: "input",
  params: "input",
  schema: "input",
  args: "input",
  returns: "output",
  handler: "execute",
  run: "execute",
  needsApproval: "approval",
}

/** Refuses unknown keys, which would be ignored: a tool with `timeout: 5_000` would have no timeout. */
function checkKeys(definition: unknown): void {
  if (typeof definition !== "object" || definition === null || Array.isArray(definition))
    throw new ToolDefinitionError("not_a_tool", "defineTool takes a definition: defineTool({ name, description, input, execute }).")
  const known = Object.keys(KEYS)
  const unknown = unknownKey(definition, known, ALIASES)
  if (unknown === undefined) return
  const { key, hint = `the keys are ${known.join(", ")}.` } = unknown
  const { name } = definition as { readonly name?: unknown }
  const tool = typeof name === "string" ? `The tool "${name}"` : "A tool"
  throw new ToolDefinitionError("unknown_key", `${tool} has the unknown key ${JSON.stringify(key)}; ${hint}`)
}

function schemaOf(name: string, schema: ZodSchema, io: "input" | "output"): object {
  const what = `The ${io} schema of the tool "${name}"`
  return jsonSchemaOf(schema, { io, what, code: `invalid_${io}_schema`, byHand: "the tool by hand: { spec, call }" })
}

async function callTool<Input extends ZodSchema, Value>(
  definition: ToolDefinition<Input, Value>,
  call: PendingToolCall,
  context: ToolCallContext,
): Promise<ToolAnswer<JsonOf<Value>>> {
  const { name, input, output, timeoutMs } = definition
  let returned: Returned<Value>
  try {
    const parsing = parseInput(input, call.args)
    const parsed = parsing instanceof Promise ? await parsedInTime(parsing, context.signal) : parsing
    if (!parsed.success) {
      const wrong = describeIssues(parsed.issues)
      return failed(invalidRequest("invalid_arguments", `The arguments do not match the schema of the tool "${name}", which was not run:\n${wrong}`))
    }
    const { data } = parsed
    // Without a limit of its own, the call's signal is not read.
    if (timeoutMs === undefined || timeoutMs > MAX_TIMER_MS) returned = await definition.execute(data, contextOf(context, call))
    else returned = await withinTime(name, timeoutMs, context.signal, async (signal) => definition.execute(data, contextOf(context, call, signal)))
  } catch (error) {
    if (context.isFatal?.(error) === true) throw error
    return failed(toolFailureOf(error))
  }
  return answered(output, returned)
}

/** The turn may end while an async schema checks the arguments: its tool then does not run. */
async function parsedInTime<Parsed>(parsing: PromiseLike<Parsed>, signal: AbortSignal): Promise<Parsed> {
  const wasAborted = signal.aborted
  const parsed = await parsing
  if (!wasAborted) signal.throwIfAborted()
  return parsed
}

async function recoverCall<Input extends ZodSchema, Value>(
  { input, output, recover }: ToolDefinition<Input, Value>,
  call: PendingToolCall,
  context: ToolCallContext,
): Promise<Recovered> {
  const parsed = await safeParseAsync(coreSchema(input), call.args)
  // Invalid arguments never ran. Running the call reports what is wrong with them.
  if (!parsed.success) return { ran: false }
  const recovery = await recover?.(parsed.data, contextOf(context, call))
  return recovery?.ran === true ? { ran: true, answer: await answered(output, recovery.value) } : recovery
}

function contextOf(context: ToolCallContext, { callId, toolName: name }: PendingToolCall, signal?: AbortSignal): ToolContext {
  const own = {
    callId,
    attach: context.attach ?? noStore,
    progress: (progress: ToolProgress) => context.emit({ ...progress, type: "tool_progress", callId, name }),
  }
  return signal === undefined ? withMembers(context, own) : { ...context, ...own, signal }
}

async function noStore(): Promise<never> {
  const message = "The toolbox has no attachment store. Make it with toolbox(tools, { attachments: store })."
  throw new ToolError({ class: "unavailable", code: "no_attachment_store", message, source: "runtime" })
}

function answered<Value>(
  output: ZodSchema<unknown, Value> | undefined,
  returned: Returned<Value>,
): ToolAnswer<JsonOf<Value>> | Promise<ToolAnswer<JsonOf<Value>>> {
  return output === undefined || returned instanceof PendingAnswer ? answerOf(returned) : checkedAnswerOf(output, returned)
}

/** The answer for what a tool returned, if it has no schema for that. */
function answerOf<Value>(returned: Returned<Value>): ToolAnswer<JsonOf<Value>> {
  if (returned instanceof PendingAnswer) return returned
  try {
    return successOf(returned, toJson(returnedValue(returned)) as JsonOf<Value>)
  } catch (error) {
    return failed(invalidToolResult(error))
  }
}

async function checkedAnswerOf<Value>(output: ZodSchema<unknown, Value>, returned: Value | ToolReply<Value>): Promise<ToolAnswer<JsonOf<Value>>> {
  try {
    const value = returnedValue(returned)
    return successOf(returned, inOrderOf(value, toJson(await parseOutput(output, value))) as JsonOf<Value>)
  } catch (error) {
    return failed(invalidToolResult(error))
  }
}

function returnedValue<Value>(returned: Value | ToolReply<Value>): Value {
  return returned instanceof ToolReply ? returned.value : returned
}

function successOf<Value>(returned: unknown, value: JsonOf<Value>): ToolAnswer<JsonOf<Value>> {
  const { control, modelReturn } = returned instanceof ToolReply ? returned.extra : ({} as ToolReply["extra"])
  return { output: { status: "success", value, ...(control && { control }) }, ...(modelReturn && { modelReturn }) }
}

async function parseOutput(output: ZodSchema, value: unknown): Promise<unknown> {
  const parsed = await safeParseAsync(coreSchema(output), value, messageOptions())
  if (parsed.success) return parsed.data
  throw new TypeError(`It does not match the output schema:\n${describeIssues(parsed.error.issues)}`)
}

/** Gives JSON the key order of what the tool returned. zod orders keys as the schema does. */
function inOrderOf(returned: unknown, json: Json): Json {
  if (typeof json !== "object" || json === null || typeof returned !== "object" || returned === null) return json
  const source = returned as { readonly [key: string]: unknown }
  if (Array.isArray(json)) return json.map((item: Json, index) => inOrderOf(source[index], item))
  const keys = new Set([...Object.keys(source).filter((key) => Object.hasOwn(json, key)), ...Object.keys(json)])
  return Object.fromEntries([...keys].map((key) => [key, inOrderOf(source[key], (json as { readonly [key: string]: Json })[key] as Json)]))
}

async function withinTime<Value>(
  name: string,
  timeoutMs: number | undefined,
  outer: AbortSignal,
  execute: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  if (timeoutMs === undefined || timeoutMs > MAX_TIMER_MS) return execute(outer)
  const controller = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  const stopWaiting = onAbort(outer, () => {
    // A tool may ignore the abort. Its timer would then keep the process alive after its run.
    clearTimeout(timer)
    controller.abort(outer.reason)
  })
  const timedOut = new Promise<never>((_resolve, reject) => {
    if (outer.aborted) return
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
    stopWaiting()
  }
}
