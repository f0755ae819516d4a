/** The reason of a signal that is aborted because its run ended early: the effect is still open, and the next run performs it again. */
export class RunInterrupted extends Error {
  constructor() {
    super("The run ended before its turn. The work is still asked for, and the next run performs it again.")
    this.name = "RunInterrupted"
  }
}

const ENDING = new WeakSet<object>()

/**
 * Marks an error of a store that ends the run of an executor's turn, as an error of the turn's own journal does. Nothing is recorded, and the next run
 * performs the work again. As a result of the effect it would be wrong, and what the work used would be lost.
 */
export function endingRun<Failure extends Error>(error: Failure): Failure {
  ENDING.add(error)
  return error
}

/** Whether an executor's error ends the run, whatever the host says. */
export function endsRun(error: unknown): boolean {
  return typeof error === "object" && error !== null && ENDING.has(error)
}
