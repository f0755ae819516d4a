import type { Json } from "../json.ts"
import type { DriverContext, ProtocolDriver } from "../machine/driver.ts"
import { errorEvent, stopFor } from "../machine/terminal.ts"
import { cutMiddle, isBlank, trim } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { Outcome } from "../wire/event.ts"
import type { LlmResponse } from "../wire/llm.ts"
import type { HistoryRecord, Part } from "../wire/message.ts"
import type { ExecResponse } from "../wire/tool.ts"
import { type Fence, readFences } from "./fences.ts"
import { type ReadResponse, readResponse, showResponse } from "./response-parts.ts"
import { assistantRecord, conversation, cutOffActions, nextIteration, saysSomething, startRequest } from "./steps.ts"

/** Options of {@link codeDriver}. */
export interface CodeDriverOptions {
  /** Words after an opening fence that mark code to run. The first is passed to the host as `language`. Default `["ts", "typescript", "js", "javascript"]`. */
  readonly languages?: readonly string[]
  /** The maximum length of code to run, in characters. Default 100,000. */
  readonly maxCodeChars?: number
  /** The maximum length of the observations of one run that the model sees, in characters. The middle is cut out. Default 20,000. */
  readonly maxObservationChars?: number
  /** The number of malformed answers in a row after which the next one stops the turn as `incomplete`. Default 3. */
  readonly maxRepairs?: number
}

/**
 * The driver for models that act by writing code. The host runs the first fenced block of an answer (`exec_code`), and the
 * output goes back to the model. A value that the code submits ends the turn (`submitted_value`), and so does an answer without
 * a block. Put {@link codeInstructions} into the system prompt.
 * @see docs/code-driver.md for the grammar of a block and for malformed answers
 */
export function codeDriver(options: CodeDriverOptions = {}): ProtocolDriver {
  const settings: Settings = {
    languages: options.languages ?? DEFAULT_LANGUAGES,
    maxCodeChars: options.maxCodeChars ?? 100_000,
    maxObservationChars: options.maxObservationChars ?? 20_000,
    maxRepairs: options.maxRepairs ?? 3,
  }
  return {
    name: "code",
    version: 1,
    prepareIteration: (context) => startRequest(context, { tools: false }),
    onLlmComplete: (context, _waiting, response, textStreamed) => readAnswer(settings, context, response, textStreamed),
    onLlmCutOff: (context, _waiting, response) => cutOffActions(context, response),
    onToolResults: () => [],
    onExecResult: (context, _waiting, result) => observe(settings, context, result.ok ? result.value : failedRun(result.error)),
  }
}

/** Instructions for the model of a {@link codeDriver}, for the system prompt. */
export function codeInstructions(options: Pick<CodeDriverOptions, "languages"> = {}): string {
  const [language = "ts"] = options.languages ?? DEFAULT_LANGUAGES
  return [
    `To act, write one fenced block of code marked \`${language}\` and end your answer there. It is run, and you are shown what it printed.`,
    "Only the first block of an answer is run; nothing after it is read. Variables are kept from one block to the next where the host says so.",
    "Call `submit(value)` in your code to end the task with that value. To end it with words instead, answer without a block of code.",
  ].join("\n")
}

type Settings = Required<CodeDriverOptions>

const DEFAULT_LANGUAGES = ["ts", "typescript", "js", "javascript"] as const

function readAnswer(settings: Settings, context: DriverContext, response: LlmResponse, textStreamed: boolean): readonly DriverAction[] {
  const whole = withoutCalls(readResponse(context, response))
  const fence = readFences(whole.text).find((candidate) => isCode(settings, candidate))
  const shown = showResponse(whole, context.iteration, textStreamed)
  const problem = problemOf(settings, whole, fence)
  if (problem !== undefined) return [...shown, ...repair(settings, context, whole, problem)]
  if (fence === undefined) return [...shown, ...complete(context, whole)]

  // Text after the code is dropped: the model wrote it without knowing the output of the code.
  const answer = {
    producer: whole.producer,
    parts: [...whole.parts.filter(({ type }) => type === "reasoning"), { type: "text", text: whole.text.slice(0, fence.end) } as const],
  }
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

function isCode(settings: Settings, { language }: Fence): boolean {
  return settings.languages.some((known) => known.toLowerCase() === language)
}

function problemOf(settings: Settings, { text }: ReadResponse, fence: Fence | undefined): string | undefined {
  if (fence === undefined) return isBlank(text) ? "The answer was empty." : undefined
  if (!fence.closed) return "The block of code has no closing fence."
  if (isBlank(fence.code)) return "The block of code is empty."
  if (fence.code.length > settings.maxCodeChars)
    return `The block of code has ${fence.code.length} characters; at most ${settings.maxCodeChars} are run.`
  return undefined
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
function repair(settings: Settings, context: DriverContext, read: ReadResponse, problem: string): readonly DriverAction[] {
  const answer = !read.parts.some(saysSomething) ? [] : [assistantRecord(context, read)]
  if (repairsInARow(context) >= settings.maxRepairs) {
    const event = errorEvent(`${settings.maxRepairs + 1} answers in a row could not be used. ${problem}`, { kind: "driver", code: "malformed_code" })
    return [{ type: "append_events", events: answer }, ...stopFor(event, "incomplete")]
  }
  const [language = ""] = settings.languages
  const text = `${problem} Nothing was run. Write one block that opens with \`\`\`${language} on a line of its own and closes with \`\`\` on a line of its own, or answer in words without a block of code.`
  const request = note(context, "repair", [{ type: "error", text }])
  return [{ type: "append_events", events: [...answer, request, repairRecord(context.iteration)] }, ...nextIteration(context)]
}

/** The record of a malformed answer. Records of consecutive iterations form a row; a new turn starts a new row. */
function repairRecord(iteration: number): HistoryRecord {
  return { type: "protocol", event: { type: "code_repair", iteration } }
}

function repairsInARow({ events, iteration }: DriverContext): number {
  let repairs = 0
  for (let index = events.length - 1; index >= 0; index -= 1) {
    const record = events.at(index)
    if (record?.type !== "protocol" || !isRepair(record.event)) continue
    if (record.event.iteration !== iteration - 1 - repairs) break
    repairs += 1
  }
  return repairs
}

function isRepair(event: Json): event is { readonly type: "code_repair"; readonly iteration: Json } {
  return typeof event === "object" && event !== null && "type" in event && event["type"] === "code_repair" && "iteration" in event
}

function observe(settings: Settings, context: DriverContext, run: ExecResponse): readonly DriverAction[] {
  const events: HistoryRecord[] = []
  const parts: PartDraft[] = []
  const output = cutMiddle(run.observations.join("\n"), settings.maxObservationChars)
  if (!isBlank(output)) parts.push({ type: "output", text: output })
  if (run.error !== undefined) parts.push({ type: "error", text: cutMiddle(trim(run.error), settings.maxObservationChars) })
  if (parts.length === 0) parts.push({ type: "output", text: "[The code ran and printed nothing.]" })
  events.push(note(context, "observation", parts))
  if (run.printedImages.length > 0) events.push(images(context, run))

  const append: DriverAction = { type: "append_events", events }
  if (run.terminalFinish === undefined) return [append, ...nextIteration(context)]
  const outcome: Outcome = { type: "finished", finish: { type: "submitted_value", value: run.terminalFinish } }
  return [append, { type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "finish", outcome } }]
}

function failedRun(error: string): ExecResponse {
  return { observations: [], toolCalls: [], images: [], printedImages: [], error, durationMs: 0 }
}

type PartDraft = { readonly type: "output" | "error"; readonly text: string }

function note(context: DriverContext, scope: string, drafts: readonly PartDraft[]): HistoryRecord {
  const id = context.newMessageId(scope)
  const parts = drafts.map((draft, index): Part => ({ id: `${id}.p${index}`, ...draft }))
  return conversation({ id, role: "system", parts })
}

/** Models accept images only under the user's role. */
function images(context: DriverContext, run: ExecResponse): HistoryRecord {
  const id = context.newMessageId("images")
  const parts = run.printedImages.map((attachment, index): Part => ({ id: `${id}.p${index}`, type: "image", attachment }))
  return conversation({ id, role: "user", parts })
}
