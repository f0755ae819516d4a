import type { LeaseModelOptions } from "./lease-model.ts"
import type { ModelOptions } from "./thread-model.ts"

/** `every`: of the ways to the kinds of states, one of so many is taken with real threads. */
export interface ExploredModelOptions {
  readonly name: string
  readonly options: ModelOptions
  readonly every: { readonly fast?: number; readonly full: number; readonly deep: number }
  /** The states, of which none may be forgotten: counted when the model was written. */
  readonly states: number
}

export const FREE: ModelOptions = { inputs: 1, isHeld: false, processes: 2 }
export const HELD: ModelOptions = { inputs: 1, isHeld: true, processes: 2 }
export const TAKEN_BACK: ModelOptions = { inputs: 2, isHeld: false, processes: 1, retractable: [1] }

export const MODELS: readonly ExploredModelOptions[] = [
  { name: "one input, two processes", options: FREE, every: { fast: 40, full: 4, deep: 1 }, states: 2027 },
  { name: "a held call, two processes", options: { ...HELD, verdicts: ["approve"] }, every: { fast: 200, full: 16, deep: 1 }, states: 6102 },
  { name: "a held call, two processes, two people who decide", options: HELD, every: { full: 24, deep: 1 }, states: 11_469 },
  { name: "two inputs, of which one may be taken back", options: TAKEN_BACK, every: { fast: 16, full: 1, deep: 1 }, states: 1540 },
  { name: "two inputs, two processes", options: { inputs: 2, isHeld: false, processes: 2 }, every: { full: 60, deep: 4 }, states: 107_335 },
]

/** Of a turn that asks for two subagents. */
export const LEASE_MODELS: readonly (Omit<ExploredModelOptions, "options"> & { readonly options: LeaseModelOptions })[] = [
  { name: "two subagents, one process", options: { processes: 1 }, every: { fast: 10, full: 1, deep: 1 }, states: 709 },
  { name: "two subagents, two processes", options: { processes: 2 }, every: { full: 60, deep: 4 }, states: 173_691 },
]
