import { frozen } from "../../freeze.ts"
import { quoted } from "../../text.ts"
import type { AnswerableEffect } from "../../wire/effect.ts"
import type { LlmResponse } from "../../wire/llm.ts"
import type { Response, ToolPending } from "../../wire/response.ts"
import type { CompletedToolCall } from "../../wire/tool.ts"
import type { Host, PerformOptions, RunOptions, TurnLog } from "../host.ts"
import { checkGrace, checkHost, checkToolConcurrency, DEFAULT_CANCEL_GRACE_MS, refuseOnce } from "./checks.ts"
import { Work } from "./effect-run.ts"
import { type Answer, checkedAnswer } from "./execute.ts"
import { cancelledResponses } from "./task.ts"

/** Options of {@link performEffect}. */
export interface PerformEffectOptions extends PerformOptions, Pick<RunOptions, "toolConcurrency" | "cancelGraceMs"> {
  /** Checks a response, usually `(response) => machine.check(response)`. A response that it refuses fails the effect. Default: no check. */
  readonly check?: (response: Response) => Response
  /** Records that a `once` call, or `once` code, is about to begin, as {@link TurnLog.callStarted} does. Absent: these are refused. */
  readonly callStarted?: TurnLog["callStarted"]
  /** Whether a start was recorded for a call, by this process or an earlier one, as {@link TurnLog.mayHaveRun}. Asked after an abort. Default: none was. */
  readonly mayHaveRun?: TurnLog["mayHaveRun"]
  /**
   * Receives each call of a batch whose work continues outside, before the promise resolves with the results of the others: hand it in as well.
   * Absent: such a call fails, unless it is the only call of the effect; its `tool_pending` is then what the promise resolves with.
   */
  readonly onPending?: (response: ToolPending) => void
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
 * Of a batch, only `calls` run: neither those that are held, nor those that continue outside. A loop that has held calls decided hands in
 * `tool_decisions`, and performs each `tool_calls_released` as the batch with these calls: `{ ...effect, calls: released.calls }`. While nothing
 * is left to run, it waits for a person; `machine.outstanding` says for whom.
 *
 * An executor that throws fails its effect. The promise rejects with an error for which `isFatal` returns true, or an error of `onEvent`,
 * `now` or `callStarted`.
 *
 * After an abort of `signal`, executors have `cancelGraceMs` to end. The promise then resolves with the results that count, among them
 * `outcome_unknown` for each `once` call that had begun; without any, it rejects with the signal's reason. Hand in the response, and then
 * cancel the machine: it cancels the calls that are still open. With a signal that is aborted already, nothing is performed, and only calls count
 * that an earlier process began, as `mayHaveRun` says.
 * @throws {RunError} `once_without_log`: a `once` call, and no `callStarted`. Nothing was performed.
 * @throws {RangeError} `toolConcurrency` is less than 1, or `cancelGraceMs` is not at least 0
 * @throws {TypeError} the host has no `llmCall`, or tools are spread into it
 */
export async function performEffect(host: Host, effect: AnswerableEffect, options: PerformEffectOptions = {}): Promise<Response> {
  const {
    turnId,
    check = (response) => response,
    callStarted,
    mayHaveRun = () => false,
    signal,
    onCutOff,
    onPending,
    cancelGraceMs = DEFAULT_CANCEL_GRACE_MS,
    ...rest
  } = options
  checkHost(host)
  checkGrace(cancelGraceMs)
  checkToolConcurrency(rest.toolConcurrency)
  if (callStarted === undefined) refuseOnce(host, effect)
  const mayHave = (callId?: string): boolean => mayHaveRun(effect.id, callId)
  if (signal?.aborted === true) {
    const [unknown] = cancelledResponses(effect, mayHave)
    if (unknown === undefined) throw signal.reason
    return check(unknown)
  }
  if (effect.type === "tool_calls" && effect.calls.length === 0 && (effect.held ?? effect.pending) !== undefined)
    return { type: "tool_results", id: effect.id, results: [] }
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
  const count = effect.type === "tool_calls" ? Math.max(1, effect.calls.length) : 1
  const answered = (answer: Answer): Response => {
    const response = checkedAnswer(answer, check)
    return response.type !== "tool_pending" || count === 1 || onPending !== undefined ? response : check(answer.instead(notPending(response)))
  }
  try {
    const responses: Response[] = []
    while (responses.length < count) {
      const answer = await work.next()
      if (answer === undefined) break
      responses.push(answered(answer))
    }
    if (responses.length < count) {
      await work.finish(cancelGraceMs)
      const { partial } = work
      for (const answer of work.stop()) responses.push(answered(answer))
      const withResult = new Set(
        responses.flatMap((response) => (response.type === "tool_results" ? response.results.map(({ callId }) => callId) : [])),
      )
      const isOpen = (callId?: string): boolean => (callId === undefined ? responses.length === 0 : !withResult.has(callId))
      responses.push(...cancelledResponses(effect, (callId) => (begun.has(callId) || mayHave(callId)) && !work.isNotBegun(callId) && isOpen(callId)))
      if (partial !== undefined) onCutOff?.(partial)
      if (responses.length === 0) throw signal?.reason
    }
    if (responses.length === 1) return responses[0] as Response
    for (const response of responses) if (response.type === "tool_pending") onPending?.(response)
    return joined(effect, responses)
  } finally {
    work.stop()
  }
}

function notPending({ token }: ToolPending): Error {
  return new Error(`Its work continues outside (${quoted(token)}), and performEffect was given no onPending.`)
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
