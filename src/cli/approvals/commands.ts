import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import { cutToColumns } from "../terminal/columns.ts"
import { plural, shellWord } from "../terminal/format.ts"
import { inertLine } from "../terminal/inert.ts"
import { heldLine } from "./held-lines.ts"

/** Names that are the same in every shell and on every terminal. */
const PLAIN = /^[\w.:@%+,-]{1,80}$/

/** How a command names a held call: its id, or where that is unusual the beginning of its digest. */
export function callName({ callId, requestId, digest }: Pick<HeldCall, "callId" | "requestId" | "digest">): string {
  if (PLAIN.test(callId) && !callId.startsWith("-")) return callId
  return PLAIN.test(requestId) ? requestId : digest.slice(0, 16)
}

/** The command that approves a call. `place`: the state file or the goal's folder, as it is shown. */
export function decideCommand(place: string, call: Pick<HeldCall, "callId" | "requestId" | "digest">, decision = "approve"): string {
  return `turn-machine decide ${shellWord(place)} ${callName(call)} ${decision}`
}

/** `waits for 2 decisions`. */
export function waitingText(held: number, pending: number): string {
  const parts = [...(held > 0 ? [plural(held, "decision")] : []), ...(pending > 0 ? [`${plural(pending, "result")} from outside`] : [])]
  return parts.length === 0 ? "stopped, can be resumed" : `waits for ${parts.join(" and ")}`
}

/** The calls that wait, with the commands that list them and decide. A command is never cut, so that it can be copied. */
export function waitingLines(held: readonly HeldCall[], pending: readonly ExternalCall[], place: string, width: number): readonly string[] {
  const [first] = held
  return [
    "",
    ...held.map((call) => `  ${heldLine(call, width - 2, callName(call))}`),
    ...pending.map(({ callId, toolName, token }) =>
      cutToColumns(`  ${inertLine(callId)}  ${inertLine(toolName)}, outside as ${inertLine(token)}`, width),
    ),
    `Look at them with: turn-machine approvals ${shellWord(place)}`,
    ...(first === undefined ? [] : [`Decide with: ${firstDecision(place, first)}`]),
    ...(first !== undefined || pending[0] === undefined
      ? []
      : [`Answer with: turn-machine answer ${shellWord(place)} ${shellWord(inertLine(pending[0].callId))} --value JSON`]),
  ]
}

/** The command of the first decision that a call allows, with the words of the others. */
export function firstDecision(place: string, call: HeldCall): string {
  const [first = "reject", ...others] = call.ask.allow
  return `${decideCommand(place, call, first)}${others.length === 0 ? "" : ` (or ${others.join(", or ")})`}`
}

/** A held call as JSON, with the commands that decide. */
export function plainHeld(call: HeldCall, place: string): object {
  const { requestId, callId, toolName, args, digest, ask } = call
  const command = (decision: string): string => decideCommand(place, call, decision)
  const commands = Object.fromEntries(ask.allow.map((decision) => [decision, `${command(decision)}${decision === "edit" ? " --args JSON" : ""}`]))
  return { requestId, callId, toolName, args, digest, ask, commands }
}
