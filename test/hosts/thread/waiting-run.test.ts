import { chatDriver, chatProjector } from "turn-machine"
import { defineTool, memoryJournalStore, toolbox } from "turn-machine/hosts"
import { TurnJournal } from "turn-machine/hosts/journal"
import { runThread, Thread } from "turn-machine/hosts/thread"
import { scriptedModel } from "turn-machine/testing"
import { expect, test } from "vitest"
import * as z from "zod"

const pay = defineTool({ name: "pay", description: "Pays.", input: z.object({}), approval: "always", execute: () => "paid" })

// A decision may be in the journal while the run that waits does not know: another process recorded it, or the run closed the journal just after it
// was written, so that `decide` was tried again. The caller reads that it is stored, and the turn must continue.
test("a decision that the journal has already continues the turn when it is handed in again", async () => {
  const tools = toolbox([pay])
  const config = { driver: chatDriver(), projector: chatProjector, model: "scripted", tools: tools.specs }
  const store = memoryJournalStore()
  const thread = await Thread.open(store, "bills", { config, approvals: tools.approvals, goals: false })
  await thread.say("Pay.")
  const { llmCall } = scriptedModel([{ toolCalls: [{ toolName: "pay", args: {} }] }, "Done."])
  const statuses: (string | undefined)[] = []
  const rest = await runThread(
    thread,
    { llmCall, tools },
    {
      maxWaitMs: 5_000,
      async onSuspended({ turnId, held }) {
        const decisions = held.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" as const, by: "ada" }))
        const other = await TurnJournal.open(store, turnId)
        for (const { status } of await other.decide(decisions)) statuses.push(status)
        await other.close()
        for (const { status } of await thread.decide(decisions, { turnId })) statuses.push(status)
      },
    },
  )
  expect(statuses).toEqual(["accepted", "stale"])
  expect(rest).toMatchObject({ outcome: { type: "finished" } })
  await thread.close()
})

test("a thread that is closed while its run suspends ends the wait", async () => {
  const tools = toolbox([pay])
  const config = { driver: chatDriver(), projector: chatProjector, model: "scripted", tools: tools.specs }
  const thread = await Thread.open(memoryJournalStore(), "bills", { config, approvals: tools.approvals, goals: false })
  await thread.say("Pay.")
  const { llmCall } = scriptedModel([{ toolCalls: [{ toolName: "pay", args: {} }] }])
  const run = runThread(thread, { llmCall, tools }, { maxWaitMs: 86_400_000, onSuspended: () => thread.close() })
  await expect(run).rejects.toMatchObject({ code: "closed" })
})
