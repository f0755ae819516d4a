import { setTimeout as sleep } from "node:timers/promises"
import type { Task } from "./agent.ts"
import { type Engine, NotReachable } from "./engine.ts"
import type { Decide, End } from "./service.ts"

/** A client of the turns, over HTTP alone. */
export class Client {
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Says to the server where the handlers are. */
  async register(servicePort: number): Promise<void> {
    await this.#call(this.#engine.admin, "/deployments", { uri: `http://127.0.0.1:${servicePort}`, force: true })
  }

  /** Begins a turn, and returns its invocation. The same turn twice is begun once. */
  async begin(task: Task): Promise<string> {
    const { invocationId } = (await this.#call(this.#engine.ingress, "/turns/run/send", task, { "idempotency-key": task.turnId })) as {
      invocationId: string
    }
    return invocationId
  }

  /** Waits for the end of a turn. While servers and services are restarted, it asks again. */
  async end(invocationId: string, waitMs: number = 600_000): Promise<End> {
    const until = Date.now() + waitMs
    for (;;) {
      const end = await this.#get(`${this.#engine.ingress}/restate/invocation/${invocationId}/output`)
      if (end?.status === 200) return JSON.parse(end.text) as End
      if (end !== undefined && end.status >= 500) throw new Error(`The turn ${invocationId} failed: ${end.text}`)
      if (Date.now() > until) throw new NotReachable("The turn", invocationId, `It has no end after ${waitMs} ms (${end?.status ?? "no answer"}).`)
      await sleep(100)
    }
  }

  async cancel(invocationId: string): Promise<void> {
    await this.#call(this.#engine.admin, `/invocations/${invocationId}/cancel`, undefined, {}, "PATCH")
  }

  async decide(decide: Decide): Promise<void> {
    await this.#call(this.#engine.ingress, "/turns/decide", decide)
  }

  async call(path: string, body?: unknown): Promise<unknown> {
    return this.#call(this.#engine.ingress, path, body)
  }

  /** Removes the whole state of an object. The server does it after the handler that runs. */
  async clearState(service: string, key: string): Promise<void> {
    await this.#call(this.#engine.admin, `/services/${service}/state`, { object_key: key, new_state: {} })
  }

  /** Asks the server's tables, in SQL. */
  async query<Row>(query: string): Promise<readonly Row[]> {
    const { rows } = (await this.#call(this.#engine.admin, "/query", { query }, { accept: "application/json" })) as { rows: readonly Row[] }
    return rows
  }

  async #get(url: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
    try {
      const response = await fetch(url)
      return { status: response.status, text: await response.text() }
    } catch {
      return undefined
    }
  }

  async #call(base: string, path: string, body?: unknown, headers: Record<string, string> = {}, method = "POST"): Promise<unknown> {
    let response: Response
    try {
      response = await fetch(`${base}${path}`, {
        method,
        headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
    } catch (cause) {
      throw new NotReachable("The server of Restate", base, "Start it, or check the address: npm start runs one of its own.", cause)
    }
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} was refused (${response.status}): ${text}`)
    return text === "" ? undefined : (JSON.parse(text) as unknown)
  }
}
