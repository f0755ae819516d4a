import type { PlaceDetails, TestedProcess } from "./tested-host.ts"

/** What happens to a process at its places, which are numbered from 0. */
export interface PlacePlan {
  /** Takes the locks of earlier processes. */
  readonly takeOver?: boolean
  readonly killAt?: number
  /** The process waits here until `release`. */
  readonly holdAt?: number
}

/** A process of the harness: the places that it passed, and what happens to it there. */
export abstract class KillableProcess implements TestedProcess {
  readonly number: number
  readonly takeOver: boolean
  readonly places: string[] = []
  /** The characters that it wrote. */
  chars = 0
  /** Resolves when the process waits at `holdAt`, or at another place where it was to wait, with the place. */
  readonly held: Promise<string>
  /** Resolves when the process is killed. */
  readonly whenKilled: Promise<void>
  readonly #plan: PlacePlan
  readonly #killing = new AbortController()
  readonly #released: Promise<void>
  #isDying = false
  #hold: (place: string) => void = () => {}
  #release: () => void = () => {}
  #kill: () => void = () => {}

  constructor(number: number, plan: PlacePlan) {
    this.number = number
    this.takeOver = plan.takeOver === true
    this.#plan = plan
    this.held = new Promise((resolve) => {
      this.#hold = resolve
    })
    this.#released = new Promise((resolve) => {
      this.#release = resolve
    })
    this.whenKilled = new Promise((resolve) => {
      this.#kill = resolve
    })
  }

  get killed(): AbortSignal {
    return this.#killing.signal
  }

  async reached(place: string, { chars = 0, dying }: PlaceDetails = {}): Promise<void> {
    if (this.killed.aborted || this.#isDying) return forever()
    const { killAt, holdAt } = this.#plan
    const number = this.places.push(place) - 1
    this.chars += chars
    this.passes(number)
    if (number === killAt) {
      this.#isDying = true
      await dying?.()
      this.kill(place)
      return forever()
    }
    if (number === holdAt) await this.wait(place)
  }

  /** Kills the process: nothing that it awaits returns. */
  kill(place: string): void {
    if (this.killed.aborted) return
    this.dies(`, killed at place ${this.places.length - 1} of process ${this.number}, ${place}`)
    this.#killing.abort()
    this.#kill()
  }

  release(): void {
    this.#release()
  }

  /** Waits until `release`. */
  protected async wait(place: string): Promise<void> {
    this.#hold(place)
    await this.#released
  }

  /** The process passes a place. */
  protected abstract passes(number: number): void

  /** The process is about to be killed. `place`: for the faults. */
  protected abstract dies(place: string): void
}

/** What a killed process waits for. */
export function forever(): Promise<never> {
  return new Promise(() => {})
}
