import type { AnswerableEffect } from "../../wire/effect.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import type { Host } from "../host.ts"
import { timerMs } from "../timers.ts"
import { childPlace } from "./child-place.ts"
import type { Work, WorkOptions } from "./effect-run.ts"
import { type Answer, execute } from "./execute.ts"
import { idempotencyKey } from "./idempotency-key.ts"
import { askTask, withoutToken } from "./task.ts"

/** The calls of a cancelled batch that this run did not begin: their work may continue outside, or in a child that a crash left open. */
export class LeftCalls {
  readonly #host: Host
  readonly #work: Work | undefined
  readonly #signal: AbortSignal
  readonly #graceMs: number
  readonly #options: WorkOptions

  constructor(host: Host, work: Work | undefined, signal: AbortSignal, graceMs: number, options: WorkOptions) {
    this.#host = host
    this.#work = work
    this.#signal = signal
    this.#graceMs = graceMs
    this.#options = options
  }

  /** Lets the host's tools end the work of these calls. Returns the results that they know in time. */
  async end(effect: AnswerableEffect | undefined): Promise<readonly Answer[]> {
    if (this.#host.tools?.cancel === undefined || effect?.type !== "tool_calls") return []
    const isLeft = ({ callId }: PendingToolCall): boolean => this.#work?.hasBegun(callId) !== true || isOutside.has(callId)
    const isOutside = new Set((effect.pending ?? []).map(({ callId }) => callId))
    const calls = [...effect.calls, ...(effect.pending ?? []).map(withoutToken)].filter(isLeft)
    if (calls.length === 0) return []
    const answers: Answer[] = []
    let timer: ReturnType<typeof setTimeout> | undefined
    const grace = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timerMs(this.#graceMs))
    })
    const ended = Promise.all(calls.map((call) => this.#end(effect.id, call, answers)))
    try {
      await Promise.race([ended, grace])
    } finally {
      clearTimeout(timer)
    }
    return answers.splice(0)
  }

  async #end(effectId: number, call: PendingToolCall, answers: Answer[]): Promise<void> {
    const { keyIds = [], isFatal, children, now = Date.now } = this.#options
    const [turnId] = keyIds
    const { callId } = call
    let isNothing = false
    const ask = async (own: PendingToolCall, context: Parameters<NonNullable<NonNullable<Host["tools"]>["cancel"]>>[1]) =>
      this.#host.tools?.cancel?.(own, context)
    const task = askTask(this.#host, effectId, call, ask, () => {
      isNothing = true
    })
    const time = async (): Promise<number> => Math.floor(await now())
    const execution = await execute(task, await time(), {
      effectId,
      idempotencyKey: turnId === undefined ? undefined : idempotencyKey(turnId, effectId, callId),
      abort: { signal: this.#signal },
      isFatal,
      said: undefined,
      ...(children !== undefined &&
        turnId !== undefined && { child: (name?: string) => childPlace(children, { turnId, effectId, callId, signal: this.#signal }, name) }),
      now: time,
      emit: () => {},
    })
    const answer = await execution.answer()
    if (!isNothing) answers.push(answer)
  }
}
