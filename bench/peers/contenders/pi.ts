import { runAgentLoop } from "@earendil-works/pi-agent-core"
import { type AssistantMessage, createAssistantMessageEventStream } from "@earendil-works/pi-ai"
import { ANSWER, argumentsOf, type Contender, PIECE, QUESTION, type Saved, type Streamer, SYSTEM, savedText, TOOL, type Work } from "../script.ts"

const MODEL = {
  id: "bench",
  name: "bench",
  api: "openai-completions",
  provider: "bench",
  baseUrl: "",
  reasoning: false,
  input: ["text"],
  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
  contextWindow: 1e9,
  maxTokens: 1e6,
} as never
const USAGE = {
  input: 100,
  output: 20,
  cacheRead: 900,
  cacheWrite: 0,
  totalTokens: 1020,
  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 },
}

export const loop: Contender = async (work) => {
  const stream = () => {
    const step = work.nextStep()
    const message: AssistantMessage = {
      role: "assistant",
      content:
        step === undefined
          ? [{ type: "text", text: ANSWER }]
          : [{ type: "toolCall", id: `call_${step}`, name: TOOL.name, arguments: { ...argumentsOf(step) } }],
      api: "openai-completions",
      provider: "bench",
      model: "bench",
      usage: USAGE,
      stopReason: step === undefined ? "stop" : "toolUse",
      timestamp: 0,
    }
    const events = createAssistantMessageEventStream()
    events.push({ type: "start", partial: message })
    events.push({ type: "done", reason: message.stopReason as "stop", message })
    return events
  }
  const tool = {
    name: TOOL.name,
    label: TOOL.name,
    description: TOOL.description,
    parameters: TOOL.inputSchema,
    execute: async (_id: string, { path }: { readonly path?: string }) => ({
      content: [{ type: "text" as const, text: work.result(path) }],
      details: {},
    }),
  }
  return runAgentLoop(
    [{ role: "user", content: QUESTION, timestamp: 0 }],
    { messages: [{ role: "system", content: SYSTEM, timestamp: 0 }], tools: [tool as never] },
    { model: MODEL, convertToLlm: (messages: unknown) => messages as never } as never,
    () => {},
    undefined,
    stream,
  )
}

/** What pi keeps of a session: its messages. */
export const loopSaved = async (work: Work): Promise<() => Saved> => {
  const messages = await loop(work)
  return () => savedText(JSON.stringify(messages), (text) => JSON.parse(text))
}

export const loopDeltas: Streamer = (pieces, onPiece) => {
  const stream = () => {
    const content = { type: "text" as const, text: "" }
    const partial: AssistantMessage = {
      role: "assistant",
      content: [content],
      api: "openai-completions",
      provider: "bench",
      model: "bench",
      usage: USAGE,
      stopReason: "stop",
      timestamp: 0,
    }
    const events = createAssistantMessageEventStream()
    const send = async (): Promise<void> => {
      events.push({ type: "start", partial })
      for (let piece = 0; piece < pieces; piece += 1) {
        await undefined
        content.text += PIECE
        events.push({ type: "text_delta", contentIndex: 0, delta: PIECE, partial })
      }
      events.push({ type: "done", reason: "stop", message: partial })
    }
    void send()
    return events
  }
  return runAgentLoop(
    [{ role: "user", content: QUESTION, timestamp: 0 }],
    { messages: [{ role: "system", content: SYSTEM, timestamp: 0 }], tools: [] },
    { model: MODEL, convertToLlm: (messages: unknown) => messages as never } as never,
    (event) => {
      if (event.type === "message_update" && event.assistantMessageEvent.type === "text_delta") onPiece(event.assistantMessageEvent.delta)
    },
    undefined,
    stream,
  )
}
