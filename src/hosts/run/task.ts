import { copyOf, MAX_JSON_DEPTH } from "../../json.ts"
import { errorEvent } from "../../machine/terminal.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { AnswerableEffect, ExecCode, ToolCalls } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmResponse, TerminalReason } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { CompletedToolCall, ExecResponse, PendingToolCall, ToolFailure, ToolOutput } from "../../wire/tool.ts"
import { type EffectContext, type Host, type Recovered, type ToolAnswer, ToolError } from "../host.ts"
import { invalidToolResult, llmFailureOf, messageOf, partialOf, toolFailureOf } from "./failures.ts"
import type { PartialAnswer } from "./partial-answer.ts"
import { membersOf, ownJson } from "./plain-json.ts"

/** What is known about earlier runs of a `once` call. `again`: it may have run. */
export type Past = "first" | "again"

/** A call of one executor, and how its result becomes a response. */
export interface Task {
  execute(context: EffectContext): unknown
  /** Whether a result still counts that came after the effect was cancelled. Absent: no result does. */
  countsLate?(ended: Ended, said: PartialAnswer | undefined): boolean
  /** The response for the executor's value. @throws if the value cannot be serialized */
  answer(value: unknown, facts: Facts): Response
  /** The response for the executor's error. @throws if its details cannot be serialized */
  failure(thrown: unknown, facts: Facts): Response
  /** The response to use if the turn refuses the first one, or if that cannot be serialized. */
  refusal(error: unknown, facts: Facts): Response
}

/** How an executor ended: it returned the value, or threw it. */
export interface Ended {
  readonly returned: boolean
  readonly value: unknown
}

/** What is known about a task that has ended. */
export interface Facts {
  readonly at: number
  readonly durationMs: number
  readonly textStreamed: boolean
  /** What a model call said before it failed: what its executor reports, or what it emitted. */
  partial(said: unknown, terminalReason: TerminalReason): LlmResponse | undefined
  show(event: TurnEvent): void
}

/** Every effect except a tool batch is one task. `past`: of code that must not run twice. */
export function taskOf(host: Host, effect: Exclude<AnswerableEffect, ToolCalls>, past: Past = "first"): Task {
  const { id } = effect
  switch (effect.type) {
    case "llm_call": {
      const complete = (result: unknown, { at, textStreamed }: Facts): Response =>
        toWire({
          type: "llm_complete",
          id,
          at,
          ...(effect.purpose !== undefined && { purpose: effect.purpose }),
          ...(textStreamed && { textStreamed }),
          result,
        })
      const fail = (error: LlmFailure, facts: Facts, said?: unknown): Response => {
        const partial = facts.partial(said, error.terminalReason)
        // Usage without a word is the failure's own.
        const isSaid = partial !== undefined && (partial.parts.length > 0 || partial.text !== "")
        return complete({ ok: false, error, ...(isSaid && { partial }) }, facts)
      }
      return {
        execute: (context) => host.llmCall(effect, context),
        // Of anything but a whole answer, what was said is stored as a partial answer.
        countsLate: ({ returned, value }, said) => returned && said?.accepts(value) === true,
        answer: (response, facts) => complete({ ok: true, response: timed(response, facts) }, facts),
        failure: (thrown, facts) => fail(llmFailureOf(thrown), facts, partialOf(thrown)),
        refusal: (error, facts) => {
          const message = `The model's answer cannot be used. ${messageOf(error)}`
          return fail({ message, retryable: false, code: "invalid_llm_response", terminalReason: "provider_error" }, facts)
        },
      }
    }
    case "exec_code": {
      const fail = (error: unknown, { at }: Facts): Response => failedCode(id, messageOf(error), at)
      return {
        execute: (context) => (past === "first" ? runCode(host, effect, context) : recoverCode(host, effect, context)),
        countsLate: ({ returned }) => returned,
        answer: (value, { at }) => toWire({ type: "exec_result", id, at, result: { ok: true, value } }),
        failure: fail,
        refusal: fail,
      }
    }
    case "checkpoint": {
      // Without the delivery the turn continues as its driver decided. Ending it would lose the model's work so far.
      const deliverNothing = (code: string, error: unknown, { at, show }: Facts): Response => {
        show(errorEvent(`Nothing was delivered at the checkpoint. ${messageOf(error)}`, { kind: "checkpoint", code }))
        return { type: "checkpoint_delivery", id, at, delivery: {} }
      }
      return {
        execute: (context) => host.checkpoint?.(effect, context),
        answer: (delivery, { at }) => toWire({ type: "checkpoint_delivery", id, at, delivery: delivery ?? {} }),
        failure: (thrown, facts) => deliverNothing("executor_threw", thrown, facts),
        refusal: (error, facts) => deliverNothing("invalid_delivery", error, facts),
      }
    }
    case "sync_execution_surface": {
      const fail = (error: unknown, { at }: Facts): Response => ({
        type: "execution_surface_synced",
        id,
        at,
        result: { ok: false, error: messageOf(error) },
      })
      return {
        execute: (context) => host.syncExecutionSurface?.(effect, context),
        answer: (update, { at }) => toWire({ type: "execution_surface_synced", id, at, result: { ok: true, update: update ?? undefined } }),
        failure: fail,
        refusal: fail,
      }
    }
  }
}

/**
 * Asks a host to decide about held calls. An error or a value that is not a list of decisions decides nothing, so that no call runs and none is
 * lost: they stay held.
 */
export function decideTask(host: Host, id: number, held: readonly HeldCall[]): Task {
  const decideNothing = (code: string, error: unknown, { at, show }: Facts): Response => {
    show(errorEvent(`The held calls were not decided. ${messageOf(error)}`, { kind: "approval", code }))
    return { type: "tool_decisions", id, at, decisions: [] }
  }
  return {
    execute: (context) => host.decide?.(held, context),
    answer: (decisions, { at }) => {
      if (decisions !== undefined && !Array.isArray(decisions)) throw new TypeError("Host.decide must return a list of decisions, or undefined.")
      return toWire({ type: "tool_decisions", id, at, decisions: decisions ?? [] })
    },
    failure: (thrown, facts) => decideNothing("executor_threw", thrown, facts),
    refusal: (error, facts) => decideNothing("invalid_decisions", error, facts),
  }
}

async function runCode({ code }: Host, effect: ExecCode, context: EffectContext): Promise<ExecResponse> {
  if (code === undefined) throw new Error("This host does not run code.")
  return code.run(effect, context)
}

function recoverCode(host: Host, effect: ExecCode, context: EffectContext): Promise<ExecResponse> {
  return recover(
    context,
    async () => host.code?.recover?.(effect, context),
    () => runCode(host, effect, context),
  )
}

function failedCode(id: number, error: string, at: number | undefined): Response {
  return { type: "exec_result", id, ...(at !== undefined && { at }), result: { ok: false, error } }
}

/** An answer with its duration. Anything else stays as it is, and is refused by the machine. */
function timed(response: unknown, { durationMs }: Facts): unknown {
  return typeof response === "object" && response !== null ? { durationMs, ...response } : response
}

/**
 * One call of a tool batch, with a response of its own. A call that may have run before a crash runs again only if `recover` finds that
 * it did not.
 */
export function toolTask(host: Host, effectId: number, call: PendingToolCall, past: Past = "first"): Task {
  const complete = (answer: unknown, { at, durationMs }: Facts): Response => {
    const { output, modelReturn, usage } = plainAnswer(answer)
    if (output.status === "pending") {
      const { token, note } = output
      return { type: "tool_pending", id: effectId, at, callId: call.callId, token, ...(note !== undefined && { note }) }
    }
    return {
      type: "tool_results",
      id: effectId,
      at,
      results: [{ ...call, output, ...(modelReturn !== undefined && { modelReturn }), durationMs, ...(usage !== undefined && { usage }) }],
    }
  }
  const fail = (failure: unknown, facts: Facts): Response => complete({ output: { status: "failure", failure } }, facts)
  return {
    execute: (context) => {
      const { callId, toolName: name, args } = call
      context.emit(Object.freeze({ type: "tool_call_start", callId, name, args }))
      // Tools often complete their arguments in place, and each run begins with those of the model.
      const own = (): PendingToolCall => ({ ...call, args: copyOf(args) })
      const run = (): Promise<ToolAnswer> => {
        if (host.tools === undefined)
          throw new ToolError({ class: "unavailable", code: "no_tools", message: "This host runs no tools.", source: "runtime" })
        return host.tools.call(own(), context)
      }
      return past === "first"
        ? run()
        : recover(
            context,
            async () => host.tools?.recover?.(own(), context),
            async () => run(),
          )
    },
    countsLate: isOwnWord,
    answer: complete,
    failure: (thrown, facts) => fail(toolFailureOf(thrown), facts),
    refusal: (error, facts) => fail(invalidToolResult(error), facts),
  }
}

/**
 * Asks a host's tools about a call that this run does not begin. `onNothing`: called if they know no result; the response then has none.
 */
export function askTask(host: Host, effectId: number, call: PendingToolCall, ask: Ask, onNothing: () => void): Task {
  const task = toolTask(host, effectId, call)
  const nothing = ({ at }: Facts): Response => {
    onNothing()
    return { type: "tool_results", id: effectId, at, results: [] }
  }
  return {
    ...task,
    execute: (context) => ask({ ...call, args: copyOf(call.args) }, context),
    countsLate: () => true,
    answer: (answer, facts) => (isNothing(answer) ? nothing(facts) : task.answer(answer, facts)),
    failure: (_thrown, facts) => nothing(facts),
  }
}

/** What {@link askTask} asks: to continue the work of a call, or to end it. */
export type Ask = (call: PendingToolCall, context: EffectContext) => Promise<ToolAnswer | undefined>

function isNothing(answer: unknown): boolean {
  const { output } = (answer ?? {}) as Partial<ToolAnswer>
  return output === undefined || output?.status === "pending"
}

/** Whether a result is what the tool says about the call, and not merely an error that the abort of its signal led to. */
function isOwnWord({ returned, value }: Ended): boolean {
  if (!returned) return value instanceof ToolError
  const { output } = membersOf(value as { readonly output?: ToolOutput })
  return output?.status !== "failure" || output.failure?.code !== "tool_threw"
}

async function recover<Answer>(
  { isFatal, signal }: EffectContext,
  find: () => Promise<Recovered<Answer>>,
  run: () => Promise<Answer>,
): Promise<Answer> {
  let recovered: Recovered<Answer>
  let why = ""
  try {
    recovered = await find()
  } catch (error) {
    if (isFatal?.(error) === true) throw error
    why = ` Looking it up failed: ${messageOf(error)}`
  }
  if (recovered?.ran === true) return recovered.answer
  if (recovered?.ran === false) {
    // Nothing starts for an effect that was cancelled during the look-up, or whose run has ended.
    signal.throwIfAborted()
    return run()
  }
  throw new ToolError(outcomeUnknown(`The call was cut off by a crash: it may have taken effect or not, and was not run again.${why}`))
}

function outcomeUnknown(what: string): ToolFailure {
  const message = `${what} Find out before asking for it once more.`
  return { class: "internal", code: "outcome_unknown", message, source: "runtime", retry: { type: "never" } }
}

const CANCELLED = outcomeUnknown("The call had begun when it was cancelled: it may have taken effect or not.")

/** The responses for those `once` calls of a cancelled effect that had begun and have no result, also where their work continues outside. `hasBegun` knows the calls by their id. */
export function cancelledResponses(effect: AnswerableEffect, hasBegun: (callId?: string) => boolean): readonly Response[] {
  if (effect.type === "exec_code") return hasBegun() ? [failedCode(effect.id, CANCELLED.message, undefined)] : []
  if (effect.type !== "tool_calls") return []
  const results = [...effect.calls, ...(effect.pending ?? []).map(withoutToken)]
    .filter(({ callId }) => hasBegun(callId))
    .map((call): CompletedToolCall => ({ ...call, output: { status: "failure", failure: CANCELLED }, durationMs: 0 }))
  return results.length === 0 ? [] : [{ type: "tool_results", id: effect.id, results }]
}

/** A call that continues outside as its result names it. */
export function withoutToken({ token: _token, note: _note, ...call }: ExternalCall): PendingToolCall {
  return call
}

/** A response nests free JSON a few levels deep. The machine checks the depth of that JSON itself. */
const RESPONSE_DEPTH = MAX_JSON_DEPTH + 8

/** Converts a response to plain JSON of its own: without `undefined`, dates and class instances. The machine checks its shape. */
function toWire(response: unknown): Response {
  return ownJson(response, RESPONSE_DEPTH) as unknown as Response
}

function plainAnswer(answer: unknown): ToolAnswer {
  const { output } = (answer ?? {}) as { output?: ToolOutput }
  if (typeof output !== "object" || output === null) throw new TypeError("A tool executor must return an object with an output.")
  if (output.status !== "success") return ownJson(answer, RESPONSE_DEPTH) as unknown as ToolAnswer
  // The value may nest as deeply as any JSON.
  const value = ownJson(output.value)
  const rest = ownJson({ ...(answer as ToolAnswer), output: { ...output, value: null } }, RESPONSE_DEPTH) as unknown as ToolAnswer
  return { ...rest, output: { ...rest.output, value } as ToolAnswer["output"] }
}
