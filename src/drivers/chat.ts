import type { DriverContext, ProtocolDriver, WaitingLlm } from "../machine/driver.ts"
import { errorEvent, resultsAction, stopFor } from "../machine/terminal.ts"
import { isBlank } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { Outcome } from "../wire/event.ts"
import type { LlmResponse } from "../wire/llm.ts"
import type { HistoryRecord } from "../wire/message.ts"
import type { CompletedToolCall } from "../wire/tool.ts"
import { checkOptions } from "./options.ts"
import { OUTPUT_OPTIONS, type OutputOptions, OutputPolicy } from "./output.ts"
import { type ReadResponse, readResponse, showResponse } from "./response-parts.ts"
import { assistantRecord, cutOffActions, diagnosis, nextIteration, saysSomething, startRequest } from "./steps.ts"

/** Options of {@link chatDriver}. */
export interface ChatDriverOptions extends OutputOptions {
  /** Whether an answer with neither text nor a tool call is asked for once more before it stops the turn. Default `false`. */
  readonly retryEmptyAnswer?: boolean
}

/**
 * The driver for models with native tool calls. An answer with calls runs the tools and continues; an answer without calls
 * ends the turn. In every request, each tool call has exactly one result.
 *
 * A call whose arguments are not a JSON object, or of a tool that the request did not offer, does not run: the model reads why.
 *
 * With `output`, the turn ends with a value: the final answer is checked, and one that does not have the form is asked for once more. The
 * model reads what is wrong with it. After the last one the turn stops as `incomplete`, with the code `invalid_output`.
 * @throws {SchemaError} `invalid_config`: an unknown option, or an option with a wrong value
 * @see docs/structured-output.md
 */
export function chatDriver(options: ChatDriverOptions = {}): ProtocolDriver {
  checkOptions("chatDriver", options, ["retryEmptyAnswer", ...OUTPUT_OPTIONS])
  const { retryEmptyAnswer = false } = options
  const output = OutputPolicy.of("chatDriver", options)
  return {
    name: "chat",
    version: 1,

    prepareIteration: (context) => output?.start(context) ?? startRequest(context, { tools: true }),

    onLlmComplete(context, waiting, response, textStreamed) {
      const answer = readResponse(context, response, waiting.outstanding.request.tools)
      const read = output?.withSubmitted(context, answer) ?? answer
      const shown = showResponse(read, context.iteration, textStreamed)
      if (read.calls.length > 0) return [...shown, ...runTools(context, read)]
      if (response.terminalReason === "paused") return [...shown, ...store(context, read), ...nextIteration(context)]
      if (isSilent(read) && !mayBeSilent(context, read, response)) {
        const kept = storeEmpty(context, read)
        return [...shown, ...kept, ...(retryEmptyAnswer && !isRetry(waiting) ? askAgain(waiting) : stopEmpty(response))]
      }
      const ending = output === undefined ? complete(context, read) : output.afterAnswer(context, read, storedRecords(context, read))
      return [...shown, ...diagnosis(response), ...ending]
    },

    onLlmCutOff: (context, _waiting, response) => cutOffActions(context, response),

    onToolResults(context, results) {
      const appended = results.length === 0 ? [] : [resultsAction(context, "tools", results)]
      const outcome = controlOutcome(results)
      if (outcome !== undefined) return [...appended, { type: "finish", outcome }]
      return [...appended, ...(output?.afterTools(context, results) ?? nextIteration(context))]
    },
  }
}

function runTools(context: DriverContext, read: ReadResponse): readonly DriverAction[] {
  const { calls, settled } = read
  return [
    { type: "append_events", events: [assistantRecord(context, read)] },
    settled.length === 0 ? { type: "start_tools", calls } : { type: "start_tools", calls, settled },
  ]
}

/** Appends the answer before the checkpoint, so that delivered messages come after it in the transcript. */
function complete(context: DriverContext, read: ReadResponse): readonly DriverAction[] {
  const outcome: Outcome = { type: "finished", finish: { type: "assistant_message", text: isSilent(read) ? "" : read.text } }
  return [...store(context, read), { type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "finish", outcome } }]
}

function store(context: DriverContext, read: ReadResponse): readonly DriverAction[] {
  return [{ type: "append_events", events: storedRecords(context, read) }]
}

function storedRecords(context: DriverContext, read: ReadResponse): readonly HistoryRecord[] {
  return read.parts.some(saysSomething) ? [assistantRecord(context, read)] : []
}

/** Reasoning that the user may have seen stays in the transcript. */
function storeEmpty(context: DriverContext, read: ReadResponse): readonly DriverAction[] {
  return read.parts.some(saysSomething) ? [{ type: "append_events", events: [assistantRecord(context, read, "empty")] }] : []
}

/** Whether an answer has neither text nor anything that its provider wants back. Reasoning alone says nothing. */
function isSilent({ text, parts }: ReadResponse): boolean {
  return isBlank(text) && !parts.some(({ type }) => type === "opaque")
}

/**
 * Silence is fine after a tool result, when the model may have nothing to add: if it says that it is done, and did not reason
 * towards an answer. As an answer to a user, or to what a host delivered, it is an error.
 */
function mayBeSilent({ messages }: DriverContext, { parts }: ReadResponse, { terminalReason }: LlmResponse): boolean {
  if (terminalReason !== "stop" || parts.some((part) => part.type === "reasoning" && saysSomething(part))) return false
  const last = messages.at(-1)
  return last?.role === "user" && last.parts.some((part) => part.type === "tool_result")
}

const EMPTY_RETRY = "empty_answer_retry"

function isRetry({ driverState }: WaitingLlm): boolean {
  return driverState === EMPTY_RETRY
}

function askAgain({ outstanding: { request } }: WaitingLlm): readonly DriverAction[] {
  return [{ type: "start_llm", request, driverState: EMPTY_RETRY }]
}

function stopEmpty({ terminalDiagnostic }: LlmResponse): readonly DriverAction[] {
  const why = terminalDiagnostic === undefined ? "" : ` ${terminalDiagnostic}`
  const event = errorEvent(`The model answered with neither text nor a tool call.${why}`, { kind: "llm_provider", code: "empty_response" })
  return stopFor(event, "provider_error")
}

/** The outcome requested by the first successful tool with a `control`, if any. */
function controlOutcome(results: readonly CompletedToolCall[]): Outcome | undefined {
  for (const { output, toolName } of results) {
    if (output.status !== "success" || output.control === undefined) continue
    const { control } = output
    switch (control.type) {
      case "finish":
        return { type: "finished", finish: { type: "tool_value", toolName, value: control.value } }
      case "fail":
        return { type: "stopped", stop: { type: "tool_error", toolName, value: control.failure } }
      case "switch_agent_frame":
        if (!isBlank(control.frameId)) return { type: "agent_frame_switch", frameId: control.frameId }
    }
  }
  return undefined
}
