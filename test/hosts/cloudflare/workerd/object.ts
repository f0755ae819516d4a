/** A Worker that runs the rules of the stores: each case in a Durable Object of its own, and so with a storage of its own. `/called` calls members of another one. */
import { durableObjectJournalStore } from "../../../../src/hosts/cloudflare/durable-object-journal-store.ts"
import type { DurableObjectSqlStorage } from "../../../../src/hosts/cloudflare/platform.ts"
import { TurnObject } from "../../../../src/hosts/cloudflare/turn-object.ts"
import { chatDriver, chatProjector } from "../../../../src/index.ts"
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

/** An object whose members a Worker calls. */
export class Called extends TurnObject {
  protected override threadOptions() {
    return { config: { driver: chatDriver(), projector: chatProjector, model: "m" } }
  }

  protected override host() {
    return { llmCall: () => Promise.reject(new Error("a secret")) }
  }

  protected override get recoverAfterMs(): number {
    return 20_000
  }
}

/** What a Worker gets of each member: `"done"`, or the error. */
async function callAll(stub: Readonly<Record<string, () => Promise<unknown>>>): Promise<Readonly<Record<string, string>>> {
  const results: Record<string, string> = {}
  for (const name of ["status", "threadOptions", "host", "runOptions", "authorize", "onError", "recoverAfterMs", "ctx", "env"])
    results[name] = await (async () => stub[name]?.())().then(() => "done", String)
  return results
}

interface Env {
  readonly CALLED: { idFromName(name: string): object; get(id: object): Readonly<Record<string, () => Promise<unknown>>> }
  readonly RULES: { idFromName(name: string): object; get(id: object): { fetch(request: Request): Promise<Response> } }
}

export default {
  async fetch(request: Request, { RULES, CALLED }: Env): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname === "/called") return Response.json(await callAll(CALLED.get(CALLED.idFromName("a"))))
    if (pathname === "/") return Response.json(CASES.map(({ name }) => name))
    return RULES.get(RULES.idFromName(pathname)).fetch(request)
  },
}
