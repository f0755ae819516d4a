/** The script that every contender runs: each step is one model call that calls one tool, and the tool returns 200 bytes. A last call answers. */
export const RESULT = "x".repeat(200)
export const QUESTION = "Read all files."
export const ANSWER = "All files are read."
export const SYSTEM = "You work through files."
export const TOOL = {
  name: "read_file",
  description: "Reads a file.",
  inputSchema: { type: "object", properties: { path: { type: "string" } }, required: ["path"], additionalProperties: false },
} as const

export const argumentsOf = (step: number): { readonly path: string } => ({ path: `file-${step}.txt` })

/** Counts what a turn did, so that each contender is known to have done the same. */
export class Work {
  readonly steps: number
  modelCalls = 0
  toolCalls = 0

  constructor(steps: number) {
    this.steps = steps
  }

  /** Of the model: the step it calls a tool for, or `undefined` when it answers. */
  nextStep(): number | undefined {
    this.modelCalls += 1
    return this.modelCalls > this.steps ? undefined : this.modelCalls
  }

  /** Of the tool. */
  result(path: unknown): string {
    this.toolCalls += 1
    if (path !== `file-${this.toolCalls}.txt`) throw new Error(`The tool was called with ${JSON.stringify(path)} in step ${this.toolCalls}.`)
    return RESULT
  }
}

/** Runs a turn. Returns what a host would save of it, if the contender saves anything. */
export type Contender = (work: Work) => Promise<unknown>

/** What a contender's run leaves to be saved, and how a later process continues from it. */
export interface Saved {
  readonly bytes: number
  restore(): unknown
}

/** A text that is saved. It is made each time, so that making it can be measured. */
export function savedText(text: string, restore: (text: string) => unknown): Saved {
  return {
    get bytes() {
      return Buffer.byteLength(text)
    },
    restore: () => restore(text),
  }
}

/** Streams an answer of so many pieces of text, and hands each to `onPiece`. */
export type Streamer = (pieces: number, onPiece: (text: string) => void) => Promise<unknown>

export const PIECE = " word"

/** Runs a batch of three tools, is killed when two have run, and continues. Names the tools that ran, in order. */
export type Crash = () => Promise<readonly string[]>
