import { MAX_JSON_DEPTH } from "../../json.ts"
import { errorEvent } from "../../machine/terminal.ts"
import type { AnswerableEffect, ToolCalls } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmResponse, TerminalReason } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { PendingToolCall, ToolOutput } from "../../wire/tool.ts"
import { type EffectContext, type Host, type Recovered, type ToolAnswer, ToolError } from "../host.ts"
import { invalidToolResult, llmFailureOf, messageOf, partialOf, toolFailureOf } from "./failures.ts"
import { toJson } from "./plain-json.ts"

/** A call of one executor, and how its result becomes a response. */
export interface Task {
  execute(context: EffectContext): unknown
  /** The response for the executor's value. @throws if the value cannot be serialized */
  answer(value: unknown, facts: Facts): Response
  /** The response for the executor's error. @throws if its details cannot be serialized */
  failure(thrown: unknown, facts: Facts): Response
  /** The response to use if the turn refuses the first one, or if that cannot be serialized. */
  refusal(error: unknown, facts: Facts): Response
}

/** What the run loop knows about a task that has ended. */
export interface Facts {
  readonly at: number
  readonly durationMs: number
  readonly textStreamed: boolean
  /** What a model call said before it failed: what its executor reports, or what it emitted. */
  partial(said: unknown, terminalReason: TerminalReason): LlmResponse | undefined
  show(event: TurnEvent): void
}

/** Every effect except a tool batch is one task. */
export function taskOf(host: Host, effect: Exclude<AnswerableEffect, ToolCalls>): Task {
  const { id } = effect
  switch (effect.type) {
    case "llm_call": {
      const complete = (result: unknown, { at, textStreamed }: Facts): Response =>
        toWire({ type: "llm_complete", id, at, ...(textStreamed && { textStreamed }), result })
      const fail = (error: LlmFailure, facts: Facts, said?: unknown): Response => {
        const partial = facts.partial(said, error.terminalReason)
        // Usage without a word is the failure's own.
        const isSaid = partial !== undefined && (partial.parts.length > 0 || partial.text !== "")
        return complete({ ok: false, error, ...(isSaid && { partial }) }, facts)
      }
      return {
        execute: (context) => host.llmCall(effect, context),
        answer: (response, facts) => complete({ ok: true, response: timed(response, facts) }, facts),
        failure: (thrown, facts) => fail(llmFailureOf(thrown), facts, partialOf(thrown)),
        refusal: (error, facts) => {
          const message = `The model's answer cannot be used. ${messageOf(error)}`
          return fail({ message, retryable: false, code: "invalid_llm_response", terminalReason: "provider_error" }, facts)
        },
      }
    }
    case "exec_code": {
      const fail = (error: unknown, { at }: Facts): Response => ({ type: "exec_result", id, at, result: { ok: false, error: messageOf(error) } })
      return {
        execute: (context) => {
          if (host.execCode === undefined) throw new Error("This host does not run code.")
          return host.execCode(effect, context)
        },
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

/** An answer with its duration. Anything else stays as it is, and is refused by the machine. */
function timed(response: unknown, { durationMs }: Facts): unknown {
  return typeof response === "object" && response !== null ? { durationMs, ...response } : response
}

/**
 * One call of a tool batch, with a response of its own. A call that may have run before a crash runs again only if `recover` finds that
 * it did not.
 */
export function toolTask(host: Host, effectId: number, call: PendingToolCall, past?: "may_have_run"): Task {
  const complete = (answer: unknown, { at, durationMs }: Facts): Response => {
    const { output, modelReturn } = plainAnswer(answer)
    return { type: "tool_results", id: effectId, at, results: [{ ...call, output, ...(modelReturn !== undefined && { modelReturn }), durationMs }] }
  }
  const fail = (failure: unknown, facts: Facts): Response => complete({ output: { status: "failure", failure } }, facts)
  return {
    execute: (context) => {
      const { callId, toolName: name, args } = call
      context.emit({ type: "tool_call_start", callId, name, args })
      const run = async (): Promise<ToolAnswer> => {
        if (host.tools === undefined)
          throw new ToolError({ class: "unavailable", code: "no_tools", message: "This host runs no tools.", source: "runtime" })
        return host.tools.call(call, context)
      }
      return past === undefined ? run() : recover(host, call, context, run)
    },
    answer: complete,
    failure: (thrown, facts) => fail(toolFailureOf(thrown), facts),
    refusal: (error, facts) => fail(invalidToolResult(error), facts),
  }
}

async function recover(host: Host, call: PendingToolCall, context: EffectContext, run: () => Promise<ToolAnswer>): Promise<ToolAnswer> {
  let recovered: Recovered
  let why = ""
  try {
    recovered = await host.tools?.recover?.(call, context)
  } catch (error) {
    why = ` Looking it up failed: ${messageOf(error)}`
  }
  if (recovered === undefined) throw outcomeUnknown(why)
  return recovered.ran ? recovered.answer : run()
}

function outcomeUnknown(why: string): ToolError {
  const message = `The call was cut off by a crash: it may have taken effect or not, and was not run again.${why} Find out before asking for it once more.`
  return new ToolError({ class: "internal", code: "outcome_unknown", message, source: "runtime" })
}

/** A response nests free JSON a few levels deep. The machine checks the depth of that JSON itself. */
const RESPONSE_DEPTH = MAX_JSON_DEPTH + 8

/** Converts a response to plain JSON: without `undefined`, dates and class instances. The machine checks its shape. */
function toWire(response: unknown): Response {
  return toJson(response, RESPONSE_DEPTH) as unknown as Response
}

function plainAnswer(answer: unknown): ToolAnswer {
  const { output } = (answer ?? {}) as { output?: ToolOutput }
  if (typeof output !== "object" || output === null) throw new TypeError("A tool executor must return an object with an output.")
  const valued = output.status === "success" ? { ...output, value: toJson(output.value) } : output
  return toJson({ ...(answer as ToolAnswer), output: valued }, RESPONSE_DEPTH) as unknown as ToolAnswer
}
