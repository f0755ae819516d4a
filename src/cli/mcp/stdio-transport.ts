import { type ChildProcess, spawn } from "node:child_process"
import { statSync } from "node:fs"
import type { JSONRPCMessage, Transport } from "@modelcontextprotocol/client"
import { endGroup, killAtExit } from "../../hosts/node/process-group.ts"
import { shortened } from "../../text.ts"

/** How a server's process is started. */
export interface ServerProcess {
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

/** How long a server may take to end after its input ended, in milliseconds. Then its process group is ended. */
const GRACE_MS = 1_000
/** A message that is longer ends the connection, in bytes. */
const MAX_MESSAGE_BYTES = 64_000_000
/** How much of what a server wrote to standard error is shown if it does not start. */
const MAX_STDERR_CHARS = 2_000

/**
 * Speaks with a server that this process starts: one JSON message a line, on its standard input and output.
 *
 * Unlike that of the SDK, the server has a process group of its own: Ctrl-C in the terminal is for this program, which asks what to do while
 * the run continues. The group is ended with the connection and with this process, so that nothing that the server started is left.
 */
export class StdioTransport implements Transport {
  onmessage?: Transport["onmessage"]
  onclose?: () => void
  onerror?: (error: Error) => void
  readonly #server: ServerProcess
  #child: ChildProcess | undefined
  #forget: () => void = () => {}
  #isClosed = false
  #exited: Promise<void> = Promise.resolve()
  #stderr = ""
  #exit = ""
  #foreignLine = ""

  constructor(server: ServerProcess) {
    this.#server = server
  }

  /** What may explain that the server cannot be used, in sentences: how its process ended, and what it wrote. Empty: nothing is known. */
  get remarks(): string {
    const stderr = this.#stderr.trim()
    return [
      ...(this.#exit === "" ? [] : [`Its process ended with ${this.#exit}.`]),
      ...(this.#foreignLine === "" ? [] : [`A line that it wrote to standard output is not a message of MCP: ${this.#foreignLine}`]),
      ...(stderr === "" ? [] : [`It wrote: ${stderr}`]),
    ].join(" ")
  }

  async start(): Promise<void> {
    const { command, args, cwd, env } = this.#server
    // Otherwise the program seems to be missing.
    if (statSync(cwd, { throwIfNoEntry: false })?.isDirectory() !== true) throw new Error(`its folder ${JSON.stringify(cwd)} does not exist`)
    const child = spawn(command, args, { cwd, env, stdio: ["pipe", "pipe", "pipe"], detached: process.platform !== "win32", windowsHide: true })
    this.#child = child
    if (child.pid !== undefined) this.#forget = killAtExit(child.pid)
    this.#exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve(this.#onExit(code, signal))))
    this.#read(child)
    child.once("close", () => this.#ended())
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve)
      child.once("error", (error: NodeJS.ErrnoException) => {
        reject(error.code === "ENOENT" ? new Error(`the program ${JSON.stringify(command)} was not found`) : error)
        this.#ended()
      })
    })
  }

  async send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#child?.stdin
    if (this.#isClosed || stdin === undefined || stdin === null) throw new Error("The connection to the server has ended.")
    if (!stdin.write(`${JSON.stringify(message)}\n`)) await new Promise<void>((resolve) => this.#whenWritable(resolve))
  }

  /** Ends the server: by the end of its input, then SIGTERM, then SIGKILL. Resolves when its process group is gone. Idempotent. */
  async close(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child?.pid !== undefined) {
      child.stdin?.end()
      await Promise.race([this.#exited, new Promise((resolve) => setTimeout(resolve, GRACE_MS).unref())])
      // Also what a server left running that has ended.
      await endGroup(child.pid)
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
    }
    this.#ended()
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    // An end that was asked for says nothing about the server.
    if (this.#child !== undefined) this.#exit = signal === null ? `exit code ${code}` : `the signal ${signal}`
  }

  #whenWritable(resume: () => void): void {
    const stdin = this.#child?.stdin
    const stop = (): void => {
      stdin?.off("drain", stop)
      stdin?.off("close", stop)
      resume()
    }
    stdin?.once("drain", stop)
    stdin?.once("close", stop)
  }

  #read({ stdin, stdout, stderr }: ChildProcess): void {
    let pieces: Buffer[] = []
    let bytes = 0
    stdout?.on("data", (chunk: Buffer) => {
      let rest = chunk
      for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
        this.#receive(Buffer.concat([...pieces, rest.subarray(0, end)]).toString("utf8"))
        rest = rest.subarray(end + 1)
        pieces = []
        bytes = 0
      }
      if (rest.length > 0) pieces.push(rest)
      bytes += rest.length
      if (bytes <= MAX_MESSAGE_BYTES) return
      pieces = []
      this.onerror?.(new Error(`The server sent a message of more than ${MAX_MESSAGE_BYTES} bytes.`))
      void this.close()
    })
    stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR_CHARS)
    })
    // A server that has ended reads and writes nothing more; `close` says so.
    for (const stream of [stdin, stdout, stderr]) stream?.on("error", () => {})
  }

  #receive(line: string): void {
    if (line.trim() === "") return
    let message: JSONRPCMessage
    try {
      message = JSON.parse(line) as JSONRPCMessage
    } catch {
      // Some servers write remarks to standard output.
      if (this.#foreignLine === "") this.#foreignLine = shortened(line.trim())
      this.onerror?.(new Error("The server wrote a line that is not a message."))
      return
    }
    this.onmessage?.(message)
  }

  #ended(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#forget()
    this.onclose?.()
  }
}
