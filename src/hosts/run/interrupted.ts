/** The reason of a signal that is aborted because its run ended early: the effect is still open, and the next run performs it again. */
export class RunInterrupted extends Error {
  constructor() {
    super("The run ended before its turn. The work is still asked for, and the next run performs it again.")
    this.name = "RunInterrupted"
  }
}
