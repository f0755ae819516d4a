import { frozen } from "../../freeze.ts"
import type { AnswerableEffect } from "../../wire/effect.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { CompletedToolCall } from "../../wire/tool.ts"
import type { Host, PerformOptions, RunOptions, TurnLog } from "../host.ts"
import { checkGrace, checkHost, checkToolConcurrency, DEFAULT_CANCEL_GRACE_MS, refuseOnce } from "./checks.ts"
import { Work } from "./effect-run.ts"
import { checkedAnswer } from "./execute.ts"
import { cancelledResponses } from "./task.ts"

/** Options of {@link performEffect}. */
export interface PerformEffectOptions extends PerformOptions, Pick<RunOptions, "toolConcurrency" | "cancelGraceMs"> {
  /** Checks a response, usually `(response) => machine.check(response)`. A response that it refuses fails the effect. Default: no check. */
  readonly check?: (response: Response) => Response
  /** Records that a `once` call, or `once` code, is about to begin, as {@link TurnLog.callStarted} does. Absent: these are refused. */
  readonly callStarted?: TurnLog["callStarted"]
  /** Receives what an aborted model call said and used, before the promise rejects. Pass it on: `machine.cancel(reason, partial)`. */
  readonly onCutOff?: (partial: LlmResponse) => void
}

/**
 * Performs one effect with a host's executors, and returns the response to it: for loops other than `runTurn`, such as that of a workflow
 * engine. For one call of a tool batch, pass the effect with that call alone: `{ ...effect, calls: [call] }`.
 *
 *     const response = await performEffect(host, effect, { turnId, check: (response) => machine.check(response) })
 *     machine.handle(response)
 *
 * An executor that throws fails its effect. The promise rejects with an error for which `isFatal` returns true, or an error of `onEvent`,
 * `now` or `callStarted`.
 *
 * After an abort of `signal`, executors have `cancelGraceMs` to end. The promise then resolves with the results that count, among them
 * `outcome_unknown` for each `once` call that had begun; without any, it rejects with the signal's reason. Hand in the response, and then
 * cancel the machine: it cancels the calls that are still open.
 * @throws {RunError} `once_without_log`: a `once` call, and no `callStarted`. Nothing was performed.
 * @throws {RangeError} `toolConcurrency` is less than 1, or `cancelGraceMs` is not at least 0
 * @throws {TypeError} the host has no `llmCall`, or tools are spread into it
 */
export async function performEffect(host: Host, effect: AnswerableEffect, options: PerformEffectOptions = {}): Promise<Response> {
  const { turnId, check = (response) => response, callStarted, signal, onCutOff, cancelGraceMs = DEFAULT_CANCEL_GRACE_MS, ...rest } = options
  checkHost(host)
  checkGrace(cancelGraceMs)
  checkToolConcurrency(rest.toolConcurrency)
  if (callStarted === undefined) refuseOnce(host, effect)
  signal?.throwIfAborted()
  const begun = new Set<string | undefined>()
  // One that was read from a log is not frozen yet.
  const work = new Work(frozen(effect), host, {
    ...rest,
    ...(signal !== undefined && { signal }),
    keyIds: turnId === undefined ? undefined : [turnId],
    ...(callStarted !== undefined && {
      callStarted: async (effectId, callId) => {
        const past = await callStarted(effectId, callId)
        begun.add(callId)
        return past
      },
    }),
  })
  try {
    const responses: Response[] = []
    const count = effect.type === "tool_calls" ? Math.max(1, effect.calls.length) : 1
    while (responses.length < count) {
      const answer = await work.next()
      if (answer === undefined) break
      responses.push(checkedAnswer(answer, check))
    }
    if (responses.length < count) {
      await work.finish(cancelGraceMs)
      const { partial } = work
      for (const answer of work.stop()) responses.push(checkedAnswer(answer, check))
      const answered = new Set(
        responses.flatMap((response) => (response.type === "tool_results" ? response.results.map(({ callId }) => callId) : [])),
      )
      const isOpen = (callId?: string): boolean => (callId === undefined ? responses.length === 0 : !answered.has(callId))
      responses.push(...cancelledResponses(effect, (callId) => begun.has(callId) && !work.isNotBegun(callId) && isOpen(callId)))
      if (partial !== undefined) onCutOff?.(partial)
      if (responses.length === 0) throw signal?.reason
    }
    return responses.length === 1 ? (responses[0] as Response) : joined(effect, responses)
  } finally {
    work.stop()
  }
}

/** The results of all calls of a batch as they came, at the time of the last. The machine brings them into call order. */
function joined({ id }: AnswerableEffect, responses: readonly Response[]): Response {
  const results: CompletedToolCall[] = []
  let at: number | undefined
  for (const response of responses) {
    if (response.type !== "tool_results") continue
    results.push(...response.results)
    at = response.at ?? at
  }
  return { type: "tool_results", id, ...(at !== undefined && { at }), results }
}
