import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { accessSync, constants, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { promisify } from "node:util"
import { ROOT } from "../built.ts"

const TOOLS = join(ROOT, "test/runtimes/tools")

/** The versions that the table in the docs shows, by the name in test/runtimes/tools/package.json. */
export function versionOf(tool: string): string {
  const { dependencies } = JSON.parse(readFileSync(join(TOOLS, "package.json"), "utf8")) as { readonly dependencies: Record<string, string> }
  return (dependencies[tool] ?? "").replace(/^npm:.*@/, "")
}

/**
 * Installs the runtimes that come from npm into a cache folder, once for each version of their lock file, and returns the `node_modules` folder.
 * @throws {Error} npm failed
 */
export async function installTools(): Promise<string> {
  const lock = readFileSync(join(TOOLS, "package-lock.json"))
  const key = createHash("sha256").update(lock).digest("hex").slice(0, 16)
  const folder = join(process.env["RUNTIMES_CACHE"] ?? join(ROOT, "node_modules/.cache/turn-machine-runtimes"), key)
  const modules = join(folder, "node_modules")
  if (existsSync(modules)) return modules
  mkdirSync(dirname(folder), { recursive: true })
  const fresh = mkdtempSync(`${folder}-`)
  try {
    cpSync(TOOLS, fresh, { recursive: true })
    await promisify(execFile)("npm", ["ci", "--no-audit", "--no-fund", "--prefer-offline"], { cwd: fresh, timeout: 300_000 })
    // Another process may have been faster.
    if (!existsSync(folder)) renameSync(fresh, folder)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  return modules
}

/** Finds Chromium on the PATH, or where the variable CHROMIUM says. */
export function findChromium(): string | undefined {
  const named = process.env["CHROMIUM"]
  if (named !== undefined) return named
  const folders = (process.env["PATH"] ?? "").split(delimiter)
  const names = ["chromium", "chromium-browser", "chromium-headless-shell", "google-chrome"]
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
