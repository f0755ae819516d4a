import type { DriverAction } from "../wire/action.ts"
import type { Decision, HeldCall, Verdict } from "../wire/approval.ts"
import type { AnswerableEffect, LlmCall, ToolCalls } from "../wire/effect.ts"
import type { LlmFailure, LlmResponse, OutputPart, TerminalReason } from "../wire/llm.ts"
import type { CheckpointDelivery, Message } from "../wire/message.ts"
import type { LlmComplete, Response } from "../wire/response.ts"
import type { CompletedToolCall, ExecResponse, PendingToolCall } from "../wire/tool.ts"
import { answerTo, type ScriptedToolAnswer } from "./answers.ts"
import type { TurnInput } from "./turn-input.ts"

/**
 * Returns the different answers that a host may give to an effect: every kind of answer once. `mostCalls` is the largest number of
 * tool calls in one answer of the model. `exploreTurn` gives these unless its `answers` replaces them.
 */
export function possibleAnswers(effect: AnswerableEffect, mostCalls = 2): readonly Response[] {
  switch (effect.type) {
    case "sync_execution_surface":
      return [
        answerTo(effect),
        answerTo(effect, { surface: { ok: true, update: SURFACE } }),
        answerTo(effect, { surface: { ok: false, error: "The surface cannot be read." } }),
      ]
    case "llm_call":
      return modelAnswers(effect, mostCalls)
    case "tool_calls":
      return toolAnswers(effect)
    case "exec_code":
      return EXECUTIONS.map((value) => answerTo(effect, { exec: { ok: true, value } })).concat(
        answerTo(effect, { exec: { ok: false, error: "The sandbox was lost." } }),
      )
    case "checkpoint":
      return deliveries(effect.id).map((delivery) => answerTo(effect, { delivery }))
  }
}

const SURFACE = { systemPrompt: "Another prompt.", tools: [] }

function modelAnswers(effect: LlmCall, mostCalls: number): readonly Response[] {
  const { tools } = effect.request
  const names = tools.length === 0 ? ["tool"] : tools.map(({ name }) => name)
  const answer = (llm: LlmComplete["result"]): Response => answerTo(effect, { llm })
  const says = (parts: readonly OutputPart[], terminalReason: TerminalReason = "stop"): Response =>
    answer({ ok: true, response: response(parts, terminalReason) })
  const call = (place: number, toolName = names[0] as string, inputJson = "{}"): OutputPart => ({
    type: "tool_call",
    callId: `call_${effect.id}_${place}`,
    toolName,
    inputJson,
  })

  const answers = [says([TEXT]), answerTo(effect, { llm: { ok: true, response: response([TEXT], "stop") }, textStreamed: true }), says([])]
  answers.push(says([REASONING]), says([TEXT], "paused"))
  if (mostCalls > 0) {
    for (const name of names) answers.push(says([call(0, name)], "tool_use"))
    for (let count = 2; count <= mostCalls; count += 1) {
      const calls = Array.from({ length: count }, (_, place) => call(place, names[place % names.length]))
      answers.push(says([REASONING, TEXT, ...calls], "tool_use"))
      answers.push(says([call(0, names[0], BROKEN), TEXT, ...calls.slice(1)], "tool_use"))
    }
    answers.push(says([TEXT, call(0, names[0], BROKEN)], "tool_use"))
  }
  for (const reason of CUT_OFF) answers.push(says([REASONING, TEXT, ...(mostCalls > 0 ? [call(0, names[0], BROKEN)] : [])], reason))
  answers.push(says([], "context_overflow"), says([TEXT], "cancelled"), says([TEXT], "unknown"))
  for (const error of FAILURES) answers.push(answer({ ok: false, error }))
  answers.push(answer({ ok: false, error: LOST, partial: partialAnswer(LOST.terminalReason) }))
  return answers
}

/** What a model said before its call was cancelled or failed: a thought, a text, and half a tool call. */
export function partialAnswer(terminalReason: TerminalReason = "cancelled"): LlmResponse {
  return response([REASONING, TEXT, { type: "tool_call", callId: "half", toolName: "tool", inputJson: BROKEN }], terminalReason)
}

const TEXT: OutputPart = { type: "text", text: "An answer." }
const REASONING: OutputPart = { type: "reasoning", text: "A thought." }
const BROKEN = '{"cut off": '
const CUT_OFF = ["output_limit", "content_filter", "refusal", "provider_error"] as const satisfies readonly TerminalReason[]

const FAILURES: readonly LlmFailure[] = [
  { message: "The provider is overloaded.", retryable: true, code: "503", kind: "overloaded", terminalReason: "provider_error" },
  { message: "The limit of the account is used up.", retryable: false, code: "429", kind: "usage_limit", terminalReason: "provider_error" },
  { message: "The key is not valid.", retryable: false, code: "401", kind: "auth", terminalReason: "provider_error" },
  { message: "The prompt is too long.", retryable: false, code: "400", kind: "context_overflow", terminalReason: "context_overflow" },
]
const LOST: LlmFailure = { message: "The connection was lost.", retryable: true, kind: "network", terminalReason: "provider_error" }

function response(parts: readonly OutputPart[], terminalReason: TerminalReason): LlmResponse {
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  return { text, parts, usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }, terminalReason }
}

const REDIRECTED: Message = { id: "redirected", role: "user", parts: [{ id: "redirected.p0", type: "text", text: "Something else." }] }

/** Every kind of redirection once: of a model call with and without what it said, and of a batch in which no call or the first one ended in time. */
export function possibleRedirections(effect: AnswerableEffect | undefined): readonly Extract<TurnInput, { type: "redirect" }>[] {
  const redirect = { type: "redirect", messages: [REDIRECTED] } as const
  if (effect?.type === "llm_call") return [redirect, { ...redirect, partial: partialAnswer() }]
  if (effect?.type === "exec_code") return [redirect, { ...redirect, answer: answerTo(effect) }]
  const [first] = effect?.type === "tool_calls" ? effect.calls : []
  if (effect === undefined || first === undefined) return [redirect]
  return [redirect, { ...redirect, answer: results(effect.id, [completed(first, SUCCESS)]) }]
}

const NOTED = { type: "append_events", events: [{ type: "protocol", event: { type: "noted" } }] } as const satisfies DriverAction
const ADDED: Message = { id: "applied", role: "user", parts: [{ id: "applied.p0", type: "text", text: "By the way." }] }

/** What a host may apply to a turn: something to show and to store, and an end. */
export const POSSIBLE_APPLICATIONS: readonly Extract<TurnInput, { type: "apply" }>[] = [
  {
    type: "apply",
    actions: [
      { type: "emit", event: { type: "message", kind: "host", text: "The host notes something." } },
      NOTED,
      { type: "append_events", events: [{ type: "conversation", message: ADDED }] },
    ],
  },
  { type: "apply", actions: [NOTED, { type: "finish", outcome: { type: "stopped", stop: { type: "plugin_abort" } } }] },
]

/** Results, decisions, and a report that the first call continues outside. They come in any order and any mixture. */
function toolAnswers(effect: ToolCalls): readonly Response[] {
  const { id, calls, held = [], pending = [] } = effect
  return [...resultAnswers(id, [...calls, ...pending], held.length > 0), ...pendingAnswers(id, calls), ...decisionAnswers(id, held)]
}

/**
 * All results at once: all succeed, all fail, or the first finishes the turn. And single results of any open call, so that they
 * come in any order, and successes and failures in any mixture.
 */
function resultAnswers(id: number, calls: readonly PendingToolCall[], isHeld: boolean): readonly Response[] {
  if (calls.length === 0 && isHeld) return []
  const all = [SUCCESS, FAILURE].map((answer) =>
    results(
      id,
      calls.map((call) => completed(call, answer)),
    ),
  )
  const finishing = results(
    id,
    calls.map((call, index) => completed(call, index === 0 ? FINISHING : SUCCESS)),
  )
  if (calls.length < 2) return [...all, finishing]
  return [...all, finishing, ...calls.flatMap((call) => [SUCCESS, FAILURE].map((answer) => results(id, [completed(call, answer)])))]
}

/** Of several calls with one id, none can be reported. */
function pendingAnswers(id: number, calls: readonly PendingToolCall[]): readonly Response[] {
  const first = calls.find(({ callId }) => calls.filter((call) => call.callId === callId).length === 1)
  return first === undefined ? [] : [{ type: "tool_pending", id, callId: first.callId, token: `job of ${first.callId}` }]
}

/** Every decision about each held call, alone; and all of them approved or rejected at once. */
function decisionAnswers(id: number, held: readonly HeldCall[]): readonly Response[] {
  const decide = (decisions: readonly Decision[]): Response => ({ type: "tool_decisions", id, decisions })
  const answers = held.flatMap((call) => decisionsAbout(call).map((decision) => decide([decision])))
  if (held.length < 2) return answers
  const together = (["approve", "reject"] as const).filter((choice) => held.every(({ ask }) => ask.allow.includes(choice)))
  return [...answers, ...together.map((decision) => decide(held.map(({ requestId, digest }) => ({ requestId, digest, decision }))))]
}

function decisionsAbout({ requestId, digest, ask }: HeldCall): readonly Decision[] {
  const scopes = ask.scopes.filter((scope) => scope !== "call")
  const allowed = ask.allow.flatMap((choice): readonly Verdict[] => {
    if (choice === "edit") return [{ decision: "edit", args: { edited: true } }]
    return [{ decision: choice }, ...scopes.map((scope) => ({ decision: choice, scope }))]
  })
  const verdicts: readonly Verdict[] = [...allowed, { decision: "expired" }, { decision: "cancelled" }]
  return verdicts.map((verdict) => ({ requestId, digest, ...verdict }))
}

const SUCCESS: ScriptedToolAnswer = { output: { status: "success", value: "done" } }
const FINISHING: ScriptedToolAnswer = { output: { status: "success", value: "done", control: { type: "finish", value: "the value" } } }
const FAILURE: ScriptedToolAnswer = {
  output: {
    status: "failure",
    failure: { class: "execution", code: "failed", message: "It failed.", source: "tool", retry: { type: "never" } },
  },
}

function results(id: number, completedCalls: readonly CompletedToolCall[]): Response {
  return { type: "tool_results", id, results: completedCalls }
}

function completed({ callId, toolName, args }: PendingToolCall, answer: ScriptedToolAnswer): CompletedToolCall {
  return { callId, toolName, args, ...answer, durationMs: 0 }
}

const NOTHING: ExecResponse = { observations: [], toolCalls: [], images: [], printedImages: [], durationMs: 0 }
const EXECUTIONS: readonly ExecResponse[] = [
  { ...NOTHING, observations: ["printed"] },
  NOTHING,
  { ...NOTHING, error: "ReferenceError: x is not defined" },
  { ...NOTHING, terminalFinish: "the value" },
  { ...NOTHING, observations: ["printed"], error: "Error: late", terminalFinish: null },
  { ...NOTHING, printedImages: [{ id: "image", mediaType: "image/png", byteLength: 1 }] },
]

const ORIGIN = { type: "process", processId: "process", eventType: "event", sequence: 1 } as const

/** The cause has the same id each time, so that a second delivery of it is explored, too. */
function deliveries(effectId: number): readonly CheckpointDelivery[] {
  const id = `delivered_${effectId}`
  return [
    {},
    { userMessages: [{ id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text: "And this?" }] }] },
    { turnCauses: [{ id: "cause", eventType: "event", origin: ORIGIN, text: "It happened." }] },
    { events: [{ type: "happened" }] },
  ]
}
