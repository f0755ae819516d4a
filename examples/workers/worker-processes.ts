import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type pg from "pg"

/** A worker process. */
export interface RunningWorker {
  readonly name: string
  readonly child: ChildProcess
  /** The orders that it performs. */
  readonly open: Set<string>
  /** How it left orders: `ended`, `suspended`, or the code of the error. */
  readonly left: Map<string, string>
  /** When the process has ended. */
  readonly over: Promise<void>
  isReady: boolean
  isOver: boolean
}

/** What every worker is given. */
export interface WorkerSettings {
  readonly workers: number
  readonly concurrency: number
  readonly leaseMs: number
  readonly onEvent?: (text: string) => void
}

const HERE = fileURLToPath(new URL(".", import.meta.url))

/** How long nothing may happen in any worker while something is awaited. Starting a process on a busy machine takes seconds. */
const SILENCE_MS = 240_000

const POLL_MS = 20

/** Worker processes, and what they report. */
export class Workers {
  readonly #connection: pg.PoolConfig
  readonly #settings: WorkerSettings
  readonly #onEnd: (order: string) => void
  readonly #running: RunningWorker[] = []
  #started = 0
  #lastEvent = Date.now()
  /** A worker that ended without being asked to. */
  #failure: Error | undefined

  /** Starts the processes. `onEnd` receives the orders that have ended. */
  constructor(connection: pg.PoolConfig, settings: WorkerSettings, onEnd: (order: string) => void) {
    this.#connection = connection
    this.#settings = settings
    this.#onEnd = onEnd
    while (this.#running.length < settings.workers) this.#running.push(this.#start())
  }

  async allReady(): Promise<void> {
    await this.until("the workers are ready", () => this.#running.every(({ isReady }) => isReady) || undefined)
  }

  /** The first of the named workers that runs. */
  named(names: readonly string[]): RunningWorker | undefined {
    return this.#running.find(({ name }) => names.includes(name))
  }

  /** Kills a worker with SIGKILL, and starts another one. */
  async replace(worker: RunningWorker): Promise<void> {
    this.#running[this.#running.indexOf(worker)] = this.#start()
    worker.child.kill("SIGKILL")
    await worker.over
  }

  /** Waits until a function returns something. @throws {Error} a worker failed, or nothing happened for minutes */
  async until<Found>(what: string, find: () => Found | undefined | Promise<Found | undefined>): Promise<Found> {
    this.#lastEvent = Date.now()
    for (;;) {
      const found = await find()
      if (found !== undefined) return found
      if (this.#failure !== undefined) throw this.#failure
      if (Date.now() - this.#lastEvent > SILENCE_MS) throw new Error(`Nothing happened for ${SILENCE_MS / 1000} s. Waited until ${what}.`)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  /** Stops all workers, which finish what they can. */
  async stop(): Promise<void> {
    const stopping = this.#running.splice(0)
    for (const { child } of stopping) child.kill("SIGTERM")
    try {
      await this.until("the workers have stopped", () => stopping.every(({ isOver }) => isOver) || undefined)
    } finally {
      for (const { child } of stopping) child.kill("SIGKILL")
    }
  }

  /** Kills the workers that run. */
  kill(): void {
    for (const { child } of this.#running.splice(0)) child.kill("SIGKILL")
  }

  #start(): RunningWorker {
    const { leaseMs, concurrency, onEvent: say = () => {} } = this.#settings
    this.#started += 1
    const name = `worker-${this.#started}`
    const env = { ...process.env, WORKER: name, CONNECTION: JSON.stringify(this.#connection), LEASE_MS: `${leaseMs}`, CONCURRENCY: `${concurrency}` }
    const child = spawn(process.execPath, ["--import", "tsx", "worker.ts"], { cwd: HERE, env, stdio: ["ignore", "pipe", "inherit"] })
    const over = new Promise<void>((resolve) => child.on("close", () => resolve()))
    const worker: RunningWorker = { name, child, open: new Set(), left: new Map(), over, isReady: false, isOver: false }
    child.on("error", (error) => {
      this.#failure ??= error
    })
    child.on("close", (code) => {
      worker.isOver = true
      this.#lastEvent = Date.now()
      if (this.#running.includes(worker)) this.#failure ??= new Error(`${name} ended with code ${code}, and was not stopped.`)
    })
    let rest = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) this.#read(worker, JSON.parse(line) as WorkerEvent, say)
    })
    return worker
  }

  #read(worker: RunningWorker, { ready, began, ended, suspended, failed, code = "error", message }: WorkerEvent, say: (text: string) => void): void {
    this.#lastEvent = Date.now()
    if (ready !== undefined) worker.isReady = true
    if (began !== undefined) worker.open.add(began)
    const order = ended ?? suspended ?? failed
    if (order !== undefined) {
      worker.open.delete(order)
      worker.left.set(order, ended !== undefined ? "ended" : suspended !== undefined ? "suspended" : code)
    }
    if (ended !== undefined) this.#onEnd(ended)
    if (message !== undefined && code !== "fenced") say(`${worker.name}: ${message}`)
  }
}

/** A line that worker.ts prints. The order is the value of `began`, `ended`, `suspended` or `failed`. */
interface WorkerEvent {
  readonly ready?: string
  readonly began?: string
  readonly ended?: string
  readonly suspended?: string
  readonly failed?: string
  readonly code?: string
  readonly message?: string
}
