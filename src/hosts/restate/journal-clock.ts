import type { TurnMachine } from "../../machine/turn-machine.ts"

/** The time as the journal has it: that of the last thing that was recorded. All attempts read the same. */
export class JournalClock {
  readonly #machine: () => TurnMachine | undefined
  #at = 0

  /** `machine`: that of the open turn, whose answers have times. */
  constructor(machine: () => TurnMachine | undefined) {
    this.#machine = machine
  }

  /** Milliseconds since the epoch. */
  get now(): number {
    return Math.max(this.#at, this.#machine()?.turn.position.at ?? 0)
  }

  /** Something with this time was recorded. */
  advance(to: number): void {
    this.#at = Math.max(this.now, to)
  }
}
