/** Whether `Host.decide` may be called: not while it runs, nor after it gave no new decision. */
export class Decider {
  #running: AbortController | undefined
  /** The decisions of the last call that were not handed in yet. */
  #left = 0
  #gaveNew = true

  get isFree(): boolean {
    return this.#running === undefined && this.#left === 0 && this.#gaveNew
  }

  begin(): AbortController {
    this.#running = new AbortController()
    this.#gaveNew = false
    return this.#running
  }

  expect(count: number): void {
    this.#running = undefined
    this.#left = count
  }

  count(isNew: boolean): void {
    this.#left -= 1
    this.#gaveNew ||= isNew
  }

  abort(reason: unknown): void {
    this.#running?.abort(reason)
  }
}
