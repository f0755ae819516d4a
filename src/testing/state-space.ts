/** A state that was reached, and a shortest way to it. */
export interface Place<Input> {
  /** The states are numbered in the order in which they are found. The first one is 0. */
  readonly number: number
  /** The state before it. Absent: the state is the first one. */
  readonly from: Place<Input> | undefined
  /** The input that led here. Absent: the state is the first one. */
  readonly input: Input | undefined
  readonly depth: number
}

/** The states of a system, as {@link exploreStates} walks through them. */
export interface StateSpace<State, Input> {
  /** Returns the first state. */
  start(): State
  /** Identifies a state: two states with one key are one state. */
  key(state: State): string
  /** Called once for each state. Returns what may happen there. */
  inputs(state: State, place: Place<Input>): Iterable<Input>
  /** Returns the state after an input. Called for the inputs of one state directly after {@link inputs}, in their order. */
  next(state: State, input: Input, place: Place<Input>): State
  /** Called for each state that is found, with the place that leads there. */
  found?(state: State, place: Place<Input>): void
  /** Called for each input that was given, with the state before it and the one after it. */
  passed?(from: Place<Input>, input: Input, to: Place<Input>): void
}

/** How much was explored. */
export interface ExploredSpace {
  readonly states: number
  readonly transitions: number
}

/**
 * Visits every state that can be reached, nearest first, and gives it each of its inputs. So the way to each {@link Place} is a shortest one.
 * A state is held until its inputs were given; afterwards only its key and its place are.
 */
export function exploreStates<State, Input>(space: StateSpace<State, Input>): ExploredSpace {
  const places = new Map<string, Place<Input>>()
  let open: { readonly state: State; readonly place: Place<Input> }[] = []
  let transitions = 0

  const reach = (state: State, from: Place<Input> | undefined, input: Input | undefined): Place<Input> => {
    const key = space.key(state)
    const known = places.get(key)
    if (known !== undefined) return known
    const place: Place<Input> = { number: places.size, from, input, depth: from === undefined ? 0 : from.depth + 1 }
    places.set(key, place)
    open.push({ state, place })
    space.found?.(state, place)
    return place
  }

  reach(space.start(), undefined, undefined)
  while (open.length > 0) {
    const level = open
    open = []
    for (const { state, place } of level)
      for (const input of space.inputs(state, place)) {
        transitions += 1
        const to = reach(space.next(state, input, place), place, input)
        space.passed?.(place, input, to)
      }
  }
  return { states: places.size, transitions }
}

/** The inputs that lead to a state, in order. */
export function inputsTo<Input>(place: Place<Input> | undefined): readonly Input[] {
  const inputs: Input[] = []
  for (let at = place; at?.from !== undefined; at = at.from) inputs.unshift(at.input as Input)
  return inputs
}
