import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const HERE = fileURLToPath(new URL("..", import.meta.url))

/** A server in a process of its own. */
export interface Server {
  readonly url: string
  /** What it has printed. */
  readonly printed: () => string
  /** Ends it with SIGKILL, or with the given signal. Resolves when it is gone. */
  kill(signal?: "SIGKILL" | "SIGTERM"): Promise<void>
}

/** How slow the model and the tools are, and whatever else a server reads from its environment. */
export type Settings = Readonly<Record<string, string>>

/** Starts `main.ts`. Resolves when it listens, and rejects with what it printed if it ends before. */
async function startServer(folder: string, port: number, settings: Settings = {}): Promise<Server> {
  const child = spawn(process.execPath, ["--import", "tsx", "main.ts"], {
    cwd: HERE,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PROVIDER: "built-in", WORD_MS: "5", TOOL_MS: "20", CHATS_FOLDER: folder, PORT: `${port}`, ...settings },
  })
  let printed = ""
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
  await new Promise<void>((resolve, reject) => {
    const read = (text: string) => {
      printed += text
      if (printed.includes("http://")) resolve()
    }
    child.stdout.setEncoding("utf8").on("data", read)
    child.stderr.setEncoding("utf8").on("data", read)
    void ended.then(() => reject(new Error(`The server ended:\n${printed}`)))
  })
  return {
    url: `http://127.0.0.1:${port}`,
    printed: () => printed,
    kill(signal = "SIGKILL") {
      child.kill(signal)
      return ended
    },
  }
}

/** The servers of a test file, each place with a folder and a port of its own. */
export class Places {
  readonly #root = mkdtempSync(join(tmpdir(), "chat-server-"))
  readonly #running = new Set<Server>()
  #count = 0

  /** A place, in which one server after another can be started. */
  async next(): Promise<(settings?: Settings) => Promise<Server>> {
    this.#count += 1
    const folder = join(this.#root, `${this.#count}`)
    const port = await freePort()
    return async (settings) => {
      const server = await startServer(folder, port, settings)
      this.#running.add(server)
      return server
    }
  }

  /** Ends the servers that run. */
  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#running, (server) => server.kill()))
    this.#running.clear()
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.#root, { recursive: true, force: true })
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })
}
