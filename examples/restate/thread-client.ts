import { setTimeout as sleep } from "node:timers/promises"
import type { Decision } from "turn-machine"
import type { GoalCommand } from "turn-machine/drivers/goal"
import type { CancelResult, SayResult, ThreadStatus } from "turn-machine/hosts/restate"
import type { Client } from "./client.ts"

/** A client of one thread, over HTTP alone. */
export class ThreadClient {
  readonly #client: Client
  readonly #key: string

  constructor(client: Client, key: string) {
    this.#client = client
    this.#key = key
  }

  /** Says something, and waits until the thread rests. */
  say(input: string, key: string): Promise<SayResult> {
    return this.#call("say", { input, key })
  }

  /** Says something for the running turn. */
  steer(input: string, key: string): Promise<{ readonly inputId: string }> {
    return this.#call("steer", { input, key })
  }

  /** Says something without waiting for anything. */
  async sayLater(input: string, key: string): Promise<void> {
    await this.#call("say/send", { input, key })
  }

  command(command: GoalCommand, key: string): Promise<readonly { readonly type: string }[]> {
    return this.#call("command", { command, key })
  }

  decide(decisions: readonly Decision[]): Promise<readonly { readonly status: string }[]> {
    return this.#call("decide", { decisions })
  }

  cancel(reason: string): Promise<CancelResult> {
    return this.#call("cancel", { reason })
  }

  retract(inputId: string): Promise<"retracted" | "delivered" | "unknown"> {
    return this.#call("retract", { inputId })
  }

  status(): Promise<ThreadStatus> {
    return this.#call("status")
  }

  /** Waits until the status is as wanted, also while servers and services are restarted. */
  async until(isWanted: (status: ThreadStatus) => boolean, waitMs: number = 600_000): Promise<ThreadStatus> {
    const end = Date.now() + waitMs
    for (;;) {
      const status = await this.status().catch(() => undefined)
      if (status !== undefined && isWanted(status)) return status
      if (Date.now() > end) throw new Error(`The thread ${this.#key} is still not as wanted: ${JSON.stringify(status)}`)
      await sleep(50)
    }
  }

  #call<Result>(handler: string, body?: unknown): Promise<Result> {
    return this.#client.call(`/agent/${encodeURIComponent(this.#key)}/${handler}`, body) as Promise<Result>
  }
}
