import { execFile, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { type Block, type Doc, option, place } from "./blocks.ts"

/** The result of a program: its output, or why it failed. */
export type Run = { readonly output: string } | { readonly failure: string }

/** Writes every `ts` block of the documents to a file, in a folder where `turn-machine` resolves to the sources. */
export class Programs {
  readonly #root: string
  readonly #folder = mkdtempSync(join(tmpdir(), "turn-machine-docs-"))
  readonly #blocks: readonly Block[]

  constructor(root: string, docs: readonly Doc[]) {
    this.#root = root
    this.#blocks = docs.flatMap(({ blocks }) => blocks).filter(isProgram)
    const sources = sourcesByName(root)
    const write = (path: string, text: string): void => {
      mkdirSync(dirname(join(this.#folder, path)), { recursive: true })
      writeFileSync(join(this.#folder, path), text)
    }
    symlinkSync(join(root, "node_modules"), join(this.#folder, "node_modules"))
    write("package.json", JSON.stringify({ type: "module" }))
    write(
      "tsconfig.json",
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: { moduleDetection: "force", paths: Object.fromEntries(sources.map(([name, path]) => [name, [path]])) },
        include: ["**/*.ts", "**/*.mts"],
      }),
    )
    const alias = sources.map(([name, path]) => `{ find: /^${name.replaceAll("/", "\\/")}$/, replacement: ${JSON.stringify(path)} }`)
    write("vitest.config.mjs", `export default { resolve: { alias: [${alias.join(", ")}] } }\n`)
    write("run.mjs", RUNNER)
    for (const block of this.#blocks) write(fileOf(block), `${block.text}\n`)
  }

  /** The compiler's messages by the position of their block. */
  async typecheck(): Promise<ReadonlyMap<string, string>> {
    const { output } = await this.#node([join(this.#root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.json", "--pretty", "false"])
    const found = new Map<string, string>()
    for (const block of this.#blocks) {
      const lines = output.split("\n").filter((line) => line.startsWith(`${fileOf(block)}(`))
      if (lines.length > 0) found.set(place(block), lines.join("\n"))
    }
    // Errors in the sources fail other tests. This reports a compiler that could not start.
    if (/error TS(?:5|6|18)\d{3}\b/.test(output) && found.size === 0) throw new Error(output)
    return found
  }

  /** Runs all programs one after another in one process, and the tests among them in another. Returns the results by position. */
  async run(): Promise<ReadonlyMap<string, Run>> {
    const runs = new Map<string, Run>()
    const scripts = this.#blocks.filter((block) => !isTest(block) && !["killed-at", "needs"].some((name) => option(block, name) !== undefined))
    const { output, failure } = await this.#node(["--import", "tsx", "run.mjs", ...scripts.map(fileOf)])
    const pieces = output.split(MARK).map((piece): readonly [string, string] => splitOnce(piece, "\n"))
    const printed = new Map(pieces)
    const [last] = pieces.at(-1) ?? []
    for (const block of scripts) {
      const [text, thrown] = splitOnce(printed.get(fileOf(block)) ?? `${THROWN}It did not run. ${failure ?? ""}`, THROWN)
      const died = failure !== undefined && last === fileOf(block) ? failure : ""
      runs.set(place(block), thrown === "" && died === "" ? { output: text } : { failure: [text, thrown, died].join("\n") })
    }
    for (const block of this.#blocks) {
      const text = option(block, "killed-at")
      if (text !== undefined) runs.set(place(block), await this.#runKilled(fileOf(block), text))
    }
    const tests = this.#blocks.filter(isTest)
    const reports = tests.length === 0 ? [] : await this.#vitest(tests.map(fileOf))
    for (const block of tests) {
      const report = reports.find(({ name }) => name.endsWith(`/${fileOf(block)}`))
      const passed = report?.status === "passed" && report.assertionResults.length > 0
      runs.set(place(block), passed ? { output: "" } : { failure: JSON.stringify(report, undefined, 2) ?? "It did not run." })
    }
    return runs
  }

  /** Runs a program twice in its own folder: kills the first process when it prints `text`, and lets the second run to its end. */
  async #runKilled(file: string, text: string): Promise<Run> {
    const cwd = join(this.#folder, dirname(file))
    const killed = await new Promise<string>((resolve) => {
      let printed = ""
      const child = spawn(process.execPath, ["--import", "tsx", join(this.#folder, file)], { cwd, env: this.#env(), timeout: 180_000 })
      child.stderr.on("data", (data: Buffer) => (printed += data.toString()))
      child.stdout.on("data", (data: Buffer) => {
        printed += data.toString()
        if (printed.includes(text)) child.kill("SIGKILL")
      })
      child.on("close", () => resolve(printed))
    })
    const { output, failure } = await this.#node(["--import", "tsx", join(this.#folder, file)], cwd)
    return failure === undefined ? { output: killed + output } : { failure: `${killed}${output}${failure}` }
  }

  async #vitest(files: readonly string[]): Promise<readonly TestReport[]> {
    const vitest = join(this.#root, "node_modules/vitest/vitest.mjs")
    const { output, failure } = await this.#node([vitest, "run", "--root", this.#folder, "--reporter", "json", ...files])
    const begin = output.indexOf("{")
    if (begin < 0) throw new Error(`vitest gave no report: ${failure ?? output}`)
    return (JSON.parse(output.slice(begin)) as { readonly testResults: readonly TestReport[] }).testResults
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #env(): Record<string, string | undefined> {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:VITEST|FORCE_COLOR|NODE_OPTIONS|NODE_ENV)/.test(name)))
    return { ...env, NO_COLOR: "1", TSX_TSCONFIG_PATH: join(this.#folder, "tsconfig.json") }
  }

  #node(args: readonly string[], cwd = this.#folder): Promise<{ readonly output: string; readonly failure?: string }> {
    const options = { cwd, env: this.#env(), timeout: 220_000 }
    return new Promise((resolve) => {
      execFile(process.execPath, [...args], options, (error, stdout, stderr) => {
        resolve({ output: stdout, ...(error !== null && { failure: stderr === "" ? error.message : stderr }) })
      })
    })
  }
}

interface TestReport {
  readonly name: string
  readonly status: string
  readonly assertionResults: readonly unknown[]
}

const MARK = "\u0000program "
const THROWN = "\u0000thrown "

const RUNNER = `for (const file of process.argv.slice(2)) {
  process.stdout.write(${JSON.stringify(MARK)} + file + "\\n")
  try {
    await import("./" + file)
  } catch (error) {
    process.stdout.write(${JSON.stringify(THROWN)} + String(error?.stack ?? error))
  }
}
`

/** Splits a text at the first `separator`. Without one, the second part is empty. */
function splitOnce(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)]
}

function isProgram(block: Block): boolean {
  return block.language === "ts" && option(block, "excerpt") === undefined
}

function isTest(block: Block): boolean {
  return option(block, "file")?.endsWith(".test.ts") === true
}

/** The file of a program. Programs of the same document can import named ones. */
function fileOf(block: Block): string {
  const folder = block.doc.replace(/\.md$/, "").replaceAll(/[^\w]+/g, "-")
  return `${folder}/${option(block, "file") ?? `line-${block.line}.ts`}`
}

/** Maps each export of the package to its source file. */
function sourcesByName(root: string): readonly (readonly [string, string])[] {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { exports: Record<string, string | { default: string }> }
  return Object.entries(manifest.exports).flatMap(([subpath, target]) => {
    if (typeof target === "string") return []
    const source = join(root, target.default.replace(/^\.\/dist\//, "src/").replace(/\.js$/, ".ts"))
    return [[subpath.replace(/^\./, "turn-machine"), source] as const]
  })
}
