import type { Attributes } from "@opentelemetry/api"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Done } from "../../wire/effect.ts"
import type { Outcome, TurnEvent } from "../../wire/event.ts"
import type { LlmResponse, TokenUsage } from "../../wire/llm.ts"
import type { ExecResponse, ToolFailure } from "../../wire/tool.ts"
import { LlmCallError, type Recovered, type Suspended, type ToolAnswer } from "../host.ts"
import { costOf, type TokenPrices } from "../models/prices.ts"
import { llmFailureOf, messageOf, toolFailureOf } from "../run/failures.ts"
import { finishReason, outputMessages, usageAttributes } from "./content.ts"
import { errorType, failureType, OTHER, thrownType } from "./conventions.ts"
import type { Ending, Tracing } from "./spans.ts"

/** How a model call's span ends for a response. The run loop turns an invalid one into a failure with the same code. */
export function answeredCall(response: LlmResponse, { captureContent, names }: Tracing): Ending {
  const usage: TokenUsage | undefined = response?.usage
  if (usage === undefined) return { error: { type: "invalid_llm_response", message: "The model's answer cannot be used." } }
  const { terminalReason, retriedUsage, terminalDiagnostic = "The provider ended its answer with an error." } = response
  return {
    usage,
    ...(retriedUsage && { retriedUsage }),
    attributes: {
      ...usageAttributes(usage, names),
      "gen_ai.response.finish_reasons": [finishReason(terminalReason)],
      ...producerAttributes(response),
      ...(captureContent && { "gen_ai.output.messages": outputMessages(response, names) }),
    },
    ...(terminalReason === "provider_error" && { error: { type: terminalReason, message: terminalDiagnostic } }),
  }
}

export function failedCall(thrown: unknown, { names }: Tracing): Ending {
  const failure = llmFailureOf(thrown)
  const { terminalReason, message, usage = said(thrown)?.usage, retriedUsage = said(thrown)?.retriedUsage } = failure
  const attributes = { ...(usage && usageAttributes(usage, names)), ...producerAttributes(said(thrown)), "gen_ai.response.finish_reasons": ["error"] }
  const used = { attributes, ...(usage && { usage }), ...(retriedUsage && { retriedUsage }) }
  if (terminalReason === "cancelled") return { ...used, cancelled: true }
  return { ...used, error: { type: failureType(failure), message, exception: { thrown } } }
}

/** What the model said before its call failed. The turn charges its usage where the failure has none. */
function said(thrown: unknown): LlmResponse | undefined {
  return thrown instanceof LlmCallError ? thrown.partial : undefined
}

/** The model that answered, as far as it is known, or the one that was asked for. */
export function producerOf(thrown: unknown, asked: string): string {
  return said(thrown)?.producer?.model ?? asked
}

/** Who answered, and the provider's id of the answer. */
function producerAttributes({ producer }: Pick<LlmResponse, "producer"> = {}): Attributes {
  return {
    ...(producer !== undefined && { "gen_ai.response.model": producer.responseModel ?? producer.model }),
    ...(producer?.responseId !== undefined && { "gen_ai.response.id": producer.responseId }),
  }
}

/** The ending of a model call with its cost, where the prices of the model are known. The failed attempts in the call count, too. */
export function priced(ending: Ending, model: string, prices: ((model: string) => TokenPrices | undefined) | undefined): Ending {
  const { attributes, retriedUsage, usage } = ending
  const known = [usage, retriedUsage].filter((used) => used !== undefined)
  const price = known.length === 0 ? undefined : prices?.(model)
  if (price === undefined) return ending
  const costUsd = known.reduce((sum, used) => sum + costOf(used, price), 0) / 1_000_000
  return { ...ending, costUsd, attributes: { ...attributes, "turn_machine.cost.usd": costUsd } }
}

/** How a tool's span ends for an answer. */
export function ranTool(answer: ToolAnswer, captureContent: boolean): Ending {
  const output: ToolAnswer["output"] | undefined = answer?.output
  switch (output?.status) {
    case "success":
      return captureContent ? { attributes: { "gen_ai.tool.call.result": JSON.stringify(output.value) } } : {}
    case "failure": {
      const { code, message } = output.failure
      return { error: { type: errorType(code), message, exception: {} } }
    }
    case "pending":
      return { attributes: { "turn_machine.tool.pending": output.token } }
    case "cancelled":
      return { cancelled: true }
    default:
      return { error: { type: "invalid_tool_result", message: "The tool ran, but its result cannot be used." } }
  }
}

export function failedTool(thrown: unknown): Ending {
  const { code, message } = toolFailureOf(thrown)
  return { error: { type: errorType(code), message, exception: { thrown } } }
}

/** How the span of a call ends that no tool ran. */
export function refusedTool({ code, message }: ToolFailure): Ending {
  return { error: { type: errorType(code), message } }
}

/** How the span of any other executor ends for an error. */
export function failedWork(thrown: unknown): Ending {
  return { error: { type: "executor_threw", message: messageOf(thrown), exception: { thrown } } }
}

/** How the span of code ends that threw: its error may be one of the code itself. */
export function failedCode(thrown: unknown): Ending {
  return { error: { type: "executor_threw", message: messageOf(thrown), exception: { thrown, ofCode: true } } }
}

export function recoveredCall(recovered: Recovered<unknown>): Ending {
  return { attributes: { "turn_machine.recovered": recovered === undefined ? "unknown" : recovered.ran ? "ran" : "not_run" } }
}

export function answeredCode({ error, observations, toolCalls }: ExecResponse, captureContent: boolean): Ending {
  return {
    attributes: {
      ...(toolCalls.length > 0 && { "turn_machine.code.tool_calls": toolCalls.length }),
      ...(captureContent && { "turn_machine.code.observations": [...observations] }),
    },
    ...(error !== undefined && { error: { type: "code_failed", message: error, exception: { ofCode: true } } }),
  }
}

/** How a turn's span ends. A cancelled turn is not an error; any other stop is. */
export function outcomeOf({ outcome, iteration }: Done): Ending {
  const attributes: Attributes = { "turn_machine.outcome.type": outcome.type, "turn_machine.iteration": iteration }
  switch (outcome.type) {
    case "finished":
      return { attributes: { ...attributes, "turn_machine.outcome.finish": outcome.finish.type } }
    case "agent_frame_switch":
      return { attributes }
    case "stopped": {
      const { stop } = outcome
      const { type } = stop
      const stopped = { ...attributes, "turn_machine.outcome.stop": type }
      if (type === "cancelled") return { attributes: stopped, cancelled: true }
      return { attributes: stopped, error: { type: stopType(stop), message: `The turn was stopped: ${type}.` } }
    }
  }
}

type Stop = Extract<Outcome, { type: "stopped" }>["stop"]

/** The code of the failure that stopped a turn, or else the kind of the stop. */
function stopType(stop: Stop): string {
  const { error, type } = stop
  const value = type === "tool_error" ? stop.value : undefined
  const code = error?.code ?? (typeof value === "object" && value !== null && "code" in value ? value.code : undefined)
  const known = errorType(code)
  return known === OTHER ? type : known
}

/** How a turn's span ends for a run that was suspended: not an error, and not the end of the turn. */
export function suspendedRun({ held, pending }: Suspended, { iteration }: TurnMachine): Ending {
  return {
    attributes: {
      "turn_machine.suspended": true,
      "turn_machine.iteration": iteration,
      "turn_machine.held_calls": held.length,
      "turn_machine.pending_calls": pending.length,
    },
  }
}

/** How a turn's span ends if the run rejects, because the host could not record or report something. */
export function rejected(thrown: unknown): Ending {
  return { error: { type: thrownType(thrown), message: messageOf(thrown), exception: { thrown } } }
}

/** The event of a turn's span for a call that waits for a decision, for a decision, and for work that continues outside. */
export function steeringEvent(event: TurnEvent): readonly [name: string, attributes: Attributes] | undefined {
  switch (event.type) {
    case "approval_requested": {
      const { requestId, toolName, callId } = event.held
      return ["turn_machine.approval_requested", { "turn_machine.request_id": requestId, ...toolOf(toolName, callId) }]
    }
    case "approval_decided": {
      const { requestId, name, callId, decision } = event
      return ["turn_machine.approval_decided", { "turn_machine.request_id": requestId, "turn_machine.decision": decision, ...toolOf(name, callId) }]
    }
    case "tool_pending":
      return ["turn_machine.tool_pending", { "turn_machine.tool.pending": event.token, ...toolOf(event.name, event.callId) }]
    case "message":
      return event.kind === "redirected" ? ["turn_machine.redirected", {}] : undefined
    default:
      return undefined
  }
}

function toolOf(name: string, callId: string): Attributes {
  return { "gen_ai.tool.name": name, "gen_ai.tool.call.id": callId }
}
