import type { Host } from "../../../src/hosts/host.ts"
import type { RestateContext } from "../../../src/hosts/restate/context.ts"
import { RestateRun } from "../../../src/hosts/restate/restate-run.ts"
import type { RestateTurnOptions } from "../../../src/hosts/restate/turn-options.ts"
import type { Json } from "../../../src/json.ts"
import type { TestedEnd, TestedHost, TestedSuspension } from "../../../src/testing/index.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { ExternalCall } from "../../../src/wire/approval.ts"
import { type AttemptEnd, type FakeContext, FakeRestate, fakeSdk } from "./fake-restate.ts"

/** Ways to break the host, for tests of the tests. */
export interface Breakage {
  readonly host?: (host: Host) => Host
  readonly ctx?: (ctx: FakeContext) => RestateContext
  readonly options?: (options: RestateTurnOptions) => RestateTurnOptions
  readonly engine?: (engine: FakeRestate) => void
}

/** `restateTurn` on an engine in memory, as a host under test. */
export function restateHost({
  host = (own) => own,
  ctx: contextOf = (own) => own,
  options: optionsOf = (own) => own,
  engine: change,
}: Breakage = {}): TestedHost {
  const engine = new FakeRestate()
  change?.(engine)
  /** Of the last suspension: which call waits for which signal. */
  const tokens = new Map<string, ExternalCall>()
  return {
    start: (process) => {
      let isOver = false
      return {
        async run({ turnId, config, start }, { decide, ...executors }, { signal, suspend: _suspend, deliveries: _deliveries, now, ...options }) {
          const invocation = engine.invocation(turnId)
          if (invocation.attempt?.isClosed === false && !process.takeOver) throw new Error(`The invocation ${turnId} runs in another process.`)
          const cancel = (): void => {
            if (!isOver && !process.killed.aborted) invocation.cancel()
          }
          signal.addEventListener("abort", cancel)
          try {
            for (;;) {
              let machine: TurnMachine | undefined
              const attempt = engine.attempt(
                invocation,
                (ctx) => {
                  machine = new TurnMachine(config, start)
                  return new RestateRun(fakeSdk, contextOf(ctx), machine, host(executors), optionsOf({ turnId, now, ...options })).run()
                },
                process,
              )
              const end: AttemptEnd = await attempt
              if (end.type === "failed") throw end.error
              if (end.type === "ended") return end.value as unknown as TestedEnd
              const { held = [], pending = [] } = machine?.outstanding?.type === "tool_calls" ? machine.outstanding : {}
              for (const call of pending) tokens.set(call.callId, call)
              const decisions = held.length === 0 ? [] : ((await decide?.(held, {} as never)) ?? [])
              if (decisions.length === 0) return { type: "suspended", held, pending } satisfies TestedSuspension
              for (const decision of decisions) invocation.signal(decision.requestId, decision as unknown as Json)
            }
          } finally {
            isOver = true
            signal.removeEventListener("abort", cancel)
          }
        },
        async answer({ turnId }, results) {
          for (const { callId, output } of results) engine.invocation(turnId).signal(tokens.get(callId)?.token ?? "", { output } as unknown as Json)
        },
        kill() {
          for (const { attempt } of engine.invocations.values()) attempt?.close()
        },
      }
    },
  }
}
