import { randomBytes } from "node:crypto"
import { mkdir, readdir, readFile, unlink } from "node:fs/promises"
import { join } from "node:path"
import * as z from "zod"
import { writeAtomically } from "../../hosts/node/atomic-file.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { isRunning } from "../../hosts/node/process-id.ts"
import { CliError } from "../terminal/errors.ts"
import { Answer, type Office, Order, Settled } from "./orders.ts"

const Request = z.strictObject({
  format: z.literal("turn-machine/request"),
  version: z.literal(1),
  order: Order,
  /** What the order came to when it was taken: doing that again, after a crash, changes nothing more. */
  settled: Settled.exactOptional(),
})
type Request = Readonly<z.infer<typeof Request>>

const REQUEST = /^(\d{15}-(\d+)-[0-9a-f]{8})\.json$/
const ANSWER = /^\d{15}-(\d+)-[0-9a-f]{8}\.answer$/

/**
 * Requests of other processes to the one that runs a goal: a file each, and a file with its answer beside it. Both appear whole.
 * They are taken in the order in which they were made; one that nobody took waits for the next run.
 */
export class Inbox {
  readonly #folder: string
  #last: Promise<void> = Promise.resolve()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Leaves a request; gives its id. */
  async post(order: Order): Promise<string> {
    await this.#done(mkdir(this.#folder, { recursive: true }))
    const id = `${String(Date.now()).padStart(15, "0")}-${process.pid}-${randomBytes(4).toString("hex")}`
    await this.#write(`${id}.json`, { format: "turn-machine/request", version: 1, order })
    return id
  }

  /** The answer to a request, which it takes out; `undefined` while there is none. */
  async answer(id: string): Promise<Answer | undefined> {
    const text = await this.#read(`${id}.answer`)
    if (text === undefined) return undefined
    await this.#remove(`${id}.answer`)
    return Answer.parse(JSON.parse(text))
  }

  /** Takes a request back. False: somebody has it already. */
  async withdraw(id: string): Promise<boolean> {
    return this.#remove(`${id}.json`)
  }

  /** How many requests wait. */
  async waiting(): Promise<number> {
    return (await this.#list()).filter((name) => REQUEST.test(name)).length
  }

  /** Takes all requests that are there, one by one. Calls that overlap come one after the other. */
  take(office: Office): Promise<void> {
    const taken = this.#last.then(() => this.#take(office))
    this.#last = taken.catch(() => {})
    return taken
  }

  async #take(office: Office): Promise<void> {
    const names = await this.#list()
    for (const name of names.sort()) {
      const [, id, pid] = REQUEST.exec(name) ?? []
      if (id !== undefined) await this.#takeOne(id, isRunning(Number(pid)), office)
      // Nobody reads the answer any more.
      const asked = ANSWER.exec(name)?.[1]
      if (asked !== undefined && !isRunning(Number(asked))) await this.#remove(name)
    }
  }

  async #takeOne(id: string, isAwaited: boolean, office: Office): Promise<void> {
    const text = await this.#read(`${id}.json`)
    if (text === undefined) return
    const request = readRequest(text)
    const settled = request === undefined ? "The request is not of this version." : (request.settled ?? office.settle(request.order))
    let answer: Answer
    if (request === undefined || typeof settled === "string") answer = { ok: false, message: String(settled) }
    else {
      if (request.settled === undefined) await this.#write(`${id}.json`, { ...request, settled })
      answer = await office.perform(settled)
    }
    if (isAwaited) await this.#write(`${id}.answer`, answer)
    await this.#remove(`${id}.json`)
  }

  /** The names of the files in it: what is none was put there by somebody else, and is left alone. */
  async #list(): Promise<string[]> {
    const entries = await this.#done(readdir(this.#folder, { withFileTypes: true }), [])
    return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
  }

  #read(name: string): Promise<string | undefined> {
    return this.#done(readFile(join(this.#folder, name), "utf8"), undefined)
  }

  #write(name: string, value: Request | Answer): Promise<void> {
    const path = join(this.#folder, name)
    return this.#done(writeAtomically(path, `${JSON.stringify(value)}\n`, `${path}.${process.pid}.turn-machine-tmp`, { mode: 0o600 }))
  }

  #remove(name: string): Promise<boolean> {
    const removed = unlink(join(this.#folder, name)).then(() => true)
    return this.#done(removed, false)
  }

  /** What came of an operation on files; `missing`, if it is given: where there is no such file. @throws {CliError} */
  async #done<T>(operation: Promise<T>, ...missing: readonly [T?]): Promise<T> {
    try {
      return await operation
    } catch (error) {
      if (errorCode(error) === "ENOENT" && missing.length > 0) return missing[0] as T
      throw new CliError(
        `The goal's inbox ${this.#folder} cannot be used: ${fileReason(error)}. Mend that, or give another folder with --state.`,
        1,
        {
          cause: error,
        },
      )
    }
  }
}

function readRequest(text: string): Request | undefined {
  try {
    return Request.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
