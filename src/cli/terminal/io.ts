/** The parts of the process that a command uses. */
export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** The folder that relative paths start from. */
  readonly cwd: string
  /** Calls `listener` each time the user or the system asks the process to stop. Returns a function that removes the listener. */
  onInterrupt(listener: () => void): () => void
  /** Ends the process immediately. */
  exit(exitCode: number): void
}

/** A text stream that may be a terminal. */
export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}
