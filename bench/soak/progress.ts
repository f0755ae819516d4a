/** Receives a line that says how far a part of the soak has come. */
export type Say = (line: string) => void

/** Says how far a part has come: at most every few seconds, with its rate and the time that is left. */
export class Progress {
  readonly #what: string
  readonly #total: number
  readonly #say: Say
  readonly #startedAt = performance.now()
  #saidAt = this.#startedAt

  constructor(what: string, total: number, say: Say) {
    this.#what = what
    this.#total = total
    this.#say = say
  }

  /** Seconds since the beginning. */
  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1_000
  }

  at(done: number): void {
    const now = performance.now()
    if (now - this.#saidAt < SAY_EVERY_MS) return
    this.#saidAt = now
    const rate = done / this.seconds
    const left = duration((this.#total - done) / rate)
    this.#say(`${counted(done)} of ${counted(this.#total)} ${this.#what}, ${rate.toFixed(1)} a second, ${left} left`)
  }
}

const SAY_EVERY_MS = 10_000

/** A time in seconds as people write it. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${seconds.toFixed(0)} s`
  const minutes = seconds / 60
  return minutes < 90 ? `${minutes.toFixed(0)} min` : `${(minutes / 60).toFixed(1)} h`
}

function counted(number: number): string {
  return Math.round(number).toLocaleString("en")
}
