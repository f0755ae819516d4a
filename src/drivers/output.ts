import type { SchemaError } from "../errors.ts"
import { type Json, parseJson } from "../json.ts"
import { jsonFault } from "../json-fault.ts"
import { withChanges } from "../lazy.ts"
import type { DriverContext } from "../machine/driver.ts"
import { errorEvent, stopFor } from "../machine/terminal.ts"
import { isBlank, trim } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { Outcome } from "../wire/event.ts"
import type { HistoryRecord, Message } from "../wire/message.ts"
import type { CompletedToolCall, PendingToolCall, ToolSpec } from "../wire/tool.ts"
import { invalidOption } from "./options.ts"
import type { ReadResponse } from "./response-parts.ts"
import { conversation, nextIteration, startRequest } from "./steps.ts"

/**
 * The form of a turn's answer. `defineOutput` of `turn-machine/hosts` makes one from a zod schema; by hand it is a JSON Schema, and a function
 * that checks what the model answered.
 */
export interface OutputSchema<Value = unknown> {
  /** What the answer is, such as `weather_report`: 1 to 64 letters from A to Z, digits, `_` and `-`. Providers show it to the model. */
  readonly name: string
  /** A JSON Schema whose root has the type `object`. Providers accept no other. */
  readonly jsonSchema: Json
  /**
   * Whether the provider enforces the schema exactly. Providers that do accept only schemas in which every property is required. Default
   * `false`.
   */
  readonly strict?: boolean
  /** Checks an answer that is JSON, and returns it as a value of the program. Pure and synchronous: a replay checks the same answer again. */
  check(answer: Json): OutputCheck<Value>
}

/** The result of {@link OutputSchema.check}. `problem`: what is wrong and where, for the model. */
export type OutputCheck<Value = unknown> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly problem: string }

/** Options of a driver whose turns end with a value. */
export interface OutputOptions {
  /**
   * The form of the answer. The turn then ends with JSON of this form, as the model gave it (`submitted_value`), or stops with the code
   * `invalid_output`. {@link outputOf} reads it.
   */
  readonly output?: OutputSchema
  /**
   * How the model gives the value. `answer`: its final answer is JSON, which the provider enforces where it can. `tool`: it calls the tool
   * `submit`, for models and endpoints without structured output. Default `answer`.
   */
  readonly outputMode?: "answer" | "tool"
  /** How often in a turn the model is asked for another answer, after one that does not have the form. Default 1. */
  readonly maxOutputRepairs?: number
}

/** The names of {@link OutputOptions}. */
export const OUTPUT_OPTIONS: readonly (keyof OutputOptions)[] = ["output", "outputMode", "maxOutputRepairs"]

/** The tool by which the model submits the value of the turn. */
const SUBMIT = "submit"

/**
 * Returns the value that a turn ended with, as the check of its form makes it. `undefined`: the turn ended in another way, or with something
 * that does not have this form.
 *
 *     const report = outputOf(await runTurn(machine, host), weatherReport)
 */
export function outputOf<Value>({ outcome }: { readonly outcome?: Outcome | undefined }, schema: OutputSchema<Value>): Value | undefined {
  if (outcome?.type !== "finished" || outcome.finish.type !== "submitted_value") return undefined
  const checked = schema.check(outcome.finish.value)
  return checked.ok ? checked.value : undefined
}

/** What a driver does where its turns end with a value of a form. */
export class OutputPolicy {
  readonly #schema: OutputSchema
  readonly #usesTool: boolean
  readonly #maxRepairs: number

  private constructor(schema: OutputSchema, usesTool: boolean, maxRepairs: number) {
    this.#schema = schema
    this.#usesTool = usesTool
    this.#maxRepairs = maxRepairs
  }

  /** @throws {SchemaError} `invalid_config` */
  static of(driver: string, { output, outputMode = "answer", maxOutputRepairs = 1 }: OutputOptions): OutputPolicy | undefined {
    const refuse = (option: keyof OutputOptions, problem: string): SchemaError => invalidOption(driver, option, problem)
    if (outputMode !== "answer" && outputMode !== "tool") throw refuse("outputMode", `it must be "answer" or "tool"`)
    if (!(maxOutputRepairs >= 0)) throw refuse("maxOutputRepairs", "it must be a number of at least 0")
    if (output === undefined) return undefined
    const problem = whyNotSchema(output)
    if (problem !== undefined) throw refuse("output", problem)
    return new OutputPolicy(output, outputMode === "tool", maxOutputRepairs)
  }

  /** Starts the iteration's model call, which asks for the form. */
  start(context: DriverContext): readonly DriverAction[] {
    const { name, jsonSchema: schema, strict = false } = this.#schema
    if (!this.#usesTool) {
      const outputSpec = { type: "json_schema", name, schema, strict } as const
      return startRequest(context, { tools: true }).map((action) =>
        action.type === "start_llm" ? { ...action, request: withChanges(action.request, { outputSpec }) } : action,
      )
    }
    if (!context.tools.some((tool) => tool.name === SUBMIT)) return startRequest(context.withTools([this.#tool()]), { tools: true })
    const message = `A tool of the host has the name "${SUBMIT}", by which the model submits its answer. Rename the tool.`
    return stopFor(errorEvent(message, { kind: "driver", code: "output_tool_taken" }), "runtime_error")
  }

  /** Answers the calls of the tool `submit`. The host runs the others. */
  withSubmitted(context: DriverContext, read: ReadResponse): ReadResponse {
    const { calls, settled } = read
    const isOpen = ({ callId, toolName }: PendingToolCall): boolean => toolName === SUBMIT && settled.every((result) => result.callId !== callId)
    const submitted = this.#usesTool ? calls.filter(isOpen) : []
    if (submitted.length === 0) return read
    const isAlone = calls.every(({ toolName }) => toolName === SUBMIT)
    const answers = submitted.map((call, index): CompletedToolCall => {
      if (!isAlone) return refused(call, "submitted_early", TOO_EARLY)
      if (index > 0) return refused(call, "submitted_twice", "Only one answer can be submitted: the first one counts.")
      const checked = this.#schema.check(call.args)
      if (!checked.ok) {
        const more = rejections(context) < this.#maxRepairs ? `\nCall ${SUBMIT} once more.` : ""
        return refused(call, "invalid_output", `Nothing was submitted. ${this.#wrong(checked.problem)}${more}`)
      }
      const modelReturn = { parts: [{ type: "text", text: "The answer was submitted." }] } as const
      return { ...call, output: { status: "success", value: call.args }, modelReturn, durationMs: 0 }
    })
    return { ...read, settled: [...settled, ...answers] }
  }

  /** What follows a batch in which the model submitted its answer. `undefined`: it did not. */
  afterTools(context: DriverContext, results: readonly CompletedToolCall[]): readonly DriverAction[] | undefined {
    if (!this.#usesTool) return undefined
    const submitted = results.filter(({ toolName }) => toolName === SUBMIT)
    for (const { output } of submitted) if (output.status === "success") return [finishWith(output.value)]
    for (const { output } of submitted) {
      const problem = output.status === "failure" && WRONG.has(output.failure.code) ? output.failure.message : undefined
      if (problem !== undefined) return this.#reject(context, [], problem)
    }
    return undefined
  }

  /** What follows a final answer. `stored`: the records of the answer. */
  afterAnswer(context: DriverContext, read: ReadResponse, stored: readonly HistoryRecord[]): readonly DriverAction[] {
    const checked = this.#check(read)
    if (checked.ok) return [{ type: "append_events", events: stored }, finishWith(checked.answer)]
    const how = this.#usesTool ? `Call the tool ${SUBMIT} with your answer.` : "Answer once more, with nothing but a JSON object of this form."
    const message = noteOf(context, `${checked.problem}\n${how}`)
    return this.#reject(context, stored, checked.problem, message)
  }

  /** Reads an answer as JSON: the whole text, its last part after others that comment on it, or a text in one fence. */
  #check({ text, texts }: ReadResponse): CheckedAnswer {
    if (isBlank(text)) return { ok: false, problem: "Your answer was empty." }
    for (const candidate of [text, ...texts.slice(1).slice(-1)]) {
      const answer = parseJson(withoutFence(candidate))
      if (answer === undefined) continue
      const checked = this.#schema.check(answer)
      return checked.ok ? { ok: true, answer } : { ok: false, problem: this.#wrong(checked.problem) }
    }
    if (this.#usesTool) return { ok: false, problem: "Your answer was not submitted." }
    return { ok: false, problem: `Your answer is not JSON. ${jsonFault(withoutFence(text))}` }
  }

  #wrong(problem: string): string {
    return `The answer does not have the form "${this.#schema.name}":\n${problem}`
  }

  /** Asks for another answer, or stops the turn after too many. `note`: what the model reads, where no result says it. */
  #reject(context: DriverContext, stored: readonly HistoryRecord[], problem: string, note?: Message): readonly DriverAction[] {
    const count = rejections(context)
    if (count >= this.#maxRepairs) {
      const which = count === 0 ? "The model's answer was" : `${count + 1} answers of the model were`
      const event = errorEvent(`${which} not accepted. ${problem}`, { kind: "driver", code: "invalid_output" })
      return [{ type: "append_events", events: stored }, ...stopFor(event, "incomplete")]
    }
    const asked = note === undefined ? [] : [conversation(note)]
    return [{ type: "append_events", events: [...stored, ...asked, rejectionRecord(context)] }, ...nextIteration(context)]
  }

  #tool(): ToolSpec {
    const { name, jsonSchema: inputSchema } = this.#schema
    const description = `Submits the answer of this task (${name}) and ends the task. Call it once, alone, when you have the whole answer.`
    return { name: SUBMIT, description, inputSchema }
  }
}

type CheckedAnswer = { readonly ok: true; readonly answer: Json } | { readonly ok: false; readonly problem: string }

/** The codes of a call of `submit` whose arguments are not the answer. One that came too early is not a wrong answer. */
const WRONG: ReadonlySet<string> = new Set(["invalid_output", "broken_arguments"])

const TOO_EARLY = `Nothing was submitted, because other tools were called at the same time. Read their results first, then call ${SUBMIT} alone.`

function refused(call: PendingToolCall, code: string, message: string): CompletedToolCall {
  const failure = { class: "invalid_request", code, message, source: "runtime", retry: { type: "never" } } as const
  return { ...call, output: { status: "failure", failure }, durationMs: 0 }
}

/** As after any final answer, a host may deliver more at the checkpoint. The value is then not the last one. */
function finishWith(value: Json): DriverAction {
  const outcome: Outcome = { type: "finished", finish: { type: "submitted_value", value } }
  return { type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "finish", outcome } }
}

/** A durable message, so that later requests begin with this one. The user's role, because many endpoints accept no other here. */
function noteOf(context: DriverContext, text: string): Message {
  const id = context.newMessageId("output")
  return { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }], origin: { type: "plugin", pluginId: "output" } }
}

function rejectionRecord({ iteration }: DriverContext): HistoryRecord {
  return { type: "protocol", event: { type: "output_rejected", iteration } }
}

/** How many answers were rejected in this turn since the user last said something. */
function rejections({ events, iterationOffset }: DriverContext): number {
  let count = 0
  for (let index = events.length - 1; index >= 0; index -= 1) {
    const record = events.at(index) as HistoryRecord
    if (record.type === "protocol") {
      const iteration = rejectedIteration(record.event)
      if (iteration === undefined) continue
      if (iteration < iterationOffset) break
      count += 1
    } else if (isInput(record.message)) break
  }
  return count
}

function rejectedIteration(event: Json): number | undefined {
  const { type, iteration } = (event ?? {}) as { readonly type?: Json; readonly iteration?: Json }
  return type === "output_rejected" && typeof iteration === "number" ? iteration : undefined
}

function isInput({ role, origin, parts }: Message): boolean {
  return role === "user" && origin === undefined && !parts.some(({ type }) => type === "tool_result")
}

/** Some models put JSON into a fence even where they are asked for nothing else. */
function withoutFence(text: string): string {
  const whole = trim(text)
  return /^```(?:json)?[ \t]*\r?\n([\s\S]*)\n[ \t]*```$/i.exec(whole)?.[1] ?? whole
}

function whyNotSchema(output: unknown): string | undefined {
  if (typeof output !== "object" || output === null) return "it must be an output schema: defineOutput of turn-machine/hosts makes one"
  if ("_zod" in output || "~standard" in output) return "it is a schema of a library; wrap a zod schema: defineOutput(schema) of turn-machine/hosts"
  const { name, jsonSchema, check } = output as { readonly [Name in keyof OutputSchema]?: unknown }
  if (typeof name !== "string" || !/^[\w-]{1,64}$/.test(name)) return "its name must match [A-Za-z0-9_-]{1,64}"
  if (typeof jsonSchema !== "object" || jsonSchema === null || (jsonSchema as { readonly type?: unknown }).type !== "object")
    return "its jsonSchema must be a JSON Schema of the type object"
  return typeof check === "function" ? undefined : "its check must be a function"
}
