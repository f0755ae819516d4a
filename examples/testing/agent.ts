import { chatDriver, chatProjector, type TurnConfig, type TurnStart, userMessage } from "turn-machine"
import { defineTool, type Toolbox, ToolError, toolbox } from "turn-machine/hosts"
import * as z from "zod"

/** The library that the tools use. Tests pass their own. */
export interface Library {
  find(title: string): Promise<readonly Book[]>
  book(isbn: string): Promise<Book | undefined>
  /** `key` is the same when a call is run again after a crash: two reservations under one key are one. */
  reserve(isbn: string, key: string): Promise<{ readonly until: string }>
}

export interface Book {
  readonly isbn: string
  readonly title: string
  readonly copies: number
}

/** The agent without its model: the configuration of its turns, and its tools. */
export interface Agent {
  readonly config: TurnConfig
  readonly tools: Toolbox
}

export function libraryAgent(library: Library): Agent {
  const findBooks = defineTool({
    name: "find_books",
    description: "Finds books by a part of their title, with how many copies are in.",
    input: z.object({ title: z.string().min(1) }),
    execute: ({ title }) => library.find(title),
  })
  const reserveBook = defineTool({
    name: "reserve_book",
    description: "Reserves one copy of a book for the reader.",
    input: z.object({ isbn: z.string() }),
    async execute({ isbn }, { callId, idempotencyKey = callId }) {
      if ((await library.book(isbn)) !== undefined) return library.reserve(isbn, idempotencyKey)
      throw new ToolError({ class: "invalid_request", code: "no_such_book", message: `There is no book ${isbn}.` })
    },
  })
  const tools = toolbox([findBooks, reserveBook])
  return {
    tools,
    config: {
      driver: chatDriver(),
      projector: chatProjector,
      model: "small",
      sessionId: "library",
      systemPrompt: "You are the desk of a library. Look books up before you speak of them. Reserve only what was asked for.",
      tools: tools.specs,
      maxIterations: 8,
      generation: { maxOutputTokens: 500 },
    },
  }
}

/** The start of a turn: a message of a reader. */
export function asked(text: string): TurnStart {
  return { messages: [userMessage(text, { id: "reader-1" })] }
}
