import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { viewerPage } from "./viewer-page.ts"

const COMMAND_LINE = "dist/cli/main.js"

rmSync("dist", { recursive: true, force: true })
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc")
try {
  execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { stdio: "inherit" })
} catch {
  process.exit(1)
}
if (existsSync(COMMAND_LINE)) chmodSync(COMMAND_LINE, 0o755)
mkdirSync("dist/viewer", { recursive: true })
writeFileSync("dist/viewer/page.html", await viewerPage())
