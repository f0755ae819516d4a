import { createReadStream } from "node:fs"
import { stat } from "node:fs/promises"
import { resolve } from "node:path"
import { fileReason } from "../../hosts/node/file-error.ts"
import type { GoalContract } from "../../wire/goal.ts"
import { didYouMean } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"

const FIELDS = ["outcome", "verification", "constraints", "boundaries", "stopWhen"] as const
type Field = (typeof FIELDS)[number]

const MAX_CHARS = 4_000
const MAX_BYTES = 100_000

/**
 * Reads the contract of a goal: a JSON object, or lines `field: value` whose value may continue on further lines.
 * @throws {CliError}
 */
export async function readContract(path: string, cwd: string): Promise<GoalContract> {
  const contract = parseContract(await textOf(resolve(cwd, path)))
  const chars = Object.values(contract).reduce((sum, value) => sum + [...value].length, 0)
  if (chars > MAX_CHARS) throw refusal(`it has ${chars} characters; at most ${MAX_CHARS} are allowed`)
  return contract
}

async function textOf(path: string): Promise<string> {
  try {
    const found = await stat(path)
    if (found.isFile() && found.size > MAX_BYTES) throw refusal(`it has more than ${MAX_CHARS} characters`)
    return await readStart(path)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`The contract ${oneLine(path)} cannot be read: ${fileReason(error)}. Pass a readable file with --contract.`)
  }
}

/** Reads a file that may be a pipe or without an end. */
async function readStart(path: string): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw refusal(`it has more than ${MAX_CHARS} characters`)
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** Parses the text of a contract. @throws {CliError} */
export function parseContract(text: string): GoalContract {
  const given = text.replace(/^\ufeff/, "")
  const fields = given.trimStart().startsWith("{") ? jsonFields(given) : lineFields(given)
  const values: { [Name in Field]?: string } = {}
  for (const [name, value] of fields) {
    const field = FIELDS.find((known) => plain(known) === plain(name))
    if (field === undefined)
      throw refusal(`it has no field ${JSON.stringify(oneLine(name))}.${didYouMean(name, FIELDS)} The fields are ${FIELDS.join(", ")}`)
    if (values[field] !== undefined) throw refusal(`${field} is given twice`)
    if (typeof value !== "string") throw refusal(`${field} is not a text`)
    if (value.trim() === "") throw refusal(`${field} is empty`)
    values[field] = value.trim()
  }
  const { outcome, ...rest } = values
  if (outcome === undefined) throw refusal('it has no outcome. Say what must be reached, for example in the line "outcome: all tests pass"')
  return { outcome, ...rest }
}

function jsonFields(text: string): readonly (readonly [string, unknown])[] {
  try {
    return Object.entries(JSON.parse(text) as object)
  } catch (error) {
    throw refusal(`it begins with "{" and is not valid JSON (${oneLine(String((error as Error).message)).replace(/\.$/, "")})`)
  }
}

/** A line that is indented, or has no field, continues the value before it. */
function lineFields(text: string): readonly (readonly [string, string])[] {
  const fields: [string, string][] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const [, name, value = ""] = /^([A-Za-z][A-Za-z _-]{0,30}?)\s*:(?=\s|$)\s*(.*)$/.exec(line) ?? []
    const last = fields.at(-1)
    if (name !== undefined) fields.push([name, value])
    else if (last !== undefined) last[1] = `${last[1]}\n${line.trim()}`
    else if (line.trim() !== "") throw refusal(`line ${index + 1} has no field. Begin with a line such as "outcome: all tests pass"`)
  }
  return fields
}

/** `stop when`, `stop_when` and `stopWhen` are the same field. */
function plain(name: string): string {
  return name.toLowerCase().replace(/[ _-]/g, "")
}

function refusal(why: string): CliError {
  return new CliError(`The contract cannot be used: ${why}.`)
}
