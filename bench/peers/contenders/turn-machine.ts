import { chatDriver, chatProjector, TurnMachine, userMessage } from "turn-machine"
import { type Host, openAiCompatible, runTurn } from "turn-machine/hosts"
import { type Contender, PIECE, QUESTION, type Saved, type Streamer, SYSTEM, savedText, type Work } from "../script.ts"
import { turnOf } from "../turn-machine-host.ts"
import { USAGE } from "../turn-machine-model.ts"

export const withRunTurn: Contender = async (work) => {
  const { config, start, host } = turnOf(work)
  return runTurn(new TurnMachine(config, start), host)
}

/** A checkpoint at the end of the turn. */
export const withRunTurnSaved = async (work: Work): Promise<() => Saved> => {
  const { config, start, host } = turnOf(work)
  const machine = new TurnMachine(config, start)
  await runTurn(machine, host)
  return () => savedText(JSON.stringify(machine.checkpoint()), (text) => TurnMachine.restore(config, text))
}

export const withRunTurnDeltas: Streamer = (pieces, onPiece) => {
  const host: Host = {
    async llmCall(_effect, context) {
      let text = ""
      for (let piece = 0; piece < pieces; piece += 1) {
        await undefined
        text += PIECE
        context.emit({ type: "text_delta", content: PIECE })
      }
      return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
    },
  }
  const config = { driver: chatDriver(), projector: chatProjector, model: "bench", systemPrompt: SYSTEM, tools: [] }
  const machine = new TurnMachine(config, { messages: [userMessage(QUESTION)] })
  return runTurn(machine, host, {
    onEvent(event) {
      if (event.type === "text_delta") onPiece(event.content)
    },
  })
}

/** Over HTTP: each piece is one chunk of a stream of events. */
export const clientDeltas: Streamer = (pieces, onPiece) => {
  const encoder = new TextEncoder()
  const chunkOf = (delta: object, more: object): Uint8Array =>
    encoder.encode(
      `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "bench", choices: [{ index: 0, delta, ...more }] })}\n\n`,
    )
  const answer = (): Response => {
    let sent = 0
    const body = new ReadableStream({
      pull(controller) {
        sent += 1
        if (sent <= pieces) return controller.enqueue(chunkOf({ content: PIECE }, { finish_reason: null }))
        controller.enqueue(chunkOf({}, { finish_reason: "stop", usage: { prompt_tokens: 1, completion_tokens: pieces } }))
        controller.enqueue(encoder.encode("data: [DONE]\n\n"))
        controller.close()
      },
    })
    return new Response(body, { headers: { "content-type": "text/event-stream" } })
  }
  const host: Host = { ...openAiCompatible({ baseUrl: "http://127.0.0.1:9/v1", model: "bench", apiKey: "bench", fetch: async () => answer() }) }
  const config = { driver: chatDriver(), projector: chatProjector, model: "bench", systemPrompt: SYSTEM, tools: [] }
  return runTurn(new TurnMachine(config, { messages: [userMessage(QUESTION)] }), host, {
    onEvent(event) {
      if (event.type === "text_delta") onPiece(event.content)
    },
  })
}
