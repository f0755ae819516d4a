import { journalLineValidation } from "../../checks/records.ts"
import { readJournalParts } from "../../hosts/journal/parts.ts"
import type { JournalStore } from "../../hosts/journal/store.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import { callName } from "../approvals/commands.ts"
import { heldLine } from "../approvals/held-lines.ts"
import type { WaitingTurn } from "../approvals/waiting.ts"
import { didYouMean } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { plural, shellWord } from "../terminal/format.ts"
import { inertLine } from "../terminal/inert.ts"
import type { ApprovalPlace } from "./place.ts"

/** A call that a command names. `held`: absent if it was decided before. */
export interface FoundCall {
  readonly name: string
  readonly turnId: string
  readonly requestId: string
  readonly callId: string
  readonly digest: string
  readonly held?: HeldCall
}

/** Shorter beginnings of a digest are too easily those of a call id. */
const LEAST_DIGEST = 4

/**
 * Finds the held call that `word` names: by call id, request id (with or without the turn's id before it) or digest, or by a beginning of one
 * that is unique. A call that was decided is found by its request or call id, so that a second decision can say who was first.
 * @throws {CliError} no call, or several
 */
export async function findHeld(word: string, place: ApprovalPlace, turns: readonly WaitingTurn[]): Promise<FoundCall> {
  const open = turns.flatMap(({ name, turnId, held }) =>
    held.map((call): FoundCall => ({ name, turnId, requestId: call.requestId, callId: call.callId, digest: call.digest, held: call })),
  )
  checkNamed(word, place)
  const [exact, begun] = [open.filter((call) => isNamed(call, word)), open.filter((call) => isBegun(call, word))]
  const matching = exact.length > 0 ? exact : begun
  const [only, ...others] = matching
  if (only !== undefined && others.length === 0) return only
  if (only !== undefined)
    throw new CliError(`${inertLine(word)} names ${plural(matching.length, "call")}. Give more of the id, or the request id.`, 2, {
      details: listed(matching),
    })
  const decided = (await decidedCalls(place, turns)).filter((call) => isNamed(call, word))
  const last = decided.at(-1)
  if (last !== undefined) return last
  if (open.length === 0) throw new CliError(`No call in ${place.shown} waits for a decision.`)
  throw new CliError(
    `No call in ${place.shown} that waits for a decision is named ${inertLine(word)}.${didYouMean(word, open.map(callName))} To list them: turn-machine approvals ${shellWord(place.shown)}`,
  )
}

/** Finds the call whose work continues outside that `word` names. @throws {CliError} no call, or several */
export function findPending(
  word: string,
  place: ApprovalPlace,
  turns: readonly WaitingTurn[],
): { readonly name: string; readonly call: ExternalCall } {
  checkNamed(word, place)
  const all = turns.flatMap(({ name, pending }) => pending.map((call) => ({ name, call })))
  const exact = all.filter(({ call }) => call.callId === word || call.token === word)
  const matching = exact.length > 0 ? exact : all.filter(({ call }) => call.callId.startsWith(word) || call.token.startsWith(word))
  const [only, ...others] = matching
  if (only !== undefined && others.length === 0) return only
  if (only !== undefined)
    throw new CliError(`${inertLine(word)} names ${plural(matching.length, "call")}. Give more of the id.`, 2, {
      details: matching.map(({ call }) => `   ${inertLine(call.callId)}  ${inertLine(call.toolName)}, outside as ${inertLine(call.token)}`),
    })
  if (all.length === 0) throw new CliError(`No call in ${place.shown} waits for a result from outside.`)
  throw new CliError(
    `No call in ${place.shown} that waits for a result from outside is named ${inertLine(word)}.${didYouMean(
      word,
      all.map(({ call }) => call.callId),
    )} To list them: turn-machine approvals ${shellWord(place.shown)}`,
  )
}

/** Refuses an empty name, such as of a variable that is not set: every name begins with it. @throws {CliError} */
function checkNamed(word: string, { shown }: ApprovalPlace): void {
  if (word.trim() === "") throw new CliError(`The name of the call is empty. To list the calls: turn-machine approvals ${shellWord(shown)}`)
}

function isNamed({ turnId, requestId, callId, digest }: FoundCall, word: string): boolean {
  return word === callId || word === requestId || word === `${turnId}:${requestId}` || word === digest
}

function isBegun({ requestId, callId, digest }: FoundCall, word: string): boolean {
  return callId.startsWith(word) || requestId.startsWith(word) || (word.length >= LEAST_DIGEST && digest.startsWith(word))
}

function listed(calls: readonly FoundCall[]): readonly string[] {
  return calls.map(
    (call) =>
      `   ${call.requestId === callName(call) ? "" : `${inertLine(call.requestId)}  `}${heldLine(call.held ?? { toolName: "", args: null }, 100)}`,
  )
}

/** The calls that were decided, from the records of the journals. */
async function decidedCalls({ store, goal, isFile, path }: ApprovalPlace, turns: readonly WaitingTurn[]): Promise<readonly FoundCall[]> {
  const names = isFile
    ? [path, ...turns.map(({ name }) => name).filter((name) => name !== path)]
    : goal === undefined
      ? turns.map(({ name }) => name)
      : await lastOf(store, `${goal.threadId}.`)
  const found: FoundCall[] = []
  for (const name of names) {
    const parts = await store.read(name)
    const { journal } = parts === undefined ? { journal: undefined } : await readJournalParts(parts, journalLineValidation)
    for (const { record } of journal?.entries ?? []) {
      if (record.type !== "tool_decisions") continue
      for (const { requestId, digest } of record.decisions)
        found.push({ name, turnId: journal?.header.turnId ?? "", requestId, callId: requestId.slice(requestId.indexOf(":") + 1), digest })
    }
  }
  return found
}

/** The journal of the newest turn of a thread. */
async function lastOf(store: JournalStore, prefix: string): Promise<readonly string[]> {
  let [last, highest] = ["", 0]
  for await (const name of store.list({ prefix })) {
    const number = Number(/^\d+$/.exec(name.slice(prefix.length))?.[0] ?? 0)
    if (number > highest) [last, highest] = [name, number]
  }
  return highest === 0 ? [] : [last]
}
