import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { cli } from "../../src/cli/cli.ts"
import { splitModel } from "../../src/cli/model/providers.ts"
import { RUN_FLAGS } from "../../src/cli/run/run-settings.ts"
import { readArgs } from "../../src/cli/terminal/args.ts"
import { ROOT } from "../built.ts"
import { type Block, option } from "./blocks.ts"

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  name: string
  scripts: Record<string, string>
  bin: Record<string, string>
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
}
const INSTALLABLE = new Set([manifest.name, ...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)])

/**
 * Returns what is wrong with the commands of an `sh` block, or `undefined`. Scripts and files must exist. A command of
 * `turn-machine` runs in a small folder and must succeed; of one that needs an endpoint only the flags are checked.
 */
export async function commandsProblem(block: Block, others: readonly Block[]): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "turn-machine-docs-run-"))
  try {
    mkdirSync(join(folder, "src"))
    writeFileSync(join(folder, "src/cart.js"), "// TODO: say what a cart is\nexport const cart = []\n")
    const lines = block.text.split("\n").map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    for (const command of lines.flatMap((line) => line.split(/\s*&&\s*/)).filter((part) => part !== "")) {
      const problem = await commandProblem(splitWords(command), folder, others)
      if (problem !== undefined) return `${command}: ${problem}`
    }
    return undefined
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whether a program of the page imports a package. It compiles, so the package exists. */
function isImported(name: string, others: readonly Block[]): boolean {
  return others.some(({ language, text }) => language === "ts" && text.includes(`from "${name}"`))
}

async function commandProblem(
  [program, first = "", ...rest]: readonly string[],
  folder: string,
  others: readonly Block[],
): Promise<string | undefined> {
  if (program === "npm" && first === "ci") return existsSync(join(ROOT, "package-lock.json")) ? undefined : "the lockfile is missing"
  if (program === "npm" && first === "install")
    return (
      rest.find((name) => !INSTALLABLE.has(name) && !isImported(name, others)) &&
      "the package is neither this one nor one of its peers, and no program of the page imports it"
    )
  if (program === "npm") {
    const [script = "", ...args] = first === "run" ? rest : [first, ...rest]
    if (!Object.hasOwn(manifest.scripts, script)) return `package.json has no script "${script}"`
    if (script === "start") return runProblem(args[0] === "--" ? args.slice(1) : args, folder)
    return args.length === 0 ? undefined : scriptArgsProblem(script, args.slice(1))
  }
  if (program === "npx" && Object.hasOwn(manifest.bin, first)) return rest[0] === "run" ? runProblem(rest.slice(1), folder) : cliProblem(rest, folder)
  if (program === "npx" && first === "tsx")
    return others.some((block) => option(block, "file") === rest[0]) ? undefined : `no block is the file ${rest[0]}`
  if (program === "npx" && first === "vitest")
    return rest.find((word) => word.includes("/") && !existsSync(join(ROOT, word))) && "a file does not exist"
  return "no check exists for this command"
}

async function runProblem(args: readonly string[], folder: string): Promise<string | undefined> {
  readArgs(args, RUN_FLAGS, "")
  if (args.includes("--base-url") || args.includes("--provider") || splitModel(args[args.indexOf("--model") + 1] ?? "") !== undefined)
    return undefined
  return cliProblem(["run", ...args], folder)
}

async function cliProblem(args: readonly string[], folder: string): Promise<string | undefined> {
  let printed = ""
  const output = { write: (text: string) => (printed += text) }
  const env = { XDG_STATE_HOME: process.env["XDG_STATE_HOME"] }
  const exitCode = await cli(args, { stdout: output, stderr: output, env, cwd: folder, onInterrupt: () => () => {}, exit: () => {} })
  // A diff of two different journals exits with 1.
  const isDiff = args[0] === "journal" && args[1] === "diff"
  // A run that asks before a change, and has no terminal, suspends.
  const suspends = args[0] === "run" && args.includes("--edit")
  return exitCode === 0 || (isDiff && exitCode === 1) || (suspends && exitCode === 3) ? undefined : `exit code ${exitCode}\n${printed}`
}

/** Flags of the package's own scripts must occur in their source. */
function scriptArgsProblem(script: string, args: readonly string[]): string | undefined {
  const file = /\btsx (\S+\.ts)/.exec(manifest.scripts[script] ?? "")?.[1]
  const source = file === undefined ? "" : readFileSync(join(ROOT, file), "utf8")
  const unknown = args.find((arg) => !source.includes(arg))
  return unknown === undefined ? undefined : `the script "${script}" has no flag ${unknown}`
}

/** Splits a shell command into words; quotes group them. */
function splitWords(command: string): readonly string[] {
  return Array.from(command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g), ([, double, single, bare]) => double ?? single ?? bare ?? "")
}
