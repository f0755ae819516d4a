import type { Json } from "../../json.ts"

/** The planner's text and its next tool calls. Without calls, the text is the final answer. */
export interface PlannedStep {
  readonly text: string
  readonly calls: readonly { readonly toolName: string; readonly input: { readonly [key: string]: Json } }[]
}

export const WHAT_I_AM =
  "I am the embedded planner, not a language model: I can find words in files and report where they are, but I do not understand them."
