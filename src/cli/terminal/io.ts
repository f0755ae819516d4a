/** What a command sees of the process it runs in. */
export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** The folder that relative paths start from. */
  readonly cwd: string
  /** Calls `listener` when the user or the system asks the process to stop, each time. Returns how to end that. */
  onInterrupt(listener: () => void): () => void
  /** Ends the process at once. */
  exit(exitCode: number): void
}

/** A stream of text that may be a terminal. */
export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}
