import { wireValidation } from "../../checks/validation.ts"
import { lostUsageRecord } from "../../drivers/goal/deliveries.ts"
import { begin } from "../../machine/step.ts"
import type { TurnMachine as PureTurnMachine } from "../../machine/turn-machine.ts"
import { TurnMachine } from "../../validated-turn-machine.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import type { OpenedTurn } from "../thread/loop-options.ts"
import { type KnownHistory, restoreSegment } from "./segments.ts"
import type { ObjectSdk, StateReader, StateWriter, ThreadContext } from "./thread-context.ts"
import { PROGRESS, type TurnProgress } from "./thread-head.ts"
import { type ThreadRunOptions, threadIdOf } from "./thread-options.ts"

/**
 * The last turn that began, and the invocation that runs it. `null`: it is stored, and any invocation may continue it. It stays when the turn ends: a
 * run that is killed before the log has the end must not leave a turn that looks as if it had not begun.
 */
type BegunTurn = { readonly turnId: string; readonly invocation: string | null }

const BEGUN = "begun"

const LOST = "The invocation that ran the turn ended before it. What it did is not known here, so the turn does not run again."

/** The turns that one invocation runs. A turn that another one has left in the middle does not run again: it ends as cancelled. */
export class ThreadTurns {
  readonly #sdk: ObjectSdk
  readonly #ctx: ThreadContext
  readonly #state: StateReader & StateWriter
  readonly #options: Pick<ThreadRunOptions, "name" | "goals">
  #turn: OpenedTurn | undefined
  #machine: PureTurnMachine | undefined
  /** Aborted when the open turn, which another invocation has left, is to end. */
  #lost: AbortController | undefined
  /** What that turn had used. */
  #lostUsage: TokenUsage | undefined

  constructor(sdk: ObjectSdk, ctx: ThreadContext, state: StateReader & StateWriter, options: Pick<ThreadRunOptions, "name" | "goals">) {
    this.#sdk = sdk
    this.#ctx = ctx
    this.#state = state
    this.#options = options
  }

  /** The last turn that this invocation opened. */
  get turn(): OpenedTurn | undefined {
    return this.#turn
  }

  /** The machine of {@link turn}. */
  get machine(): PureTurnMachine | undefined {
    return this.#machine
  }

  /** Of a turn that another invocation has left: aborted when the turn is to end. `undefined`: it runs. */
  get lost(): AbortSignal | undefined {
    return this.#lost?.signal
  }

  /** Begins the machine of the open turn, or restores it. */
  async open(turn: OpenedTurn): Promise<{ readonly machine: PureTurnMachine; readonly resumed: boolean }> {
    const known = this.#turn?.turnId === turn.turnId ? this.#machine : undefined
    this.#turn = turn
    if (known !== undefined) return { machine: known, resumed: true }
    const { turnId } = turn
    const begun = await this.#state.get<BegunTurn>(BEGUN)
    const progress = await this.#state.get<TurnProgress>(PROGRESS)
    const { id: invocation } = this.#ctx.request()
    const stored = restoreSegment(this.#sdk, this.#state, withValidation(turn.config), turnId, historyOf(turn))
    // Another invocation left the turn. If that was while it stored a segment, nothing can be restored.
    const isLeft = begun?.turnId === turnId && begun.invocation !== null && begun.invocation !== invocation
    const restored = await (isLeft ? stored.catch(() => undefined) : stored)
    const machine = restored ?? beginTurn(turn)
    this.#machine = machine
    this.#lost = undefined
    if (isLeft || (begun?.turnId === turnId && begun.invocation === null && restored === undefined)) {
      this.#lost = new AbortController()
      this.#lostUsage = progress?.turnId === turnId ? usageSince(machine.usage, progress.usage) : undefined
    }
    this.#writeBegun({ turnId, invocation })
    return { machine, resumed: restored !== undefined }
  }

  /** The turn is in the state: another invocation may continue it. */
  stored(turnId: string): void {
    this.#writeBegun({ turnId, invocation: null })
  }

  #writeBegun(begun: BegunTurn): void {
    this.#state.set(BEGUN, begun)
  }

  /** Ends a turn that its invocation has left, before its work: what it did is not known. What it had used is charged as far as the state says. */
  endLost(machine: PureTurnMachine): void {
    const lost = this.#lost
    if (lost === undefined) return
    // The turn of a goal begins with the first request.
    const { type } = machine.outstanding ?? {}
    if (type === "sync_execution_surface" || type === "checkpoint") return
    const { turnId = "" } = this.#turn ?? {}
    if (this.#lostUsage !== undefined && this.#options.goals !== false)
      machine.apply([{ type: "append_events", events: [lostUsageRecord(threadIdOf(this.#options.name, this.#ctx.key), turnId, this.#lostUsage)] }])
    this.#lostUsage = undefined
    lost.abort(new Error(LOST))
  }
}

/** A machine that trusts the history of its thread, as that of a journal does. */
function beginTurn({ config, start, history }: OpenedTurn): PureTurnMachine {
  const checked = withValidation(config)
  const { messages, events = [], ...own } = start
  const added = { ...own, messages: messages.slice(history.messages), events: events.slice(history.events) }
  checked.validation?.start(added)
  const { validation: _checked, ...trusting } = checked
  return TurnMachine.of(checked, begin(trusting, start).turn)
}

/** The part of a turn that the log of the thread has, as a checkpoint has it: an event that is a message names its place. */
function historyOf({ start, history }: OpenedTurn): KnownHistory {
  const { messages, events = [] } = start
  return { messages: messages.slice(0, history.messages), events: events.slice(0, history.events) }
}

function withValidation(config: OpenedTurn["config"]): OpenedTurn["config"] {
  return { ...config, validation: config.validation ?? wireValidation }
}

function usageSince(before: TokenUsage, after: TokenUsage): TokenUsage {
  return {
    inputTokens: Math.max(0, after.inputTokens - before.inputTokens),
    cachedInputTokens: Math.max(0, after.cachedInputTokens - before.cachedInputTokens),
    outputTokens: Math.max(0, after.outputTokens - before.outputTokens),
    reasoningTokens: Math.max(0, after.reasoningTokens - before.reasoningTokens),
  }
}
