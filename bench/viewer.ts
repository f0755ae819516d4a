/** Measures how fast a page of `turn-machine journal view` opens: `npx tsx bench/viewer.ts [records]`. */
import { ViewerBrowser } from "../test/viewer/browser.ts"
import { AGENT, recorded, viewed } from "../test/viewer/journals.ts"

const records = Number(process.argv[2] ?? 10_000)
const text = recorded({ iterations: Math.ceil((records - 4) / 3), value: (iteration) => `Line ${iteration} of a result. `.repeat(8) })
const data = { title: "long.json", threads: [], turns: [{ ...viewed(text), agent: AGENT }] }
const browser = await ViewerBrowser.open()
try {
  const runs: { readonly list: number; readonly step: number; readonly replayed: number; readonly elements: number }[] = []
  for (let run = 0; run < 5; run += 1) {
    const start = performance.now()
    const { page } = await browser.show(data)
    await page.locator(".row").first().waitFor()
    // Since the browser began to open the file.
    const list = await page.evaluate(() => performance.getEntriesByName("shown")[0]?.startTime ?? Number.NaN)
    const elements = await page.locator("*").count()
    const before = performance.now()
    await page.keyboard.press("j")
    await page.locator(".detail .edge.taken").first().waitFor()
    const step = performance.now() - before
    await page.getByText("replays", { exact: true }).waitFor()
    runs.push({ list, step, replayed: performance.now() - start, elements })
    await page.close()
  }
  const median = (of: (run: (typeof runs)[number]) => number): number => runs.map(of).sort((left, right) => left - right)[2] ?? 0
  process.stdout.write(
    `${data.turns[0]?.entries.length} records, ${(text.length / 1e6).toFixed(1)} MB, ${runs[0]?.elements} elements; median of 5, in ms\n`,
  )
  process.stdout.write(
    `shown after ${median(({ list }) => list).toFixed(0)}, then first step ${median(({ step }) => step).toFixed(0)}, whole replay done ${median(({ replayed }) => replayed).toFixed(0)}\n`,
  )
} finally {
  await browser.close()
}
