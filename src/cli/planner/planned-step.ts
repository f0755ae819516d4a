import type { Json } from "../../json.ts"

/** What the planner says and what it wants done next. Without calls it is the final answer. */
export interface PlannedStep {
  readonly text: string
  readonly calls: readonly { readonly toolName: string; readonly input: { readonly [key: string]: Json } }[]
}

export const WHAT_I_AM =
  "I am the embedded planner, not a language model: I can find words in files and report where they stand, but I do not understand them."
