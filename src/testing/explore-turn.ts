import { wireValidation } from "../checks/validation.ts"
import { checkedConfig, completeConfig, type TurnConfig } from "../machine/config.ts"
import type { ProtocolDriver } from "../machine/driver.ts"
import { errorEvent, stopped } from "../machine/terminal.ts"
import { type ResponseType, TRANSITIONS } from "../machine/transitions.ts"
import type { StateName } from "../machine/turn.ts"
import { userMessage } from "../machine/user-message.ts"
import { chatProjector } from "../projectors/chat.ts"
import { TurnMachine } from "../validated-turn-machine.ts"
import type { TurnStart } from "../wire/config.ts"
import type { AnswerableEffect, ToolCalls } from "../wire/effect.ts"
import type { Outcome } from "../wire/event.ts"
import type { Response } from "../wire/response.ts"
import { LAWS, LawError } from "./laws.ts"
import { POSSIBLE_APPLICATIONS, partialAnswer, possibleAnswers, possibleRedirections } from "./possible-answers.ts"
import { exploreStates, inputsTo, type Place } from "./state-space.ts"
import { type CheckedStep, type DriverLaw, type GivenInput, keyOf, StepChecker, type StepLaw, StepLawError } from "./step-checker.ts"
import type { TestedMachine, TestedMachineClass, TurnInput } from "./turn-input.ts"
import { type DriverCall, watchDriver } from "./watched-driver.ts"
import { ExplorationError } from "./witness.ts"

/** How far an exploration goes. What a bound leaves out is reported in `Exploration.cutOff`. */
export interface ExploreBounds {
  /** Iterations of a turn. Also its `maxIterations`, unless the config has its own. Default 2. */
  readonly iterations?: number
  /** Tool calls in one batch. Default 2. */
  readonly calls?: number
  /** Deliveries in one turn that are not empty. Default 1. */
  readonly deliveries?: number
  /** Redirections of one turn by its user. Default 0: the host never redirects it. */
  readonly redirects?: number
  /** How often the host applies actions of its own to one turn. Default 0: never. */
  readonly applies?: number
  /** Inputs in one turn. Default 100. */
  readonly depth?: number
  /** Different states of the turn. Default 20,000. */
  readonly states?: number
}

/** Options of {@link exploreTurn}. */
export interface ExploreTurnOptions {
  readonly driver: ProtocolDriver
  /** The rest of the turn's config. Default: `chatProjector`, a model of any name, and one tool, `tool`. */
  readonly config?: Partial<Omit<TurnConfig, "driver">>
  /** What the turn begins with. Default: one message of the user. */
  readonly start?: TurnStart
  readonly bounds?: ExploreBounds
  /** The answers that a host may give to an effect. `defaults` are those of {@link possibleAnswers}. Default: these. */
  readonly answers?: (effect: AnswerableEffect, defaults: readonly Response[]) => readonly Response[]
  /**
   * The commands that a host may give to an unfinished turn in a state. Default: `cancel`, also in mid-answer, `fail` and `finish`; with a bound
   * of `redirects`, also `redirect`, with what the model had said or with the results of calls that ended in time; with a bound of `applies`, also
   * `apply`, with an event, a record and a message, and with a record and an end.
   */
  readonly commands?: (turn: TestedMachine, defaults: readonly HostInput[]) => readonly HostInput[]
  /** Laws of the caller, by name. Each is checked on every step. */
  readonly laws?: { readonly [law: string]: StepLaw }
  /** Laws of this package that are not checked, because the driver breaks them on purpose. Default: none. */
  readonly without?: readonly DriverLaw[]
  /** The class of the machine. Default: `TurnMachine`, which checks every value that comes from outside. */
  readonly machine?: TestedMachineClass
  /** Follows only these inputs, such as the `path` of an {@link ExplorationError}, and checks the laws on each. */
  readonly path?: readonly TurnInput[]
}

/** A command that a host gives to a turn. */
export type HostInput = Extract<TurnInput, { type: "cancel" | "fail" | "finish" | "apply" | "redirect" }>

/** One row of the transition table: a state and a response that it accepts. */
export interface TableRow {
  readonly state: StateName
  readonly response: ResponseType
}

/** A row that was reached: how often, and which states followed. */
export interface ReachedRow extends TableRow {
  readonly times: number
  readonly next: readonly StateName[]
}

/** A bound that left something out. */
export interface CutOff {
  readonly bound: keyof ExploreBounds
  readonly limit: number
  /** The number of states from which the bound left out some or all inputs. */
  readonly states: number
}

/** The result of an exploration in which every law holds. */
export interface Exploration {
  /** The different states of the turn between two inputs of its host, after it was polled until nothing is left. */
  readonly states: number
  /** The inputs that were given, each in one state. */
  readonly transitions: number
  /** Whether the turn has no state beyond these, for these answers and commands. */
  readonly complete: boolean
  /** Why it is not complete. Empty if it is. */
  readonly cutOff: readonly CutOff[]
  /** The rows of the transition table. */
  readonly rows: { readonly reached: readonly ReachedRow[]; readonly notReached: readonly TableRow[] }
  /** How turns ended, such as `finished assistant_message` or `stopped cancelled`, and in how many states. */
  readonly outcomes: { readonly [outcome: string]: number }
}

/**
 * Explores a small turn exhaustively: from every state that it can reach, it is given each answer and each command that a host may give
 * there. Every step is replayed, restored from the JSON text of its checkpoint, and given its answer twice; effects, records and requests
 * must follow the laws of a turn. Restores between two polls and refused responses are checked in full on the first steps of each form
 * (the same state, input and types of effects), and in rotation on the others; with `path`, on every step.
 *
 *     const { states, complete, rows } = exploreTurn({ driver: chatDriver(), bounds: { iterations: 3, calls: 2 } })
 *
 * The driver, the projector and `turnLimitMessage` must be pure, as every host may expect of them.
 * @throws {ExplorationError} with the law that is broken, where, and the shortest inputs that lead there
 */
export function exploreTurn(options: ExploreTurnOptions): Exploration {
  return new Explorer(options).explore()
}

const DEFAULT_BOUNDS: Required<ExploreBounds> = { iterations: 2, calls: 2, deliveries: 1, redirects: 0, applies: 0, depth: 100, states: 20_000 }

/** The commands that have a bound of their own. */
const BOUNDED = { redirects: "redirect", applies: "apply" } as const

/** A state, with what its bounds count on the way there. */
interface Explored {
  readonly step: CheckedStep
  /** The number of deliveries on the way that were not empty. */
  readonly deliveries: number
  /** The number of redirections on the way. */
  readonly redirects: number
  /** How often the host applied actions on the way. */
  readonly applies: number
}

/** The way to a state. */
type Way = Place<GivenInput>

class Explorer {
  readonly #options: ExploreTurnOptions
  readonly #bounds: Required<ExploreBounds>
  readonly #start: TurnStart
  readonly #checker: StepChecker

  #states = 0
  readonly #rows = new Map<string, { times: number; readonly next: Set<StateName> }>()
  readonly #outcomes = new Map<string, number>()
  readonly #cutOff = new Map<keyof ExploreBounds, number>()

  constructor(options: ExploreTurnOptions) {
    this.#options = options
    this.#bounds = { ...DEFAULT_BOUNDS, ...options.bounds }
    this.#start = options.start ?? { messages: [userMessage("A question.")] }
    const driverCalls: DriverCall[] = []
    const given = checkedConfig({
      projector: chatProjector,
      model: "model",
      tools: [{ name: "tool", description: "A tool.", inputSchema: { type: "object" } }],
      maxIterations: this.#bounds.iterations,
      validation: wireValidation,
      ...options.config,
      driver: options.driver,
    })
    const config = completeConfig({ ...given, driver: watchDriver(given.driver, (call) => driverCalls.push(call)) })
    const { machine = TurnMachine, laws = {}, without = [] } = options
    this.#checker = new StepChecker({ machine, config, driverCalls, start: this.#start, laws, without, inFull: options.path !== undefined })
  }

  explore(): Exploration {
    const path = this.#options.path?.filter((input): input is GivenInput => input.type !== "poll")
    const { transitions } = exploreStates<Explored, GivenInput>({
      start: () => this.#step(undefined, undefined, undefined),
      key: ({ step, deliveries, redirects, applies }) => `${deliveries} ${redirects} ${applies} ${keyOf(step)}`,
      inputs: (explored, place) => {
        const machine = withPath(place, undefined, () => this.#checker.enter(explored.step.reached))
        return path === undefined ? this.#inputs(explored, place, machine) : path.slice(place.depth, place.depth + 1)
      },
      next: (explored, input, place) => this.#step(explored, input, place),
      found: ({ step }) => {
        this.#states += 1
        this.#countOutcome(step)
      },
    })
    return this.#result(transitions)
  }

  /** Returns every input that a state may get. */
  #inputs(explored: Explored, { depth }: Way, machine: TestedMachine): readonly GivenInput[] {
    const bounds = this.#bounds
    const { outstanding, iteration } = machine
    if (machine.done) return []
    if (this.#states >= bounds.states) return this.#cut("states")
    if (depth >= bounds.depth) return this.#cut("depth")
    if (iteration - (this.#start.iterationOffset ?? 0) > bounds.iterations) return this.#cut("iterations")
    if (outstanding?.type === "tool_calls" && openCallsOf(outstanding) > bounds.calls) return this.#cut("calls")
    const answers = outstanding === undefined ? [] : this.#answers(outstanding)
    const given = explored.deliveries < bounds.deliveries ? answers : answers.filter((response) => !delivers(response))
    if (given.length < answers.length) this.#cut("deliveries")
    const cancels = outstanding?.type === "llm_call" ? [...COMMANDS, CANCEL_IN_ANSWER] : COMMANDS
    const redirections = bounds.redirects === 0 ? [] : possibleRedirections(outstanding)
    const defaults = [...cancels, ...redirections, ...(bounds.applies === 0 ? [] : POSSIBLE_APPLICATIONS)]
    const commands = this.#options.commands?.(machine, defaults) ?? defaults
    const allowed = this.#within(explored, "applies", this.#within(explored, "redirects", commands))
    return [...given.map((response): GivenInput => ({ type: "respond", response })), ...allowed]
  }

  /** The commands without those of a kind that were given as often as the bounds allow. */
  #within(explored: Explored, bound: keyof typeof BOUNDED, commands: readonly HostInput[]): readonly HostInput[] {
    if (explored[bound] < this.#bounds[bound]) return commands
    const allowed = commands.filter(({ type }) => type !== BOUNDED[bound])
    if (allowed.length < commands.length) this.#cut(bound)
    return allowed
  }

  #answers(effect: AnswerableEffect): readonly Response[] {
    const defaults = possibleAnswers(effect, this.#bounds.calls)
    return this.#options.answers?.(effect, defaults) ?? defaults
  }

  /** Records that a bound left something out. */
  #cut(bound: keyof ExploreBounds): readonly [] {
    this.#cutOff.set(bound, (this.#cutOff.get(bound) ?? 0) + 1)
    return []
  }

  /** Gives one input in the state that was entered; without one, starts the turn. */
  #step(from: Explored | undefined, input: GivenInput | undefined, place: Way | undefined): Explored {
    const step = withPath(place, input, () => this.#checker.check(input))
    this.#countRow(step)
    return {
      step,
      deliveries: (from?.deliveries ?? 0) + (input?.type === "respond" && delivers(input.response) ? 1 : 0),
      redirects: (from?.redirects ?? 0) + (input?.type === BOUNDED.redirects ? 1 : 0),
      applies: (from?.applies ?? 0) + (input?.type === BOUNDED.applies ? 1 : 0),
    }
  }

  #countOutcome({ after: { outcome } }: CheckedStep): void {
    if (outcome === undefined) return
    const name = nameOf(outcome)
    this.#outcomes.set(name, (this.#outcomes.get(name) ?? 0) + 1)
  }

  #countRow({ before, input, next }: CheckedStep): void {
    if (before === undefined || input?.type !== "respond") return
    const key = rowKey(before.state, input.response.type)
    const row = this.#rows.get(key) ?? { times: 0, next: new Set() }
    row.times += 1
    row.next.add(next)
    this.#rows.set(key, row)
  }

  #result(transitions: number): Exploration {
    const reached: ReachedRow[] = []
    const notReached: TableRow[] = []
    for (const row of tableRows()) {
      const found = this.#rows.get(rowKey(row.state, row.response))
      if (found === undefined) notReached.push(row)
      else reached.push({ ...row, times: found.times, next: Array.from(found.next).sort() })
    }
    const cutOff = Array.from(this.#cutOff, ([bound, states]): CutOff => ({ bound, limit: this.#bounds[bound], states }))
    return {
      states: this.#states,
      transitions,
      complete: cutOff.length === 0 && this.#options.path === undefined,
      cutOff,
      rows: { reached, notReached },
      outcomes: Object.fromEntries(Array.from(this.#outcomes).sort()),
    }
  }
}

const COMMANDS: readonly HostInput[] = [
  { type: "cancel" },
  { type: "fail", event: errorEvent("The host failed.", { kind: "host" }) },
  { type: "finish", outcome: stopped("plugin_abort") },
]

/** The user cancels while the model answers. */
const CANCEL_IN_ANSWER: HostInput = { type: "cancel", reason: "The user cancelled.", partial: partialAnswer() }

/** How many calls of a batch have no result. */
function openCallsOf({ calls, held = [], pending = [] }: ToolCalls): number {
  return calls.length + held.length + pending.length
}

/** Whether a response delivers anything. */
function delivers(response: Response): boolean {
  return response.type === "checkpoint_delivery" && Object.values(response.delivery).some((list) => list !== undefined && list.length > 0)
}

/** Runs a check. A violation gets the path to the state, and the input that was given there. */
function withPath<Result>(place: Way | undefined, input: GivenInput | undefined, check: () => Result): Result {
  try {
    return check()
  } catch (cause) {
    const path = pathTo(place, input)
    if (!(cause instanceof LawError || cause instanceof StepLawError))
      throw new ExplorationError("inputs", "", `Broken: ${LAWS.inputs}.\nThe turn throws: ${String(cause)}`, path, undefined, { cause })
    const difference = cause instanceof LawError ? cause.difference : undefined
    throw new ExplorationError(cause.law, cause.where, cause.message, path, difference, { cause })
  }
}

const POLL: TurnInput = { type: "poll" }

/** All inputs up to a state and the one given there, each followed by polls. */
function pathTo(place: Way | undefined, input: GivenInput | undefined): readonly TurnInput[] {
  const given = [...inputsTo(place), ...(input === undefined ? [] : [input])]
  return [POLL, ...given.flatMap((one) => [one, POLL])]
}

function tableRows(): readonly TableRow[] {
  return (Object.keys(TRANSITIONS) as StateName[]).flatMap((state) =>
    (Object.keys(TRANSITIONS[state]) as ResponseType[]).map((response): TableRow => ({ state, response })),
  )
}

function rowKey(state: StateName, response: ResponseType): string {
  return `${state} ${response}`
}

function nameOf(outcome: Outcome): string {
  switch (outcome.type) {
    case "finished":
      return `finished ${outcome.finish.type}`
    case "stopped":
      return `stopped ${outcome.stop.type}`
    case "agent_frame_switch":
      return outcome.type
  }
}
