import { memoryJournalStore } from "turn-machine/hosts"
import { turnTree } from "turn-machine/hosts/child"
import { TurnJournal } from "turn-machine/hosts/journal"
import { expect, test } from "vitest"
import { model } from "./model.ts"
import { sent, team } from "./team.ts"

test("a subagent waits for a person, and both turns continue after the decision", async () => {
  const store = memoryJournalStore()
  const suspended = await team(model, store)("turn-1", "When does the shop open? Tell ada.")
  if (suspended.type !== "suspended") throw new Error("It did not wait.")
  const [child] = suspended.children ?? []
  const [held] = child?.held ?? []
  expect(held).toMatchObject({ toolName: "send", ask: { summary: "Send a mail to ada" } })
  expect(sent).toEqual([])

  const journal = await TurnJournal.open(store, child?.name ?? "")
  await journal.decide([{ requestId: held?.requestId ?? "", digest: held?.digest ?? "", decision: "approve" }])
  await journal.close()

  const done = await team(model, store)("turn-1", "")
  expect(done).toMatchObject({ type: "done", outcome: { finish: { text: "At nine. / sent" } }, usage: { inputTokens: 500 } })
  expect(sent).toEqual(["ada: The shop opens at nine."])
  const tree = await turnTree(store, "turn-1")
  expect(tree?.total).toEqual(tree?.usage)
  expect(tree?.children.map(({ outcome }) => outcome?.type)).toEqual(["finished", "finished"])
})
