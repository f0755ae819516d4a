import type { SchemaError } from "../errors.ts"
import type { Json } from "../json.ts"
import type { DriverContext, ProtocolDriver } from "../machine/driver.ts"
import { errorEvent, stopFor } from "../machine/terminal.ts"
import { cutLines, cutMiddle, isBlank, trim } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { Outcome } from "../wire/event.ts"
import type { LlmResponse, OutputPart } from "../wire/llm.ts"
import type { HistoryRecord, Part } from "../wire/message.ts"
import type { ExecResponse } from "../wire/tool.ts"
import { type Malformed, readCode } from "./code-blocks.ts"
import type { Fence } from "./fences.ts"
import { checkOptions, invalidOption } from "./options.ts"
import { type ReadResponse, readResponse, showResponse } from "./response-parts.ts"
import { assistantRecord, conversation, cutOffActions, diagnosis, nextIteration, saysSomething, startRequest } from "./steps.ts"

/** Options of {@link codeDriver}. */
export interface CodeDriverOptions {
  /**
   * Languages of blocks to run. The first is passed to the host as `language`. Default `["ts", "typescript", "js", "javascript"]`.
   * `[]`: only blocks without a language run, and the host gets no `language`.
   */
  readonly languages?: readonly string[]
  /**
   * What happens to a block without a language. `repair`: the model is asked to mark it. `run`: it runs. `ignore`: it is text.
   * Default `repair`; `run` if `languages` is empty.
   */
  readonly unlabelled?: "run" | "repair" | "ignore"
  /** The maximum length of code to run, in characters. Default 100,000. */
  readonly maxCodeChars?: number
  /** The maximum length of the observations of one run that the model sees, in characters. The middle is cut out. Default 20,000. */
  readonly maxObservationChars?: number
  /** The number of malformed answers in a row after which the next one stops the turn as `incomplete`. 0: the first one does. Default 3. */
  readonly maxRepairs?: number
  /** The role of observations and repairs. `user` is for servers that accept system messages only at the start. Default `system`. */
  readonly notesAs?: "user" | "system"
}

/**
 * The driver for models that act by writing code. The host runs the first fenced block of an answer (`exec_code`), and the
 * output goes back to the model. A value that the code submits ends the turn (`submitted_value`), and so does an answer without
 * a block. Put {@link codeInstructions} into the system prompt.
 * @throws {SchemaError} `invalid_config`: an unknown option, a value that is not one of the option's, a limit that is not a number of at least 0, or no
 *   languages while unlabelled blocks do not run
 * @see docs/code-driver.md for the grammar of a block and for malformed answers
 */
export function codeDriver(options: CodeDriverOptions = {}): ProtocolDriver {
  const settings = settingsOf(options)
  return {
    name: "code",
    version: 1,
    prepareIteration: (context) => startRequest(context, { tools: false }),
    onLlmComplete: (context, _waiting, response, textStreamed) => readAnswer(settings, context, response, textStreamed),
    onLlmCutOff: (context, _waiting, response) => cutOffActions(context, response),
    onToolResults: () => [],
    onExecResult: (context, _waiting, result) => observe(settings, context, result.ok ? result.value : failedRun(result.error)),
    onExecCancelled: (context, _waiting, reason) => [{ type: "append_events", events: [cancelledRun(settings, context, reason)] }],
  }
}

/** Instructions for the model of a {@link codeDriver}, for the system prompt. */
export function codeInstructions(options: Pick<CodeDriverOptions, "languages"> = {}): string {
  const [language] = options.languages ?? DEFAULT_LANGUAGES
  const block = language === undefined ? "one fenced block of code without a language" : `one fenced block of code marked \`${language}\``
  return [
    `To act, write ${block} and end your answer there. It is run, and you are shown what it printed.`,
    "Only the first block of an answer is run; nothing after it is read. Variables are kept from one block to the next where the host says so.",
    "Call `submit(value)` in your code to end the task with that value. To end it with words instead, answer without a block of code.",
  ].join("\n")
}

type Settings = Required<CodeDriverOptions>

const DEFAULT_LANGUAGES = ["ts", "typescript", "js", "javascript"] as const

function settingsOf(options: CodeDriverOptions): Settings {
  checkOptions("codeDriver", options, OPTIONS)
  const languages = options.languages ?? DEFAULT_LANGUAGES
  const unlabelled = options.unlabelled ?? (languages.length === 0 ? "run" : "repair")
  const notesAs = options.notesAs ?? "system"
  if (!Array.isArray(languages) || languages.some((language) => typeof language !== "string"))
    throw invalid("languages", "it must be a list of texts")
  if (!["run", "repair", "ignore"].includes(unlabelled)) throw invalid("unlabelled", `it must be "run", "repair" or "ignore"`)
  if (!["user", "system"].includes(notesAs)) throw invalid("notesAs", `it must be "user" or "system"`)
  if (languages.length === 0 && unlabelled !== "run")
    throw invalid("languages", `it is empty, so no block can run. List a language, or use unlabelled: "run"`)
  const { maxCodeChars = 100_000, maxObservationChars = 20_000, maxRepairs = 3 } = options
  for (const [name, limit] of Object.entries({ maxCodeChars, maxObservationChars, maxRepairs }))
    if (!(limit >= 0)) throw invalid(name, "it must be a number of at least 0")
  return { languages, unlabelled, notesAs, maxCodeChars, maxObservationChars, maxRepairs }
}

const OPTIONS = [
  "languages",
  "unlabelled",
  "notesAs",
  "maxCodeChars",
  "maxObservationChars",
  "maxRepairs",
] as const satisfies readonly (keyof CodeDriverOptions)[]

function invalid(option: string, problem: string): SchemaError {
  return invalidOption("codeDriver", option, problem)
}

function readAnswer(settings: Settings, context: DriverContext, response: LlmResponse, textStreamed: boolean): readonly DriverAction[] {
  const whole = withoutCalls(readResponse(context, response))
  // Not `whole.text`: a block may go over several parts, and empty lines between them are not part of its code.
  const text = whole.parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  const shown = [...showResponse(whole, context.iteration, textStreamed), ...diagnosis(response)]
  const { fence, unread } = readCode(settings, text)
  const malformed = fence === undefined ? (unread ?? empty(text)) : unusable(settings, fence)
  if (response.terminalReason === "paused" && (malformed !== undefined || fence === undefined)) {
    return [...shown, { type: "append_events", events: recordOf(context, whole) }, ...nextIteration(context)]
  }
  if (malformed !== undefined) return [...shown, ...repair(settings, context, whole, malformed)]
  if (fence === undefined) return [...shown, ...complete(context, whole)]

  // What follows the code is dropped: the model wrote it without knowing the output.
  const answer = { parts: beginning(whole.parts, fence.end), producer: whole.producer }
  const language = settings.languages[0] ?? ""
  return [
    ...shown,
    { type: "append_events", events: [assistantRecord(context, answer)] },
    { type: "start_exec", code: fence.code, ...(language !== "" && { language }), driverState: null },
  ]
}

/** Removes native tool calls, which this driver does not run: they would remain without a result. */
function withoutCalls(read: ReadResponse): ReadResponse {
  return { ...read, parts: read.parts.filter(({ type }) => type !== "tool_call"), calls: [], settled: [] }
}

/** The record of an answer that has something to read. */
function recordOf(context: DriverContext, read: ReadResponse): readonly HistoryRecord[] {
  return read.parts.some(saysSomething) ? [assistantRecord(context, read)] : []
}

/** The parts with the first `length` characters of text. The last of them is cut there. */
function beginning(parts: readonly OutputPart[], length: number): readonly OutputPart[] {
  const begun: OutputPart[] = []
  let left = length
  for (const part of parts) {
    if (left <= 0) break
    if (part.type === "text") {
      begun.push(part.text.length <= left ? part : { ...part, text: part.text.slice(0, left) })
      left -= part.text.length
    } else begun.push(part)
  }
  return begun
}

function empty(text: string): Malformed | undefined {
  return isBlank(text) ? { problem: "The answer was empty." } : undefined
}

function unusable({ maxCodeChars }: Settings, { code, closed, info, language }: Fence): Malformed | undefined {
  if (hasCode(info)) return { problem: "The line of the opening fence has code, which is not read.", language }
  if (!closed) return { problem: "The block of code has no closing fence.", language }
  if (isBlank(code)) return { problem: "The block of code is empty.", language }
  if (code.length > maxCodeChars) return { problem: `The block of code has ${code.length} characters; at most ${maxCodeChars} are run.`, language }
  return undefined
}

/** Whether an info string continues with code, not with attributes such as `title="a"` and `{1,3}`, or a comment. */
function hasCode(info: string): boolean {
  const words = withoutAttributes(info.replace(/^\S*/, ""))
  return !/^\s*(?:\/\/|#)/.test(words) && /[;()]|\s=\s|=>/.test(words)
}

const CLOSING: { readonly [opening: string]: string } = { "{": "}", '"': '"', "'": "'" }

/** Leaves out `{…}` and what is in quotes. Not by a pattern: it would search the rest of a long line from each brace without an end. */
function withoutAttributes(text: string): string {
  const unclosed = new Set<string>()
  let words = ""
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index)
    const closing = CLOSING[character]
    const end = closing === undefined || unclosed.has(closing) ? -1 : text.indexOf(closing, index + 1)
    if (end > index) index = end
    else {
      words += character
      if (closing !== undefined) unclosed.add(closing)
    }
  }
  return words
}

function complete(context: DriverContext, read: ReadResponse): readonly DriverAction[] {
  return [
    { type: "append_events", events: [assistantRecord(context, read)] },
    {
      type: "start_checkpoint",
      checkpoint: "before_completion",
      onEmpty: { type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: read.text } } },
    },
  ]
}

/** Asks the model to repair its answer. Stops the turn after too many repairs in a row. */
function repair(settings: Settings, context: DriverContext, read: ReadResponse, { problem, language }: Malformed): readonly DriverAction[] {
  const answer = recordOf(context, read)
  if (repairsInARow(context) >= settings.maxRepairs) {
    const what = settings.maxRepairs === 0 ? "The answer could" : `${settings.maxRepairs + 1} answers in a row could`
    const event = errorEvent(`${what} not be used. ${problem}`, { kind: "driver", code: "malformed_code" })
    return [{ type: "append_events", events: answer }, ...stopFor(event, "incomplete")]
  }
  const opening = `\`\`\`${settings.languages.find((known) => known.toLowerCase() === language) ?? settings.languages[0] ?? ""}`
  const text = `${problem} Nothing was run. Write one block that opens with ${opening} on a line of its own and closes with \`\`\` on a line of its own, or answer in words without a block of code.`
  const request = note(settings, context, "repair", [{ type: "error", text }])
  return [{ type: "append_events", events: [...answer, request, repairRecord(context.iteration)] }, ...nextIteration(context)]
}

/** The record of a malformed answer. Records of consecutive iterations form a row; a new turn starts a new row. */
function repairRecord(iteration: number): HistoryRecord {
  return { type: "protocol", event: { type: "code_repair", iteration } }
}

function repairsInARow({ events, iteration, iterationOffset }: DriverContext): number {
  let repairs = 0
  for (let index = events.length - 1; index >= 0; index -= 1) {
    const record = events.at(index)
    const repaired = record?.type === "protocol" ? repairIteration(record.event) : undefined
    if (repaired === undefined) continue
    const expected = iteration - 1 - repairs
    if (repaired !== expected || expected < iterationOffset) break
    repairs += 1
  }
  return repairs
}

function repairIteration(event: Json): Json | undefined {
  const { type, iteration } = (event ?? {}) as { readonly type?: Json; readonly iteration?: Json }
  return type === "code_repair" ? iteration : undefined
}

function observe(settings: Settings, context: DriverContext, run: ExecResponse): readonly DriverAction[] {
  const events: HistoryRecord[] = []
  const parts: PartDraft[] = []
  const output = cutLines(run.observations, settings.maxObservationChars)
  if (!isBlank(output)) parts.push({ type: "output", text: output })
  if (run.error !== undefined) parts.push({ type: "error", text: cutMiddle(trim(run.error), settings.maxObservationChars) })
  if (parts.length === 0) parts.push({ type: "output", text: "[The code ran and printed nothing.]" })
  events.push(note(settings, context, "observation", parts))
  if (run.printedImages.length > 0) events.push(images(context, run))

  const append: DriverAction = { type: "append_events", events }
  // A submitted value counts although the code failed after it: it was the model's decision to end there.
  if (run.terminalFinish === undefined) return [append, ...nextIteration(context)]
  const outcome: Outcome = { type: "finished", finish: { type: "submitted_value", value: run.terminalFinish } }
  return [append, { type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "finish", outcome } }]
}

function failedRun(error: string): ExecResponse {
  return { observations: [], toolCalls: [], images: [], printedImages: [], error, durationMs: 0 }
}

/** Code that was cancelled may have run: a later turn must not take it for code that did not. */
function cancelledRun(settings: Settings, context: DriverContext, reason: string): HistoryRecord {
  const text = `${trim(reason)} The code was running: some or all of it may have taken effect. Its output is lost.`
  return note(settings, context, "cancelled", [{ type: "error", text }])
}

type PartDraft = { readonly type: "output" | "error"; readonly text: string }

/** A message to the model. Projectors mark a system message as a note; a user's message needs the marks in its text. */
function note({ notesAs }: Settings, context: DriverContext, scope: string, drafts: readonly PartDraft[]): HistoryRecord {
  const id = context.newMessageId(scope)
  const parts = drafts.map(({ type, text }, index): Part => {
    return { id: `${id}.p${index}`, type, text: notesAs === "user" ? `<${type}>\n${text}\n</${type}>` : text }
  })
  return conversation({ id, role: notesAs, parts })
}

/** Models accept images only under the user's role. */
function images(context: DriverContext, run: ExecResponse): HistoryRecord {
  const id = context.newMessageId("images")
  const parts = run.printedImages.map((attachment, index): Part => ({ id: `${id}.p${index}`, type: "image", attachment }))
  return conversation({ id, role: "user", parts })
}
