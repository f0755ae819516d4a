import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

/** The path of the program. */
const { default: workerd } = createRequire(import.meta.url)("workerd") as { readonly default: string }
const HERE = fileURLToPath(new URL("..", import.meta.url))

/** What this file reads of wrangler.jsonc. */
interface WranglerConfig {
  readonly main: string
  readonly compatibility_date: string
  readonly durable_objects: { readonly bindings: readonly { readonly name: string; readonly class_name: string }[] }
  readonly vars: Readonly<Record<string, string>>
}

export interface WorkerOptions {
  /** The folder of the bundle and of the storage. */
  readonly folder: string
  /** Values for `env`, besides those of wrangler.jsonc. */
  readonly vars?: Readonly<Record<string, string>>
  /** Another entry than that of wrangler.jsonc, and other classes than those of its bindings, by their names. */
  readonly main?: string
  readonly classes?: Readonly<Record<string, string>>
}

/** A workerd that runs. */
export interface RunningWorker {
  readonly url: string
  readonly pid: number
  /** Everything it has printed. */
  readonly printed: () => string
  /** Kills it with SIGKILL, and resolves when it is gone. */
  kill(): Promise<void>
}

/** Bundles the Worker of wrangler.jsonc into the folder, with a configuration for workerd. Returns the size of the bundle in bytes. */
export async function bundleWorker({ folder, vars = {}, main, classes = {} }: WorkerOptions): Promise<number> {
  const config = JSON.parse(readFileSync(join(HERE, "wrangler.jsonc"), "utf8").replace(/^\s*\/\/.*$/gm, "")) as WranglerConfig
  mkdirSync(join(folder, "storage"), { recursive: true })
  await build({
    entryPoints: [join(HERE, main ?? config.main)],
    outfile: join(folder, "worker.js"),
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker"],
    external: ["cloudflare:*"],
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "error",
  })
  const objects = config.durable_objects.bindings.map(({ name, class_name }) => ({ name, className: classes[name] ?? class_name }))
  const values = Object.entries({ ...config.vars, ...vars })
  writeFileSync(
    join(folder, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "storage", disk = (path = "storage", writable = true)),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = ${JSON.stringify(config.compatibility_date)},
  durableObjectNamespaces = [${objects.map(({ className }) => `(className = ${JSON.stringify(className)}, uniqueKey = ${JSON.stringify(className)}, enableSql = true)`).join(", ")}],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [
    ${[
      ...objects.map(({ name, className }) => `(name = ${JSON.stringify(name)}, durableObjectNamespace = ${JSON.stringify(className)})`),
      ...values.map(([name, text]) => `(name = ${JSON.stringify(name)}, text = ${JSON.stringify(text)})`),
    ].join(",\n    ")}
  ],
);
`,
  )
  return readFileSync(join(folder, "worker.js")).byteLength
}

/** Starts workerd on the bundle in a folder, on a free port. */
export async function startWorker(folder: string, onPrint: (text: string) => void = () => {}): Promise<RunningWorker> {
  const child: ChildProcess = spawn(workerd, ["serve", "config.capnp", "--control-fd=3"], { cwd: folder, stdio: ["ignore", "pipe", "pipe", "pipe"] })
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
  let printed = ""
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      printed += text
      onPrint(text)
    })
  const port = await new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdio[3] as Readable }).on("line", (line) => {
      const { event, port } = JSON.parse(line) as { readonly event: string; readonly port: number }
      if (event === "listen") resolve(port)
    })
    void ended.then(() => reject(new Error(`workerd ended: ${printed}`)))
  })
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid as number,
    printed: () => printed,
    kill() {
      child.kill("SIGKILL")
      return ended
    },
  }
}
