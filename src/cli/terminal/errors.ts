/**
 * An error with a one-line message for the user, and rarely more lines of details. `exitCode` 2: the command cannot run as given; 1: it
 * started and stopped.
 */
export class CliError extends Error {
  readonly exitCode: 1 | 2
  readonly details: readonly string[]

  constructor(message: string, exitCode: 1 | 2 = 2, { details = [], ...options }: ErrorOptions & { readonly details?: readonly string[] } = {}) {
    super(message, options)
    this.details = details
    this.name = "CliError"
    this.exitCode = exitCode
  }
}
