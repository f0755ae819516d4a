import { chatDriver, chatProjector, type Outcome, type TokenUsage, type TurnEvent } from "turn-machine"
import { anthropic, costOf, defineTool, type Host, memoryJournalStore, pricesOf, toolbox } from "turn-machine/hosts"
import { runThread, Thread } from "turn-machine/hosts/thread"
import * as z from "zod"

export const MODEL = "claude-opus-5"

/** Claude. Without an address, at Anthropic. */
export function claude(apiKey: string, baseUrl?: string): Pick<Host, "llmCall"> {
  return anthropic({
    apiKey,
    ...(baseUrl !== undefined && { baseUrl }),
    // A stream that is silent for a minute is given up, and repeated if nothing of it was shown.
    idleTimeoutMs: 60_000,
    // The model thinks as long as it finds useful. Its signed reasoning is stored, and goes back with each request.
    wire: { thinking: { type: "adaptive" }, maxTokens: 8_000 },
  })
}

const EUROS: Readonly<Record<string, number>> = { bread: 2, cheese: 7, wine: 40 }

const price = defineTool({
  name: "price",
  description: "The price of an article, in euros.",
  input: z.object({ article: z.string() }),
  execute: ({ article }) => ({ article, euros: EUROS[article] ?? null }),
})

const tools = toolbox([price])

export interface Advice {
  /** The answer, or why there is none. */
  readonly text: string
  /** What the turn cost, in US dollars. `undefined`: the prices of the model are not known. */
  readonly dollars: number | undefined
}

/** Asks the questions one after the other, in one conversation: a thread, whose turns are stored as they happen. */
export async function advise(
  model: Pick<Host, "llmCall">,
  questions: readonly string[],
  onEvent: (event: TurnEvent) => void = () => {},
): Promise<readonly Advice[]> {
  const config = {
    driver: chatDriver(),
    projector: chatProjector,
    model: MODEL,
    systemPrompt: "You advise the customers of a small shop. Answer in one sentence.",
    tools: tools.specs,
  }
  const thread = await Thread.open(memoryJournalStore(), "customer", { config, goals: false })
  const advice: Advice[] = []
  try {
    for (const question of questions) {
      await thread.say(question)
      let used: TokenUsage | undefined
      const { outcome, reason } = await runThread(
        thread,
        { ...model, tools },
        {
          onEvent(event) {
            if (event.type === "token_usage") used = event.cumulative
            onEvent(event)
          },
        },
      )
      advice.push({ text: textOf(outcome) ?? reason, dollars: dollarsOf(used) })
    }
  } finally {
    await thread.close()
  }
  return advice
}

function textOf(outcome: Outcome | undefined): string | undefined {
  if (outcome?.type === "finished" && outcome.finish.type === "assistant_message") return outcome.finish.text
  return outcome?.type === "stopped" ? outcome.stop.error?.userMessage : undefined
}

function dollarsOf(used: TokenUsage | undefined): number | undefined {
  const prices = pricesOf(MODEL)
  return prices === undefined || used === undefined ? undefined : costOf(used, prices) / 1_000_000
}
