import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { transform } from "esbuild"
import { afterAll } from "vitest"
import { ROOT, requireFreshBuild } from "../built.ts"

const run = promisify(execFile)
const WINDOWS = process.platform === "win32"

/** Optional peer dependencies, by the subpaths that need them. Every other subpath needs only zod. */
export const NEEDED_BY: { readonly [peer: string]: readonly string[] } = {
  "@opentelemetry/api": ["turn-machine/hosts/opentelemetry"],
  "@restatedev/restate-sdk": ["turn-machine/hosts/restate"],
  "fast-check": ["turn-machine/testing/arbitraries"],
}

/** The version of a package that the lockfile of this repository installs, as `name@version`. */
export function pinned(name: string): string {
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { devDependencies: Record<string, string> }
  const version = devDependencies[name]
  if (version === undefined) throw new Error(`package.json has no devDependency ${name}`)
  return `${name}@${version}`
}

/** What `npm init -y` writes since npm 11: a CommonJS package. */
const NPM_INIT = JSON.stringify({
  name: "shop",
  version: "1.0.0",
  description: "",
  main: "index.js",
  scripts: { test: 'echo "Error: no test specified" && exit 1' },
  keywords: [],
  author: "",
  license: "ISC",
  type: "commonjs",
})

/** The result of a program. */
export interface Ran {
  readonly failed: boolean
  readonly output: string
}

/** A folder of a user, removed after the test file. */
export class UserFolder {
  readonly path: string

  constructor(path: string = realpathSync(mkdtempSync(join(tmpdir(), "turn-machine-package-")))) {
    this.path = path
    afterAll(() => rmSync(path, { recursive: true, force: true }))
    if (!existsSync(join(path, "package.json"))) this.write("package.json", NPM_INIT)
  }

  write(name: string, text: string): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true })
    writeFileSync(join(this.path, name), text)
  }

  /** Installs packages; `"turn-machine"` is the tarball of this package. */
  async install(...packages: readonly string[]): Promise<void> {
    const named = await Promise.all(packages.map((name) => (name === "turn-machine" ? packed() : name)))
    await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", ...named], { cwd: this.path, shell: WINDOWS })
  }

  /** Runs a TypeScript program without checking its types. */
  async runProgram(text: string): Promise<Ran> {
    const { code } = await transform(text, { loader: "ts", format: "esm", target: "node20" })
    this.write("program.mjs", code)
    return this.run(process.execPath, "program.mjs")
  }

  /** Runs a TypeScript file with tsx, as `npx tsx <name>` does. */
  async runWithTsx(name: string, text: string): Promise<Ran> {
    this.write(name, text)
    return this.run(process.execPath, createRequire(import.meta.url).resolve("tsx/cli"), name)
  }

  /** Runs an executable: a path, or the name of one that a package installed. */
  async run(executable: string, ...args: readonly string[]): Promise<Ran> {
    return this.runWith({}, executable, ...args)
  }

  /** As {@link run}, with more environment variables. */
  async runWith(more: Readonly<Record<string, string>>, executable: string, ...args: readonly string[]): Promise<Ran> {
    const file = executable.includes("/") || executable.includes("\\") ? executable : join(this.path, "node_modules/.bin", executable)
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(?:VITEST|TEST_LANE|FC_|FORCE_COLOR|NODE_ENV|NODE_OPTIONS)/.test(name)),
    )
    try {
      const { stdout, stderr } = await run(file, [...args], { cwd: this.path, env: { ...env, NO_COLOR: "1", ...more }, shell: WINDOWS })
      return { failed: false, output: stdout + stderr }
    } catch (error) {
      const { stdout = "", stderr = String(error) } = error as { stdout?: string; stderr?: string }
      return { failed: true, output: stdout + stderr }
    }
  }

  /** Compiles a program, with the compiler of this repository unless another is given. Returns what the compiler reports. */
  async compile(
    text: string,
    options: Readonly<Record<string, unknown>> = {},
    tsc: string = createRequire(import.meta.url).resolve("typescript/bin/tsc"),
  ): Promise<string> {
    const compilerOptions = {
      module: "node16",
      moduleResolution: "node16",
      target: "es2022",
      lib: ["es2023", "dom", "dom.iterable"],
      types: [],
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: true,
      ...options,
    }
    this.write("compiled.mts", text)
    this.write("tsconfig.json", JSON.stringify({ compilerOptions, files: ["compiled.mts"] }))
    return (await this.run(process.execPath, tsc, "-p", "tsconfig.json", "--pretty", "false")).output
  }
}

let tarball: Promise<string> | undefined

/** Packs this package and returns the path of the tarball. */
export function packed(): Promise<string> {
  tarball ??= pack()
  return tarball
}

async function pack(): Promise<string> {
  requireFreshBuild([""])
  const folder = new UserFolder().path
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: ROOT,
    maxBuffer: 64 * 1024 * 1024,
    shell: WINDOWS,
  })
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
  return join(folder, filename)
}
