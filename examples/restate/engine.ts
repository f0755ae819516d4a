import { type ChildProcess, spawn } from "node:child_process"
import { createRequire } from "node:module"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

/** Something that was called does not answer, with advice. */
export class NotReachable extends Error {
  constructor(what: string, url: string, advice: string, cause?: unknown) {
    super(`${what} does not answer at ${url}. ${advice}`, { cause })
    this.name = "NotReachable"
  }
}

/** A server of Restate, as its clients see it. */
export interface Engine {
  /** Where handlers are called. */
  readonly ingress: string
  /** Where deployments are registered, invocations are cancelled, and the journal is queried. */
  readonly admin: string
}

export interface RunningEngine extends Engine {
  /** Kills the server with SIGKILL. */
  kill(): Promise<void>
  /** What the server has printed, for its errors. */
  readonly log: () => string
}

/** Settings of one node of a cluster. */
export interface EngineOptions {
  /** The folder with the server's data. */
  readonly data: string
  readonly ports: { readonly ingress: number; readonly admin: number; readonly node: number }
  readonly env?: Record<string, string>
  readonly name?: string
}

/** Starts a server on 127.0.0.1, and waits until it answers. */
export async function startEngine({ data, ports, env = {}, name = "node-1" }: EngineOptions): Promise<RunningEngine> {
  const child = spawn(binary(), ["--no-logo", "--base-dir", data, "--node-name", name], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      DO_NOT_TRACK: "1",
      RESTATE_DISABLE_TELEMETRY: "true",
      RESTATE_LISTEN_MODE: "tcp",
      RESTATE_LOG_FILTER: "warn",
      RESTATE_BIND_ADDRESS: `127.0.0.1:${ports.node}`,
      RESTATE_ADVERTISED_ADDRESS: `http://127.0.0.1:${ports.node}`,
      RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${ports.admin}`,
      RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ports.ingress}`,
      ...env,
    },
  })
  let log = ""
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (text: Buffer) => {
      log = (log + text.toString()).slice(-4_000)
    })
  const ended = endOf(child)
  const engine = { ingress: `http://127.0.0.1:${ports.ingress}`, admin: `http://127.0.0.1:${ports.admin}` }
  let hasEnded = false
  void ended.then(() => {
    hasEnded = true
  })
  const until = Date.now() + START_MS
  while (!(await answers(`${engine.admin}/health`)) || !(await answers(`${engine.ingress}/restate/health`))) {
    if (hasEnded || Date.now() > until) {
      child.kill("SIGKILL")
      const what = hasEnded ? "ended" : `did not start in ${START_MS / 1_000} s`
      throw new NotReachable("The server of Restate", engine.admin, `It ${what}. It printed:\n${log}`)
    }
    await sleep(50)
  }
  return {
    ...engine,
    log: () => log,
    async kill() {
      child.kill("SIGKILL")
      await ended
    },
  }
}

/** How long the server may need until it answers: a busy machine with a slow disk needs minutes. */
const START_MS = 300_000

/** The path of the server's program, which npm installed for this platform. */
function binary(): string {
  const platform = `@restatedev/restate-server-${process.platform}-${process.arch}`
  try {
    const require = createRequire(createRequire(import.meta.url).resolve("@restatedev/restate-server/package.json"))
    return join(dirname(require.resolve(`${platform}/package.json`)), "bin", "restate-server")
  } catch (cause) {
    throw new Error(
      `The server of Restate is not installed: npm has no ${platform} here. Run npm install on Linux or macOS, or use a server of your own.`,
      { cause },
    )
  }
}

function endOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve())
    child.once("error", () => resolve())
  })
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok
  } catch {
    return false
  }
}

/** A process with the handlers. */
export interface RunningService {
  readonly pid: number
  readonly ended: Promise<void>
  kill(): Promise<void>
}

const HERE = fileURLToPath(new URL(".", import.meta.url))

export interface ServiceOptions {
  /** A bundle of service.ts, which starts faster. Default: service.ts itself. */
  readonly program?: string
  readonly env?: Record<string, string>
  /** Receives the calls that begin to wait for a decision. */
  readonly onWaits?: (call: WaitingCall) => void
}

/** Starts service.ts as a process. */
export async function startService(port: number, { program, env = {}, onWaits = () => {} }: ServiceOptions = {}): Promise<RunningService> {
  const child = spawn(process.execPath, program === undefined ? ["--import", "tsx", "service.ts"] : [program], {
    cwd: HERE,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env, PORT: String(port) },
  })
  const ended = endOf(child)
  let unread = ""
  await new Promise<void>((resolve, reject) => {
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (unread + text).split("\n")
      unread = lines.pop() ?? ""
      for (const line of lines) {
        if (line === "READY") resolve()
        else if (line.startsWith("WAITS ")) onWaits(JSON.parse(line.slice("WAITS ".length)) as WaitingCall)
      }
    })
    void ended.then(() => reject(new Error("The service ended before it was ready.")))
  })
  return {
    pid: child.pid ?? 0,
    ended,
    async kill() {
      child.kill("SIGKILL")
      await ended
    },
  }
}

/** A held call of a turn. */
export interface WaitingCall {
  readonly invocationId: string
  readonly requestId: string
  readonly toolName: string
}

/** Ports that are given to a server again after it was killed, and so must stay free: systems do not use these for connections. */
const PORTS = { from: 10_000, to: 32_000 }

const given = new Set<number>()

/** A port that is free now, and that no outgoing connection takes later. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from))
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })
}

export async function freePorts(): Promise<EngineOptions["ports"]> {
  return { ingress: await freePort(), admin: await freePort(), node: await freePort() }
}
