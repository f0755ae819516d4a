import { TurnObject, type TurnObjectNamespace } from "turn-machine/hosts/cloudflare"
import { supportAgent } from "./agent.ts"

export interface Env {
  readonly SUPPORT: TurnObjectNamespace<Support>
  readonly SHOP_URL: string
  /** Who knows it may use all threads. */
  readonly API_TOKEN: string
  /** How slow the scripted model is, in milliseconds for a word. */
  readonly WORD_MS?: string
  readonly RECOVER_AFTER_MS?: string
}

/** One object is one thread. */
export class Support extends TurnObject<Env> {
  readonly #agent = supportAgent({ shopUrl: this.env.SHOP_URL, wordMs: Number(this.env.WORD_MS ?? "50") })

  protected override threadOptions() {
    return this.#agent.options
  }

  protected override host() {
    return this.#agent.host
  }

  protected override get recoverAfterMs() {
    return Number(this.env.RECOVER_AFTER_MS ?? "30000")
  }

  protected override authorize(request: Request) {
    // A browser cannot set the headers of a WebSocket, so the token may be in the query, too.
    const token = request.headers.get("authorization")?.replace(/^Bearer /, "") ?? new URL(request.url).searchParams.get("token")
    return token === this.env.API_TOKEN
      ? undefined
      : Response.json({ error: { code: "unauthorized", message: "The token is wrong." } }, { status: 401 })
  }
}

export default {
  /** `/threads/ID/…`: the routes of the object with this name. */
  async fetch(request, env) {
    const [, threads, name = "", route] = new URL(request.url).pathname.split("/")
    if (threads !== "threads" || !/^[a-z0-9-]{1,40}$/.test(name) || route === undefined)
      return new Response("There is no such page.", { status: 404 })
    return env.SUPPORT.getByName(name).fetch(request)
  },
} satisfies ExportedHandler<Env>
