import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { accessSync, constants, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { promisify } from "node:util"
import { ROOT } from "../built.ts"

const TOOLS = join(ROOT, "test/runtimes/tools")

const INSTALL_MS = 300_000

/**
 * Installs the runtimes that come from npm into a cache folder, once for each version of their lock file, and returns the `node_modules` folder.
 * Test files that call this at once wait for the first of them.
 * @throws {Error} npm failed
 */
export async function installTools(): Promise<string> {
  const lockfile = readFileSync(join(TOOLS, "package-lock.json"))
  const key = createHash("sha256").update(lockfile).digest("hex").slice(0, 16)
  const folder = join(process.env["RUNTIMES_CACHE"] ?? join(ROOT, "node_modules/.cache/turn-machine-runtimes"), key)
  const modules = join(folder, "node_modules")
  const lock = `${folder}.lock`
  mkdirSync(dirname(folder), { recursive: true })
  for (;;) {
    if (existsSync(modules)) return modules
    if (acquire(lock)) break
    await setTimeout(500)
  }
  const fresh = mkdtempSync(`${folder}-`)
  try {
    cpSync(TOOLS, fresh, { recursive: true })
    await promisify(execFile)("npm", ["ci", "--no-audit", "--no-fund", "--prefer-offline"], { cwd: fresh, timeout: INSTALL_MS })
    // A test that waited may have seen neither the folder nor the lock.
    if (!existsSync(modules)) renameSync(fresh, folder)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
    rmSync(lock, { recursive: true, force: true })
  }
  return modules
}

/** Creates a lock, which is a folder. One that is older than an installation may take is left over from a process that was killed. */
function acquire(lock: string): boolean {
  const left = statSync(lock, { throwIfNoEntry: false })
  if (left !== undefined && Date.now() - left.mtimeMs > INSTALL_MS + 60_000) rmSync(lock, { recursive: true, force: true })
  try {
    mkdirSync(lock)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false
    throw error
  }
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
