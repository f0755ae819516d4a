import type { Host, HostTools } from "../../../src/hosts/host.ts"
import type { RestateContext } from "../../../src/hosts/restate/context.ts"
import { RestateRun } from "../../../src/hosts/restate/restate-run.ts"
import type { RestateTurnOptions } from "../../../src/hosts/restate/turn-options.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { configOf, start } from "../run/support.ts"
import { type AttemptEnd, type AttemptHooks, FakeRestate, fakeSdk, type Invocation } from "./fake-restate.ts"

/** Answers by how much the model has said: the same in each attempt. */
export function model(...answers: readonly (LlmResponse | (() => LlmResponse))[]): Host["llmCall"] {
  return async ({ request }) => {
    const answer = answers[request.messages.filter(({ role }) => role === "assistant").length]
    if (answer === undefined) throw new Error("The script has no more answers.")
    return typeof answer === "function" ? answer() : answer
  }
}

export const fine: HostTools = { effects: () => "none", call: async ({ callId }) => ({ output: { status: "success", value: `ran ${callId}` } }) }

/** A turn in an invocation of the engine in memory. */
export class Story {
  readonly engine: FakeRestate = new FakeRestate()
  readonly invocation: Invocation
  readonly host: Host
  readonly config: TurnConfig
  readonly options: Partial<RestateTurnOptions>
  readonly events: TurnEvent[] = []

  constructor(host: Host, config: TurnConfig = configOf(), options: Partial<RestateTurnOptions> = {}, key?: string) {
    this.host = host
    this.config = config
    this.options = options
    this.invocation = this.engine.invocation("inv_1", key)
  }

  attempt({ config = this.config, hooks, contextOf = (ctx) => ctx }: Attempt = {}): Promise<AttemptEnd> {
    const handler = (ctx: Parameters<NonNullable<Attempt["contextOf"]>>[0]): Promise<unknown> => {
      const options = { turnId: "t", now: () => 1_000, onEvent: (event: TurnEvent) => void this.events.push(event), ...this.options }
      return new RestateRun(fakeSdk, contextOf(ctx), new TurnMachine(config, start), this.host, options).run()
    }
    return this.engine.attempt(this.invocation, handler, hooks)
  }

  async toEnd(attempt: Attempt = {}): Promise<Done> {
    return doneOf(await this.attempt(attempt))
  }

  get steps(): readonly string[] {
    return this.invocation.commands.map((command) => command.replace(/^run /, ""))
  }
}

export interface Attempt {
  readonly config?: TurnConfig
  readonly hooks?: AttemptHooks
  readonly contextOf?: (ctx: RestateContext) => RestateContext
}

export function doneOf(end: AttemptEnd): Done {
  if (end.type === "failed") throw end.error
  if (end.type === "suspended") throw new Error(`The invocation waits for the signals ${end.signals.join(", ")}.`)
  return end.value as unknown as Done
}

/** Stops an attempt for ever at the first place that matches. */
export function killedAt(story: Story, place: RegExp): AttemptHooks {
  return {
    async reached(found) {
      if (!place.test(found)) return
      story.invocation.attempt?.fail(new Error(`killed ${found}`))
      await new Promise(() => {})
    },
  }
}

export const diagnostics = (story: Story): readonly string[] =>
  story.events.flatMap((event) => (event.type === "message" && event.kind === "diagnostic" ? [event.text] : []))
