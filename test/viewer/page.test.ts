import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { approvalDriver } from "../../src/drivers/approval/index.ts"
import { readJournal } from "../../src/replay/journal.ts"
import type { ViewedThread, ViewerData } from "../../src/viewer/data.ts"
import { redactedPage } from "../../src/viewer/model/redact.ts"
import { storedSteps } from "../../src/viewer/model/stored-steps.ts"
import { TurnReplay } from "../../src/viewer/model/turn-replay.ts"
import type { HistoryRecord } from "../../src/wire/message.ts"
import { ViewerBrowser } from "./browser.ts"
import { AGENT, BEGAN, CONFIG, recorded, viewed } from "./journals.ts"

let browser: ViewerBrowser
beforeAll(async () => {
  browser = await ViewerBrowser.open()
})
afterAll(() => browser?.close())

const RUN: ViewerData = { title: "run.json", threads: [], turns: [{ ...viewed(recorded({ iterations: 2 })), agent: AGENT, model: "m-1" }] }

/** A turn with a child and a fork, and a thread with a goal and a checklist. */
function family(): ViewerData {
  const text = recorded({ iterations: 2 })
  const parent = { ...viewed(text, "goal.1"), agent: AGENT, thread: "goal" }
  const child = viewed(recorded({ iterations: 1 }, CONFIG, {}, "child-turn"), "goal.1.child-2-0123456789abcdef")
  const fork = viewed(
    recorded({ iterations: 2, text: (iteration) => (iteration === 1 ? "Another way." : `Answer ${iteration}.`) }, CONFIG, {}, "fork-turn"),
    "fork.json",
  )
  const event = (at: number, tokensUsed: number, childTokensUsed: number, status = "active"): HistoryRecord => ({
    type: "protocol",
    event: {
      type: "goal",
      at: BEGAN + at,
      threadId: "goal",
      cause: "usage",
      goal: {
        goalId: "g1",
        threadId: "goal",
        objective: "Look at everything.",
        status,
        tokenBudget: 1_000,
        secondsBudget: null,
        costBudgetMicros: null,
        tokensUsed,
        childTokensUsed,
        secondsUsed: 3,
        costUsedMicros: 0,
        continuations: 1,
        createdAt: BEGAN,
        updatedAt: BEGAN + at,
      },
      memory: {
        goalsMade: 1,
        costMicros: 0,
        deferred: false,
        interrupted: false,
        limitTold: false,
        idleContinuations: 0,
        repeatedAnswers: 0,
        continuationsBefore: 0,
        transientErrors: 0,
        blockedTurns: 0,
      },
    },
  })
  const item = { addedBy: "judge", addedAt: BEGAN, status: "completed", completedAt: BEGAN + 4_000 } as const
  const thread: ViewedThread = {
    threadId: "goal",
    records: [event(0, 0, 0), event(900, 60, 0), event(2_105, 120, 40), event(3_310, 180, 40, "complete")],
    turns: [{ turnId: "turn-1", at: BEGAN, endedAt: BEGAN + 3_500, origin: "user" }],
    checklist: {
      nextGoalNumber: 2,
      goal: {
        checklist: [{ ...item, id: "i1", text: "Everything was looked at.", evidence: { type: "text", text: "The answer says so." } }],
      } as never,
    },
  }
  const forked = {
    ...fork,
    entries: fork.entries.slice(0, -1),
    agent: AGENT,
    header: { ...fork.header, forkedFrom: { turnId: "turn-1", record: 5 } },
  }
  const below = {
    ...child,
    agent: AGENT,
    header: { ...child.header, parent: { turnId: "turn-1", effectId: 2, callId: "c0-0", depth: 1, lease: 500 } },
  }
  return { title: "goal", threads: [thread], turns: [parent, below, forked] }
}

async function axe(page: Page): Promise<readonly string[]> {
  // The page's policy allows no script of others; the debugger may evaluate.
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"))
  const found = await page.evaluate(async () => {
    const { axe: run } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[] }> }
    }
    return (await run.run()).violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      where: nodes
        .slice(0, 3)
        .map(({ html, failureSummary }) => `${html} ${failureSummary}`)
        .join("\n"),
    }))
  })
  return found.filter(({ impact }) => impact === "serious" || impact === "critical").map(({ id, where }) => `${id}: ${where}`)
}

describe("the viewer's page", () => {
  it("shows each panel, by mouse and by keyboard", async () => {
    const { page, faults } = await browser.show(RUN)
    await page.getByText("replays", { exact: true }).waitFor()
    await expect
      .poll(() => page.locator(".figures").innerText())
      .toMatch(/model calls\s+3\s+tool calls\s+4\s+input\s+120\s+cached\s+480\s+output\s+60\s+prefix breaks\s+0/)
    await expect.poll(() => page.locator(".lanes g[class^=bar-model]").count()).toBe(3)
    await expect.poll(() => page.locator(".lanes g[class^=bar-tool]").count()).toBe(4)

    // j and k move; the address follows.
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await expect.poll(() => new URL(page.url()).hash).toBe("#record=2")
    const detail = page.locator(".detail")
    await expect.poll(() => detail.innerText()).toContain("waiting_llm → waiting_tools · iteration 1")
    await expect.poll(() => detail.locator(".edge.taken").count()).toBe(1)
    await expect.poll(() => detail.innerText()).toContain("start_tools: look, note")
    await expect.poll(() => detail.innerText()).toContain("History gains 1 record")
    await page.keyboard.press("Enter")
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("detail")

    // The request, as a difference to the one before.
    await page.keyboard.press("Escape")
    for (let index = 0; index < 3; index += 1) await page.keyboard.press("j")
    await page.keyboard.press("2")
    await expect.poll(() => detail.locator(".message.added").count()).toBe(2)
    await expect.poll(() => detail.innerText()).toContain("It begins with the request before: 2 messages are the same.")
    await page.keyboard.press("3")
    await expect.poll(() => detail.innerText()).toContain('"type": "llm_complete"')
    await page.keyboard.press("4")
    await expect.poll(() => detail.innerText()).toContain("turn-machine journal fork run.json --at 5 --out fork.json")

    // Search and filters.
    await page.keyboard.press("/")
    await page.keyboard.type("value 1")
    await page.getByText("1 of 10").waitFor()
    await page.keyboard.press("Enter")
    await expect.poll(() => new URL(page.url()).hash).toContain("record=6")
    await page.keyboard.press("Escape")
    await page.getByRole("button", { name: "Model", exact: true }).click()
    await page.getByText("3 of 10").waitFor()
    await page.keyboard.press("Escape")
    await page.keyboard.press("G")
    await page.keyboard.press("1")
    await expect.poll(() => detail.innerText()).toContain("Answer 2.")
    await page.keyboard.press("g")
    await expect.poll(() => new URL(page.url()).hash).toBe("#record=1")

    // A bar names its record.
    await page.locator(".lanes g[class^=bar-model]").nth(1).click()
    await expect.poll(() => new URL(page.url()).hash).toBe("#record=5")
    await page.getByRole("button", { name: "Zoom in" }).click()
    await page.getByRole("button", { name: "Fit" }).click()

    await page.keyboard.press("?")
    await page.getByText("previous, next turn").waitFor()
    await page.keyboard.press("Escape")
    await expect.poll(() => page.getByText("previous, next turn").count()).toBe(0)
    await page.getByRole("button", { name: "Budget" }).click()
    await expect.poll(() => page.locator(".budget").innerText()).toContain("180 tokens")
    // Searching from there leads to the records.
    await page.keyboard.press("/")
    await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute("type"))).toBe("search")
    expect(faults).toEqual([])
    await page.close()
  })

  it("opens at the place that a link names, and finds nothing serious with axe, light and dark, wide and narrow", async () => {
    const data = family()
    for (const { width, theme, hash } of [
      { width: 1440, theme: "light", hash: "#record=5&tab=request" },
      { width: 1440, theme: "dark", hash: "#record=3" },
      { width: 390, theme: "dark", hash: "#view=goal" },
      { width: 390, theme: "light", hash: "#turn=3&record=5&tab=request" },
      { width: 1440, theme: "dark", hash: "#turn=3&record=5&view=forks" },
    ] as const) {
      const { page, faults } = await browser.show(data, { width, theme, hash })
      await page.waitForFunction(() => !document.body.innerText.includes("replaying…"))
      await expect.poll(() => new URL(page.url()).hash).toBe(hash)
      expect(await page.evaluate(() => document.documentElement.scrollWidth), hash).toBeLessThanOrEqual(width)
      expect(await axe(page), `${hash} ${theme}`).toEqual([])
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
      expect(background).toBe(theme === "dark" ? "rgb(20, 22, 26)" : "rgb(247, 247, 248)")
      if (hash.includes("view=goal")) {
        await expect
          .poll(() => page.locator("main").innerText())
          .toMatch(/complete[\s\S]*220 of 1,000 tokens[\s\S]*turns 180[\s\S]*children 40[\s\S]*1 of 1 settled[\s\S]*The answer says so\./)
      }
      if (hash.includes("view=forks")) {
        const text = await page.locator("main").innerText()
        expect(text).toContain("leaves goal.1 at record 5")
        expect(text).toContain("4 records are the same in both.")
        expect(text).toContain("Another way.")
        // Its colour says that it has not ended.
        expect(await page.locator(".branch.shown circle.warn").count()).toBe(1)
      }
      if (hash === "#record=3") {
        expect(await page.locator(".turns li").allInnerTexts()).toEqual([
          expect.stringContaining("goal.1"),
          expect.stringContaining("c0-0"),
          expect.stringContaining("fork.json"),
        ])
        // The child is below its parent in the timeline, too.
        expect(await page.locator(".lane-label").allTextContents()).toEqual(["model", "tools", "↳ c0-0", "tools"])
        await page.keyboard.press("]")
        await expect.poll(() => new URL(page.url()).hash).toBe("#turn=2")
        await page.keyboard.press("t")
        await expect.poll(() => page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe("rgb(247, 247, 248)")
      }
      expect(faults, hash).toEqual([])
      await page.close()
    }
  })

  it("shows what a journal says and never runs it", async () => {
    const breakout = `</script><script>document.title="ran"</script><img src=x onerror="document.title='ran'"><!-- \u2028`
    const text = recorded({
      iterations: 1,
      tool: "__proto__",
      text: (iteration) => (iteration === 0 ? `${breakout} \u202eevil\u202c \u0000 \ud800` : "constructor"),
      value: () => `${breakout}${"long ".repeat(200_000)}`,
    })
    const hostile: ViewerData = { title: breakout, threads: [], turns: [{ ...viewed(text, breakout), agent: AGENT, note: breakout }] }
    const { page, faults } = await browser.show(hostile, { hash: "#record=2" })
    await page.waitForFunction(() => !document.body.innerText.includes("replaying…"))
    await expect.poll(() => page.title()).toContain("</script><script>document.title")
    const detail = page.locator(".detail")
    await expect.poll(() => detail.innerText()).toContain('</script><script>document.title="ran"</script>')
    expect(await detail.locator(".hidden-char").allInnerTexts()).toEqual(expect.arrayContaining(["U+2028", "U+202E", "U+202C", "U+0000", "U+D800"]))
    for (const key of ["j", "2", "3", "4", "1"]) await page.keyboard.press(key)
    // A million characters are cut, and shown on demand.
    const shown = (): Promise<number> => detail.evaluate((element) => element.textContent?.length ?? 0)
    expect(await shown()).toBeLessThan(20_000)
    await detail
      .getByRole("button", { name: /^Show 50,000 of [\d,]+ more characters$/ })
      .first()
      .click()
    expect(await shown()).toBeGreaterThan(50_000)
    await expect.poll(() => page.locator("img, iframe, object, main script").count()).toBe(0)
    expect(await page.title()).not.toBe("ran")
    expect(faults).toEqual([])
    await page.close()
  })

  it("has ten thousand records and a few hundred elements", async () => {
    const data: ViewerData = { title: "long.json", threads: [], turns: [{ ...viewed(recorded({ iterations: 3_332 })), agent: AGENT }] }
    const last = data.turns[0]?.entries.at(-1)?.number ?? 0
    expect(last).toBeGreaterThanOrEqual(10_000)
    const { page, faults } = await browser.show(data)
    await page.locator(".row").first().waitFor()
    expect(await page.locator("*").count()).toBeLessThan(2_500)
    await page.keyboard.press("G")
    await page.locator(`#row-${last}`).waitFor()
    expect(await page.locator(".row").count()).toBeLessThan(120)
    await page.locator(".list .scroll").evaluate((element) => element.scrollTo({ top: 150_000 }))
    await page.locator("#row-5001").waitFor()
    // A step in the middle is shown while the rest may still be replayed.
    await page.locator("#row-5001").click()
    await page.locator(".detail .edge.taken").first().waitFor()
    await page.getByText("replays", { exact: true }).waitFor()
    expect(await page.locator("*").count()).toBeLessThan(2_500)
    expect(faults).toEqual([])
    await page.close()
  })

  it("shows turns that it cannot replay, with what was computed before or recorded", async () => {
    const config = { ...CONFIG, driver: approvalDriver(CONFIG.driver, { policy: () => "run" }) }
    const text = recorded({ iterations: 1 }, config)
    const journal = readJournal(text)
    const stored = { ...viewed(text, "stored.json"), steps: storedSteps(new TurnReplay(journal, config), journal) }
    const bare = { ...viewed(text, "bare.json"), note: "The driver approval(chat) is not known here." }
    const data = redactedPage({ title: "both", threads: [], turns: [stored, bare] })
    const { page, faults } = await browser.show(data, { hash: "#record=2" })
    await page.getByText("replays", { exact: true }).waitFor()
    await page.getByText("redacted", { exact: true }).waitFor()
    await expect.poll(() => page.locator(".detail").innerText()).toContain("waiting_llm → waiting_tools")
    expect(await page.content()).not.toContain("Answer 0")
    await page.keyboard.press("]")
    await page.getByText("Recorded facts only. The driver approval(chat) is not known here.").waitFor()
    await page.getByText("not replayed", { exact: true }).waitFor()
    expect(faults).toEqual([])
    await page.close()
  })
})
