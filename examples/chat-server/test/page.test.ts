import { existsSync } from "node:fs"
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest"
import { Places, type Server } from "./processes.ts"

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000, expect: { poll: { timeout: 60_000 } } })

// The page, with the real `useChat`, in a real browser.
const BROWSERS = [process.env["CHROMIUM"] ?? "", "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
const executablePath = BROWSERS.find((path) => path !== "" && existsSync(path))
if (executablePath === undefined) console.warn("The tests of the page did not run: there is no Chromium. Set CHROMIUM to its path.")

let browser: Browser
const places = new Places()
const contexts = new Set<BrowserContext>()
/** A new browser, with errors of its pages as failures of the test. */
async function newBrowser(size?: { readonly width: number; readonly height: number }): Promise<BrowserContext> {
  const context = await browser.newContext(size === undefined ? {} : { viewport: size })
  context.setDefaultTimeout(60_000)
  context.on("weberror", (error) => failures.push(error.error().message))
  contexts.add(context)
  return context
}
const failures: string[] = []

async function openPage(url: string, context?: BrowserContext): Promise<Page> {
  const page = await (context ?? (await newBrowser())).newPage()
  await page.goto(url)
  return page
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByRole("textbox", { name: "Message" }).fill(text)
  await page.keyboard.press("Enter")
}

/** The texts of the messages. */
function shown(page: Page): Promise<string[]> {
  return page.locator(".messages article").allInnerTexts()
}

const tool = (page: Page, name: string) => page.getByRole("region", { name: `Tool: ${name}` })
const numbers = (count: number) => `${Array.from({ length: count }, (_, index) => index + 1).join(", ")}. Done.`
const until = (page: Page, text: string) => page.getByText(text).first().waitFor()

describe.runIf(executablePath !== undefined)("the page", () => {
  /** One server for the tests that need nothing of their own. */
  const sharing = new Places()
  let shared: Server
  beforeAll(async () => {
    shared = await (await sharing.next())({ WORD_MS: "40" })
    const args = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    browser = await chromium.launch({ args, ...(executablePath !== undefined && { executablePath }) })
  })
  afterAll(async () => {
    await browser.close()
    await sharing.remove()
    await places.remove()
  })
  afterEach(async () => {
    for (const context of contexts) await context.close()
    contexts.clear()
    await places.stop()
    expect(failures.splice(0)).toEqual([])
  })

  test("a message begins a chat, and its answer appears while it is written", async () => {
    const { url } = shared
    const page = await openPage(url)
    await say(page, "Count to 150.")
    await until(page, "9, 10,")
    expect((await shown(page)).join()).not.toContain("149")
    await until(page, "150. Done.")
    await until(page, "tokens")
    expect(await shown(page)).toEqual(["Count to 150.", expect.stringContaining(numbers(150))])
    expect(await page.title()).toBe("Count to 150. – Chat")
    await page.getByRole("link", { name: "Count to 150." }).waitFor()
    // Another chat, and back.
    await page.getByRole("button", { name: "New chat" }).click()
    await say(page, "Count to 2.")
    await until(page, "1, 2. Done.")
    await page.getByRole("link", { name: "Count to 150." }).click()
    await until(page, "150. Done.")
    await page.goBack()
    await until(page, "1, 2. Done.")
  })

  test("what is asked has no hidden characters", async () => {
    const { url } = await (await places.next())()
    const page = await openPage(url)
    await say(page, "Save a note: pay \u202e001 euros \u200bnow 😀")
    await expect.poll(() => tool(page, "Save a note").innerText()).toContain("pay \\u202e001 euros \\u200bnow 😀")
  })

  test("a call is approved and another one denied, by the keyboard", async () => {
    const { url } = await (await places.next())()
    const page = await openPage(url)
    await say(page, "Save a note: buy bread")
    await expect.poll(() => tool(page, "Save a note").innerText()).toContain("buy bread")
    await page.getByText("The model asks for a decision.").waitFor({ state: "attached" })
    await page.getByRole("button", { name: "Approve: Save a note" }).focus()
    await page.keyboard.press("Enter")
    await until(page, "I saved it as note 1.")
    // What was asked stays its title, with what was saved.
    expect(await tool(page, "Save a note").innerText()).toMatch(/buy bread.*done/s)
    // The focus is where the next message is written.
    await page.keyboard.type("Delete note 1")
    await page.keyboard.press("Enter")
    await tool(page, "Delete note 1").getByRole("button", { name: "Deny" }).focus()
    await page.keyboard.press("Space")
    await until(page, "All right, I leave it as it is.")
    await say(page, "Which notes do I have?")
    await until(page, "1: buy bread")
  })

  test("two calls wait until both are decided", async () => {
    const { url } = await (await places.next())()
    const page = await openPage(url)
    for (const [index, text] of ["one", "two"].entries()) {
      await say(page, `Save a note: ${text}`)
      await page.getByRole("button", { name: "Approve: Save a note" }).click()
      await until(page, `I saved it as note ${index + 1}.`)
    }
    await say(page, "Delete notes 1 and 2")
    await page.getByRole("button", { name: "Approve: Delete note 2" }).click()
    await page.getByRole("button", { name: "Deny: Delete note 1" }).click()
    await until(page, "I deleted note 2.")
    await until(page, "All right, I leave it as it is.")
  })

  test("Escape stops the model, and a message that it has not read comes back to the field", async () => {
    const { url } = shared
    const page = await openPage(url)
    await say(page, "Count to 2000.")
    await until(page, "4, 5,")
    await say(page, "And then count to 3.")
    await until(page, "waits for the model")
    await page.keyboard.press("Escape")
    await until(page, "Stopped.")
    await expect.poll(() => page.getByRole("textbox", { name: "Message" }).inputValue()).toBe("And then count to 3.")
    await page.keyboard.press("Enter")
    await until(page, "1, 2, 3. Done.")
  })

  test("what the user writes while the model works is answered in the same turn", async () => {
    const { url } = shared
    const page = await openPage(url)
    await say(page, "Count to 200.")
    await until(page, "4, 5,")
    await say(page, "Count to 3.")
    await until(page, "1, 2, 3. Done.")
    await until(page, "tokens")
    const texts = (await shown(page)).join("\n")
    expect(texts.indexOf("200. Done.")).toBeLessThan(texts.indexOf("Count to 3."))
    expect(texts.indexOf("Count to 3.")).toBeLessThan(texts.indexOf("1, 2, 3. Done."))
    expect(texts.split("Count to 3.")).toHaveLength(3) // as a message of its own, and in that of the turn
  })

  test("a page that is loaded in mid-answer shows all of it once", async () => {
    const { url } = shared
    const page = await openPage(url)
    await say(page, "Count to 200.")
    await until(page, "9, 10,")
    for (let time = 0; time < 2; time += 1) {
      await page.reload()
      await until(page, "9, 10,")
    }
    expect((await shown(page)).join()).not.toContain("199")
    await until(page, "200. Done.")
    await until(page, "tokens")
    expect(await shown(page)).toEqual(["Count to 200.", expect.stringContaining(numbers(200))])
  })

  test("two tabs show the same: messages, streams and decisions", async () => {
    const { url } = shared
    // In two browsers, because a tab in the background waits until it is shown.
    const one = await openPage(url)
    await say(one, "Count to 3.")
    await until(one, "1, 2, 3. Done.")
    const two = await openPage(one.url())
    await until(two, "1, 2, 3. Done.")
    await say(one, "Count to 200.")
    await until(two, "9, 10,")
    expect((await shown(two)).join()).not.toContain("199")
    await Promise.all([until(one, "200. Done."), until(two, "200. Done.")])
    await say(two, "Save a note: buy bread")
    await one.getByRole("button", { name: "Approve: Save a note" }).click()
    await Promise.all([until(one, "I saved it as note 1."), until(two, "I saved it as note 1.")])
    await expect.poll(() => two.getByRole("button", { name: /Approve/ }).count()).toBe(0)
    await expect.poll(async () => (await shown(one)).length).toBe(6)
    await expect.poll(() => shown(two)).toEqual(await shown(one))
    // Deleted here, gone there.
    await one.getByRole("button", { name: "Delete Count to 3." }).click()
    await one.getByRole("dialog").getByRole("button", { name: "Delete" }).click()
    await until(two, "This chat was deleted.")
    await until(one, "What can I do for you?")
  })

  test("the server is killed in mid-answer: the page continues when it is there again, without being loaded", async () => {
    const startHere = await places.next()
    const server = await startHere({ WORD_MS: "50" })
    const page = await openPage(server.url)
    await say(page, "Count to 400.")
    await until(page, "19, 20,")
    await server.kill()
    await until(page, "The server does not answer.")
    // Streamed again, and not only shown when it is complete.
    await startHere({ WORD_MS: "20" })
    await until(page, "99, 100,")
    expect((await shown(page)).join()).not.toContain("399")
    await until(page, "400. Done.")
    await until(page, "tokens")
    expect(await shown(page)).toEqual(["Count to 400.", expect.stringContaining(numbers(400))])
    await page.reload()
    await until(page, "400. Done.")
    expect(await shown(page)).toEqual(["Count to 400.", expect.stringContaining(numbers(400))])
  })

  test("the server is killed while a call waits: the call is approved in the next one", async () => {
    const startHere = await places.next()
    const server = await startHere()
    const page = await openPage(server.url)
    await say(page, "Save a note: buy bread")
    const approve = page.getByRole("button", { name: "Approve: Save a note" })
    await approve.waitFor()
    await server.kill()
    await until(page, "The server does not answer.")
    await startHere()
    await page.getByText("The server does not answer.").waitFor({ state: "detached" })
    await approve.click()
    await until(page, "I saved it as note 1.")
    expect((await shown(page)).filter((text) => text.includes("I saved it as note 1."))).toHaveLength(1)
  })

  test("a message that could not be sent is not lost", async () => {
    const startHere = await places.next()
    const server = await startHere()
    const page = await openPage(server.url)
    await say(page, "Count to 2.")
    await until(page, "tokens")
    await server.kill()
    await say(page, "Count to 3.")
    await page.getByRole("alert").waitFor()
    await expect.poll(() => page.getByRole("textbox", { name: "Message" }).inputValue()).toBe("Count to 3.")
    await startHere()
    await page.getByText("The server does not answer. Connecting").waitFor({ state: "detached" })
    await page.keyboard.press("Enter")
    await until(page, "1, 2, 3. Done.")
    await until(page, "tokens")
    expect((await shown(page)).map((text) => text.split("\n")[0])).toEqual(["Count to 2.", "1, 2. Done.", "Count to 3.", "1, 2, 3. Done."])
  })

  test("what is said is shown as text, whatever it is", async () => {
    const { url } = await (await places.next())()
    const page = await openPage(url)
    const hostile = `<img src=x onerror="document.title='bad'"> [link](javascript:document.title='bad') **[b](https://ok.example)** \`</script><script>document.title='bad'</script>\``
    await say(page, `Save a note: ${hostile}`)
    await page.getByRole("button", { name: "Approve: Save a note" }).click()
    await until(page, "I saved it as note 1.")
    await say(page, "Which notes do I have?")
    await until(page, "You have one note:")
    expect(await page.locator(".messages img, .messages script").count()).toBe(0)
    expect(await page.locator(".messages a").evaluateAll((links) => links.map((link) => link.getAttribute("href")))).not.toContain(
      "javascript:document.title='bad'",
    )
    expect(await page.title()).not.toBe("bad")
  })

  test("on a phone, the list opens over the chat, and Escape returns to it", async () => {
    const { url } = shared
    const page = await openPage(url, await newBrowser({ width: 390, height: 844 }))
    await say(page, "Count to 70.")
    await until(page, "70. Done.")
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390)
    const list = page.getByRole("navigation", { name: "Chats" })
    expect(await list.isVisible()).toBe(false)
    const opener = page.getByRole("button", { name: "Show the chats" })
    await opener.click()
    await list.waitFor()
    await page.keyboard.press("Escape")
    await list.waitFor({ state: "hidden" })
    expect(await opener.evaluate((button) => button === document.activeElement)).toBe(true)
    await opener.click()
    await list.getByRole("link", { name: "Count to 70." }).click()
    await list.waitFor({ state: "hidden" })
  })
})
