/** The Worker of the tests: the same agent, in an object whose storage can be made to fail, and that shows what it stores. */
import { durableObjectJournalStore, type TurnObjectNamespace } from "turn-machine/hosts/cloudflare"
import worker, { type Env, Support } from "../src/index.ts"

/** What the tests make fail: statements of objects in this process that add to a text. */
let left = Number.POSITIVE_INFINITY

export class TestedSupport extends Support {
  readonly #bornAt = Date.now()

  constructor(ctx: DurableObjectState, env: Env) {
    super(failing(ctx), env)
  }

  protected override onError(error: unknown): void {
    console.error(`failed: ${error instanceof Error ? error.message : String(error)}`)
  }

  /** From the n-th write on, all writes fail; `undefined`: none does. */
  breakAfter(writes: number | undefined): void {
    left = writes ?? Number.POSITIVE_INFINITY
  }

  /** Appends to a journal of the same storage, one after the other. */
  async appendMany(count: number, chars: number): Promise<void> {
    const journal = await durableObjectJournalStore(this.ctx.storage).open("appended", { takeOver: true })
    const text = `${"x".repeat(chars - 1)}\n`
    for (let index = 0; index < count; index += 1) await journal.append(text)
    await journal.close()
  }

  bornAt(): number {
    return this.#bornAt
  }

  /** How much is stored. */
  stored(): object {
    const [row] = this.ctx.storage.sql
      .exec("SELECT COUNT(*) AS count, MAX(LENGTH(content)) AS greatest, SUM(LENGTH(content)) AS bytes FROM turn_machine_do_texts")
      .toArray()
    return row ?? {}
  }

  alarmAt(): Promise<number | null> {
    return this.ctx.storage.getAlarm()
  }
}

/** The same context, whose storage fails as that of the platform does when an object has reached its 10 GB. */
function failing(ctx: DurableObjectState): DurableObjectState {
  const { sql } = ctx.storage
  const exec = sql.exec.bind(sql)
  const counting = (query: string, ...values: unknown[]) => {
    if (/INSERT INTO turn_machine_do_texts/.test(query)) {
      left -= 1
      if (left < 0) throw new Error("database or disk is full: SQLITE_FULL")
    }
    return exec(query, ...values)
  }
  Object.defineProperty(sql, "exec", { value: counting })
  return ctx
}

interface TestEnv extends Env {
  readonly SUPPORT: TurnObjectNamespace<TestedSupport>
}

export default {
  /** `/test/ID/METHOD` with a list of arguments calls a method of the object, as a Worker does. */
  async fetch(request, env) {
    const [, test, name = "", method] = new URL(request.url).pathname.split("/")
    if (test !== "test") return worker.fetch(request as Parameters<typeof worker.fetch>[0], env)
    const object = env.SUPPORT.getByName(name)
    const [first, second] = (await request.json()) as unknown[]
    try {
      switch (method) {
        case "breakAfter":
          await object.breakAfter(first as number | undefined)
          return Response.json({})
        case "appendMany":
          await object.appendMany(first as number, second as number)
          return Response.json({})
        case "bornAt":
          return Response.json({ at: await object.bornAt() })
        case "stored":
          return Response.json(await object.stored())
        case "alarmAt":
          return Response.json({ at: await object.alarmAt() })
        case "say":
          return Response.json(await object.say(first as string))
        case "status":
          return Response.json(await object.status())
        case "delete":
          await object.delete()
          return Response.json({})
        case "events":
          return new Response(await object.events({ live: false }))
        default:
          return new Response(null, { status: 404 })
      }
    } catch (error) {
      return Response.json({ error: String(error) }, { status: 500 })
    }
  },
} satisfies ExportedHandler<TestEnv>
