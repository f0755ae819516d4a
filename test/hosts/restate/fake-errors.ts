/** An error of the SDK, as the engines in memory throw it. */
export class RestateError extends Error {
  readonly code: number

  constructor(message: string, { errorCode = 500 }: { readonly errorCode?: number } = {}) {
    super(message)
    this.name = new.target.name
    this.code = errorCode
  }
}

export class TerminalError extends RestateError {
  readonly metadata: Record<string, string>

  constructor(message: string, options: { readonly errorCode?: number; readonly metadata?: Record<string, string> } = {}) {
    super(message, options)
    this.metadata = options.metadata ?? {}
  }
}

export class CancelledError extends TerminalError {
  constructor() {
    super("Cancelled", { errorCode: 409 })
  }
}
