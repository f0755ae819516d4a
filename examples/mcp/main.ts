import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { TurnJournal } from "turn-machine/hosts/journal"
import { fileJournalStore } from "turn-machine/hosts/node"
import { assistant } from "./assistant.ts"
import { model } from "./model.ts"

const folder = resolve("notes")
mkdirSync(folder, { recursive: true })
writeFileSync(`${folder}/prices.md`, "bread 2, wine 40")
rmSync("turns", { recursive: true, force: true })

const store = fileJournalStore("turns")
const { run, close } = await assistant(model(folder).llmCall, store, folder)
try {
  const end = await run("turn-1", "What do bread and wine cost together? Write it down.")
  for (const { requestId, digest, ask } of end.type === "suspended" ? end.held : []) {
    console.log(`${ask.risk} risk: ${ask.summary}\nApproved.`)
    // In a real program another process does this, days later.
    const journal = await TurnJournal.open(store, "turn-1")
    await journal.decide([{ requestId, digest, decision: "approve", by: "you" }])
    await journal.close()
  }
  const done = await run("turn-1", "")
  if (done.type === "done" && done.outcome.type === "finished") console.log(done.outcome.finish)
  console.log(`sum.md: ${readFileSync(`${folder}/sum.md`, "utf8")}`)
} finally {
  await close()
}
