import { exploreStates, inputsTo, type Place } from "../../src/testing/state-space.ts"

/** What is wrong in a state: the name of the law, and what breaks it. */
export type Broken<Law extends string> = readonly [law: Law, what: string]

/** A model whose states are all visited. */
export interface Model<State, Input, Law extends string> {
  /** What must hold in every state, and of every step. */
  readonly laws: { readonly [Name in Law]: string }
  /** The law that says that some way leads to the end from every state. */
  readonly liveness: Law
  start(): State
  inputs(state: State): readonly Input[]
  next(state: State, input: Input): State
  /** Two states with one key are one state. */
  key(state: State): string
  isEnded(state: State): boolean
  brokenBy(state: State): Broken<Law> | undefined
  /** What a step did that no step may. */
  lostBy(before: State, after: State): Broken<Law> | undefined
  describe(input: Input): string
  /** What is of interest in a state, and in a step. */
  kindOf(state: State): string
  stepKindOf(before: State, input: Input, after: State): string
}

/** A law that a model broke, with the shortest way there. */
export class ModelError<Law extends string = string, Input = unknown> extends Error {
  readonly law: Law
  readonly path: readonly Input[]

  constructor(model: Pick<Model<never, Input, Law>, "laws" | "describe">, [law, what]: Broken<Law>, path: readonly Input[], state: unknown) {
    const steps = path.map((input, index) => `  ${index + 1}. ${model.describe(input)}`)
    super([`Broken: ${model.laws[law]}.`, what, "", "The shortest way there:", ...steps, "", JSON.stringify(state, undefined, 1)].join("\n"))
    this.name = "ModelError"
    this.law = law
    this.path = path
  }
}

export interface ExploredModel<Input> {
  readonly states: number
  readonly transitions: number
  /** A shortest way to each kind of state. */
  readonly ways: readonly (readonly Input[])[]
  /** A shortest way over each kind of step. */
  readonly steps: readonly (readonly Input[])[]
}

/** Visits all states of a model, and checks its laws in each of them. @throws {ModelError} */
export function explore<State, Input, Law extends string>(model: Model<State, Input, Law>): ExploredModel<Input> {
  const places: Place<Input>[] = []
  const states: State[] = []
  const before: number[][] = []
  const ended: number[] = []
  const kinds = new Map<string, Place<Input>>()
  const stepKinds = new Map<string, readonly Input[]>()
  const explored = exploreStates<State, Input>({
    start: () => model.start(),
    key: (state) => model.key(state),
    inputs: (state) => model.inputs(state),
    next: (state, input, place) => {
      const next = model.next(state, input)
      const kind = model.stepKindOf(state, input, next)
      if (!stepKinds.has(kind)) stepKinds.set(kind, [...inputsTo(place), input])
      const lost = model.lostBy(state, next)
      if (lost !== undefined) throw new ModelError(model, lost, [...inputsTo(place), input], next)
      return next
    },
    found: (state, place) => {
      const broken = model.brokenBy(state)
      if (broken !== undefined) throw new ModelError(model, broken, inputsTo(place), state)
      places.push(place)
      states.push(state)
      before.push([])
      if (model.isEnded(state)) ended.push(place.number)
      const kind = model.kindOf(state)
      if (!kinds.has(kind)) kinds.set(kind, place)
    },
    passed: (from, _input, to) => {
      before[to.number]?.push(from.number)
    },
  })
  // Backwards from the ends: a state that is not met leads to none.
  const leads = new Set(ended)
  for (const number of leads) for (const from of before[number] ?? []) leads.add(from)
  const stuck = places.find(({ number }) => !leads.has(number))
  if (stuck !== undefined) throw new ModelError(model, [model.liveness, "No way leads from here to the end."], inputsTo(stuck), states[stuck.number])
  return { ...explored, ways: Array.from(kinds.values(), inputsTo), steps: [...stepKinds.values()] }
}
