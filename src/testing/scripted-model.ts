import { type EffectContext, type Host, LlmCallError } from "../hosts/host.ts"
import type { Json } from "../json.ts"
import { fingerprint } from "../replay/fingerprint.ts"
import type { TurnStart } from "../wire/config.ts"
import type { LlmCall } from "../wire/effect.ts"
import type { LlmFailure, LlmRequest, LlmResponse, OutputPart } from "../wire/llm.ts"
import { shown } from "./difference.ts"

/** A tool call that a model requests. Default of `callId`: `call_<answer>_<call>`, both counted from 1. */
export interface ScriptedToolCall {
  readonly toolName: string
  readonly args: Json
  readonly callId?: string
}

/** One answer of a scripted model as data: a final text, tool calls, a failed call, or the whole response. */
export type ScriptedModelData =
  | string
  | { readonly text?: string; readonly toolCalls: readonly ScriptedToolCall[] }
  | { readonly failure: LlmFailure }
  | LlmResponse

/** One answer of a scripted model. A function gets the request, and may emit events and wait, like any executor. */
export type ScriptedModelAnswer =
  | ScriptedModelData
  | ((request: LlmRequest, context: EffectContext) => ScriptedModelData | Promise<ScriptedModelData>)

/** One call to a scripted model. */
export interface ScriptedModelCall {
  readonly effectId: number
  readonly request: LlmRequest
  /** The index of its answer, from 0; the number of answers if the script had ended. */
  readonly answer: number
}

export interface ScriptedModelOptions {
  /**
   * The start of the turn, if it contains messages of the model, which are not answers of this script. Only a script that is
   * started in the middle of a thread needs it.
   */
  readonly start?: Pick<TurnStart, "messages">
}

/** A model whose answers are data, with the calls it received. Use `llmCall` in a host. */
export interface ScriptedModel extends Pick<Host, "llmCall"> {
  /** All calls so far, in order. A redelivered call appears again. */
  readonly calls: readonly ScriptedModelCall[]
  /** The number of answers that are left. */
  readonly remaining: number
  /** @throws {Error} if the script did not match the calls: there were more calls than answers, or answers are left */
  check(): void
}

const NO_USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

/**
 * Makes a model whose answers are data, in order: the first call gets the first answer, and so on, over any number of
 * turns. Usage is zero.
 *
 *     const model = scriptedModel([{ toolCalls: [{ toolName: "add", args: { a: 2, b: 40 } }] }, "It is 42."])
 *     await runTurn(machine, { llmCall: model.llmCall, tools })
 *     model.check()
 *
 * A redelivered call, equal and with the same id, gets the same answer. A new script, as after a crash in
 * another process, finds its position by its first request: it skips as many answers as the request has messages of the
 * model. Only the transcript shows the past to such a script: effect ids also count tool batches and
 * checkpoints, so an id does not show how many calls came before. Failures leave no message, so a scripted failure is
 * given again. After its first call the script counts calls, so that a shortened transcript does not confuse it.
 *
 * After the last answer calls reject, which ends most turns as `provider_error`; `check` then reports why.
 */
export function scriptedModel(answers: readonly ScriptedModelAnswer[], options: ScriptedModelOptions = {}): ScriptedModel {
  const calls: ScriptedModelCall[] = []
  const places = new Map<string, number>()
  let next: number | undefined
  let ranOut: Error | undefined
  return {
    calls,
    get remaining() {
      return answers.length - Math.min(next ?? 0, answers.length)
    },
    async llmCall(effect, context) {
      const key = `${effect.id} ${fingerprint(effect)}`
      const place = places.get(key) ?? next ?? firstPlace(answers, effect.request, options)
      calls.push({ effectId: effect.id, request: effect.request, answer: place })
      const answer = answers[place]
      if (answer === undefined) {
        const error = pastTheEnd(answers.length, place, effect)
        ranOut ??= error
        throw error
      }
      places.set(key, place)
      next = place + 1
      const data = typeof answer === "function" ? await answer(effect.request, context) : answer
      if (typeof data === "object" && "failure" in data) throw new LlmCallError(data.failure)
      return responseOf(data, place)
    },
    check() {
      if (ranOut !== undefined) throw ranOut
      const unused = answers.slice(next ?? 0)
      if (unused.length === 0) return
      const [first] = unused
      const answer = typeof first === "function" ? "a function" : shown(first as Json, 200)
      const number = (next ?? 0) + 1
      const place = unused.length === 1 ? `was not used: answer ${number}, ${answer}` : `were not used, from answer ${number} on: ${answer}`
      throw new Error(`${unused.length} of ${answers.length} scripted ${answers.length === 1 ? "answer" : "answers"} ${place}`)
    },
  }
}

/** Skips as many answers as the request has messages of the model, but not a failure that follows: it may be due. */
function firstPlace(answers: readonly ScriptedModelAnswer[], request: LlmRequest, { start }: ScriptedModelOptions): number {
  let missing = modelMessages(request) - (start?.messages.filter(({ role }) => role === "assistant").length ?? 0)
  let place = 0
  while (missing > 0) {
    const answer = answers[place]
    if (typeof answer !== "object" || !("failure" in answer)) missing -= 1
    place += 1
  }
  return place
}

function modelMessages({ messages }: LlmRequest): number {
  return messages.filter(({ role }) => role === "assistant").length
}

function pastTheEnd(length: number, place: number, { id, request }: LlmCall): Error {
  const last = `The request of effect ${id} ends with ${shown((request.messages.at(-1) ?? null) as Json, 200)}.`
  if (place === length) return new Error(`The script has no answers left, but the model was called again. ${last}`)
  const script = `The script has ${length} ${length === 1 ? "answer" : "answers"}`
  const problem = `its first request contains ${modelMessages(request)} model messages, so it would have to continue at answer ${place + 1}`
  return new Error(`${script}, but ${problem}. If the turn started with some of them, give the script its \`start\`. ${last}`)
}

function responseOf(data: Exclude<ScriptedModelData, { readonly failure: LlmFailure }>, place: number): LlmResponse {
  if (typeof data === "object" && "parts" in data) return data
  const { text = "", toolCalls } = typeof data === "string" ? { text: data, toolCalls: [] } : data
  const parts: OutputPart[] = text === "" ? [] : [{ type: "text", text }]
  toolCalls.forEach(({ toolName, args, callId }, index) => {
    parts.push({ type: "tool_call", callId: callId ?? `call_${place + 1}_${index + 1}`, toolName, inputJson: JSON.stringify(args) })
  })
  return { text, parts, usage: NO_USAGE, terminalReason: toolCalls.length > 0 ? "tool_use" : "stop" }
}
