/**
 * Writes the tables of bundle sizes in docs/edge.md. The sources are bundled, minified and compressed with gzip, as for a worker or a browser.
 * With `--check` it writes nothing and fails if a table is stale: another row, or a size that differs by more than 4 %.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { builtinModules } from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"
import { gzipSync } from "node:zlib"
import { build, type Metafile } from "esbuild"
import { regionOf, replaceRegion } from "./regions.ts"

const ROOT = fileURLToPath(new URL("..", import.meta.url))
const DOC = "docs/edge.md"

/** The most by which a size in the docs may differ, so that not every change of the sources changes the docs. */
const TOLERANCE = 0.04

interface Manifest {
  readonly exports: { readonly [subpath: string]: string | { readonly default: string } }
  readonly dependencies: { readonly [name: string]: string }
  readonly peerDependencies: { readonly [name: string]: string }
  readonly peerDependenciesMeta: { readonly [name: string]: { readonly optional?: boolean } }
}

const MANIFEST = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as Manifest

/** Bundled code. `modules`: the bundled files, with the packages' own paths. */
export interface Bundle {
  readonly bytes: number
  readonly gzipBytes: number
  readonly modules: readonly string[]
  /** The imports that are not in the bundle. */
  readonly imports: readonly string[]
}

/** Programs of users, as the imports that they need. */
export const PROGRAMS: { readonly [name: string]: string } = {
  "`TurnMachine` of `turn-machine/machine`": 'export { TurnMachine } from "turn-machine/machine"',
  "… and `runTurn`": 'export { TurnMachine } from "turn-machine/machine"; export { runTurn } from "turn-machine/hosts"',
  "… and `defineTool`, `toolbox`, with a schema of `zod/mini`": `${toolProgram("zod/mini")}`,
  "the same, with `import * as z`": `${toolProgram("zod")}`,
  "… and `chatDriver`, `chatProjector`, `openAiCompatible`": `${toolProgram("zod")}
    export { chatDriver } from "turn-machine/drivers"; export { chatProjector } from "turn-machine/projectors"
    export { openAiCompatible } from "turn-machine/hosts"`,
  "… and `journaled`": `${toolProgram("zod")}
    export { chatDriver } from "turn-machine/drivers"; export { chatProjector } from "turn-machine/projectors"
    export { openAiCompatible } from "turn-machine/hosts"; export { journaled } from "turn-machine/hosts/journal"`,
  "… and `Thread`, `runThread`": `${toolProgram("zod")}
    export { chatDriver } from "turn-machine/drivers"; export { chatProjector } from "turn-machine/projectors"
    export { openAiCompatible } from "turn-machine/hosts"; export { Thread, runThread } from "turn-machine/hosts/thread"`,
}

/** A program with one tool. `zod`: the module that its schema comes from. */
function toolProgram(zod: string): string {
  return `import * as z from "${zod}"
    import { defineTool, toolbox } from "turn-machine/hosts"
    export { TurnMachine } from "turn-machine/machine"; export { runTurn } from "turn-machine/hosts"
    export const tools = toolbox([defineTool({ name: "add", description: "Adds.", input: z.object({ a: z.number() }), execute: ({ a }) => a })])`
}

/** Bundles a program. `external`: packages that are left out. */
export async function bundle(contents: string, external: readonly string[] = []): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: ROOT, loader: "ts" },
    absWorkingDir: ROOT,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    alias: aliases(),
    external: [...external, ...optionalPeers(), "node:*", ...builtinModules],
    define: { "process.env.NODE_ENV": '"production"' },
    metafile: true,
    write: false,
    logLevel: "error",
  })
  const [output] = outputFiles
  const [facts] = Object.values(metafile.outputs)
  if (output === undefined || facts === undefined) throw new Error("esbuild made no bundle.")
  return {
    bytes: output.contents.length,
    gzipBytes: gzipSync(output.contents, { level: 9 }).length,
    modules: modulesOf(facts),
    imports: facts.imports.map(({ path }) => path),
  }
}

/** The files that contribute to a bundle. */
function modulesOf({ inputs }: Metafile["outputs"][string]): readonly string[] {
  const used = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  return used.map(([path]) => path.replace(/^.*node_modules\//, "")).sort()
}

function aliases(): { readonly [name: string]: string } {
  return Object.fromEntries(
    subpaths()
      .map(([name, source]) => [name, source] as const)
      .sort(([left], [right]) => right.length - left.length),
  )
}

/** The names that the package exports, and their sources. */
function subpaths(): readonly (readonly [name: string, source: string])[] {
  return Object.entries(MANIFEST.exports).flatMap(([subpath, target]) => {
    if (typeof target === "string") return []
    const source = target.default.replace(/^\.\/dist\//, `${ROOT}src/`).replace(/\.js$/, ".ts")
    return [[subpath.replace(/^\./, "turn-machine"), source] as const]
  })
}

function optionalPeers(): readonly string[] {
  return Object.keys(MANIFEST.peerDependencies).filter((name) => MANIFEST.peerDependenciesMeta[name]?.optional === true)
}

async function drawPrograms(): Promise<string> {
  const rows = Object.entries(PROGRAMS).map(async ([name, contents]) => {
    const { bytes, gzipBytes } = await bundle(contents)
    return [name, kilobytes(bytes), kilobytes(gzipBytes)]
  })
  return table(["a program with", "minified", "gzip"], await Promise.all(rows))
}

async function drawSubpaths(): Promise<string> {
  const dependencies = [...Object.keys(MANIFEST.dependencies), "zod"]
  const rows = subpaths().map(async ([name]) => {
    const all = `export * from "${name}"`
    const [whole, alone] = await Promise.all([bundle(all), bundle(all, dependencies)])
    const needs = whole.imports.some((path) => path.startsWith("node:")) ? "Node" : "any runtime"
    const packages = [...new Set([...alone.imports, ...whole.imports].filter((path) => !path.startsWith("node:")).map(packageOf))].sort()
    return [`\`${name}\``, kilobytes(alone.gzipBytes), kilobytes(whole.gzipBytes), packages.map((each) => `\`${each}\``).join(", "), needs]
  })
  return table(["everything in", "gzip, alone", "gzip, with packages", "packages", "runs in"], await Promise.all(rows))
}

function packageOf(path: string): string {
  const [first = "", second = ""] = path.split("/")
  return first.startsWith("@") ? `${first}/${second}` : first
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1_000).toFixed(1)} kB`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n")
}

const SIZE = /([\d.]+) kB/g

/** Whether two tables are the same, apart from small differences of sizes. */
export function isClose(left: string, right: string): boolean {
  if (left.replaceAll(SIZE, "kB") !== right.replaceAll(SIZE, "kB")) return false
  const sizes = (text: string): readonly number[] => [...text.matchAll(SIZE)].map(([, size]) => Number(size))
  const others = sizes(right)
  return sizes(left).every((size, index) => Math.abs(size - (others[index] ?? 0)) <= TOLERANCE * size)
}

async function main(args: readonly string[]): Promise<void> {
  const drawn = { "program sizes": await drawPrograms(), "subpath sizes": await drawSubpaths() }
  let text = readFileSync(`${ROOT}${DOC}`, "utf8")
  for (const [name, region] of Object.entries(drawn)) {
    if (isClose(regionOf(DOC, text, name).trim(), region)) continue
    if (args.includes("--check")) {
      process.stderr.write(`${DOC} is stale: its region "${name}" should be:\n\n${region}\n\nRun "npm run docs" and commit the file.\n`)
      process.exitCode = 1
    } else text = replaceRegion(DOC, text, name, region)
  }
  if (!args.includes("--check")) writeFileSync(`${ROOT}${DOC}`, text)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(process.argv.slice(2))
