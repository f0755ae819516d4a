import { describe, test } from "vitest"
import type { TurnObjectContext, TurnObjectStorage } from "../../../src/hosts/cloudflare/platform.ts"
import { TurnObject, type TurnObjectRunOptions } from "../../../src/hosts/cloudflare/turn-object.ts"
import type { Host } from "../../../src/hosts/host.ts"
import type { ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { type TestedProcess, type TestedStatus, type TestedThread, type TestedThreadHost, threadConformance } from "../../../src/testing/index.ts"
import type { ThreadEvent } from "../../../src/wire/thread-event.ts"
import { FakePlace } from "./fake-object.ts"

// An object that is evicted or killed before each write and each change of its alarm, in the middle of each call. Only its alarm continues it.

const IS_FAST = process.env["TEST_LANE"] === "fast"

class Tested extends TurnObject<TestedThread> {
  failure: unknown

  override get threadId(): string {
    return this.env.threadId
  }

  protected override threadOptions(): ThreadOptions {
    const { config, goals, now } = this.env
    return { config, goals, now }
  }

  protected override host(): Host {
    return this.env.executors
  }

  protected override runOptions(): TurnObjectRunOptions {
    return { cancelGraceMs: 50, now: this.env.now }
  }

  protected override onError(error: unknown): void {
    this.failure = error
  }
}

/** The context of an instance that runs in a process. Nothing that it does is stored after that was killed. */
function contextIn(place: FakePlace, process: TestedProcess): TurnObjectContext {
  let isDead = false
  const reached = (what: string): Promise<void> =>
    process.reached(what, {
      dying: async () => {
        isDead = true
      },
    })
  const live = (): void => {
    if (isDead || process.killed.aborted) throw new Error("The process was killed.")
  }
  const { storage } = place
  const own: TurnObjectStorage = {
    sql: {
      exec(query, ...values) {
        live()
        if (/^(?:INSERT|UPDATE|DELETE)/.test(query)) void reached(`before ${query.slice(0, 40)}`)
        live()
        return storage.sql.exec(query, ...values)
      },
    },
    transactionSync(closure) {
      live()
      return storage.transactionSync(closure)
    },
    getAlarm: () => storage.getAlarm(),
    async setAlarm(at) {
      await reached("before the alarm is set")
      live()
      await storage.setAlarm(at)
      await reached("after the alarm was set")
    },
    async deleteAlarm() {
      await reached("before the alarm is removed")
      live()
      await storage.deleteAlarm()
      await reached("after the alarm was removed")
    },
    async sync() {},
  }
  return { ...place.context(), storage: own }
}

function makeHost(): TestedThreadHost {
  const place = new FakePlace()
  /** The alarm was delivered, and its handler has not ended: the platform repeats it in the next instance. */
  let isRinging = false
  return {
    start(process, thread) {
      const object = new Tested(contextIn(place, process), thread)
      const status = async (): Promise<TestedStatus> => {
        const { goal, queue, approvals, openTurn } = await object.status()
        const lines = await new Response(await object.events({ live: false })).text()
        const events = lines.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as ThreadEvent]))
        return {
          messages: events.flatMap((event) => (event.type === "message" ? [event.message] : [])),
          queue: queue.map(({ inputId }) => inputId),
          held: approvals?.held ?? [],
          openTurn: openTurn?.turnId,
          goal,
        }
      }
      return {
        async run() {
          // What an earlier instance left is continued by the alarm alone.
          if (place.alarmAt !== null || isRinging) {
            isRinging = true
            await place.ring(object)
            isRinging = process.killed.aborted
          }
          for (;;) {
            const { isRunning, rest, error } = await object.status()
            if (error !== undefined) throw object.failure
            if (!isRunning) return rest?.notBefore === undefined ? {} : { notBefore: rest.notBefore }
            await new Promise((resolve) => setTimeout(resolve, 1))
          }
        },
        say: async (text, input) => (await object.say(text, input)).inputId,
        redirect: async (text, input) => (await object.redirect(text, input)).inputId,
        retract: (inputId) => object.retract(inputId),
        interrupt: async () => (await object.interrupt()).returned.map(({ inputId }) => inputId),
        command: (command, input) => object.command(command, input),
        decide: (decisions, turnId) => object.decide(decisions, { turnId }),
        status,
      }
    },
  }
}

describe.skipIf(IS_FAST)("threads in Durable Objects", () => {
  // The platform has one instance of an object at a time.
  const options = { timeoutMs: 60_000, mostPlaces: 5, promises: { exclusive: false } }
  for (const { name, run } of threadConformance(makeHost, options)) test(name, run, 300_000)
})
