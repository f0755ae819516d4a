import { JournalStoreError } from "../../hosts/journal/store.ts"
import { JudgedThread } from "../../hosts/judge/judged-thread.ts"
import { Thread } from "../../hosts/thread/thread.ts"
import { goalOptions, judgeConfig } from "./goal-config.ts"
import { type GoalFolder, THREAD_ID } from "./goal-folder.ts"
import type { GoalMeta } from "./goal-meta.ts"
import { officeOf } from "./office.ts"
import type { Answer, Order } from "./orders.ts"

/** For how long an answer of the process that runs the goal is waited for. */
const WAIT_MS = 5_000
const LOOK_MS = 25

/**
 * Gets an order carried out: by the process that runs the goal, or, where none does, here. A request that was not taken by a
 * process that ended meanwhile is taken back, so that it is carried out once.
 */
export async function deliver(folder: GoalFolder, meta: GoalMeta, order: Order): Promise<Answer> {
  for (;;) {
    const answer = (await folder.runner()) === undefined ? await carryOut(folder, meta, order) : await ask(folder, order)
    if (answer !== undefined) return answer
  }
}

/** `undefined`: the process that was asked is gone, and has not taken the request. */
async function ask(folder: GoalFolder, order: Order): Promise<Answer | undefined> {
  const { inbox } = folder
  const id = await inbox.post(order)
  for (const until = Date.now() + WAIT_MS; Date.now() < until; await new Promise((resolve) => setTimeout(resolve, LOOK_MS))) {
    const answer = await inbox.answer(id)
    if (answer !== undefined) return answer
    if ((await folder.runner()) === undefined && (await inbox.withdraw(id))) return undefined
  }
  const runner = (await folder.runner()) ?? "the next process that runs the goal"
  return { ok: false, message: `There is no answer yet. The request waits in the goal's folder; ${runner} takes it at its next step.` }
}

/** `undefined`: another process was faster and holds the goal now. */
async function carryOut(folder: GoalFolder, meta: GoalMeta, order: Order): Promise<Answer | undefined> {
  let thread: Thread | undefined
  let judged: JudgedThread | undefined
  try {
    const { store } = folder
    thread = await Thread.open(store, THREAD_ID, goalOptions(meta))
    const noModel = { llmCall: () => Promise.reject(new Error("No model is asked here.")) }
    if (meta.judge !== "none") judged = await JudgedThread.open(store, thread, { judge: judgeConfig(meta), host: noModel })
    const office = officeOf(thread, judged)
    await folder.inbox.take(office)
    const settled = office.settle(order)
    const answer = typeof settled === "string" ? { ok: false, message: settled } : await office.perform(settled)
    if (thread.openTurn === undefined) await thread.settle()
    return answer
  } catch (error) {
    if (error instanceof JournalStoreError && error.code === "in_use" && (await folder.runner()) !== undefined) return undefined
    throw folder.explain(error)
  } finally {
    await judged?.close()
    await thread?.close()
  }
}
