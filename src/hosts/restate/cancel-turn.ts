import type { ToolCalls } from "../../wire/effect.ts"
import type { Response } from "../../wire/response.ts"
import { OpenCalls, reasonOf } from "../run/cancel.ts"
import { DEFAULT_CANCEL_GRACE_MS, isOnce } from "../run/checks.ts"
import { LeftCalls } from "../run/left-calls.ts"
import { cancelledResponses } from "../run/task.ts"
import type { EffectWork } from "./effect-work.ts"
import { cutOffAgain } from "./retry.ts"
import type { RunContext } from "./run-context.ts"

/** Ends a cancelled turn in order: running work has its grace time, and what it reports is recorded before the turn is cancelled. */
export async function cancelTurn(run: RunContext, work: EffectWork): Promise<void> {
  const { machine, waits } = run
  const { outstanding } = machine
  work.dropQueue()
  // What runs may belong to an earlier effect, whose results do not count.
  const isCurrent = outstanding?.id === work.effectId
  waits.keep((_key, isWork) => isWork && isCurrent)
  while (waits.size > 0) await run.next()
  const open = new OpenCalls(outstanding)
  let answer: Response | undefined
  const said = work.late.find(({ cutOff }) => cutOff?.partial !== undefined)?.cutOff?.partial
  // A late answer has the tokens of the failed attempts already.
  const partial = isCurrent && work.late.every(({ response }) => response === undefined) ? cutOffAgain(said, work.failed) : said
  const hand = async (response: Response): Promise<void> => {
    const isWork = response.type === "tool_results" || response.type === "exec_result"
    if (isWork && open.completedBy(response)) answer = response
    else if (outstanding !== undefined) await run.handle(outstanding, response, response.at ?? 0)
  }
  for (const { response } of work.late) if (response !== undefined) await hand(response)
  if (answer === undefined && outstanding?.type === "tool_calls") for (const response of await endLeft(run, work, outstanding)) await hand(response)
  const reason = reasonOf(run.controller.signal)
  machine.command({
    type: "cancel",
    ...(reason !== undefined && { reason }),
    ...(partial !== undefined && { partial }),
    ...(answer !== undefined && { answer }),
  })
}

/** What is known of the calls that this invocation does not run: their results from the host's tools, and of `once` calls that they may have run. */
async function endLeft(run: RunContext, work: EffectWork, { id }: ToolCalls): Promise<readonly Response[]> {
  const { outstanding } = run.machine
  if (outstanding?.type !== "tool_calls" || outstanding.id !== id) return []
  const begun = new Set(work.late.flatMap(({ callId, cutOff }) => (cutOff?.begun === true && callId !== undefined ? [callId] : [])))
  const left: ToolCalls = { ...outstanding, calls: outstanding.calls.filter(({ callId }) => !begun.has(callId)) }
  const { turnId, cancelGraceMs = DEFAULT_CANCEL_GRACE_MS } = run.options
  const ended =
    run.host.tools?.cancel === undefined
      ? []
      : await run.wait(
          run.steps.step(`${id} cancel`, async () => {
            const signal = AbortSignal.abort(run.controller.signal.reason)
            const calls = new LeftCalls(run.host, undefined, signal, cancelGraceMs, {
              keyIds: [turnId],
              isFatal: (error) => run.isFatal(error),
            })
            return (await calls.end(left)).map(({ response }) => response)
          }),
        )
  const known = new Set(ended.flatMap((response) => (response.type === "tool_results" ? response.results.map(({ callId }) => callId) : [])))
  const unknown = cancelledResponses({ ...outstanding, calls: [] }, (callId) => {
    const call = outstanding.pending?.find((one) => one.callId === callId)
    return call !== undefined && !known.has(call.callId) && isOnce(run.host, call)
  })
  // One by one: the last of all belongs to the cancellation.
  const single = unknown.flatMap((response) =>
    response.type === "tool_results" ? response.results.map((result): Response => ({ ...response, results: [result] })) : [response],
  )
  return [...ended, ...single]
}
