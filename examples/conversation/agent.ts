import { chatDriver, chatProjector, type LlmResponse } from "turn-machine"
import { defineTool, type Host, toolbox } from "turn-machine/hosts"
import type { ThreadOptions } from "turn-machine/hosts/thread"
import * as z from "zod"

/** How long the model takes for a word and the tool for an answer, in milliseconds. */
export interface Pace {
  readonly wordMs: number
  readonly toolMs: number
}

/** An agent that plans days in cities: how the turns of its threads are configured, and the host that runs them. */
export interface Agent {
  readonly options: ThreadOptions
  readonly host: Host
}

export function travelAgent({ wordMs, toolMs }: Pace): Agent {
  const lookUp = defineTool({
    name: "look_up",
    description: "Looks up what there is to see in a city.",
    input: z.object({ city: z.string() }),
    effects: "none",
    async execute({ city }, { signal, progress }) {
      progress({ message: `Reading about ${city}.` })
      await pause(toolMs, signal)
      return { city, sights: ["the river", "the market"] }
    },
  })
  const tools = toolbox([lookUp])
  return {
    options: {
      config: { driver: chatDriver(), projector: chatProjector, model: "scripted", systemPrompt: "You plan days in cities.", tools: tools.specs },
      // A conversation: the model is offered no tools for goals, and no turn begins without an input.
      goals: false,
    },
    host: {
      tools,
      // Use the `llmCall` of `openAiCompatible({ … })` for a real model. It streams, too.
      async llmCall({ request }, { emit, signal }) {
        const answer = answerTo(request.messages)
        for (const word of answer.text.split(/(?<= )/)) {
          await pause(wordMs, signal)
          emit({ type: "text_delta", content: word })
        }
        return answer
      },
    },
  }
}

type RequestMessages = Parameters<Host["llmCall"]>[0]["request"]["messages"]

/** The script of the model: it looks up the city that it was asked about last, then answers all that was said since its last answer. */
function answerTo(messages: RequestMessages): LlmResponse {
  const isAnswer = ({ role, blocks }: RequestMessages[number]) => role === "assistant" && blocks.every(({ type }) => type === "text")
  const open = messages.slice(messages.findLastIndex(isAnswer) + 1)
  const asked = open.flatMap((message) => (message.role === "user" ? textsOf(message) : []))
  const city = asked.flatMap((text) => [...text.matchAll(/day in (\w+)/g)].map(([, name = ""]) => name)).at(-1)
  const isKnown = open.some(({ blocks }) => blocks.some((block) => block.type === "tool_result" && block.text.includes(`"${city}"`)))
  if (city !== undefined && !isKnown) return response(`I look up ${city}. `, { city })
  const rest = asked.filter((text) => !text.includes("day in"))
  const plan = city === undefined ? [] : [`A day in ${city}: first the river, then the market.`]
  return response([...plan, ...rest.map((text) => `About "${text}": noted.`)].join(" "))
}

function textsOf({ blocks }: RequestMessages[number]): readonly string[] {
  return blocks.flatMap((block) => (block.type === "text" ? [block.text] : []))
}

function response(text: string, args?: { readonly city: string }): LlmResponse {
  const usage = { inputTokens: 100, cachedInputTokens: 0, outputTokens: 20, reasoningTokens: 0 }
  const said = { type: "text", text } as const
  if (args === undefined) return { text, parts: [said], usage, terminalReason: "stop" }
  const call = { type: "tool_call", callId: `look-up-${args.city}`, toolName: "look_up", inputJson: JSON.stringify(args) } as const
  return { text, parts: [said, call], usage, terminalReason: "tool_use" }
}

/** Waits, and rejects when the work is no longer needed. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop)
      resolve()
    }, ms)
    if (signal.aborted) stop()
    else signal.addEventListener("abort", stop, { once: true })
  })
}
