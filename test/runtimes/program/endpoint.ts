/** An answer of a Chat Completions endpoint: a text, or a tool call. */
export type EndpointAnswer = string | { readonly tool: string; readonly args: object }

/**
 * A `fetch` that answers like an endpoint with Chat Completions: as a stream of server-sent events, in pieces of seven bytes, which also cut
 * characters. The answer is chosen by the number of assistant messages in the request.
 */
export function endpoint(answers: readonly EndpointAnswer[]): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init)
    const { messages, stream } = (await request.json()) as { readonly messages: readonly { readonly role: string }[]; readonly stream: boolean }
    if (!stream || request.headers.get("authorization") !== "Bearer key") return new Response("{}", { status: 400 })
    const answer = answers[messages.filter(({ role }) => role === "assistant").length]
    if (answer === undefined) return new Response("{}", { status: 404 })
    const text = `${chunksOf(answer)
      .map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`)
      .join("")}data: [DONE]\n\n`
    return new Response(inPieces(new TextEncoder().encode(text), 7), { headers: { "content-type": "text/event-stream" } })
  }
}

function chunksOf(answer: EndpointAnswer): readonly object[] {
  const base = { id: "answer", object: "chat.completion.chunk", created: 1, model: "scripted" }
  const delta = (value: object): object => ({ ...base, choices: [{ index: 0, delta: value, finish_reason: null }] })
  const end = (reason: string): object => ({ ...base, choices: [{ index: 0, delta: {}, finish_reason: reason }] })
  const usage = { ...base, choices: [], usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 } }
  if (typeof answer === "string") return [...answer.split(/(?<= )/).map((content) => delta({ content })), end("stop"), usage]
  const { tool, args } = answer
  const text = JSON.stringify(args)
  const half = Math.floor(text.length / 2)
  return [
    delta({ tool_calls: [{ index: 0, id: `call of ${tool}`, type: "function", function: { name: tool, arguments: text.slice(0, half) } }] }),
    delta({ tool_calls: [{ index: 0, function: { arguments: text.slice(half) } }] }),
    end("tool_calls"),
    usage,
  ]
}

function inPieces(bytes: Uint8Array, size: number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      controller.enqueue(bytes.slice(at, at + size))
      at += size
    },
  })
}
