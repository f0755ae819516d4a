import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { type Browser, chromium, type Page } from "playwright-core"
import { viewerPage } from "../../scripts/viewer-page.ts"
import type { ViewerData } from "../../src/viewer/data.ts"
import { pageOf } from "../../src/viewer/model/embed.ts"

/** Chromium with pages of the viewer, as files. */
export class ViewerBrowser {
  readonly #browser: Browser
  readonly #template: string
  readonly #folder = mkdtempSync(join(tmpdir(), "turn-machine-viewer-"))
  #pages = 0

  private constructor(browser: Browser, template: string) {
    this.#browser = browser
    this.#template = template
    chmodSync(this.#folder, 0o700)
  }

  static async open(): Promise<ViewerBrowser> {
    const args = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium"
    const [browser, template] = await Promise.all([chromium.launch({ executablePath, args, timeout: 120_000 }), viewerPage()])
    return new ViewerBrowser(browser, template)
  }

  async close(): Promise<void> {
    await this.#browser.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** Opens a page, and fails if it asks for anything, reports an error or breaks its own policy. */
  async show(data: ViewerData, options: { readonly width?: number; readonly theme?: "light" | "dark"; readonly hash?: string } = {}): Promise<Shown> {
    this.#pages += 1
    const path = join(this.#folder, `${this.#pages}.html`)
    writeFileSync(path, pageOf(this.#template, data))
    const { width = 1440, theme = "light", hash = "" } = options
    const page = await this.#browser.newPage({ viewport: { width, height: 900 }, colorScheme: theme })
    page.setDefaultTimeout(90_000)
    const url = pathToFileURL(path).href
    const faults: string[] = []
    page.on("request", (request) => request.url().split("#")[0] !== url && faults.push(`asks for ${request.url().slice(0, 200)}`))
    page.on("pageerror", (error) => faults.push(error.message))
    page.on("console", (message) => faults.push(message.text()))
    page.on("dialog", (dialog) => {
      faults.push(`dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    await page.goto(url + hash)
    await page.waitForSelector("html[data-ready]", { state: "attached" })
    return { page, faults }
  }
}

export interface Shown {
  readonly page: Page
  /** What must not happen. */
  readonly faults: readonly string[]
}
