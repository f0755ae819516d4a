import { createServer } from "node:http2"
import * as restate from "@restatedev/restate-sdk"
import { TurnMachine } from "turn-machine"
import { restateTurn, restoreTurn } from "turn-machine/hosts/restate"
import { agentFor, type Task } from "./agent.ts"
import { agent } from "./thread.ts"

/** What a client reads of the end of a turn. */
export interface End {
  readonly outcome: string
  readonly text: string
  readonly messages: number
}

/** A decision about a held call. */
export interface Decide {
  readonly invocationId: string
  readonly requestId: string
  readonly decision: { readonly decision: "approve" | "reject"; readonly by?: string }
}

/** How soon Restate calls the service again after it was gone. */
const retryPolicy = { initialInterval: 20, maxInterval: 250, exponentiationFactor: 2, maxAttempts: 10_000, onMaxAttempts: "pause" } as const

/** Each invocation of `run` is one turn. */
export const turns = restate.service({
  name: "turns",
  handlers: {
    async run(ctx: restate.Context, task: Task): Promise<End> {
      const { config, start, host } = agentFor(task)
      const machine = new TurnMachine(config, start)
      const end = await restateTurn(ctx, machine, host, {
        turnId: task.turnId,
        cancelGraceMs: 100,
        onWaiting: ({ invocationId, held }) => {
          for (const { requestId, toolName } of held) console.log(`WAITS ${JSON.stringify({ invocationId, requestId, toolName })}`)
        },
      })
      const last = end.messages.at(-1)?.parts.at(-1)
      return {
        outcome: end.type === "done" ? end.outcome.type : end.type,
        text: last !== undefined && "text" in last ? last.text : "",
        messages: end.messages.length,
      }
    },
    // A person decides in a web page, say. The turn waits for a signal with the name of the request.
    async decide(ctx: restate.Context, { invocationId, requestId, decision }: Decide): Promise<void> {
      const { invocation } = signals(ctx)
      invocation(restate.InvocationIdParser.fromString(invocationId)).signal(requestId).resolve(decision)
    },
  },
  options: { retryPolicy },
})

/** `Context` of SDK 1.12 has signals, and does not declare them yet. */
function signals(ctx: restate.Context): Pick<restate.internal.ContextInternal, "invocation"> {
  const internal = ctx as restate.internal.ContextInternal
  return { invocation: (id) => internal.invocation(id) }
}

/** A long turn: one object each, which runs it in invocations of at most 200 effects. */
export const longTurns = restate.object({
  name: "longTurns",
  handlers: {
    async run(ctx: restate.ObjectContext, task: Task): Promise<void> {
      const { config, start, host } = agentFor(task)
      const machine = (await restoreTurn(ctx, config, task.turnId)) ?? new TurnMachine(config, start)
      const end = await restateTurn(ctx, machine, host, { turnId: task.turnId, segment: { effects: 200 } })
      if (end.type === "suspended") ctx.objectSendClient<typeof longTurns>({ name: "longTurns" }, ctx.key).run(task)
      else ctx.set("end", end.outcome.type)
      ctx.set("invocations", ((await ctx.get<number>("invocations")) ?? 0) + 1)
    },
    status: restate.handlers.object.shared(async (ctx: restate.ObjectSharedContext): Promise<{ end: string | null; invocations: number | null }> => {
      return { end: await ctx.get<string>("end"), invocations: await ctx.get<number>("invocations") }
    }),
  },
  options: { retryPolicy },
})

/** Serves the handlers on 127.0.0.1, where only this machine reaches them. */
export function serve(
  port: number,
  services: Parameters<typeof restate.createEndpointHandler>[0]["services"] = [turns, longTurns, agent],
): Promise<() => void> {
  const server = createServer(restate.createEndpointHandler({ services, logger: quietly }))
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, "127.0.0.1", () => resolve(() => server.close()))
  })
}

const quietly: NonNullable<Parameters<typeof restate.createEndpointHandler>[0]["logger"]> = ({ level }, message, ...rest) => {
  if (process.env["RESTATE_LOG"] !== undefined && level !== "trace") console.error(level, message, ...rest)
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  await serve(Number(process.env["PORT"]))
  console.log("READY")
}
