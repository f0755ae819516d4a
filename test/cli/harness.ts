import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process"
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll, onTestFinished } from "vitest"
import { cli } from "../../src/cli/cli.ts"
import type { Terminal } from "../../src/cli/terminal/io.ts"
import type { EffectContext } from "../../src/hosts/host.ts"

export const FIXTURES = fileURLToPath(new URL("../fixtures/folders/", import.meta.url))
const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

/** A new folder that is removed after the test. */
export function newFolder(): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "turn-machine-")))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Writes files, by path, into a folder. */
export function fill(folder: string, files: Readonly<Record<string, string | Uint8Array>>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  return folder
}

/** A copy of the sample folder, under a new folder. */
export function newShop(): { readonly base: string; readonly shop: string } {
  const base = newFolder()
  const shop = join(base, "shop")
  cpSync(join(FIXTURES, "shop"), shop, { recursive: true })
  return { base, shop }
}

export interface Ran {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
  /** The exit code of an immediate exit; absent if there was none. */
  readonly exitedAtOnceWith?: number
}

/** Runs the command line in this process. `cwd` should be a folder that only this test uses. */
export async function runCli(
  args: readonly string[],
  {
    cwd,
    env = {},
    isTTY = false,
    columns = 80,
    onOutput,
    input,
    terminal,
  }: {
    cwd: string
    env?: Record<string, string>
    isTTY?: boolean
    columns?: number
    onOutput?: (stdout: string, interrupt: () => void) => void
    /** Standard input, for an argument that is read from it. */
    input?: string
    /** Where a person is asked. */
    terminal?: Terminal
  },
): Promise<Ran> {
  let [stdout, stderr] = ["", ""]
  let listener: (() => void) | undefined
  let exitedAtOnceWith: number | undefined
  const exitCode = await cli(args, {
    stdout: {
      isTTY,
      columns,
      write(text) {
        stdout += text
        onOutput?.(stdout, () => listener?.())
      },
    },
    stderr: { write: (text) => (stderr += text) },
    env: { XDG_STATE_HOME: process.env["XDG_STATE_HOME"], ...env },
    cwd,
    ...(input !== undefined && { readInput: async () => input }),
    ...(terminal !== undefined && { terminal }),
    onInterrupt(added) {
      listener = added
      return () => {
        listener = undefined
      }
    },
    exit(code) {
      exitedAtOnceWith ??= code
    },
  })
  return { exitCode, stdout, stderr, ...(exitedAtOnceWith !== undefined && { exitedAtOnceWith }) }
}

export interface Spawned extends Promise<Ran & { readonly signal: NodeJS.Signals | null }> {
  readonly child: ChildProcess
}

/** Node arguments that run the command line from its sources, as `npm start` does. */
export const FROM_SOURCES: readonly string[] = ["--import", import.meta.resolve("tsx"), MAIN]

/** Bundles the command line into one file, which starts ten times faster. Call it at the top of a test file. */
export async function bundleCli(): Promise<readonly string[]> {
  const folder = mkdtempSync(join(tmpdir(), "turn-machine-cli-"))
  chmodSync(folder, 0o755)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const outfile = join(folder, "main.mjs")
  // An optional package, which the program loads where it needs it.
  const external = ["@modelcontextprotocol/*"]
  symlinkSync(join(dirname(fileURLToPath(import.meta.url)), "../../node_modules"), join(folder, "node_modules"))
  await build({
    entryPoints: [MAIN],
    outfile,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    target: "node20",
    logLevel: "error",
    external,
  })
  return [outfile]
}

/** A person at a terminal who gives some answers in order: keys and lines. What the person reads is in `shown`. */
export class TestTerminal implements Terminal {
  shown = ""
  readonly #answers: (string | undefined)[]
  readonly #columns: number
  /** What an editor makes of a file's text; `undefined`: it fails. */
  readonly edits: ((text: string) => string | undefined)[] = []
  /** Called before each key is given. */
  onKey: (() => unknown) | undefined
  /** Called when a line was asked for, after an answer is given. */
  onLine: (() => unknown) | undefined

  constructor(answers: readonly (string | undefined)[], columns = 80) {
    this.#answers = [...answers]
    this.#columns = columns
  }

  get output(): Terminal["output"] {
    return { isTTY: true, columns: this.#columns, write: (text) => (this.shown += text) }
  }

  async key(show: () => void, signal: AbortSignal): Promise<string | undefined> {
    show()
    await this.onKey?.()
    return this.#next(signal)
  }

  async line(question: string, given: string, signal: AbortSignal): Promise<string | undefined> {
    this.shown += `${question}${given}`
    const answer = this.#next(signal)
    if (this.onLine !== undefined) setTimeout(this.onLine, 20)
    return answer
  }

  async run(_program: string, args: readonly string[]): Promise<number> {
    const path = args.at(-1) ?? ""
    const text = this.edits.shift()?.(readFileSync(path, "utf8"))
    if (text === undefined) return 1
    writeFileSync(path, text)
    return 0
  }

  /** The next answer. Without one, the person does nothing until the question is closed. */
  #next(signal: AbortSignal): Promise<string | undefined> | string | undefined {
    if (this.#answers.length > 0) return this.#answers.shift()
    return new Promise((resolve) => {
      if (signal.aborted) resolve(undefined)
      signal.addEventListener("abort", () => resolve(undefined))
    })
  }
}

/** Runs the command line in another process. */
export function spawnCli(how: readonly string[], args: readonly string[], options: SpawnOptions & { readonly cwd: string }): Spawned {
  const child = spawn(process.execPath, [...how, ...args], { ...options, env: { ...process.env, ...options.env }, stdio: "pipe" })
  let [stdout, stderr] = ["", ""]
  child.stdout?.on("data", (data: Buffer) => (stdout += data.toString()))
  child.stderr?.on("data", (data: Buffer) => (stderr += data.toString()))
  const ended = new Promise<Ran & { readonly signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (exitCode, signal) => resolve({ exitCode, signal, stdout, stderr }))
  })
  onTestFinished(() => void child.kill("SIGKILL"))
  return Object.assign(ended, { child })
}

/** Waits until a condition holds. Only the test's own time limit ends the wait. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** Starts a local HTTP server and returns the base URL of its endpoint. `models`: its list of models; without one, it has none. */
export async function serve(
  answer: (body: string, response: ServerResponse, request: IncomingMessage) => void,
  models?: (response: ServerResponse, request: IncomingMessage) => void,
): Promise<string> {
  const server: Server = createServer((request, response) => {
    if (request.method === "GET" && request.url === "/v1/models") {
      if (models === undefined) response.writeHead(404).end()
      else models(response, request)
      return
    }
    let body = ""
    request.on("data", (data: Buffer) => (body += data.toString()))
    request.on("end", () => answer(body, response, request))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
}

/** A context for tools that are called without a run loop. */
export const CONTEXT: EffectContext = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }
