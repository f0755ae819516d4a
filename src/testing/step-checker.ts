import { TurnError } from "../errors.ts"
import type { Json } from "../json.ts"
import { canonicalJson } from "../json.ts"
import type { CompleteTurnConfig } from "../machine/config.ts"
import { isWide } from "../machine/held.ts"
import { isAnswerable } from "../machine/transitions.ts"
import type { StateName, Turn } from "../machine/turn.ts"
import { digest } from "../replay/digest.ts"
import type { TurnStart } from "../wire/config.ts"
import type { Effect } from "../wire/effect.ts"
import type { LlmResponse, TerminalReason } from "../wire/llm.ts"
import { jsonText } from "./difference.ts"
import { checkEffects } from "./effect-laws.ts"
import { type Law, LawError, requireEqual, requireEqualLists, requireEqualTexts, requireThat } from "./laws.ts"
import { checkPrefix } from "./prefix-law.ts"
import { inAnyOrder, lastFirst, requireRefusals } from "./run-laws.ts"
import { checkDriverErrors, checkOrphans, checkVerbatim } from "./step-laws.ts"
import { describeInput, give, type TestedMachine, type TestedMachineClass, type TurnInput, type Verdict } from "./turn-input.ts"
import { checkpointText, type EffectTrace, type Standing, type Subject, type TracedCall, type TraceStep, turnText } from "./turn-trace.ts"
import type { DriverCall } from "./watched-driver.ts"

/** An input other than a poll. */
export type GivenInput = Exclude<TurnInput, { type: "poll" }>

/** One step of an exploration: an input, what the turn emitted until nothing was left, and the turn before and after. */
export interface ExploredStep {
  /** Absent: the start of the turn. */
  readonly input: GivenInput | undefined
  readonly effects: readonly Effect[]
  /** Absent: the start of the turn. */
  readonly before: TestedMachine | undefined
  readonly after: TestedMachine
}

/** A law of the caller. Returns what is wrong; `undefined` if the law holds. May also throw, as assertions do. */
export type StepLaw = (step: ExploredStep) => string | undefined

/** A turn between two inputs, after it was polled until nothing was left: as a value, and as the JSON text of its checkpoint. */
export interface Reached {
  readonly turn: Turn
  readonly checkpoint: string
  /** The model calls on the way, in order. */
  readonly modelCalls: readonly TracedCall[]
}

/** A step that was run, and its result. */
export interface CheckedStep extends ExploredStep {
  readonly reached: Reached
  /** The state right after the input, before the polls. */
  readonly next: StateName
}

/** The laws that a driver may break on purpose. */
export type DriverLaw = Extract<Law, "driver" | "orphans" | "prefix" | "verbatim">

export interface StepCheckerOptions {
  readonly machine: TestedMachineClass
  /** Its driver adds its calls to `driverCalls`. */
  readonly config: CompleteTurnConfig
  readonly driverCalls: DriverCall[]
  readonly start: TurnStart
  /** The caller's own laws. */
  readonly laws: { readonly [law: string]: StepLaw }
  readonly without: readonly DriverLaw[]
  /** Checks every step in full. Default: the first few of each form. */
  readonly inFull: boolean
}

/** A law of the caller that a step broke. */
export class StepLawError extends Error {
  readonly law: string
  readonly where: string

  constructor(law: string, where: string, what: string, options?: ErrorOptions) {
    super(`Broken: ${law}.\n${where}: ${what}`, options)
    this.law = law
    this.where = where
  }
}

/** All that one run of a step shows. Effects are also there as JSON texts, as they were when they were polled. */
interface Run {
  readonly machine: TestedMachine
  readonly verdict: Verdict
  /** The state right after the input. */
  readonly next: StateName
  readonly effects: readonly Effect[]
  readonly texts: readonly string[]
  readonly driverCalls: readonly DriverCall[]
  /** The turn after the input, and after each poll that returned an effect. */
  readonly standings: readonly Standing[]
  /** The JSON text of the checkpoint at the end. */
  readonly checkpoint: string
  /** Those after so many polls as were asked for. */
  readonly cuts: ReadonlyMap<number, string>
}

const MOST_POLLS = 10_000
/** How many steps and states of each form are checked in full. */
const IN_FULL = 2

/**
 * Checks the laws on single steps and single states of a turn. The first violation throws a {@link LawError} or a {@link StepLawError}.
 *
 * A turn is cut before every poll of a step, and given every kind of refused input in a state. For most steps this repeats what others
 * of the same form showed (the same state, input and types of effects), so only the first few of each form are checked in full. Each
 * other one is cut at two places and given one refused input, in rotation.
 */
export class StepChecker {
  readonly #options: StepCheckerOptions
  /** The state whose steps are checked: its turn also as text, and as it is after a restore. */
  #from: { readonly reached: Reached; readonly text: string; readonly restored: Turn } | undefined
  readonly #forms = new Map<string, number>()

  constructor(options: StepCheckerOptions) {
    this.#options = options
  }

  /**
   * Checks a state, whose steps are checked next, and returns the turn in it: it is the same after a restore, and refuses what it must
   * refuse. An ended turn stays as it is.
   */
  enter(reached: Reached): TestedMachine {
    const machine = this.#fork(reached)
    const { state, outstanding } = machine
    const where = `in "${state}"`
    const open = outstanding?.type === "tool_calls" ? outstanding.calls.length : 0
    const seen = this.#count(`${state} ${open}`)
    const inFull = this.#inFull(seen)
    requireRefusals(where, machine, inFull ? undefined : seen)
    if (machine.done) requireEnded(machine, reached.checkpoint)
    // The step that ended a turn restored it already, with the effects that were to be polled.
    if (machine.done && !inFull) return machine
    const restored = this.#restore(where, reached.checkpoint)
    this.#requireContinues(where, restored, [], { machine, checkpoint: reached.checkpoint }, [])
    this.#from = { reached, text: machine.done ? "" : turnText(reached.turn), restored: restored.turn }
    return machine
  }

  /** Runs the start of the turn, or one input in the state that was entered, and checks the laws on it. */
  check(input: GivenInput | undefined): CheckedStep {
    const where = input === undefined ? "the start" : describeInput(input)
    const before = this.#from === undefined ? undefined : this.#fork(this.#from.reached)
    const run = this.#run(this.#begin(), input)
    requireThat("inputs", where, run.verdict === "accepted", `the turn must accept each of the possible inputs; its verdict is ${run.verdict}`)
    if (this.#from !== undefined)
      requireEqualTexts("values", where, "the turn as a value, before the input and after it", turnText(this.#from.reached.turn), this.#from.text)
    const { cuts } = this.#repeat(where, input, before, run)
    for (const [polls, checkpoint] of cuts) {
      const place = `${where}, restored after ${polls} polls`
      this.#requireContinues(place, this.#restore(place, checkpoint), run.texts.slice(polls), run, run.effects.slice(polls))
    }
    checkEffects(...this.#traceOf(where, input, before, run))
    const reached = { turn: run.machine.turn, checkpoint: run.checkpoint, modelCalls: this.#modelCalls(where, before, run) }
    const step: CheckedStep = { input, effects: run.effects, before, after: run.machine, reached, next: run.next }
    this.#checkDriver(where, step)
    if (input?.type === "respond" && before !== undefined) {
      requireStale(where, input, run)
      this.#requireAnyOrder(where, input, run)
    }
    for (const [law, check] of Object.entries(this.#options.laws)) checkOwnLaw(law, where, check, step)
    return step
  }

  /** The model calls up to a step, with the one that it starts, if any. */
  #modelCalls(where: string, before: TestedMachine | undefined, { machine }: Run): readonly TracedCall[] {
    const earlier = this.#from?.reached.modelCalls ?? []
    const { outstanding, turn } = machine
    if (outstanding?.type !== "llm_call" || outstanding.id === before?.outstanding?.id) return earlier
    return [...earlier, { where, id: outstanding.id, turn, requestText: JSON.stringify(outstanding.request) }]
  }

  /** After how many polls of a step the turn is cut. After the last one it is cut when its state is entered. */
  #cuts(where: string, before: TestedMachine | undefined, { effects }: Run): readonly number[] {
    if (effects.length === 0) return []
    const seen = this.#count(`${before?.state} ${where.replace(/\d+/, "")} ${effects.map(({ type }) => type).join()}`)
    if (this.#inFull(seen)) return effects.map((_, polls) => polls)
    return effects.length === 1 ? [0] : [0, 1 + (seen % (effects.length - 1))]
  }

  /** Returns how many steps or states of a form came before. */
  #count(form: string): number {
    const seen = this.#forms.get(form) ?? 0
    this.#forms.set(form, seen + 1)
    return seen
  }

  #inFull(seen: number): boolean {
    return this.#options.inFull || seen < IN_FULL
  }

  /** A new machine in the state that was entered, or at the start. */
  #begin(): TestedMachine {
    const { machine, config, start } = this.#options
    return this.#from === undefined ? new machine(config, start) : this.#fork(this.#from.reached)
  }

  /** A machine that has polled all effects of a turn. */
  #fork(reached: Reached): TestedMachine {
    const machine = this.#unpolled(reached.turn, reached.checkpoint)
    if (machine.outstanding !== undefined) machine.poll()
    return machine
  }

  /** A machine that will return the outstanding effect of a turn once more. */
  #unpolled(turn: Turn, checkpoint: string): TestedMachine {
    const { machine, config } = this.#options
    return machine.of?.(config, turn) ?? machine.restore(config, checkpoint)
  }

  #restore(where: string, checkpoint: string): TestedMachine {
    const { machine, config } = this.#options
    try {
      return machine.restore(config, checkpoint)
    } catch (error) {
      if (error instanceof TurnError) throw new LawError("cut", where, `the checkpoint cannot be restored: ${error.message}`)
      throw error
    }
  }

  /** Gives an input and polls until nothing is left. `cuts`: after how many polls a checkpoint is made. */
  #run(machine: TestedMachine, input: GivenInput | undefined, cuts: readonly number[] = []): Run {
    const { driverCalls } = this.#options
    const callsBefore = driverCalls.length
    const verdict = input === undefined ? "accepted" : give(machine, input)
    const next = machine.state
    const effects: Effect[] = []
    const texts: string[] = []
    const standings = [standing(machine)]
    const checkpoints = new Map<number, string>()
    for (;;) {
      if (cuts.includes(effects.length)) checkpoints.set(effects.length, checkpointText(machine))
      const effect = machine.poll()
      if (effect === undefined) break
      effects.push(effect)
      texts.push(jsonText(effect) as string)
      standings.push(standing(machine, standings.at(-1)))
      requireThat("inputs", "the polls", effects.length < MOST_POLLS, `${MOST_POLLS} polls, and the turn still returns effects`)
    }
    const checkpoint = checkpointText(machine)
    return { machine, verdict, next, effects, texts, driverCalls: driverCalls.splice(callsBefore), standings, checkpoint, cuts: checkpoints }
  }

  /** Laws 1 and 2: the same input in the state as it is after a restore has the same result. */
  #repeat(where: string, input: GivenInput | undefined, before: TestedMachine | undefined, run: Run): Run {
    let other = this.#run(this.#again(before, run), input, this.#cuts(where, before, run))
    if (sameRun(other, run)) return other
    // What differs even without a restore is not the restore's fault.
    const again = this.#run(this.#begin(), input)
    const law = sameRun(again, run) ? "cut" : "replay"
    if (law === "replay") other = again
    const what = law === "cut" ? "after a restore, and without one" : "the second time, and the first time"
    requireEqual(law, where, `the verdict ${what}`, other.verdict, run.verdict)
    requireEqualLists(law, where, `the effects ${what}`, other.texts, run.texts)
    requireEqualLists(law, where, `the driver's calls and answers ${what}`, other.driverCalls, run.driverCalls)
    requireEqualTexts(law, where, `the checkpoint ${what}`, other.checkpoint, run.checkpoint)
    return other
  }

  /** The turn that was restored. An effect that the input answers or ends need not be polled again before. */
  #again(before: TestedMachine | undefined, { machine }: Run): TestedMachine {
    if (this.#from === undefined || before === undefined) return this.#begin()
    const { restored, reached } = this.#from
    const again = this.#unpolled(restored, reached.checkpoint)
    if (before.outstanding?.id === machine.outstanding?.id) again.poll()
    return again
  }

  /** Law 2: a restored turn returns the effects that were not polled yet, and the outstanding one once more. */
  #requireContinues(
    where: string,
    restored: TestedMachine,
    unpolled: readonly string[],
    uncut: Pick<Run, "machine" | "checkpoint">,
    effects: readonly Effect[],
  ): void {
    const { outstanding } = uncut.machine
    const again = outstanding !== undefined && !effects.some(isAnswerable) ? [jsonText(outstanding) as string] : []
    const run = this.#run(restored, undefined)
    // The batch names released calls when it is returned again.
    const due = unpolled.filter((_, index) => effects[index]?.type !== "tool_calls_released")
    requireEqualLists("cut", where, "the effects of the restored turn, and those of the turn that was not cut", run.texts, [...due, ...again])
    requireEqualTexts("cut", where, "the checkpoint of the restored turn, and that of the turn that was not cut", run.checkpoint, uncut.checkpoint)
  }

  /** Laws 5 to 7 look at a trace. This one begins in the state that was entered. */
  #traceOf(where: string, input: GivenInput | undefined, before: TestedMachine | undefined, run: Run): readonly [Subject, EffectTrace] {
    const { machine, config, start } = this.#options
    const subject: Subject = { machine, config, start: before === undefined ? start : { messages: [], events: before.history } }
    const begin =
      before === undefined ? { ...(run.standings[0] as Standing), outstanding: undefined, taken: false } : { ...standing(before), taken: true }
    const steps: TraceStep[] = []
    if (input !== undefined)
      steps.push({
        ...{ where, input, verdict: run.verdict, effect: undefined, effectText: undefined },
        ...{ before: begin, after: run.standings[0] as Standing },
      })
    run.standings.forEach((after, polls) => {
      const [effect, effectText] = [run.effects[polls], run.texts[polls]]
      const next = run.standings[polls + 1] ?? after
      steps.push({
        where: `${where}, poll ${polls}`,
        input: { type: "poll_once" },
        verdict: undefined,
        effect,
        effectText,
        before: after,
        after: next,
      })
    })
    return [subject, { machine: run.machine, begin, steps }]
  }

  /** The laws on what the driver made of the input. */
  #checkDriver(where: string, { input, effects, before, after, reached }: CheckedStep): void {
    const { without } = this.#options
    if (!without.includes("driver")) checkDriverErrors(where, effects)
    if (!without.includes("orphans")) for (const effect of effects) if (effect.type === "llm_call") checkOrphans(where, effect.request)
    if (!without.includes("prefix")) checkPrefix(reached.modelCalls)
    // What follows a side call, such as the summary of a compaction, is not part of the conversation.
    const isSideCall = before?.outstanding?.type === "llm_call" && before.outstanding.purpose !== undefined
    if (without.includes("verbatim") || before === undefined || input === undefined || isSideCall) return
    const answer = answerOf(input)
    if (answer === undefined) return
    checkVerbatim(where, answer.response, answer.cutOff, after.messages.slice(before.messages.length))
  }

  /** Law 8: results, or decisions, that came together may also come one by one, the last first. */
  #requireAnyOrder(where: string, { response }: Extract<GivenInput, { type: "respond" }>, run: Run): void {
    if (response.type === "tool_decisions" && response.decisions.length > 1 && !response.decisions.some(isWide)) {
      const single = this.#begin()
      for (const decision of response.decisions.slice().reverse())
        this.#run(single, { type: "respond", response: { ...response, decisions: [decision] } })
      const what = "the turn after single decisions, the last first, and after all at once"
      requireEqual("tools", where, what, inAnyOrder(checkpointText(single)), inAnyOrder(run.checkpoint))
    }
    if (response.type !== "tool_results" || response.results.length < 2) return
    const machine = this.#begin()
    const driverCalls: DriverCall[] = []
    for (const result of lastFirst(response.results)) {
      const part = this.#run(machine, { type: "respond", response: { ...response, results: [result] } })
      driverCalls.push(...part.driverCalls)
    }
    requireEqualLists(
      "tools",
      where,
      "the driver's calls and answers after single results, the last first, and after all at once",
      driverCalls,
      run.driverCalls,
    )
    requireEqualTexts(
      "tools",
      where,
      "the checkpoint after single results, the last first, and after all at once",
      checkpointText(machine),
      run.checkpoint,
    )
  }
}

/** Identifies a state. Ended turns have no steps, so a digest is enough to count them. */
export function keyOf({ after, reached }: CheckedStep): string {
  return after.done ? digest(JSON.parse(reached.checkpoint) as Json) : canonicalJson(JSON.parse(reached.checkpoint) as Json)
}

/** The laws that use it do not read its checkpoint. */
function standing(machine: TestedMachine, before?: Standing): Standing {
  const { outstanding } = machine
  const outstandingText = outstanding !== undefined && outstanding === before?.outstanding ? before.outstandingText : jsonText(outstanding)
  return { checkpoint: "", outstanding, outstandingText, taken: false, driverCallCount: 0, done: machine.done }
}

function sameRun(left: Run, right: Run): boolean {
  return (
    left.verdict === right.verdict &&
    sameTexts(left.texts, right.texts) &&
    sameTexts(left.driverCalls, right.driverCalls) &&
    left.checkpoint === right.checkpoint
  )
}

function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, index) => text === right[index])
}

/** Law 3. While a batch is incomplete, repeated results are an error and not a duplicate; see the refusals. */
function requireStale(where: string, input: Extract<GivenInput, { type: "respond" }>, { machine, checkpoint }: Run): void {
  if (machine.outstanding?.id === input.response.id && input.response.type === "tool_results") return
  const { turn } = machine
  requireEqual("duplicates", where, "the verdict on the repeated answer", give(machine, input), "stale")
  if (machine.turn !== turn)
    requireEqualTexts("duplicates", where, "the checkpoint after a stale answer and before it", checkpointText(machine), checkpoint)
  requireEqual("duplicates", where, "the effect polled after a stale answer", machine.poll(), undefined)
}

/** Law 6: an ended turn ignores every command that ends turns. */
function requireEnded(machine: TestedMachine, checkpoint: string): void {
  for (const input of ENDS) {
    requireEqual("ending", 'in "finished"', `the verdict on ${input.type}`, give(machine, input), "accepted")
    requireEqual("ending", 'in "finished"', `the effect polled after ${input.type}`, machine.poll(), undefined)
  }
  requireEqualTexts("ending", 'in "finished"', "the checkpoint after commands that end turns, and before them", checkpointText(machine), checkpoint)
}

const ENDS: readonly GivenInput[] = [
  { type: "cancel" },
  { type: "fail", event: { type: "message", text: "too late", kind: "late" } },
  { type: "finish", outcome: { type: "stopped", stop: { type: "plugin_abort" } } },
]

/** What the model said in an input. `cutOff`: it was stopped, and no driver decides about it. */
function answerOf(input: GivenInput): { readonly response: LlmResponse; readonly cutOff: boolean } | undefined {
  if (input.type !== "respond") return "partial" in input && input.partial !== undefined ? { response: input.partial, cutOff: true } : undefined
  if (input.response.type !== "llm_complete") return undefined
  const { result } = input.response
  if (result.ok) return { response: result.response, cutOff: CUT_OFF.has(result.response.terminalReason) }
  return result.partial && { response: result.partial, cutOff: true }
}

const CUT_OFF: ReadonlySet<TerminalReason> = new Set(["output_limit", "context_overflow", "content_filter", "provider_error", "cancelled", "refusal"])

function checkOwnLaw(law: string, where: string, check: StepLaw, step: ExploredStep): void {
  let problem: string | undefined
  try {
    problem = check(step)
  } catch (cause) {
    throw new StepLawError(law, where, cause instanceof Error ? cause.message : String(cause), { cause })
  }
  if (problem !== undefined) throw new StepLawError(law, where, problem)
}
