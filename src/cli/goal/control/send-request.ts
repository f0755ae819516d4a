import { JournalStoreError } from "../../../hosts/journal/store.ts"
import { JudgedThread } from "../../../hosts/judge/judged-thread.ts"
import { Thread } from "../../../hosts/thread/thread.ts"
import type { GoalMeta } from "../goal-config.ts"
import { goalOptions, judgeConfig } from "../goal-config.ts"
import type { GoalFolder } from "../goal-folder.ts"
import { newRequestId } from "./inbox.ts"
import { createRequestHandler } from "./request-handler.ts"
import type { GoalRequest, RequestResult, ResolvedRequest } from "./requests.ts"

/** How long to wait for an answer from the process that runs the goal. */
const WAIT_MS = 5_000
const POLL_MS = 25

/**
 * Sends a request to the process that runs the goal, or carries it out here if none does. A request to a process that ended
 * before accepting it is withdrawn, so that it is carried out once.
 */
export async function sendRequest(folder: GoalFolder, meta: GoalMeta, request: GoalRequest): Promise<RequestResult> {
  let taken: Taken = { key: newRequestId() }
  for (;;) {
    const answer = (await folder.runner()) === undefined ? await carryOut(folder, meta, request, taken) : await ask(folder, request)
    if (answer !== undefined && "ok" in answer) return answer
    taken = answer ?? taken
  }
}

/** A withdrawn request. The process that ended may have applied it under this key already. */
interface Taken {
  readonly key: string
  readonly resolved?: ResolvedRequest | undefined
}

/** Asks the process that runs the goal. {@link Taken}: it ended without an answer. */
async function ask(folder: GoalFolder, request: GoalRequest): Promise<RequestResult | Taken> {
  const { inbox } = folder
  const id = await inbox.post(request, folder.threadId)
  for (const until = Date.now() + WAIT_MS; Date.now() < until; await new Promise((resolve) => setTimeout(resolve, POLL_MS))) {
    const answer = await inbox.answer(id)
    if (answer !== undefined) return answer
    if ((await folder.runner()) !== undefined) continue
    const resolved = await inbox.resolved(id)
    if (await inbox.withdraw(id)) return { key: id, resolved }
  }
  const runner = (await folder.runner()) ?? "the next process that runs the goal"
  return { ok: false, message: `No answer yet. The request waits in the goal's folder; ${runner} will handle it at its next step.` }
}

/** Carries out a request in this process. `undefined`: another process opened the goal first. */
async function carryOut(
  folder: GoalFolder,
  meta: GoalMeta,
  request: GoalRequest,
  { key, resolved: known }: Taken,
): Promise<RequestResult | undefined> {
  let thread: Thread | undefined
  let judged: JudgedThread | undefined
  try {
    const { store } = folder
    thread = await Thread.open(store, folder.threadId, goalOptions(meta))
    const noModel = { llmCall: () => Promise.reject(new Error("A request calls no model.")) }
    if (meta.judge !== "none") judged = await JudgedThread.open(store, thread, { judge: judgeConfig(meta), host: noModel })
    const handler = createRequestHandler(thread, judged)
    await folder.inbox.process(handler)
    const resolved = known ?? handler.resolve(request)
    const answer = typeof resolved === "string" ? { ok: false, message: resolved } : await handler.apply(resolved, key)
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
