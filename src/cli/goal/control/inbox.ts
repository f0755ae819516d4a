import { randomBytes } from "node:crypto"
import { mkdir, readdir, readFile, unlink } from "node:fs/promises"
import { join } from "node:path"
import * as z from "zod"
import { writeAtomically } from "../../../hosts/node/atomic-file.ts"
import { errorCode, fileReason } from "../../../hosts/node/file-error.ts"
import { isRunning } from "../../../hosts/node/process-id.ts"
import { CliError } from "../../terminal/errors.ts"
import { threadNumber } from "../thread-ids.ts"
import { GoalRequest, type RequestHandler, RequestResult, ResolvedRequest } from "./requests.ts"

const Request = z.strictObject({
  format: z.literal("turn-machine/request"),
  version: z.literal(1),
  order: GoalRequest,
  /** The thread of the goal that the request is for. */
  thread: z.string().exactOptional(),
  /** The resolved request, written before it is applied: applying it again after a crash changes nothing. */
  settled: ResolvedRequest.exactOptional(),
})
type Request = Readonly<z.infer<typeof Request>>

const ENDED = "The goal that the request was for has ended."

const REQUEST = /^(\d{15}-(\d+)-[0-9a-f]{8})\.json$/
const ANSWER = /^\d{15}-(\d+)-[0-9a-f]{8}\.answer$/

/**
 * Requests from other processes to the one that runs a goal: one file for each, and one for its answer, both written
 * atomically. Requests are handled in the order they were made; an unhandled one waits for the next run.
 */
export class Inbox {
  readonly #folder: string
  #last: Promise<void> = Promise.resolve()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Adds a request and returns its id. `thread`: the goal that it is for; absent: any goal. */
  async post(request: GoalRequest, thread?: string): Promise<string> {
    await this.#attempt(mkdir(this.#folder, { recursive: true }))
    const id = newRequestId()
    await this.#write(`${id}.json`, { format: "turn-machine/request", version: 1, order: request, ...(thread !== undefined && { thread }) })
    return id
  }

  /** Reads and removes the answer to a request; `undefined` while there is none. */
  async answer(id: string): Promise<RequestResult | undefined> {
    const text = await this.#read(`${id}.answer`)
    if (text === undefined) return undefined
    await this.#remove(`${id}.answer`)
    return RequestResult.parse(JSON.parse(text))
  }

  /** Withdraws a request. False: it was already handled. */
  async withdraw(id: string): Promise<boolean> {
    return this.#remove(`${id}.json`)
  }

  /** A waiting request as the process that ended before it applied it has resolved it; `undefined` if none has. */
  async resolved(id: string): Promise<ResolvedRequest | undefined> {
    return readRequest((await this.#read(`${id}.json`)) ?? "")?.settled
  }

  /** Refuses all waiting requests: what waits before a goal begins is not for it. */
  refuseAll(): Promise<void> {
    return this.process({ resolve: () => ENDED, apply: async () => ({ ok: false, message: ENDED }) })
  }

  /** Counts the waiting requests. */
  async waiting(): Promise<number> {
    return (await this.#list()).filter((name) => REQUEST.test(name)).length
  }

  /** Handles all waiting requests in order. Overlapping calls run one after the other. */
  process(handler: RequestHandler): Promise<void> {
    const processed = this.#last.then(() => this.#process(handler))
    this.#last = processed.catch(() => {})
    return processed
  }

  async #process(handler: RequestHandler): Promise<void> {
    const names = await this.#list()
    for (const name of names.sort()) {
      const [, id, pid] = REQUEST.exec(name) ?? []
      if (id !== undefined) await this.#processOne(id, isRunning(Number(pid)), handler)
      // The process that made the request has ended, so its answer is not needed.
      const asked = ANSWER.exec(name)?.[1]
      if (asked !== undefined && !isRunning(Number(asked))) await this.#remove(name)
    }
  }

  async #processOne(id: string, isAwaited: boolean, handler: RequestHandler): Promise<void> {
    const text = await this.#read(`${id}.json`)
    if (text === undefined) return
    const request = readRequest(text)
    const difference =
      request?.thread === undefined || handler.threadId === undefined ? 0 : threadNumber(request.thread) - threadNumber(handler.threadId)
    // For a goal that began after this one; its process handles the request.
    if (difference > 0) return
    const resolved = request === undefined ? "The request was written by another version." : (request.settled ?? handler.resolve(request.order))
    let answer: RequestResult
    if (difference < 0) answer = { ok: false, message: ENDED }
    else if (request === undefined || typeof resolved === "string") answer = { ok: false, message: String(resolved) }
    else {
      if (request.settled === undefined) await this.#write(`${id}.json`, { ...request, settled: resolved })
      answer = await handler.apply(resolved, id)
    }
    if (isAwaited) await this.#write(`${id}.answer`, answer)
    await this.#remove(`${id}.json`)
  }

  /** The names of the files in the folder. Anything else there is ignored. */
  async #list(): Promise<string[]> {
    const entries = await this.#attempt(readdir(this.#folder, { withFileTypes: true }), [])
    return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
  }

  #read(name: string): Promise<string | undefined> {
    return this.#attempt(readFile(join(this.#folder, name), "utf8"), undefined)
  }

  #write(name: string, value: Request | RequestResult): Promise<void> {
    const path = join(this.#folder, name)
    return this.#attempt(writeAtomically(path, `${JSON.stringify(value)}\n`, `${path}.${process.pid}.turn-machine-tmp`, { mode: 0o600 }))
  }

  #remove(name: string): Promise<boolean> {
    const removed = unlink(join(this.#folder, name)).then(() => true)
    return this.#attempt(removed, false)
  }

  /** Awaits a file operation; `missing`, if given, is its result where the file does not exist. @throws {CliError} */
  async #attempt<T>(operation: Promise<T>, ...missing: readonly [T?]): Promise<T> {
    try {
      return await operation
    } catch (error) {
      if (errorCode(error) === "ENOENT" && missing.length > 0) return missing[0] as T
      throw new CliError(
        `The goal's inbox ${this.#folder} cannot be used: ${fileReason(error)}. Fix the cause, or pass another folder with --state.`,
        1,
        {
          cause: error,
        },
      )
    }
  }
}

let lastTime = 0

/** A new id of a request, which is also its key in the goal's log. Ids sort by time, and those of one process in the order they were made. */
export function newRequestId(): string {
  lastTime = Math.max(Date.now(), lastTime + 1)
  return `${String(lastTime).padStart(15, "0")}-${process.pid}-${randomBytes(4).toString("hex")}`
}

function readRequest(text: string): Request | undefined {
  try {
    return Request.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
