import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll } from "vitest"

export interface Ran {
  /** `null` if the process was killed. */
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder for a whole test file, removed after it. */
export function folderForAll(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "turn-machine-crash-")))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Bundles each program into one file, which starts ten times as fast; most of what is left is parsing. Returns the paths in the same order. */
export async function bundled(folder: string, ...programs: readonly string[]): Promise<readonly string[]> {
  const entryPoints = programs.map((program) => fileURLToPath(new URL(program, import.meta.url)))
  // Nothing here starts MCP servers, and their client cannot be bundled into one file.
  const external = ["@modelcontextprotocol/client"]
  const options = { bundle: true, minify: true, external, format: "esm", platform: "node", target: "node20", logLevel: "error" } as const
  return Promise.all(
    entryPoints.map(async (entry, index) => {
      const outfile = join(folder, `program-${index}.mjs`)
      await build({ entryPoints: [entry], outfile, ...options })
      return outfile
    }),
  )
}

export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ran>
}

export function run(args: readonly string[], env: Readonly<Record<string, string>> = {}, cwd?: string): Promise<Ran> {
  return start(args, env, cwd).ended
}

/** Starts a process. `onOutput` is called with all of its standard output so far. */
export function start(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd?: string,
  onOutput?: (stdout: string) => void,
): Started {
  // Without the settings that a test run passes to its children.
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:VITEST|NODE_OPTIONS|NODE_ENV|FORCE_COLOR)/.test(name)))
  const child = spawn(process.execPath, [...args], {
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd !== undefined && { cwd }),
  })
  let [stdout, stderr] = ["", ""]
  child.stdout.on("data", (data: Buffer) => {
    stdout += data.toString()
    onOutput?.(stdout)
  })
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()))
  const ended = new Promise<Ran>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (exitCode) => resolve({ exitCode, stdout, stderr }))
  })
  return { child, ended }
}

/** Numbers from 0 to 1 that follow from the seed. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The results of all kills at one kind of boundary. */
export interface Row {
  kills: number
  differs: number
  repeated: number
}

/** The rows of a matrix, by kind of boundary. */
export class Matrix {
  readonly rows = new Map<string, Row>()

  row(kind: string): Row {
    const row = this.rows.get(kind) ?? { kills: 0, differs: 0, repeated: 0 }
    this.rows.set(kind, row)
    return row
  }

  toString(): string {
    const lines = [...this.rows].sort().map(([kind, { kills, differs, repeated }]) => line(kind, kills, differs, repeated))
    const total = [...this.rows.values()].reduce((sum, row) => ({
      kills: sum.kills + row.kills,
      differs: sum.differs + row.differs,
      repeated: sum.repeated + row.repeated,
    }))
    return [
      line("boundary", "kills", "outcomes that differ", "repeated beyond the promise"),
      ...lines,
      line("all", total.kills, total.differs, total.repeated),
    ].join("\n")
  }
}

function line(kind: string, ...cells: readonly (string | number)[]): string {
  return `${kind.padEnd(60)}${cells.map((cell) => String(cell).padStart(28)).join("")}`
}

/**
 * Where to kill a process: at every boundary, or at the first one of each kind and at every `every`-th one. `list` runs the process with
 * CRASH_AT=list.
 */
export async function boundariesOf(list: () => Promise<Ran>, every: number): Promise<Iterable<number>> {
  if (every === 1) return counted()
  const { exitCode, stderr } = await list()
  if (exitCode !== 0) throw new Error(`The process ended with code ${exitCode}: ${stderr}`)
  const kinds = stderr.split("\n").slice(0, -1)
  return kinds.flatMap((kind, index) => (kinds.indexOf(kind) === index || index % every === every - 1 ? [index + 1] : []))
}

/** 1, 2, 3, … */
export function* counted(): Generator<number> {
  for (let number = 1; ; number += 1) yield number
}

/** Runs `act` on the items in order, at most `most` at a time. */
export async function inParallel<Item>(items: Iterable<Item>, most: number, act: (item: Item) => Promise<boolean>): Promise<void> {
  const iterator = items[Symbol.iterator]()
  let over = false
  const worker = async (): Promise<void> => {
    while (!over) {
      const { value, done } = iterator.next()
      if (done === true) return
      if (!(await act(value))) over = true
    }
  }
  await Promise.all(Array.from({ length: most }, worker))
}

export function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

export function linesOf(path: string): readonly string[] {
  return textOf(path).split("\n").slice(0, -1)
}
