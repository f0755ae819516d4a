/** The parts of the process that a command uses. */
export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  /** Standard input, for an argument that is read from it. Absent: it is empty. */
  readonly readInput?: () => Promise<string>
  /** Where a person can be asked. Absent: standard input or standard error is not a terminal. */
  readonly terminal?: Terminal
  readonly env: Readonly<Record<string, string | undefined>>
  /** The folder that relative paths start from. */
  readonly cwd: string
  /**
   * Calls `listener` each time the user or the system asks the process to stop. `isFinal`: the system does, so that no question is asked.
   * Returns a function that removes the listener.
   */
  onInterrupt(listener: (isFinal?: boolean) => void): () => void
  /** Ends the process immediately. */
  exit(exitCode: number): void
}

/** A text stream that may be a terminal. */
export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** The keyboard and the screen of a person. One method at a time is used. */
export interface Terminal {
  readonly output: Output
  /** Questions have no colours and no lines that are only drawn. */
  readonly isPlain?: boolean
  /**
   * Discards what was typed so far, calls `show`, and waits for a key. A text that was pasted is one key. Ctrl-C is an interrupt, and the
   * wait continues. `undefined`: Ctrl-D, the end of the input, or the signal was aborted.
   */
  key(show: () => void, signal: AbortSignal): Promise<string | undefined>
  /** Asks for a line, which begins with `given`. `undefined`: Ctrl-C, which is also an interrupt, Ctrl-D, Escape, or the signal was aborted. */
  line(question: string, given: string, signal: AbortSignal): Promise<string | undefined>
  /** Runs a program in the terminal. Returns its exit code; an interrupt is the program's until it ends. Rejects if it cannot be run. */
  run(program: string, args: readonly string[]): Promise<number>
}
