/** A mistake that one line can explain. `exitCode` 2: what was asked cannot be done; 1: it was begun and stopped. */
export class CliError extends Error {
  readonly exitCode: 1 | 2

  constructor(message: string, exitCode: 1 | 2 = 2, options?: ErrorOptions) {
    super(message, options)
    this.name = "CliError"
    this.exitCode = exitCode
  }
}
