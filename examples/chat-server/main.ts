/**
 * Starts the chat server. Kill it at any time and start it again: it continues where it was.
 *
 * `PORT`: default 4117; 0 takes a free one. `CHATS_FOLDER`: where everything is stored, default `data`. `PROVIDER`, `MODEL`, `BASE_URL` and keys: see `models.ts`.
 * `CANCEL_AFTER_MS`: stops a turn whose last reader has been gone for so long; default: never. `WORD_MS`, `TOOL_MS`: how slow the built-in model and the tools are.
 */
import { serve } from "@hono/node-server"
import { noteAgent } from "./agent.ts"
import { Chats } from "./chats.ts"
import { openStorage } from "./database.ts"
import { modelOf } from "./models.ts"
import { buildPage } from "./page.ts"
import { chatServer } from "./server.ts"

const { PORT = "4117", CHATS_FOLDER = "data", CANCEL_AFTER_MS, TOOL_MS = "600" } = process.env
const model = orExit(() => modelOf(process.env))
const storage = orExit(() => openStorage(CHATS_FOLDER))
const agent = noteAgent(storage.database, model, Number(TOOL_MS))
const chats = new Chats(storage.database, storage.store, agent, CANCEL_AFTER_MS === undefined ? {} : { cancelAfterMs: Number(CANCEL_AFTER_MS) })

const { fetch } = chatServer(chats, await buildPage(), model.name)
const server = serve({ fetch, port: Number(PORT), hostname: "127.0.0.1" }, async ({ port }) => {
  console.log(`Chat with ${model.name}: http://127.0.0.1:${port}`)
  for (const id of await chats.resume()) console.log(`Continues ${id}`)
})
server.on("error", (error) => {
  console.error(error.message)
  process.exit(1)
})

/** The result, or the end of the process: its message says what to set. */
function orExit<Result>(start: () => Result): Result {
  try {
    return start()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  }
}

/** Turns stay open, and the next start continues them. */
async function shutDown(): Promise<void> {
  server.close()
  await chats.close()
  storage.close()
  process.exit()
}
process.once("SIGINT", () => void shutDown())
process.once("SIGTERM", () => void shutDown())
