import type { Json } from "../../json.ts"
import type { Message } from "../../wire/message.ts"
import type { DurableThreadEvent, LiveThreadEvent, MessageCompleted, ThreadEvent, TurnEnded, TurnStarted } from "../../wire/thread-event.ts"
import { blocksOf, partChunks, userParts } from "./blocks.ts"
import { ToolCalls } from "./calls.ts"
import type { UiChunk, UiStreamOptions } from "./chunks.ts"
import { type BlockKind, type ChunkPosition, cursorText, settledAt } from "./cursor.ts"
import { LiveText, type Written } from "./live-text.ts"
import { endChunks, type ShownError, valueChunks } from "./turn-end.ts"

/** A chunk with its place in the thread. */
export interface PlacedChunk {
  readonly chunk: UiChunk
  /** The place after this chunk: printable ASCII, to be sent as the id of a server-sent event. `toResponse` continues after it. */
  readonly cursor: string
  /** A stream for one request ends after this chunk: the turn has ended, or waits for the page. */
  readonly isLast?: true
}

/** A {@link PlacedChunk} as readers that skip chunks need it. */
export interface PositionedChunk extends PlacedChunk {
  readonly position: ChunkPosition
  readonly isVoid?: true
}

/** Where a thread is. `waiting`: its turn waits for approvals, or for results of the page's tools. */
export type UiStreamStatus = "idle" | "running" | "waiting"

/** The open turn. */
interface OpenTurn {
  readonly turnId: string
  /** The thread's cursor before it. */
  readonly base: string
  readonly calls: ToolCalls
  /** The chunks that are recorded. */
  settled: number
  /** A message other than the first ones of the user has come, or the model was called. */
  hasBegun: boolean
  /** `sent`: the page has the beginning of a step whose text was retracted. */
  step: "none" | "sent" | "open"
  isWaiting: boolean
  /** The last model call that ended. */
  ended: number
  /** The message of the last model call has not come. Some calls have none. */
  awaitsMessage: boolean
  /** What is shown after the next message, because a page may have been shown the text of that message before. */
  held: DurableThreadEvent[]
  live: LiveText | undefined
  error: ShownError | undefined
}

/**
 * Folds the events of a thread into chunks of an AI SDK UI message stream. Pure: no clock, no randomness.
 *
 * Each turn is one assistant message under the turn's id. It begins with `start` and ends with `finish`, and with `abort` or `error` where the
 * turn was cancelled or failed. Where it waits for approvals, `finish` has the reason `tool-calls`, and a further `start` with the same id continues the
 * message. The user's messages that begin a turn have no chunks: the page has sent them. Those that a turn receives later are `data-user-message` parts.
 *
 * Law: the chunks of the recorded events are those of the live ones, but for how text is split. Where the model was called again after a crash or a
 * failure, the text that was shown is void: its part ends, and a `data-retracted` part says how many texts before it are void. They are not
 * in a replay, and {@link withoutRetracted} removes them from a message. Transient parts are not in a replay, either.
 */
export class UiStream {
  readonly #options: UiStreamOptions
  #turn: OpenTurn | undefined
  #cursor = ""

  /** `after`: the thread's cursor before the first event, if that is not the thread's first one. */
  constructor(options: UiStreamOptions = {}, after = "") {
    this.#options = options
    this.#cursor = after
  }

  /** Where the thread is after the events so far. */
  get status(): UiStreamStatus {
    if (this.#turn === undefined) return "idle"
    return this.#turn.isWaiting ? "waiting" : "running"
  }

  /** The turn that has begun and not ended. */
  get turnId(): string | undefined {
    return this.#turn?.turnId
  }

  /** Returns the chunks of the next event. The first event is that of the beginning of the thread, or any before the turn to be shown. */
  next(event: ThreadEvent): readonly PositionedChunk[] {
    const written = "cursor" in event ? this.#recorded(event) : this.#live(event)
    const chunks = written.map(placed)
    if ("cursor" in event) this.#cursor = event.cursor
    const turn = this.#turn
    if (turn === undefined) return lastMarked(chunks)
    if (turn.isWaiting || turn.live !== undefined || turn.awaitsMessage || !turn.calls.areWaiting) return chunks
    const finish = [...this.#release(turn), ...this.#write(turn, [{ type: "finish", finishReason: "tool-calls" }])].map(placed)
    turn.isWaiting = true
    return lastMarked([...chunks, ...finish])
  }

  #recorded(event: DurableThreadEvent): readonly Written[] {
    const turn = this.#turn
    if (event.type === "turn_started") return this.#begin(event)
    if (turn === undefined || !("turnId" in event) || event.turnId !== turn.turnId) return []
    switch (event.type) {
      case "turn_ended":
        return this.#end(turn, event)
      case "model_call_ended": {
        const written = turn.live?.effectId === event.effectId ? [] : this.#retract(turn)
        turn.hasBegun = true
        turn.ended = event.effectId
        turn.awaitsMessage = true
        return written
      }
      case "message":
        return this.#message(turn, event)
      case "tool_call_started":
      case "code_started":
        // Work that starts comes after the answer that asked for it.
        return [...this.#retract(turn), ...this.#release(turn), ...this.#write(turn, chunksOf(turn.calls, event))]
      case "error": {
        const code = event.envelope?.code
        turn.error = { message: event.envelope?.userMessage ?? event.message, ...(code !== undefined && { code }) }
        return []
      }
      default:
        // A driver may record these as it prepares the next model call. A live reader then sees them after that call's first words, and a replay before them.
        if (!turn.awaitsMessage && event.type !== "goal_updated" && event.type !== "notice")
          return [...this.#release(turn), ...this.#write(turn, chunksOf(turn.calls, event))]
        turn.held.push(event)
        return []
    }
  }

  #begin({ turnId, at }: TurnStarted): readonly Written[] {
    const turn: OpenTurn = {
      turnId,
      base: this.#cursor,
      calls: new ToolCalls(this.#options),
      settled: 0,
      hasBegun: false,
      step: "none",
      isWaiting: false,
      ended: 0,
      awaitsMessage: false,
      held: [],
      live: undefined,
      error: undefined,
    }
    this.#turn = turn
    return this.#write(turn, [{ type: "start", messageId: turnId, ...(at !== undefined && { messageMetadata: { startedAt: at } }) }])
  }

  #end(turn: OpenTurn, event: TurnEnded): readonly Written[] {
    this.#turn = undefined
    const before = [...this.#retract(turn), ...this.#release(turn), ...this.#write(turn, valueChunks(event.outcome)), ...this.#finishStep(turn)]
    return [...before, ...this.#write(turn, endChunks(event, turn.error, this.#options))]
  }

  #message(turn: OpenTurn, { message }: MessageCompleted): readonly Written[] {
    if (message.role === "assistant") return this.#answer(turn, message)
    const before = [...this.#retract(turn), ...this.#release(turn)]
    const results = message.parts.some(({ type }) => type === "tool_result")
    if (results) return [...before, ...this.#results(turn, message)]
    // What neither the user nor the model wrote is between the host and the model.
    if (message.role !== "user" || message.origin !== undefined || !turn.hasBegun) return before
    const data = { id: message.id, parts: userParts(message, this.#options) as unknown as Json }
    return [...before, ...this.#write(turn, [{ type: "data-user-message", id: message.id, data }])]
  }

  /** The answer of the model: what is left of its texts, then its calls and whatever else it has. */
  #answer(turn: OpenTurn, message: Message): readonly Written[] {
    turn.hasBegun = true
    const blocks = blocksOf(message, this.#options.reasoning !== false)
    const written: Written[] = turn.live?.begins(blocks) === true ? [] : [...this.#retract(turn)]
    if (blocks.length === 0) {
      written.push(...this.#startStep(turn))
    } else {
      const { live, before } = this.#openText(turn, turn.ended)
      written.push(...before, ...live.complete(blocks))
      turn.live = undefined
      turn.settled = live.position.count
      turn.step = "open"
      // The text is recorded now.
      written.push(...written.splice(-1).map((last) => ({ ...last, position: settledAt(turn.base, turn.settled) })))
    }
    const calls = message.parts.flatMap((part) => (part.type === "tool_call" ? turn.calls.asked(part) : partChunks(part, this.#options)))
    written.push(...this.#write(turn, calls), ...this.#release(turn))
    if (!message.parts.some(({ type }) => type === "tool_call")) written.push(...this.#finishStep(turn))
    return written
  }

  #results(turn: OpenTurn, { parts }: Message): readonly Written[] {
    const chunks = parts.flatMap((part) => (part.type === "tool_result" ? turn.calls.result(part) : partChunks(part, this.#options)))
    return [...this.#write(turn, chunks), ...this.#finishStep(turn)]
  }

  #live(event: LiveThreadEvent): readonly Written[] {
    const turn = this.#turn
    if (turn === undefined || turn.turnId !== event.turnId) return []
    switch (event.type) {
      case "model_call_started":
        return this.#retract(turn)
      case "text_delta":
        return this.#delta(turn, event.effectId, "text", event.delta)
      case "reasoning_delta":
        return this.#options.reasoning === false ? [] : this.#delta(turn, event.effectId, "reasoning", event.delta)
      case "retry": {
        const { waitSeconds, attempt, maxAttempts, reason } = event
        return [...this.#retract(turn), this.#transient(turn, "data-retry", { waitSeconds, attempt, maxAttempts, reason })]
      }
      case "tool_progress": {
        const { type: _type, turnId: _turnId, callId: toolCallId, ...progress } = event
        return [this.#transient(turn, "data-tool-progress", { toolCallId, ...progress })]
      }
      case "plugin_event":
        return [this.#transient(turn, "data-plugin", { pluginId: event.pluginId, event: event.event as unknown as Json })]
    }
  }

  #delta(turn: OpenTurn, effectId: number, kind: BlockKind, delta: string): readonly Written[] {
    if (this.#options.liveText === false || effectId <= turn.ended || delta === "") return []
    const written = turn.live?.effectId === effectId ? [] : this.#retract(turn)
    turn.hasBegun = true
    const { live, before } = this.#openText(turn, effectId)
    return [...written, ...before, ...live.append(kind, delta)]
  }

  /** The text that is shown, or a new one. `before`: the beginning of its step. */
  #openText(turn: OpenTurn, effectId: number): { readonly live: LiveText; readonly before: readonly Written[] } {
    if (turn.live !== undefined) return { live: turn.live, before: [] }
    const continued = this.#continue(turn)
    const live = new LiveText(effectId, turn.base, turn.settled)
    turn.live = live
    if (turn.step === "open") return { live, before: continued }
    const before = [...continued, ...live.startStep(turn.step === "sent")]
    turn.step = "sent"
    return { live, before }
  }

  #transient({ base, settled, live }: OpenTurn, type: `data-${string}`, data: Json): Written {
    return { chunk: { type, data, transient: true }, position: live?.position ?? settledAt(base, settled) }
  }

  /** Declares the text void that no record confirms. */
  #retract(turn: OpenTurn): readonly Written[] {
    const { live } = turn
    turn.live = undefined
    return live?.retract() ?? []
  }

  /** Shows what was held. */
  #release(turn: OpenTurn): readonly Written[] {
    const { held } = turn
    turn.held = []
    turn.awaitsMessage = false
    return held.flatMap((event) => this.#write(turn, chunksOf(turn.calls, event)))
  }

  #startStep(turn: OpenTurn): readonly Written[] {
    const { step } = turn
    if (step === "open") return []
    turn.step = "open"
    const written = this.#write(turn, [{ type: "start-step" }])
    return step === "sent" ? written.slice(0, -1) : written
  }

  #finishStep(turn: OpenTurn): readonly Written[] {
    if (turn.step !== "open") return []
    turn.step = "none"
    return this.#write(turn, [{ type: "finish-step" }])
  }

  /** Begins the stream that follows one that ended because the turn waited. */
  #continue(turn: OpenTurn): readonly Written[] {
    if (!turn.isWaiting) return []
    turn.isWaiting = false
    return this.#write(turn, [{ type: "start", messageId: turn.turnId }])
  }

  #write(turn: OpenTurn, chunks: readonly UiChunk[]): readonly Written[] {
    if (chunks.length === 0) return []
    const before = this.#continue(turn)
    return [
      ...before,
      ...chunks.map((chunk): Written => {
        if (!chunk.type.endsWith("-delta")) turn.settled += 1
        return { chunk, position: settledAt(turn.base, turn.settled) }
      }),
    ]
  }
}

function placed({ chunk, position, isVoid }: Written): PositionedChunk {
  return { chunk, cursor: cursorText(position), position, ...(isVoid === true && { isVoid }) }
}

function lastMarked(chunks: readonly PositionedChunk[]): readonly PositionedChunk[] {
  return chunks.map((chunk, index) => (index === chunks.length - 1 ? { ...chunk, isLast: true } : chunk))
}

/** The chunks of an event that has nothing to do with texts. */
function chunksOf(calls: ToolCalls, event: DurableThreadEvent): readonly UiChunk[] {
  switch (event.type) {
    case "tool_call_started":
      return calls.started(event)
    case "tool_call_ended":
      return calls.ended(event)
    case "approval_requested":
      return calls.held(event)
    case "approval_decided":
      return calls.decided(event)
    case "tool_call_pending":
      return calls.outside(event)
    case "code_started": {
      const { effectId, code, language } = event
      return [{ type: "data-code", id: `code-${effectId}`, data: { code, ...(language !== undefined && { language }) } }]
    }
    case "code_ended": {
      const { effectId, result, error } = event
      const output = result === undefined ? {} : { observations: result.observations, durationMs: result.durationMs }
      return [{ type: "data-code-result", id: `code-${effectId}`, data: { ...output, ...(error !== undefined && { error }) } }]
    }
    case "goal_updated":
      return [{ type: "data-goal", id: "goal", data: { cause: event.cause, goal: event.goal as unknown as Json } }]
    case "notice":
      return [{ type: "data-notice", data: { kind: event.kind, ...(event.text !== undefined && { text: event.text }) } }]
    default:
      return []
  }
}
