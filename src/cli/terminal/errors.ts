/** An error with a one-line message for the user. `exitCode` 2: the command cannot run as given; 1: it started and stopped. */
export class CliError extends Error {
  readonly exitCode: 1 | 2

  constructor(message: string, exitCode: 1 | 2 = 2, options?: ErrorOptions) {
    super(message, options)
    this.name = "CliError"
    this.exitCode = exitCode
  }
}
