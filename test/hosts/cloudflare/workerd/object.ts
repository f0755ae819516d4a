/** A Worker that runs the rules of the stores: each case in a Durable Object of its own, and so with a storage of its own. */
import { durableObjectJournalStore } from "../../../../src/hosts/cloudflare/durable-object-journal-store.ts"
import type { DurableObjectSqlStorage } from "../../../../src/hosts/cloudflare/platform.ts"
import { describeStore } from "../../journal/store-rules.ts"
import { CASES } from "./vitest.ts"

let storage: DurableObjectSqlStorage | undefined

describeStore({
  name: "a Durable Object",
  knows: {},
  make: () => () => {
    if (storage === undefined) throw new Error("No case runs.")
    return durableObjectJournalStore(storage)
  },
})

export class Rules {
  readonly #storage: DurableObjectSqlStorage

  constructor({ storage }: { readonly storage: DurableObjectSqlStorage }) {
    this.#storage = storage
  }

  async fetch(request: Request): Promise<Response> {
    const number = Number(new URL(request.url).pathname.slice(1))
    storage = this.#storage
    try {
      await CASES[number]?.run()
    } catch (error) {
      return new Response(error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error), { status: 500 })
    }
    const [row] = this.#storage.sql.exec("SELECT MAX(LENGTH(content)) AS greatest FROM turn_machine_do_texts").toArray()
    return Response.json({ greatest: row?.["greatest"] ?? 0, process: typeof (globalThis as { readonly process?: unknown }).process })
  }
}

interface Env {
  readonly RULES: { idFromName(name: string): object; get(id: object): { fetch(request: Request): Promise<Response> } }
}

export default {
  async fetch(request: Request, { RULES }: Env): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname === "/") return Response.json(CASES.map(({ name }) => name))
    return RULES.get(RULES.idFromName(pathname)).fetch(request)
  },
}
