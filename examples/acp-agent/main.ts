/** The agent over stdio: an editor starts it, and writes to its input. */
import { Console } from "node:console"
import { Readable, Writable } from "node:stream"
import { ndJsonStream } from "@agentclientprotocol/sdk"
import { acpAgent } from "./agent.ts"
import { modelOf } from "./models.ts"
import { fileStorage, stateFolder } from "./storage.ts"

// The output is for the protocol alone, whatever a package prints.
globalThis.console = new Console(process.stderr)

const storage = fileStorage(stateFolder(process.env))
const model = modelOf(process.env, storage.attachments)
console.error(`The model is ${model.name}.`)

const agent = acpAgent({ storage, model })
const input = Readable.toWeb(process.stdin) as ReadableStream<Uint8Array>
const connection = agent.app.connect(ndJsonStream(Writable.toWeb(process.stdout), input))

let isEnding = false
async function end(): Promise<void> {
  if (isEnding) return
  isEnding = true
  await agent.close()
  process.exit(0)
}
process.once("SIGTERM", end)
process.once("SIGINT", end)
process.stdout.on("error", end)
void connection.closed.then(end)
