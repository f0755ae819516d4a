import type { JournalStore } from "../../hosts/journal/store.ts"
import { Thread, type ThreadOptions } from "../../hosts/thread/thread.ts"
import type { TestedProcess } from "../host-conformance/tested-host.ts"
import { testedStore } from "../host-conformance/tested-store.ts"
import type { TestedStatus, TestedThread, ThreadInstance } from "./tested-thread.ts"

/**
 * Serves a tested thread with `Thread` over a journal store: for a store of your own. Every write of the store is a place at which the
 * process can be killed.
 *
 *     const host: TestedThreadHost = { start: (process, thread) => storedThread(myStore(), process, thread) }
 */
export async function storedThread(
  store: JournalStore,
  process: TestedProcess,
  { threadId, config, goals, executors, now }: TestedThread,
  options: Partial<ThreadOptions> = {},
): Promise<ThreadInstance> {
  const thread = await Thread.open(testedStore(store, process), threadId, { config, goals, now, takeOver: process.takeOver, ...options })
  return {
    run: () => thread.run(executors, { suspend: true, maxWaitMs: 0, cancelGraceMs: 50, now }),
    say: async (text, input) => (await thread.say(text, input)).inputId,
    redirect: async (text, input) => (await thread.redirect(text, input)).inputId,
    retract: (inputId) => thread.retract(inputId),
    interrupt: async () => (await thread.interrupt()).returned.map(({ inputId }) => inputId),
    command: (command, input) => thread.command(command, input),
    decide: (decisions, turnId) => thread.decide(decisions, { turnId }),
    status: () => statusOf(thread),
    close: () => thread.close(),
  }
}

async function statusOf(thread: Thread): Promise<TestedStatus> {
  const approvals = await thread.pendingApprovals()
  return {
    messages: thread.history.flatMap((record) => (record.type === "conversation" ? [record.message] : [])),
    queue: thread.queue().map(({ inputId }) => inputId),
    held: approvals?.held ?? [],
    openTurn: thread.openTurn?.turnId,
    goal: thread.goal,
  }
}
