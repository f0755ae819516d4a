import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { ndJsonStream, type Stream } from "@agentclientprotocol/sdk"

const HERE = fileURLToPath(new URL(".", import.meta.url))

/** The agent as a process. */
export interface AgentProcess {
  readonly stream: Stream
  readonly child: ChildProcess
  /** All that it printed to its log. */
  readonly log: () => string
  /** Resolves with the exit code when it has ended. */
  readonly ended: Promise<number | null>
  /** Kills it with SIGKILL, and resolves when it is gone. */
  kill(): Promise<void>
}

/** The program and its arguments, as an editor is configured with them. */
export const AGENT: readonly [command: string, ...args: string[]] = [process.execPath, "--import", import.meta.resolve("tsx"), join(HERE, "main.ts")]

export function startAgent(env: NodeJS.ProcessEnv): AgentProcess {
  const [command, ...args] = AGENT
  const child = spawn(command, args, { cwd: HERE, stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } })
  let log = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text
  })
  child.stdin.on("error", () => {}) // it was killed
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve))
  return {
    stream: ndJsonStream(Writable.toWeb(child.stdin), Readable.toWeb(child.stdout) as ReadableStream<Uint8Array>),
    child,
    log: () => log,
    ended,
    async kill() {
      child.kill("SIGKILL")
      await ended
    },
  }
}
