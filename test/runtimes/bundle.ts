import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { build } from "esbuild"
import { ROOT } from "../built.ts"

const FIXTURES = join(ROOT, "test/fixtures/conformance")
const PROGRAM = join(ROOT, "test/runtimes/program")

/** The bundle of the program, an ES module without imports. */
export async function bundleProgram(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(PROGRAM, "main.ts")],
    bundle: true,
    format: "esm",
    // Neutral: no module of Node resolves, and nothing is put in place of a missing global.
    platform: "neutral",
    mainFields: ["module", "main"],
    target: "es2022",
    alias: { ...packageAliases(), vitest: join(PROGRAM, "registry.ts") },
    define: {
      FIXTURES: JSON.stringify(fixtures()),
      // As every bundler for browsers does: immer reads it.
      "process.env.NODE_ENV": '"production"',
      // The settings of the properties that are shared with the tests in Node.
      "process.env.FC_RUNS_FACTOR": '"0.1"',
      "process.env.FC_PATH": "undefined",
    },
    plugins: [
      {
        name: "scenarios in the bundle",
        setup({ onResolve }) {
          // The package declares that its modules have no side effects. Those of the program register cases.
          onResolve({ filter: /^\.\.?\// }, ({ importer, path, resolveDir }) =>
            importer === join(PROGRAM, "main.ts") ? { path: join(resolveDir, path), sideEffects: true } : undefined,
          )
          onResolve({ filter: /^\.\/suite\.ts$/ }, ({ importer }) =>
            importer.startsWith(join(ROOT, "test/conformance")) ? { path: join(PROGRAM, "suite.ts") } : undefined,
          )
        },
      },
    ],
    logLevel: "error",
    write: false,
  })
  return outputFiles[0]?.text ?? ""
}

/** The bundle of a worker: a TypeScript program that imports the package by its name. */
export async function bundleWorker(program: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: ROOT, loader: "ts" },
    bundle: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    alias: packageAliases(),
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "error",
    write: false,
  })
  return outputFiles[0]?.text ?? ""
}

/** Every conformance scenario, as text, by suite. */
function fixtures(): { readonly [suite: string]: readonly string[] } {
  const suites = readdirSync(FIXTURES, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return Object.fromEntries(
    suites.map(({ name }) => {
      const files = readdirSync(join(FIXTURES, name)).filter((file) => file.endsWith(".json"))
      return [name, files.sort().map((file) => JSON.stringify(JSON.parse(readFileSync(join(FIXTURES, name, file), "utf8"))))]
    }),
  )
}

/** The names that the package exports, and their sources. */
function packageAliases(): { readonly [name: string]: string } {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { exports: Record<string, string | { default: string }> }
  return Object.fromEntries(
    Object.entries(manifest.exports).flatMap(([subpath, target]) => {
      if (typeof target === "string") return []
      const source = target.default.replace(/^\.\/dist\//, "src/").replace(/\.js$/, ".ts")
      return [[subpath.replace(/^\./, "turn-machine"), join(ROOT, source)]]
    }),
  )
}
