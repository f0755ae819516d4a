import type { Json } from "../../src/json.ts"
import { type CompleteTurnConfig, completeConfig, type TurnConfig } from "../../src/machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import type { HostCommand } from "../../src/machine/step.ts"
import type { Transcript } from "../../src/projectors/projector.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Decision, HeldCall, HoldCall } from "../../src/schemas/approval.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { AnswerableEffect, Effect } from "../../src/schemas/effect.ts"
import type { LogEvent, Outcome, TurnEvent } from "../../src/schemas/event.ts"
import type { LlmResponse, TokenUsage } from "../../src/schemas/llm.ts"
import { AttachmentRef, type CheckpointDelivery, type HistoryRecord, type Message, type Part, type TurnCause } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { CompletedToolCall, ModelReturn, PendingToolCall, ToolOutput, ToolSpec } from "../../src/schemas/tool.ts"

/**
 * The machine again, written as plainly as the rules allow: one object with fields that are overwritten, every
 * list copied, nothing shared with the package but its types (and one schema, which decides what an attachment is). The driver is called as the package calls it.
 */
export class ReferenceMachine {
  readonly #config: CompleteTurnConfig
  #turn: ModelTurn
  #queue: Queued[] = []

  constructor(config: TurnConfig, start: TurnStart) {
    const iterationOffset = start.iterationOffset ?? 0
    this.#config = completeConfig(config)
    this.#turn = {
      state: "preparing",
      messages: [...start.messages],
      events: [...(start.events ?? [])],
      causes: [...(start.turnCauses ?? [])],
      emitted: start.events?.length ?? 0,
      iteration: iterationOffset,
      offset: iterationOffset,
      nextId: 1,
      nextNumber: start.messages.length,
      usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 },
      synced: "never",
      limitAnnounced: false,
      surfaceChanged: start.surfaceChanged ?? false,
      prompt: this.#config.systemPrompt,
      tools: this.#config.tools,
      at: undefined,
      work: undefined,
      outcome: undefined,
    }
  }

  /** The state of the turn that is visible from outside. */
  get seen(): unknown {
    const { state, messages, events, causes, iteration, usage, outcome } = this.#turn
    return { state, done: state === "finished", messages, events, turnCauses: causes, iteration, usage, outcome, outstanding: this.outstanding }
  }

  get outstanding(): AnswerableEffect | undefined {
    return this.#turn.work === undefined ? undefined : effectOf(this.#turn.work)
  }

  poll(): Effect | undefined {
    if (this.#queue.length === 0) this.#prepare()
    const first = this.#queue.shift()
    if (first === undefined) return undefined
    const { work } = this.#turn
    if (first.effect.type === "tool_calls_released") {
      // Only the calls that are still to be run are emitted.
      const left = first.effect.calls.filter(({ callId }) => work !== undefined && runnable(work).some((call) => call.callId === callId))
      return left.length === 0 ? this.poll() : { ...first.effect, calls: left }
    }
    if (first.work === undefined || first.work !== work) return first.effect
    // The batch names what was released before it was polled. Only the calls that still lack a result are emitted.
    if (work.calls.some(({ decision }) => decision !== undefined))
      this.#queue = this.#queue.filter(({ effect }) => effect.type !== "tool_calls_released")
    return effectOf(first.work)
  }

  /** Through JSON and back: the outstanding effect is redelivered after all other effects, unless it is still queued. */
  restore(): void {
    this.#turn = JSON.parse(JSON.stringify(this.#turn)) as ModelTurn
    const { work } = this.#turn
    this.#queue = this.#queue.filter(({ effect }) => effect.type !== "tool_calls_released")
    if (work === undefined) return
    const place = this.#queue.findIndex(
      (queued) => queued.effect.type !== "cancel_llm" && "id" in queued.effect && queued.effect.id === work.effect.id,
    )
    const again: Queued = { effect: effectOf(work), work, again: true }
    if (place < 0) this.#queue.push(again)
    else this.#queue[place] = again
  }

  /** `accepted`, `stale`, or the code of an error. */
  respond(response: Response): string {
    const { work, nextId } = this.#turn
    if (work === undefined || response.id !== work.effect.id) return response.id > 0 && response.id < nextId ? "stale" : "unknown_effect"
    const at = latest(this.#turn.at, response.at)
    switch (response.type) {
      case "execution_surface_synced":
        if (work.effect.type !== "sync_execution_surface") return "unexpected_response"
        this.#leave(work)
        this.#surface(response.result, at)
        return "accepted"
      case "llm_complete":
        if (work.effect.type !== "llm_call") return "unexpected_response"
        this.#leave(work)
        this.#model(work, response, at)
        return "accepted"
      case "tool_results":
        return work.effect.type === "tool_calls" ? this.#results(work, response.results, at) : "unexpected_response"
      case "exec_result": {
        if (work.effect.type !== "exec_code") return "unexpected_response"
        this.#leave(work)
        const { onExecResult } = this.#config.driver
        const waiting = { outstanding: work.effect, driverState: work.driverState ?? null }
        this.#run(at, [], onExecResult === undefined ? "missing_callback" : (context) => onExecResult(context, waiting, response.result))
        return "accepted"
      }
      case "checkpoint_delivery":
        if (work.effect.type !== "checkpoint") return "unexpected_response"
        this.#leave(work)
        this.#deliver(work, response.delivery, at)
        return "accepted"
      case "tool_decisions":
        return work.effect.type === "tool_calls" ? this.#decisions(work, response.decisions, at) : "unexpected_response"
      case "tool_pending":
        return work.effect.type === "tool_calls" ? this.#pending(work, response, at) : "unexpected_response"
    }
  }

  cancel(reason = "The turn was cancelled.", partial?: LlmResponse): void {
    if (this.#turn.state === "finished") return
    const notice: Step = { do: "notify", effect: { type: "emit", event: { type: "message", text: reason, kind: "cancelled" } } }
    this.#carryOut([...this.#abandon(reason, partial), notice, { do: "end", outcome: stop("cancelled") }])
  }

  fail(event: TurnEvent, partial?: LlmResponse): void {
    if (this.#turn.state === "finished") return
    const steps = this.#abandon("The turn ended with an error.", partial)
    this.#carryOut([...steps, { do: "notify", effect: { type: "emit", event } }, { do: "end", outcome: stop("runtime_error", event) }])
  }

  finish(outcome: Outcome, partial?: LlmResponse): void {
    if (this.#turn.state === "finished") return
    this.#carryOut([...this.#abandon("The turn was ended.", partial), { do: "end", outcome }])
  }

  apply(actions: readonly DriverAction[]): string {
    if (this.#turn.state === "finished") return "turn_finished"
    if (actions.some((action) => STARTS.includes(action.type) || VERDICTS.includes(action.type))) return "action_starts_work"
    const steps = actions.map(stepOf)
    const wrong = contradiction(steps, this.#config.driver)
    if (wrong !== undefined) return wrong
    this.#carryOut(steps.some((step) => step.do === "end") ? [...this.#abandon("The turn was ended."), ...steps] : steps)
    return "accepted"
  }

  /** The work is abandoned as at an end; then the messages are delivered, as between two iterations. */
  redirect({ messages, at, partial, answer }: Extract<HostCommand, { type: "redirect" }>): string {
    const turn = this.#turn
    if (turn.state === "finished") return "turn_finished"
    const { work } = turn
    const done = answer !== undefined && answer.id === work?.effect.id ? answer : undefined
    const began = turn.state
    const kind = work?.effect.type === "checkpoint" ? work.effect.checkpoint : undefined
    turn.at = latest(turn.at, at ?? done?.at)
    const steps = this.#abandon("The user redirected the turn before this was done.", partial, done, true)
    // Nothing that was not polled is performed. At an answered checkpoint the host only saves.
    this.#queue = this.#queue.filter(({ effect }) => !("id" in effect) || effect.type === "cancel_llm" || effect.type === "checkpoint")
    this.#carryOut([...steps, emit({ type: "message", text: "The user redirected the turn.", kind: "redirected" })])
    turn.work = undefined
    turn.state = "prepare_iteration"
    const isInIteration = ["waiting_llm", "waiting_tools", "waiting_exec"].includes(began) || kind === "before_completion"
    const records: Step = { do: "record", records: messages.map((message) => ({ type: "conversation", message })) }
    this.#continue([records], "after_work", { userMessages: messages }, isInIteration, turn.at)
    return "accepted"
  }

  /** What is done about the work of a turn that ends or is redirected from outside. `done`: what it had done by then. `all`: its calls are all shown. */
  #abandon(reason: string, partial?: LlmResponse, done?: Response, all = false): readonly Step[] {
    const { work } = this.#turn
    const steps: Step[] = []
    if (work === undefined) return steps
    // Work that was not polled is withdrawn; a restored machine counts its outstanding work as polled.
    const place = this.#queue.findIndex((queued) => queued.work === work)
    const queued = this.#queue[place]
    if (queued !== undefined) this.#queue.splice(place, 1)
    if (work.effect.type === "llm_call" && (queued === undefined || queued.again))
      steps.push({ do: "notify", effect: { type: "cancel_llm", id: work.effect.id } })
    if (work.effect.type === "llm_call" && partial !== undefined) {
      const { iteration } = this.#turn
      const spent = partial.retriedUsage === undefined ? partial.usage : sum(partial.usage, partial.retriedUsage)
      this.#turn.usage = sum(this.#turn.usage, spent)
      steps.push(emit({ type: "token_usage", iteration, usage: partial.usage, cumulative: this.#turn.usage }))
      try {
        steps.push(...this.#cutOff(work, { ...partial, terminalReason: "cancelled" }))
      } catch (error) {
        const code = error instanceof Wrong ? error.code : "driver_threw"
        steps.push(emit(errorEvent(DRIVER_ERROR, { kind: "driver", code })))
      }
    }
    if (work.effect.type === "exec_code" && done?.type === "exec_result") {
      const waiting = { outstanding: work.effect, driverState: work.driverState ?? null }
      try {
        const kept = (this.#config.driver.onExecResult?.(this.#context(), waiting, done.result) ?? [])
          .filter((action) => !decides(action))
          .map(stepOf)
        const wrong = contradiction(kept, this.#config.driver)
        if (wrong !== undefined) throw new Wrong(wrong)
        steps.push(...kept)
      } catch (error) {
        steps.push(emit(errorEvent(DRIVER_ERROR, { kind: "driver", code: error instanceof Wrong ? error.code : "driver_threw" })))
      }
    }
    if (work.effect.type === "tool_calls" && work.calls.length > 0) {
      const late = done?.type === "tool_results" ? [...done.results] : []
      const used = late.flatMap(({ usage }) => usage ?? [])
      if (used.length > 0) this.#turn.usage = sum(this.#turn.usage, used.reduce(sum))
      const known = work.results.map((result, index) => {
        const { callId, hold, decision } = work.calls[index] as ModelCall
        if (result !== null || (hold !== undefined && decision === undefined)) return result
        const place = late.findIndex((other) => other.callId === callId)
        const [found] = place < 0 ? [] : late.splice(place, 1)
        if (found === undefined) return null
        const { edited: _edited, ...given } = found
        return decision?.decision === "edit" ? { ...given, args: decision.args, edited: true as const } : given
      })
      const results = cancelledResults({ ...work, results: known }, reason)
      for (const [index, { callId, toolName: name, args, output, durationMs }] of results.entries())
        if (work.results[index] === null && (all || known[index] !== null))
          steps.push(emit({ type: "tool_call", callId, name, args, output, durationMs }))
      steps.push({ do: "record", records: [this.#resultsRecord("cancelled", whole(results, work))] })
    }
    return steps
  }

  #resultsRecord(scope: string, results: readonly CompletedToolCall[]): HistoryRecord {
    const id = `m_${this.#turn.offset}_${scope}_${this.#turn.nextNumber}`
    this.#turn.nextNumber += 1
    const { maxResultTokens, maxContextTokens } = this.#config
    const tokens = maxResultTokens ?? (maxContextTokens === undefined ? 0 : Math.floor(maxContextTokens / 2))
    return { type: "conversation", message: { id, role: "user", parts: resultParts(id, results, tokens === 0 ? undefined : tokens * 4) } }
  }

  /** Answered work is not redelivered after a restore; work that was never polled is still emitted. */
  #leave(work: Work): void {
    this.#queue = this.#queue.filter((queued) => !(queued.again && queued.work === work))
    this.#turn.work = undefined
  }

  #prepare(): void {
    const { state, synced, iteration, at } = this.#turn
    if (state !== "preparing" && state !== "prepare_iteration") return
    if (this.#config.syncExecutionSurface && synced !== iteration) {
      this.#carryOut([{ do: "work", start: { type: "start_sync", updateMachineConfig: state === "prepare_iteration" } }])
    } else this.#run(at, [], (context) => this.#config.driver.prepareIteration(context))
  }

  #surface(result: Extract<Response, { type: "execution_surface_synced" }>["result"], at: number | undefined): void {
    this.#turn.at = at
    if (result.ok) {
      this.#turn.synced = this.#turn.iteration
      if (result.update !== undefined) {
        const { prompt, tools } = this.#turn
        const { systemPrompt, tools: newTools } = result.update
        if (prompt !== systemPrompt || JSON.stringify(tools) !== JSON.stringify(newTools)) this.#turn.surfaceChanged = true
        this.#turn.prompt = result.update.systemPrompt
        this.#turn.tools = result.update.tools
      }
      this.#turn.state = "prepare_iteration"
      return
    }
    const event = errorEvent(
      `Execution surface not refreshed: ${result.error}`,
      { kind: "execution_surface", code: "reconfigure_failed" },
      result.error,
    )
    this.#carryOut([
      { do: "notify", effect: { type: "emit", event } },
      { do: "end", outcome: stop("runtime_error", event) },
    ])
  }

  #model(work: Work, answer: Extract<Response, { type: "llm_complete" }>, at: number | undefined): void {
    const { sessionId, emitLlmTrace, driver } = this.#config
    const { iteration } = this.#turn
    const waiting = {
      outstanding: work.effect as Extract<AnswerableEffect, { type: "llm_call" }>,
      ...(work.driverState !== undefined && { driverState: work.driverState }),
    }
    const steps: Step[] = []
    if (!answer.result.ok) {
      const { error, partial } = answer.result
      const used = error.usage ?? partial?.usage
      const retried = error.retriedUsage ?? partial?.retriedUsage
      if (retried !== undefined && used !== undefined) this.#turn.usage = sum(this.#turn.usage, sum(used, retried))
      else if (retried !== undefined) this.#turn.usage = sum(this.#turn.usage, retried)
      else if (used !== undefined) this.#turn.usage = sum(this.#turn.usage, used)
      if (used !== undefined) steps.push(emit({ type: "token_usage", iteration, usage: used, cumulative: this.#turn.usage }))
      if (emitLlmTrace) steps.push(log({ type: "llm_error", sessionId, iteration, ...error }))
      if (partial !== undefined) {
        if (answer.textStreamed !== true && partial.text !== "") steps.push(emit({ type: "text_delta", content: partial.text }))
        steps.push(emit({ type: "llm_response", iteration, content: partial.text, durationMs: partial.durationMs ?? 0 }))
      }
      const { kind: failureKind, retryAt } = error
      const given = {
        ...{ kind: "llm_provider", ...(error.code !== undefined && { code: error.code }), terminalReason: error.terminalReason },
        ...(failureKind !== undefined && { failureKind }),
        ...(retryAt !== undefined && { retryAt }),
      }
      const event = errorEvent(`LLM error: ${error.message}`, given, error.raw)
      this.#run(at, steps, (context) => {
        const kept = partial === undefined ? [] : (driver.onLlmCutOff?.(context, waiting, partial) ?? []).filter((action) => !decides(action))
        const end: readonly DriverAction[] = [
          { type: "emit", event },
          { type: "finish", outcome: stop("provider_error", event) },
        ]
        return [...kept, ...(driver.onLlmFailed?.(context, waiting, error) ?? end)]
      })
      return
    }
    const response = refine(answer.result.response, this.#config.maxContextTokens)
    const { usage, retriedUsage } = response
    const cumulative = sum(this.#turn.usage, retriedUsage === undefined ? usage : sum(usage, retriedUsage))
    this.#turn.usage = cumulative
    steps.push(emit({ type: "token_usage", iteration, usage: response.usage, cumulative }))
    if (emitLlmTrace) steps.push(log(debug(sessionId, iteration, response)))
    const streamed = answer.textStreamed === true
    const end = ENDINGS[response.terminalReason]
    if (end === undefined) {
      this.#run(
        at,
        steps,
        (context) => driver.onLlmComplete(context, waiting, response, streamed),
        (context) => (driver.onLlmCutOff?.(context, waiting, response) ?? []).filter((action) => !decides(action)),
      )
      return
    }
    if (!streamed && response.text.length > 0) steps.push(emit({ type: "text_delta", content: response.text }))
    steps.push(emit({ type: "llm_response", iteration, content: response.text, durationMs: response.durationMs ?? 0 }))
    const { terminalReason } = response
    const message = response.terminalDiagnostic ?? `Model call ended: ${terminalReason}.`
    const event = errorEvent(message, { kind: "llm_provider", code: terminalReason, terminalReason })
    this.#run(at, steps, (context) => {
      const actions = driver.onLlmCutOff?.(context, waiting, response) ?? []
      if (actions.some(decides)) return actions
      return [...actions, { type: "emit", event }, { type: "finish", outcome: stop(end, event) }]
    })
  }

  /** What the driver stores of an answer that was cut off. */
  #cutOff(work: Work, response: LlmResponse): readonly Step[] {
    const waiting = {
      outstanding: work.effect as Extract<AnswerableEffect, { type: "llm_call" }>,
      ...(work.driverState !== undefined && { driverState: work.driverState }),
    }
    const actions = this.#config.driver.onLlmCutOff?.(this.#context(), waiting, response) ?? []
    const steps = actions.filter((action) => !decides(action)).map(stepOf)
    const wrong = contradiction(steps, this.#config.driver)
    if (wrong !== undefined) throw new Wrong(wrong)
    return steps
  }

  #results(work: Work, results: readonly CompletedToolCall[], at: number | undefined): string {
    const { calls } = work
    const filled = [...work.results]
    const arrived: number[] = []
    const used: TokenUsage[] = []
    for (const { edited: _edited, ...result } of results) {
      const open = calls.findIndex((call, index) => call.callId === result.callId && filled[index] === null)
      if (open < 0) return calls.some((call) => call.callId === result.callId) ? "call_already_answered" : "unknown_call"
      const { hold, decision } = calls[open] as ModelCall
      if (hold !== undefined && decision === undefined) return "call_is_held"
      filled[open] = decision?.decision === "edit" ? { ...result, args: decision.args, edited: true } : result
      arrived.push(open)
    }
    work.outside = work.outside.filter(({ callId }) => !results.some((result) => result.callId === callId))
    const steps: Step[] = []
    for (let index = 0; index < calls.length; index += 1) {
      const result = filled[index]
      if (!arrived.includes(index) || result === null || result === undefined) continue
      const { callId, toolName, args, output, durationMs } = result
      steps.push(emit({ type: "tool_call", callId, name: toolName, args, output, durationMs }))
      if (result.usage !== undefined) used.push(result.usage)
    }
    if (used.length > 0) this.#turn.usage = sum(this.#turn.usage, used.reduce(sum))
    if (filled.includes(null)) {
      work.results = filled
      this.#turn.at = at
      this.#carryOut(steps)
    } else {
      this.#leave(work)
      const all = whole(filled as CompletedToolCall[], work)
      // The calls were run, so their results stay if the driver fails.
      this.#run(
        at,
        steps,
        (context) => this.#config.driver.onToolResults(context, all),
        () => [{ type: "append_events", events: [this.#resultsRecord("tools", all)] }],
      )
    }
    return "accepted"
  }

  /** Decisions are matched by request and digest; a list with one that does not fit changes nothing. */
  #decisions(work: Work, given: readonly Decision[], at: number | undefined): string {
    const made: Decision[] = []
    for (const decision of given) {
      const call = work.calls.find(({ callId, hold }) => hold !== undefined && `${work.effect.id}:${callId}` === decision.requestId)
      const { hold } = call ?? {}
      if (call === undefined || hold === undefined) return "unknown_request"
      if (hold.digest !== decision.digest) return "digest_mismatch"
      const kind = decision.decision
      if (kind !== "expired" && kind !== "cancelled" && !hold.ask.allow.includes(kind)) return "decision_not_allowed"
      if ((kind === "approve" || kind === "reject") && ![undefined, "call", ...hold.ask.scopes].includes(decision.scope))
        return "decision_not_allowed"
      const late = hold.ask.expiresAt !== undefined && at !== undefined && at >= hold.ask.expiresAt && (kind === "approve" || kind === "edit")
      const { requestId, digest, by, note } = decision
      const counted: Decision = late
        ? { requestId, digest, decision: "expired", ...(by !== undefined && { by }), ...(note !== undefined && { note }) }
        : decision
      const first = call.decision ?? made.find((other) => other.requestId === requestId)
      if (first === undefined) made.push(counted)
      else if (!sameDecision(first, decision) && !sameDecision(first, counted)) return "call_already_decided"
    }
    if (made.length === 0) return "stale"
    const { driver } = this.#config
    const undecided = work.calls.filter(({ hold, decision }) => hold !== undefined && decision === undefined)
    const held = undecided.map((call) => heldOf(work.effect.id, call))
    this.#turn.at = at
    // Scripted drivers follow decisions, and a driver without the callback could not hold calls.
    this.#conclude(work, made, driver.onToolDecisions?.(this.#context(), { id: work.effect.id, held }, made) ?? [])
    return "accepted"
  }

  /** What a driver makes of decisions. */
  #conclude(work: Work, made: readonly Decision[], actions: readonly DriverAction[]): void {
    const turn = this.#turn
    const exact = new Map(made.map((decision) => [decision.requestId, decision]))
    const events: Step[] = []
    const shown: Step[] = []
    const records: HistoryRecord[] = []
    const released: PendingToolCall[] = []
    const decide = (place: number, otherwise: "approve" | "reject", by: string | undefined): void => {
      const call = work.calls[place] as ModelCall
      const requestId = `${work.effect.id}:${call.callId}`
      const decision: Decision = exact.get(requestId) ?? { requestId, digest: "", decision: otherwise, ...(by !== undefined && { by }) }
      call.decision = decision
      const args = decision.decision === "edit" ? { args: decision.args } : {}
      const { callId, toolName: name } = call
      const who = decision.by === undefined ? {} : { by: decision.by }
      events.push(emit({ type: "approval_decided", requestId, callId, name, decision: decision.decision, ...args, ...who }))
    }
    for (const action of actions) {
      if (action.type === "append_events") records.push(...action.events)
      if (action.type === "release_calls")
        for (const requestId of action.requestIds) {
          const place = work.calls.findIndex(({ callId }) => `${work.effect.id}:${callId}` === requestId)
          decide(place, "approve", action.by)
          released.push(toRun(work.calls[place] as ModelCall))
        }
      if (action.type === "settle_calls")
        for (const result of action.results) {
          const place = work.calls.findIndex(({ callId }) => callId === result.callId)
          decide(place, "reject", action.by)
          work.results = work.results.map((known, index) => (index === place ? result : known))
          const { callId, toolName, args, output, durationMs } = result
          shown.push(emit({ type: "tool_call", callId, name: toolName, args, output, durationMs }))
        }
    }
    const queuedBefore = this.#queue.length
    this.#carryOut([{ do: "record", records }])
    const progress = this.#queue.splice(queuedBefore)
    this.#carryOut([...events, ...shown])
    this.#queue.push(...progress)
    // A batch that is still to be emitted names them itself.
    if (released.length > 0) this.#queue.push({ effect: { type: "tool_calls_released", id: work.effect.id, calls: released } })
    if (work.results.includes(null)) return
    this.#leave(work)
    const all = whole(work.results as CompletedToolCall[], work)
    this.#run(
      turn.at,
      [],
      (context) => this.#config.driver.onToolResults(context, all),
      () => [{ type: "append_events", events: [this.#resultsRecord("tools", all)] }],
    )
  }

  #pending(work: Work, { callId, token, note }: Extract<Response, { type: "tool_pending" }>, at: number | undefined): string {
    const places = work.calls.flatMap((call, place) => (call.callId === callId ? [place] : []))
    const [place = -1] = places
    const call = work.calls[place]
    if (call === undefined) return "unknown_call"
    if (places.length > 1) return "call_not_unique"
    if (work.results[place] !== null) return "call_already_answered"
    if (call.hold !== undefined && call.decision === undefined) return "call_is_held"
    const known = work.outside.find((other) => other.callId === callId)
    if (known !== undefined) return known.token === token ? "stale" : "call_is_pending"
    work.outside = [...work.outside, { callId, token, ...(note !== undefined && { note }) }]
    this.#turn.at = at
    this.#carryOut([emit({ type: "tool_pending", callId, name: call.toolName, token, ...(note !== undefined && { note }) })])
    return "accepted"
  }

  #deliver(work: Work, delivery: CheckpointDelivery, at: number | undefined): void {
    const kind = (work.effect as Extract<AnswerableEffect, { type: "checkpoint" }>).checkpoint
    const knownBefore = this.#turn.causes.map((cause) => cause.id)
    // Causes that are all known count for nothing, so that they never keep a turn alive.
    const causes = (delivery.turnCauses ?? []).every(({ id }) => knownBefore.includes(id)) ? [] : delivery.turnCauses
    const lists = [delivery.userMessages, delivery.messages, delivery.transientMessages, causes, delivery.events]
    if (lists.every((list) => list === undefined || list.length === 0)) {
      this.#turn.at = at
      if (work.onEmpty?.type === "finish") this.#carryOut([{ do: "end", outcome: work.onEmpty.outcome }])
      else this.#turn.state = "prepare_iteration"
      return
    }
    const steps: Step[] = [
      { do: "record", records: (delivery.userMessages ?? []).map((message) => ({ type: "conversation", message })) },
      { do: "record", records: (delivery.events ?? []).map((event) => ({ type: "protocol", event })) },
    ]
    for (const [list, transient] of [
      [delivery.messages, false],
      [delivery.transientMessages, true],
    ] as const) {
      for (const { role, content, origin, parts } of list ?? []) {
        if (role !== "user" && role !== "system") continue
        const id = `m_${this.#turn.offset}_checkpoint_${this.#turn.nextNumber}`
        this.#turn.nextNumber += 1
        const given: readonly Part[] = parts === undefined || parts.length === 0 ? [{ id: "", type: "text", text: content }] : parts
        const from =
          origin ??
          (transient ? { type: "plugin" as const, pluginId: "plugin", transient: true as const } : { type: "plugin" as const, pluginId: "plugin" })
        steps.push({ do: "message", message: { id, role, parts: given.map((part, index) => ({ ...part, id: `${id}.p${index}` })), origin: from } })
      }
    }
    const known = this.#turn.causes.map((cause) => cause.id)
    for (const cause of delivery.turnCauses ?? []) {
      if (known.includes(cause.id)) continue
      known.push(cause.id)
      const { id, text, origin } = cause
      steps.push({ do: "cause", cause }, { do: "message", message: { id, role: "event", parts: [{ id: `${id}.p0`, type: "text", text }], origin } })
    }
    const { onDelivery } = this.#config.driver
    if (lists.slice(0, 4).every((list) => list === undefined || list.length === 0)) {
      this.#run(at, steps, (context) => {
        const answer = onDelivery?.(context, kind, delivery) ?? []
        const moves = answer.map(stepOf).some((step) => step.do === "work" || step.do === "end")
        if (moves || work.onEmpty?.type === "finish") return moves ? answer : [...answer, work.onEmpty as DriverAction]
        steps.push({ do: "prepare" })
        return answer
      })
      return
    }
    this.#continue(steps, kind, delivery, kind === "before_completion", at)
  }

  /** Continues after a delivery: in a new iteration, or in the one that was to be prepared. */
  #continue(
    steps: Step[],
    kind: Extract<AnswerableEffect, { type: "checkpoint" }>["checkpoint"],
    delivery: CheckpointDelivery,
    isNewIteration: boolean,
    at: number | undefined,
  ): void {
    const { maxIterations } = this.#config
    const { onDelivery } = this.#config.driver
    if (isNewIteration) {
      steps.push({ do: "advance" })
      if (this.#turn.limitAnnounced) {
        this.#turn.at = at
        this.#carryOut([...steps, { do: "end", outcome: stop("max_iterations") }])
        return
      }
      if (maxIterations !== undefined && this.#turn.iteration + 1 >= this.#turn.offset + maxIterations) {
        steps.push({ do: "limit_message", message: this.#limitMessage(this.#turn, maxIterations, "last_iteration") })
      }
    }
    steps.push({ do: "prepare" })
    this.#run(at, steps, (context) => onDelivery?.(context, kind, delivery) ?? [])
  }

  #limitMessage(turn: ModelTurn, maxIterations: number, when: "ended" | "last_iteration"): Message {
    const id = `m_${turn.offset}_turn_limit_${turn.nextNumber}`
    turn.nextNumber += 1
    const make = this.#config.turnLimitMessage
    if (make === undefined) throw new Error("The model needs a turnLimitMessage; the default one is worded by the package.")
    return make(id, maxIterations, when)
  }

  /** Performs the machine's own steps, then the driver's actions. A driver error ends the turn. */
  #run(
    at: number | undefined,
    own: readonly Step[],
    ask: ((context: DriverContext) => readonly DriverAction[]) | "missing_callback",
    rescue?: (context: DriverContext) => readonly DriverAction[],
  ): void {
    this.#turn.at = at
    let wrong: string | undefined
    let answer: readonly Step[] = []
    if (ask === "missing_callback") wrong = ask
    else {
      try {
        answer = ask(this.#context()).map(stepOf)
      } catch {
        wrong = "driver_threw"
      }
    }
    const all = [...own, ...answer]
    wrong ??= contradiction(all, this.#config.driver)
    if (wrong === undefined && !all.some((step) => step.do === "work" || step.do === "end" || step.do === "prepare")) wrong = "no_way_forward"
    const before = { turn: { ...this.#turn }, queue: [...this.#queue] }
    if (wrong === undefined) wrong = this.#carryOut(all)
    if (wrong === undefined) return
    this.#turn = before.turn
    this.#queue = before.queue
    const event = errorEvent(DRIVER_ERROR, { kind: "driver", code: wrong })
    const end: readonly Step[] = [emit(event), { do: "end", outcome: stop("runtime_error", event) }]
    let rescued: readonly Step[] = []
    try {
      rescued = (rescue?.(this.#context()) ?? []).map(stepOf)
    } catch {}
    // A turn that ends does not announce its last iteration. What is rescued never starts work.
    const done = own.filter((step) => step.do !== "limit_message")
    this.#carryOut(contradiction(rescued, this.#config.driver) !== undefined ? [...done, ...end] : [...done, ...rescued, ...end])
  }

  #context(): DriverContext {
    const turn = this.#turn
    const { messages, events, causes, iteration, offset, tools, usage, at } = turn
    const { maxIterations } = this.#config
    return {
      config: this.#config,
      tools: [...tools],
      hostTools: [...tools],
      messages: transcript(messages),
      events: transcript(events),
      turnCauses: [...causes],
      iteration,
      iterationOffset: offset,
      maxIterations,
      turnLimitScheduled: turn.limitAnnounced,
      surfaceChanged: turn.surfaceChanged,
      usage,
      at,
      heldMs: 0,
      projectRequest: () => {
        throw new Error("The model projects nothing.")
      },
      newMessageId(scope) {
        turn.nextNumber += 1
        return `m_${offset}_${scope}_${turn.nextNumber - 1}`
      },
      limitReached: (ahead = 0) => maxIterations !== undefined && iteration + ahead >= offset + maxIterations,
      turnLimitMessage: (when = "ended") => this.#limitMessage(turn, maxIterations ?? 0, when),
      withTools: () => {
        throw new Error("The model wraps no driver.")
      },
    }
  }

  /**
   * Performs the steps in order. New records are emitted before the work, before the end, or else last. A batch without a call for the
   * host asks the driver at once; returns what is wrong with its answer.
   */
  #carryOut(steps: readonly Step[]): string | undefined {
    let answered: readonly CompletedToolCall[] | undefined
    const turn = this.#turn
    const queued: Queued[] = []
    let durable = false
    for (const step of steps) {
      if (step.do === "notify") queued.push({ effect: step.effect })
      else if (step.do === "record") {
        if (step.records.length === 0) continue
        durable = true
        turn.events = [...turn.events, ...step.records]
        for (const record of step.records) if (record.type === "conversation") turn.messages = [...turn.messages, record.message]
      } else if (step.do === "message") {
        durable = true
        turn.messages = [...turn.messages, step.message]
      } else if (step.do === "limit_message") {
        const { maxIterations } = this.#config
        if (turn.limitAnnounced || maxIterations === undefined || turn.iteration < turn.offset + maxIterations) continue
        durable = true
        turn.limitAnnounced = true
        turn.messages = [...turn.messages, step.message]
      } else if (step.do === "cause") turn.causes = [...turn.causes, step.cause]
      else if (step.do === "advance") {
        durable = true
        turn.iteration += 1
        turn.synced = "never"
      } else if (step.do === "prepare") {
        durable = true
        turn.state = "prepare_iteration"
      } else if (step.do === "work") {
        const batch = step.start.type === "start_tools" ? divide(step.start) : undefined
        for (const { result } of batch?.settled ?? []) {
          const { callId, toolName, args, output, durationMs } = result
          queued.push({ effect: { type: "emit", event: { type: "tool_call", callId, name: toolName, args, output, durationMs } } })
          if (result.usage !== undefined) turn.usage = sum(turn.usage, result.usage)
        }
        if (batch !== undefined && batch.settled.length > 0 && batch.open.length === 0) answered = batch.settled.map(({ result }) => result)
        else queued.push(...this.#start(step.start))
      } else if (step.do === "end") {
        turn.outcome = step.outcome
        turn.state = "finished"
        turn.work = undefined
      }
    }
    if (durable) {
      const progress: Effect = {
        type: "progress",
        messages: [...turn.messages],
        eventDelta: turn.events.slice(turn.emitted),
        recordsFrom: turn.emitted,
        iteration: turn.iteration,
      }
      turn.emitted = turn.events.length
      const place = queued.findIndex(({ work }) => work !== undefined)
      queued.splice(place < 0 ? queued.length : place, 0, { effect: progress })
    }
    if (turn.outcome !== undefined) {
      const { outcome, messages, iteration, usage, events } = turn
      queued.push({ effect: { type: "emit", event: { type: "turn_outcome", outcome } } }, { effect: { type: "emit", event: { type: "done" } } })
      queued.push({ effect: { type: "done", outcome, messages: [...messages], eventDelta: [], recordsFrom: events.length, iteration, usage } })
    }
    // Nothing of a turn that ended is to be performed. At an answered checkpoint the host only saves.
    if (turn.outcome !== undefined)
      this.#queue = this.#queue.filter(({ effect }) => !("id" in effect) || effect.type === "cancel_llm" || effect.type === "checkpoint")
    this.#queue.push(...queued)
    return answered === undefined ? undefined : this.#askAtOnce(answered)
  }

  /** Asks the driver about a batch that it answered itself. What was done before stays if it fails, and so do the results. */
  #askAtOnce(answered: readonly CompletedToolCall[]): string | undefined {
    const { driver } = this.#config
    const fail = (code: string): undefined => {
      const event = errorEvent(DRIVER_ERROR, { kind: "driver", code })
      this.#carryOut([
        { do: "record", records: [this.#resultsRecord("tools", answered)] },
        emit(event),
        { do: "end", outcome: stop("runtime_error", event) },
      ])
    }
    let answer: readonly Step[]
    try {
      answer = driver.onToolResults(this.#context(), answered).map(stepOf)
    } catch {
      return fail("driver_threw")
    }
    const wrong = contradiction(answer, driver)
    if (wrong !== undefined) return fail(wrong)
    const settledAgain = answer.some((step) => step.do === "work" && step.start.type === "start_tools" && isSettled(step.start))
    if (settledAgain || !answer.some((step) => step.do === "work" || step.do === "end")) return fail("no_way_forward")
    return this.#carryOut(answer)
  }

  #start(start: Start): readonly Queued[] {
    const turn = this.#turn
    const id = turn.nextId
    turn.nextId += 1
    const before: Queued[] = []
    let work: Work
    switch (start.type) {
      case "start_sync":
        turn.state = "waiting_execution_surface"
        work = { effect: { type: "sync_execution_surface", id, updateMachineConfig: start.updateMachineConfig }, ...NO_CALLS, results: [] }
        break
      case "start_llm":
        turn.state = "waiting_llm"
        turn.surfaceChanged = false
        before.push({
          effect: {
            type: "emit",
            event: { type: "llm_request", iteration: turn.iteration, messageCount: turn.messages.length, tools: turn.tools.map((tool) => tool.name) },
          },
        })
        work = {
          effect: { type: "llm_call", id, request: start.request },
          ...NO_CALLS,
          results: [],
          ...(start.driverState !== undefined && { driverState: start.driverState }),
        }
        break
      case "start_tools":
        turn.state = "waiting_tools"
        {
          const { open, settled } = divide(start)
          const calls = open.map((call): ModelCall => {
            const hold = start.held?.find(({ callId }) => callId === call.callId)
            return { ...call, index: start.calls.indexOf(call), ...(hold !== undefined && { hold }) }
          })
          for (const call of calls)
            if (call.hold !== undefined) before.push({ effect: { type: "emit", event: { type: "approval_requested", held: heldOf(id, call) } } })
          work = { effect: { type: "tool_calls", id, calls: [] }, ...NO_CALLS, calls, results: open.map(() => null), settled }
        }
        break
      case "start_exec": {
        turn.state = "waiting_exec"
        const { code, language, driverState } = start
        work = { effect: { type: "exec_code", id, code, ...(language !== undefined && { language }) }, ...NO_CALLS, results: [], driverState }
        break
      }
      case "start_checkpoint":
        turn.state = "waiting_checkpoint"
        work = { effect: { type: "checkpoint", id, checkpoint: start.checkpoint }, ...NO_CALLS, results: [], onEmpty: start.onEmpty }
    }
    turn.work = work
    return [...before, { effect: effectOf(work), work }]
  }
}

/** Replaces the messages of the package about a driver error. */
export const DRIVER_ERROR = "the driver erred"

interface ModelTurn {
  state: string
  messages: readonly Message[]
  events: readonly HistoryRecord[]
  causes: readonly TurnCause[]
  emitted: number
  iteration: number
  readonly offset: number
  nextId: number
  nextNumber: number
  usage: TokenUsage
  synced: number | "never"
  limitAnnounced: boolean
  surfaceChanged: boolean
  prompt: string
  tools: readonly ToolSpec[]
  at: number | undefined
  work: Work | undefined
  outcome: Outcome | undefined
}

/** Outstanding work, and the state that belongs to it. */
interface Work {
  /** Of a batch, without its calls. */
  readonly effect: AnswerableEffect
  /** The calls of a batch that the driver did not answer, in order. */
  readonly calls: readonly ModelCall[]
  /** Those of them that continue outside, as they were reported. */
  outside: readonly { readonly callId: string; readonly token: string; readonly note?: string }[]
  results: readonly (CompletedToolCall | null)[]
  /** The calls that the driver answered, with their places in the batch. */
  readonly settled?: readonly { readonly index: number; readonly result: CompletedToolCall }[]
  readonly driverState?: Json
  readonly onEmpty?: Extract<DriverAction, { type: "start_checkpoint" }>["onEmpty"]
}

interface ModelCall extends PendingToolCall {
  /** The place in the whole batch. */
  readonly index: number
  readonly hold?: HoldCall
  decision?: Decision
}

interface Queued {
  readonly effect: Effect
  readonly work?: Work
  /** Whether it was queued by a restore. */
  readonly again?: boolean
}

type Start = Extract<DriverAction, { type: `start_${string}` }> | { readonly type: "start_sync"; readonly updateMachineConfig: boolean }

type Step =
  | { readonly do: "notify"; readonly effect: Effect }
  | { readonly do: "record"; readonly records: readonly HistoryRecord[] }
  | { readonly do: "message" | "limit_message"; readonly message: Message }
  | { readonly do: "cause"; readonly cause: TurnCause }
  | { readonly do: "advance" | "prepare" }
  | { readonly do: "work"; readonly start: Start }
  | { readonly do: "end"; readonly outcome: Outcome }
  | { readonly do: "unknown" | "verdict" }

class Wrong extends Error {
  readonly code: string

  constructor(code: string) {
    super(code)
    this.code = code
  }
}

const VERDICTS: readonly string[] = ["release_calls", "settle_calls"]
const STARTS: readonly string[] = ["start_llm", "start_tools", "start_exec", "start_checkpoint"]

function stepOf(action: DriverAction): Step {
  switch (action.type) {
    case "emit":
      return emit(action.event)
    case "append_events":
      return { do: "record", records: action.events }
    case "advance_iteration":
      return { do: "advance" }
    case "schedule_turn_limit_final":
      return { do: "limit_message", message: action.message }
    case "finish":
      return { do: "end", outcome: action.outcome }
    case "start_llm":
    case "start_tools":
    case "start_exec":
    case "start_checkpoint":
      return { do: "work", start: action }
    case "release_calls":
    case "settle_calls":
      return { do: "verdict" }
    default:
      return { do: "unknown" }
  }
}

/** The error code of an invalid list: it starts two pieces of work, continues after a finish, or contains an unknown action. */
function contradiction(steps: readonly Step[], driver: ProtocolDriver): string | undefined {
  let works = 0
  let ended = false
  for (const step of steps) {
    if (ended) return "action_after_finish"
    if (step.do === "unknown") return "unknown_action"
    const hold = step.do === "work" && step.start.type === "start_tools" ? holdFault(step.start, driver) : undefined
    if (hold !== undefined) return hold
    if ((step.do === "work" || step.do === "end") && works > 0) return "two_starts"
    if (step.do === "work") works += 1
    if (step.do === "end") ended = true
  }
  return steps.some((step) => step.do === "verdict") ? "invalid_decision" : undefined
}

/** A hold names one call that no other of the batch shares its id with. A batch that is settled as a whole is not looked at. */
function holdFault(start: Extract<DriverAction, { type: "start_tools" }>, driver: ProtocolDriver): string | undefined {
  const { calls, held = [] } = start
  const ids = held.map(({ callId }) => callId)
  if (start.held === undefined || isSettled(start)) return undefined
  if (ids.some((id, index) => ids.indexOf(id) !== index || calls.filter(({ callId }) => callId === id).length !== 1)) return "invalid_hold"
  const isHeld = divide(start).open.some(({ callId }) => ids.includes(callId))
  return isHeld && driver.onToolDecisions === undefined ? "missing_callback" : undefined
}

/** The calls of a batch that the host is asked for, and the results of the others. A result answers the first call with its id. */
function divide({ calls, settled = [] }: Extract<DriverAction, { type: "start_tools" }>) {
  const left = [...settled]
  const open: PendingToolCall[] = []
  const answered: { index: number; result: CompletedToolCall }[] = []
  for (const [index, call] of calls.entries()) {
    const place = left.findIndex((result) => result.callId === call.callId)
    const [result] = place < 0 ? [] : left.splice(place, 1)
    if (result === undefined) open.push(call)
    else answered.push({ index, result })
  }
  return { open, settled: answered }
}

function isSettled(start: Extract<DriverAction, { type: "start_tools" }>): boolean {
  const { open, settled } = divide(start)
  return open.length === 0 && settled.length > 0
}

/** All results of a batch, in the order of its calls. */
function whole(results: readonly CompletedToolCall[], { settled = [] }: Work): readonly CompletedToolCall[] {
  const host = [...results]
  const places = new Map(settled.map(({ index, result }) => [index, result]))
  return Array.from({ length: results.length + settled.length }, (_, index) => places.get(index) ?? (host.shift() as CompletedToolCall))
}

function decides({ type }: DriverAction): boolean {
  return type === "finish" || STARTS.includes(type)
}

const NO_CALLS = { calls: [], outside: [] } as const

/** The effect of the work. A batch contains only the calls without a result. */
function effectOf(work: Work): AnswerableEffect {
  const { effect, calls, outside } = work
  if (effect.type !== "tool_calls") return effect
  const held = calls.filter(({ hold, decision }) => hold !== undefined && decision === undefined).map((call) => heldOf(effect.id, call))
  const pending = outside.map((report) => ({ ...toRun(calls.find(({ callId }) => callId === report.callId) as ModelCall), ...report }))
  return { ...effect, calls: runnable(work), ...(held.length > 0 && { held }), ...(pending.length > 0 && { pending }) }
}

/** The calls that may run and have not been answered, nor reported as continuing outside. */
function runnable({ calls, results, outside }: Work): readonly PendingToolCall[] {
  const open = calls.filter(
    ({ callId, hold, decision }, index) =>
      results[index] === null && (hold === undefined || decision !== undefined) && !outside.some((other) => other.callId === callId),
  )
  return open.map(toRun)
}

/** A call as its host runs it: with the arguments that were decided, if they were edited. */
function toRun({ callId, toolName, args, replay, decision }: ModelCall): PendingToolCall {
  const due = decision?.decision === "edit" ? decision.args : args
  return { callId, toolName, args: due, ...(replay !== undefined && { replay }) }
}

function heldOf(id: number, { index, hold, decision: _decision, ...call }: ModelCall): HeldCall {
  const { digest, ask } = hold as HoldCall
  return { ...call, requestId: `${id}:${call.callId}`, index, digest, ask }
}

function sameDecision(first: Decision, second: Decision): boolean {
  if (first.decision !== "edit" || second.decision !== "edit") return first.decision === second.decision
  return JSON.stringify(sorted(first.args)) === JSON.stringify(sorted(second.args))
}

function sorted(value: Json): Json {
  if (value === null || typeof value !== "object") return value
  if (Array.isArray(value)) return value.map(sorted)
  return Object.fromEntries(
    Object.entries(value)
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  )
}

/** The results of a batch that is left: calls without one are cancelled. */
function cancelledResults({ calls, results }: Work, message: string): readonly CompletedToolCall[] {
  return calls.map((call, index) => {
    const mark = call.decision?.decision === "edit" ? { edited: true as const } : {}
    return results[index] ?? { ...toRun(call), output: { status: "cancelled", message, source: "cancellation" }, durationMs: 0, ...mark }
  })
}

const ENDINGS: { readonly [reason: string]: SimpleStop | undefined } = {
  output_limit: "incomplete",
  context_overflow: "provider_error",
  content_filter: "provider_error",
  refusal: "provider_error",
  provider_error: "provider_error",
  cancelled: "cancelled",
}
type SimpleStop = "incomplete" | "provider_error" | "cancelled" | "max_iterations" | "runtime_error"

/** An error that stops the turn is part of the outcome, without what the provider sent. */
function stop(type: SimpleStop, event?: TurnEvent): Outcome {
  if (event?.type !== "error") return { type: "stopped", stop: { type } }
  const { raw: _, ...error } = event.envelope ?? { kind: "host", userMessage: event.message }
  return { type: "stopped", stop: { type, error } }
}

function emit(event: TurnEvent): Step {
  return { do: "notify", effect: { type: "emit", event } }
}

function log(event: LogEvent): Step {
  return { do: "notify", effect: { type: "log", event } }
}

function errorEvent(message: string, facts: object, raw?: string): TurnEvent {
  const envelope = { ...facts, userMessage: message, ...(raw !== undefined && { raw: shorten(raw) }) }
  return { type: "error", message, envelope } as TurnEvent
}

function shorten(raw: string): string {
  return headAndTail(raw.replace(/^\p{White_Space}+/u, "").replace(/\p{White_Space}+$/u, ""), 4_000)
}

function headAndTail(text: string, limit: number): string {
  const characters = [...text]
  if (characters.length <= limit) return text
  const half = Math.floor(limit / 2)
  const tail = half === 0 ? [] : characters.slice(-half)
  return `${characters.slice(0, half).join("")}\n\n... (${characters.length - 2 * half} chars omitted) ...\n\n${tail.join("")}`
}

function latest(before: number | undefined, now: number | undefined): number | undefined {
  if (before === undefined || now === undefined) return now ?? before
  return before > now ? before : now
}

function add(left: number, right: number): number {
  return left + right > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : left + right
}

function sum(left: TokenUsage, right: TokenUsage): TokenUsage {
  return {
    inputTokens: add(left.inputTokens, right.inputTokens),
    cachedInputTokens: add(left.cachedInputTokens, right.cachedInputTokens),
    outputTokens: add(left.outputTokens, right.outputTokens),
    reasoningTokens: add(left.reasoningTokens, right.reasoningTokens),
    ...((left.cacheWriteTokens !== undefined || right.cacheWriteTokens !== undefined) && {
      cacheWriteTokens: add(left.cacheWriteTokens ?? 0, right.cacheWriteTokens ?? 0),
    }),
    ...((left.estimated || right.estimated) && { estimated: true as const }),
  }
}

function refine(response: LlmResponse, window = 0): LlmResponse {
  const { terminalReason, usage } = response
  const full = add(usage.inputTokens, usage.cachedInputTokens) >= Math.floor((window * 95) / 100)
  if (terminalReason !== "output_limit" || usage.outputTokens !== 0 || window === 0 || !full) return response
  return { ...response, terminalReason: "context_overflow", terminalDiagnostic: "No output: the prompt fills the context window." }
}

function debug(sessionId: string, iteration: number, response: LlmResponse): LogEvent {
  const { text, parts, usage, providerUsage, requestBody } = response
  const digests = parts
    .filter((part) => !(part.type === "text" && part.text === ""))
    .map((part) => {
      if (part.type === "text") return { type: "text", text: part.text }
      if (part.type === "tool_call") {
        const { callId, toolName, inputJson, replay } = part
        return { type: "tool_call", callId, toolName, inputJson, id: replay?.itemId, hasOpaque: replay?.opaque !== undefined }
      }
      if (part.type === "opaque") return { type: "opaque", provider: part.provider, kind: part.kind }
      const { replay } = part
      const hasEncrypted = replay?.encryptedContent !== undefined || replay?.signature !== undefined
      return {
        type: "reasoning",
        id: replay?.itemId,
        summary: replay && (replay.summary ?? []),
        text: part.text,
        hasEncrypted,
        redacted: replay?.redacted ?? false,
      }
    })
  const responseParts = digests.length === 0 ? undefined : digests
  return { type: "llm_debug", sessionId, iteration, usage, providerUsage, requestBody, responseText: text, responseParts } as LogEvent
}

function transcript<Item>(items: readonly Item[]): Transcript<Item> {
  return {
    length: items.length,
    storage: [...items],
    at: (index) => items.at(index),
    slice: (from, to) => items.slice(from, to),
    toArray: () => [...items],
    [Symbol.iterator]: () => items[Symbol.iterator](),
  }
}

/** One result part for each call, then its attachments. Texts over the limit lose their middle. */
export function resultParts(id: string, results: readonly CompletedToolCall[], whole = Number.POSITIVE_INFINITY): readonly Part[] {
  const parts: Part[] = []
  for (const { callId, toolName, args, output, modelReturn, edited } of results) {
    const what = output.status === "success" ? "Ran with arguments changed by the user" : "The user changed the arguments of this call"
    const note = edited ? headAndTail(`${what}: ${JSON.stringify(args)}`, Math.floor(whole / 2)) : undefined
    const limit = note === undefined ? whole : whole - note.length - 1
    const shown = modelReturn?.parts ?? shownOf(output)
    const texts = shown.flatMap((part) => (part.type === "text" && part.text !== "" ? [part.text] : []))
    const attached = shown.flatMap((part) => (part.type === "attachment" ? [part.attachment] : []))
    parts.push({
      id: "",
      type: "tool_result",
      callId,
      toolName,
      text: [
        ...(note === undefined ? [] : [note]),
        ...(note !== undefined && texts.join("") === "" ? [] : [headAndTail(texts.join("\n"), limit)]),
      ].join("\n"),
      ...(output.status !== "success" && { isError: true as const }),
      ...(attached.length > 0 && {
        content: [
          ...(note === undefined ? [] : [{ type: "text" as const, text: note }]),
          ...shared(
            shown.filter((part) => part.type !== "text" || part.text !== ""),
            limit,
          ),
        ],
      }),
    })
    for (const attachment of attached) parts.push({ id: "", type: /^image\//.test(attachment.mediaType) ? "image" : "file", attachment })
  }
  return parts.map((part, index) => ({ ...part, id: `${id}.p${index}` }))
}

/** Texts that are together longer than the limit get equal shares of it. */
function shared(content: ModelReturn["parts"], limit: number): ModelReturn["parts"] {
  const texts = content.flatMap((part) => (part.type === "text" ? [part.text] : []))
  if (texts.join("").length <= limit) return content
  const share = Math.floor(limit / texts.length)
  return content.map((part) => (part.type === "text" ? { type: "text", text: headAndTail(part.text, share) } : part))
}

type Shown = Extract<Part, { type: "image" }>["attachment"]
type Piece = string | { readonly attachment: NonNullable<Shown> }

/** The default parts that the model is shown of an output: texts, with attachments cut out of them. */
function shownOf(output: ToolOutput): ModelReturn["parts"] {
  if (output.status === "success") return typeof output.value === "string" ? [{ type: "text", text: output.value }] : joined(pieces(output.value))
  const [label, message, raw] =
    output.status === "failure"
      ? ["[Tool execution failed]", output.failure.message, output.failure.raw]
      : ["[Tool execution cancelled]", output.message, output.raw]
  const attached = raw === undefined || typeof raw === "string" ? [] : joined(pieces(raw)).filter((part) => part.type === "attachment")
  return [{ type: "text", text: message === "" ? label : `${label}\n${message}` }, ...attached]
}

function joined(pieces: readonly Piece[]): ModelReturn["parts"] {
  const parts: ModelReturn["parts"][number][] = []
  for (const piece of pieces) {
    const last = parts.at(-1)
    if (typeof piece !== "string") parts.push({ type: "attachment", attachment: piece.attachment })
    else if (last?.type === "text") parts.splice(-1, 1, { type: "text", text: last.text + piece })
    else parts.push({ type: "text", text: piece })
  }
  return parts
}

function pieces(value: Json): readonly Piece[] {
  if (value === null || typeof value !== "object") return [JSON.stringify(value)]
  if (Array.isArray(value)) return ["[", ...value.flatMap((item: Json, index): Piece[] => [...(index > 0 ? [","] : []), ...pieces(item)]), "]"]
  const entries = Object.entries(value)
  const [only] = entries.length === 1 ? entries : []
  const attachment = only?.[0] === "$attachment" ? AttachmentRef.safeParse(only[1]) : undefined
  if (attachment?.success === true) return [{ attachment: attachment.data }]
  const inner = only?.[0] === "$object" ? only[1] : undefined
  const shown = typeof inner === "object" && inner !== null && !Array.isArray(inner) ? Object.entries(inner) : entries
  return ["{", ...shown.flatMap(([key, item], index): Piece[] => [`${index > 0 ? "," : ""}${JSON.stringify(key)}:`, ...pieces(item)]), "}"]
}
