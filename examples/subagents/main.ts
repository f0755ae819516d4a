import { turnTree } from "turn-machine/hosts/child"
import { TurnJournal } from "turn-machine/hosts/journal"
import { fileJournalStore } from "turn-machine/hosts/node"
import { model } from "./model.ts"
import { team } from "./team.ts"

const store = fileJournalStore("turns")
const run = team(model, store)

const end = await run("turn-1", "When does the shop open? Tell ada.")
for (const child of end.type === "suspended" ? (end.children ?? []) : []) {
  for (const { requestId, digest, ask } of child.held) {
    console.log(`${ask.summary}: approved.`)
    // In a real program another process does this, days later.
    const journal = await TurnJournal.open(store, child.name)
    await journal.decide([{ requestId, digest, decision: "approve", by: "you" }])
    await journal.close()
  }
}
const done = await run("turn-1", "")
if (done.type === "done" && done.outcome.type === "finished") console.log(done.outcome.finish)
console.log((await turnTree(store, "turn-1"))?.total)
