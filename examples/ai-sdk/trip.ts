import { chatDriver, chatProjector, type Outcome, outputOf, type TurnEvent, TurnMachine, userMessage } from "turn-machine"
import { defineOutput, defineTool, type Host, runTurn, toolbox } from "turn-machine/hosts"
import * as z from "zod"

/** What the turn ends with. */
export const trip = defineOutput({
  name: "trip",
  schema: z.object({ city: z.string(), celsius: z.number(), pack: z.array(z.string()), day: z.iso.date().pipe(z.coerce.date()) }),
})

const weather = defineTool({
  name: "weather",
  description: "The temperature in a city, in degrees Celsius.",
  input: z.object({ city: z.string() }),
  execute: ({ city }) => ({ city, celsius: 4 }),
})

const tools = toolbox([weather])

export interface Planned {
  readonly trip: { readonly city: string; readonly celsius: number; readonly pack: readonly string[]; readonly day: Date } | undefined
  readonly outcome: Outcome
  /** Who answered, in order. */
  readonly producers: readonly string[]
}

/** Plans a trip in one turn. */
export async function planTrip(model: Pick<Host, "llmCall">, request: string, onEvent: (event: TurnEvent) => void = () => {}): Promise<Planned> {
  const driver = chatDriver({ output: trip })
  const config = { driver, projector: chatProjector, model: "claude-sonnet-4-5", systemPrompt: "You plan trips.", tools: tools.specs }
  const done = await runTurn(new TurnMachine(config, { messages: [userMessage(request)] }), { ...model, tools }, { onEvent })
  const producers = done.messages.flatMap(({ producer }) => (producer === undefined ? [] : [`${producer.provider} ${producer.model}`]))
  return { trip: outputOf(done, trip), outcome: done.outcome, producers }
}
