import { type ChildProcess, spawn } from "node:child_process"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"

const HERE = fileURLToPath(new URL(".", import.meta.url))

/** A process that runs one of the programs. */
export interface Running {
  /** Resolves when the process prints a text after what was waited for before. Rejects if it ends first. */
  prints(text: string): Promise<void>
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>
  /** Kills it with SIGKILL, and resolves when it is gone. */
  kill(): Promise<void>
}

export interface StartOptions {
  readonly env?: Record<string, string>
  /** Receives what the process prints. */
  readonly onPrint?: (text: string) => void
}

/** Starts a program, such as `["server.ts"]`. */
export function start(args: readonly string[], { env, onPrint }: StartOptions = {}): Running {
  const child: ChildProcess = spawn(process.execPath, ["--import", "tsx", ...args], {
    cwd: HERE,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  })
  let unread = ""
  let check = () => {}
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    onPrint?.(text)
    unread += text
    check()
  })
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  return {
    ended,
    prints: (text) =>
      new Promise((resolve, reject) => {
        check = () => {
          const at = unread.indexOf(text)
          if (at < 0) return
          unread = unread.slice(at + text.length)
          check = () => {}
          resolve()
        }
        check()
        void ended.then(() => reject(new Error(`${args.join(" ")} ended before it printed "${text}".`)))
      }),
    kill() {
      child.kill("SIGKILL")
      return ended
    },
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })
}
