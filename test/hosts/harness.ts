import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll, onTestFinished } from "vitest"

const HERE = dirname(fileURLToPath(import.meta.url))

/** A program that another process runs: a module, as text. What it imports is found from this folder. */
export type Program = string

/** Makes files of programs, each with all that it imports but by `file:` address, so that they start fast. To be called for a whole test file. */
export async function bundle<Name extends string>(programs: Readonly<Record<Name, Program>>): Promise<Readonly<Record<Name, string>>> {
  const folder = mkdtempSync(join(tmpdir(), "turn-machine-programs-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const files: [string, string][] = []
  for (const [name, contents] of Object.entries<Program>(programs)) {
    const outfile = join(folder, `${name}.mjs`)
    const stdin = { contents, resolveDir: HERE, loader: "ts" } as const
    await build({ stdin, outfile, bundle: true, format: "esm", platform: "node", target: "node20", external: ["file:*"], logLevel: "error" })
    files.push([name, outfile])
  }
  return Object.fromEntries(files) as Record<Name, string>
}

/** A process that runs, with what it has said so far, line by line. */
export interface Running {
  readonly child: ChildProcess
  readonly lines: readonly string[]
  /** Settles when it has ended, and all it said was read. */
  readonly ended: Promise<NodeJS.Signals | number | null>
}

/** Runs a program in a process of its own; `shell` is put before it, as `ulimit -f 8;`. */
export function run(file: string, args: readonly string[], { shell }: { readonly shell?: string } = {}): Running {
  const command = [process.execPath, file, ...args]
  const child =
    shell === undefined
      ? spawn(process.execPath, [file, ...args], { stdio: ["pipe", "pipe", "inherit"] })
      : spawn("sh", ["-c", `${shell} exec "$@"`, "sh", ...command], { stdio: ["pipe", "pipe", "inherit"] })
  const lines: string[] = []
  let rest = ""
  child.stdout?.on("data", (data: Buffer) => {
    const parts = (rest + data.toString()).split("\n")
    rest = parts.pop() ?? ""
    lines.push(...parts)
  })
  const ended = new Promise<NodeJS.Signals | number | null>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (exitCode, signal) => resolve(signal ?? exitCode))
  })
  onTestFinished(() => void child.kill("SIGKILL"))
  return { child, lines, ended }
}
