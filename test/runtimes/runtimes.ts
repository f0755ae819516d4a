import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { extname, join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { pathToFileURL } from "node:url"
import { findChromium } from "./tools.ts"

/** A runtime that runs the program. */
export interface Runtime {
  readonly name: string
  /** How a user starts a bundle there, with every flag. */
  readonly command: string
  /** Starts the launcher in this folder, which also has the program. `modules`: the installed tools. */
  start(folder: string, modules: string): Promise<Running>
}

/** A program that runs. */
export interface Running {
  readonly version: string
  /** When its process was started. Milliseconds since the epoch. */
  readonly startedAt: number
  /** Sends a request to the program and returns its reply. @throws {Error} the runtime stopped */
  call(text: string): Promise<string>
  stop(): Promise<void>
}

/** All runtimes, in the order of the table. */
export const RUNTIMES: readonly Runtime[] = [
  {
    name: "Node 20",
    command: "`node main.mjs`",
    start: (folder, modules) => runProcess(folder, join(modules, "node-20/bin/node"), ["stdio.mjs"]),
  },
  {
    name: "Node 24",
    command: "`node main.mjs`",
    start: (folder, modules) => runProcess(folder, join(modules, "node-24/bin/node"), ["stdio.mjs"]),
  },
  {
    name: "Node 20, worker thread",
    command: '`new Worker("./main.mjs")`',
    start: (folder, modules) => runProcess(folder, join(modules, "node-20/bin/node"), ["thread.mjs"]),
  },
  {
    name: "workerd",
    command: "`workerd serve`, compatibility date 2026-04-01, no compatibility flag",
    start: workerd,
  },
  {
    name: "Chromium, page",
    command: '`<script type="module">`',
    start: (folder, modules) => chromium(folder, modules, false),
  },
  {
    name: "Chromium, module worker",
    command: '`new Worker("main.js", { type: "module" })`',
    start: (folder, modules) => chromium(folder, modules, true),
  },
  {
    name: "Deno",
    command: "`deno run main.mjs`, no permission",
    start: (folder, modules) => runProcess(folder, join(modules, ".bin/deno"), ["run", "--no-prompt", "--quiet", "stdio.mjs"]),
  },
  {
    name: "Bun",
    command: "`bun main.mjs`",
    start: (folder, modules) => runProcess(folder, join(modules, ".bin/bun"), ["stdio.mjs"]),
  },
]

/** The environment of a runtime: nothing of the test runner's, and no telemetry. */
const ENV = { PATH: process.env["PATH"], HOME: process.env["HOME"], TMPDIR: process.env["TMPDIR"], DO_NOT_TRACK: "1", DENO_NO_UPDATE_CHECK: "1" }

/** Starts a process that answers lines with lines. */
async function runProcess(cwd: string, command: string, args: readonly string[]): Promise<Running> {
  const version = await firstLine(cwd, command)
  const startedAt = Date.now()
  const child = spawn(command, args, { cwd, env: ENV, stdio: "pipe" })
  const died = death(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    version,
    startedAt,
    async call(text) {
      child.stdin.write(`${text}\n`)
      const next = await Promise.race([lines.next(), died])
      if (next.done === true) return died
      return next.value
    },
    stop: () => end(child),
  }
}

async function firstLine(cwd: string, command: string): Promise<string> {
  const child = spawn(command, ["--version"], { cwd, env: ENV, stdio: "pipe" })
  let printed = ""
  child.stdout.on("data", (data: Buffer) => (printed += data.toString()))
  await Promise.race([new Promise((resolve) => child.once("close", resolve)), new Promise((_resolve, reject) => child.once("error", reject))])
  return /\d+(?:\.\d+)+|\d{4}-\d\d-\d\d/.exec(printed)?.[0] ?? printed
}

/** A workerd that listens. */
export interface Workerd extends Omit<Running, "call"> {
  readonly url: string
  /** Rejects when the process stops. */
  readonly died: Promise<never>
}

/** Starts workerd with a configuration in this folder, whose only socket has a free port. */
export async function startWorkerd(cwd: string, config: string, modules: string): Promise<Workerd> {
  const command = join(modules, ".bin/workerd")
  const version = await firstLine(cwd, command)
  const startedAt = Date.now()
  const child = spawn(command, ["serve", config, "--control-fd=3"], { cwd, env: ENV, stdio: ["ignore", "ignore", "pipe", "pipe"] })
  const died = death(child)
  const control = createInterface({ input: child.stdio[3] as Readable })
  const listening = new Promise<number>((resolve) => {
    control.on("line", (line) => {
      const { event, port } = JSON.parse(line) as { readonly event: string; readonly port: number }
      if (event === "listen") resolve(port)
    })
  })
  const port = await Promise.race([listening, died])
  return { version, startedAt, url: `http://127.0.0.1:${port}/`, died, stop: () => end(child) }
}

async function workerd(folder: string, modules: string): Promise<Running> {
  const { url, died, ...started } = await startWorkerd(folder, "workerd.capnp", modules)
  return {
    ...started,
    async call(text) {
      const response = await Promise.race([fetch(url, { method: "POST", body: text }), died])
      const body = await response.text()
      if (!response.ok) throw new Error(`workerd answered ${response.status}: ${body}`)
      return body
    },
  }
}

/** What is used of playwright-core, which is not a dependency of the package. */
interface Playwright {
  readonly chromium: {
    launch(options: { readonly executablePath: string; readonly args: readonly string[] }): Promise<{
      version(): string
      newPage(): Promise<{ goto(url: string): Promise<unknown>; evaluate<Value>(expression: string): Promise<Value> }>
      close(): Promise<void>
    }>
  }
}

const TYPES: { readonly [extension: string]: string } = { ".js": "text/javascript", ".mjs": "text/javascript" }

async function chromium(folder: string, modules: string, inWorker: boolean): Promise<Running> {
  const executablePath = findChromium()
  if (executablePath === undefined) throw new Missing("Chromium is not installed: apt-get install chromium, or set CHROMIUM to its path.")
  const playwright = (await import(pathToFileURL(join(modules, "playwright-core/index.mjs")).href)) as { readonly default: Playwright }
  const server = createServer((request, response) => {
    const type = TYPES[extname(request.url ?? "")]
    if (type === undefined) return void response.setHeader("content-type", "text/html").end("<!doctype html><title>turn-machine</title>")
    response.setHeader("content-type", type).end(readFileSync(join(folder, (request.url ?? "").slice(1))))
  })
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  try {
    // Without its sandbox, Chromium also runs as root. It only opens this server.
    const startedAt = Date.now()
    const browser = await playwright.default.chromium.launch({ executablePath, args: ["--no-sandbox"] })
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    await page.evaluate(inWorker ? CALL_WORKER : CALL_PAGE)
    return {
      version: browser.version(),
      startedAt,
      call: (text) => page.evaluate(`call(${JSON.stringify(text)})`),
      async stop() {
        await browser.close()
        close()
      },
    }
  } catch (error) {
    close()
    throw error
  }
}

const CALL_PAGE = `import("/program.js").then((program) => { window.call = program.call })`

const CALL_WORKER = `{
  const worker = new Worker("/web-worker.mjs", { type: "module" })
  window.call = (text) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data)
    worker.onerror = ({ message }) => reject(new Error(message))
    worker.postMessage(text)
  })
}`

/** A runtime that is not on this machine. */
export class Missing extends Error {}

/** Rejects when the process stops. */
function death(child: ChildProcess): Promise<never> {
  let complaint = ""
  child.stderr?.on("data", (data: Buffer) => (complaint += data.toString()))
  const died = new Promise<never>((_resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code, signal) => reject(new Error(`The process stopped (${signal ?? code}). ${complaint.slice(0, 4_000)}`)))
  })
  // A process that `stop` ended is not a failure.
  died.catch(() => {})
  return died
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = new Promise((resolve) => child.once("close", resolve))
  ;(child.stdin as Writable | null)?.end()
  child.kill("SIGKILL")
  await closed
}
