/**
 * Makes the pictures of the docs: the viewer with a run of the embedded model over this repository, and with a goal.
 * `npx tsx scripts/screenshots.ts`. Needs Chromium, at /usr/bin/chromium or where CHROMIUM says.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { chromium } from "playwright-core"
import { findJournals } from "../src/cli/view/files.ts"
import { viewerData } from "../src/cli/view/view.ts"
import { pageOf } from "../src/viewer/model/embed.ts"
import { viewerPage } from "./viewer-page.ts"

const ROOT = fileURLToPath(new URL("..", import.meta.url))
const IMAGES = join(ROOT, "docs/images")
const folder = mkdtempSync(join(tmpdir(), "turn-machine-pictures-"))

/** The command line, with no other configuration than its flags. */
function cli(...args: readonly string[]): void {
  execFileSync(process.execPath, ["--import", "tsx", join(ROOT, "src/cli/main.ts"), ...args], {
    cwd: ROOT,
    env: { ...process.env, XDG_STATE_HOME: join(folder, "states") },
    stdio: ["ignore", "ignore", "inherit"],
  })
}

async function pageFile(name: string, words: readonly string[]): Promise<string> {
  const data = viewerData(await findJournals(words, folder), words.join(", "), { redact: false })
  const path = join(folder, `${name}.html`)
  writeFileSync(path, pageOf(await viewerPage(), data))
  return pathToFileURL(path).href
}

try {
  cli("run", "--dir", "src/drivers/goal", "--out", join(folder, "out"), "--state", join(folder, "run.json"), "Find where the budget is checked")
  cli("goal", "--dir", "src", "--out", join(folder, "survey"), "--state", join(folder, "goal"), "--judge", "checklist", "--budget-tokens", "150000")
  const run = await pageFile("run", ["run.json"])
  const goal = await pageFile("goal", ["goal"])
  mkdirSync(IMAGES, { recursive: true })
  const browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-quic", "--disable-background-networking"],
  })
  try {
    const shots = [
      { name: "viewer", url: `${run}#record=9`, theme: "light" },
      { name: "viewer-dark", url: `${run}#record=9`, theme: "dark" },
      { name: "viewer-goal", url: `${goal}#view=goal`, theme: "light" },
    ] as const
    for (const { name, url, theme } of shots) {
      const page = await browser.newPage({ viewport: { width: 1280, height: 760 }, colorScheme: theme })
      await page.goto(url)
      await page.waitForSelector("html[data-ready]", { state: "attached" })
      await page.waitForFunction(() => !document.body.innerText.includes("replaying…"))
      await page.screenshot({ path: join(IMAGES, `${name}.png`) })
      await page.close()
    }
  } finally {
    await browser.close()
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
