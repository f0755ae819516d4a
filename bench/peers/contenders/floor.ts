import { ANSWER, argumentsOf, type Contender, PIECE, QUESTION, type Saved, type Streamer, savedText, TOOL, type Work } from "../script.ts"

// A loop without a library: no checks, no events, nothing to stop, save or replay. Nothing that does more can be faster.

interface Message {
  readonly role: string
  readonly content: unknown
}

function model(work: Work): Message {
  const step = work.nextStep()
  return {
    role: "assistant",
    content: step === undefined ? ANSWER : [{ type: "tool_call", id: `call_${step}`, name: TOOL.name, args: argumentsOf(step) }],
  }
}

async function loop(work: Work, save: (message: Message) => void): Promise<unknown> {
  const messages: Message[] = [{ role: "user", content: QUESTION }]
  for (;;) {
    const answer = await model(work)
    messages.push(answer)
    save(answer)
    if (!Array.isArray(answer.content)) return messages
    const [{ id, args }] = answer.content
    const result = { role: "tool", content: { id, text: await work.result(args.path) } }
    messages.push(result)
    save(result)
  }
}

export const floor: Contender = (work) => loop(work, () => {})

/** Writes each message as a line of JSON, in memory. */
export const floorWithJournal: Contender = async (work) => {
  const lines: string[] = []
  await loop(work, (message) => void lines.push(JSON.stringify(message)))
  return lines
}

export const floorSaved = async (work: Work): Promise<() => Saved> => {
  const messages = await loop(work, () => {})
  return () => savedText(JSON.stringify(messages), (text) => JSON.parse(text))
}

export const floorDeltas: Streamer = async (pieces, onPiece) => {
  for (let piece = 0; piece < pieces; piece += 1) {
    await undefined
    onPiece(PIECE)
  }
}
