import type { Done } from "turn-machine"
import type { Suspended } from "turn-machine/hosts"
import type { Place } from "./agent.ts"

/** Prints where a run ended: at the end of the turn, or where it waits for a person. */
export function printEnd(end: Done | Suspended, { ledger }: Place): void {
  if (end.type === "suspended") {
    console.log("The turn waits for a person. This process ends; the turn is in its journal. Held calls:")
    for (const { callId, ask } of end.held) console.log(`  ${callId}  ${ask.summary}`)
    console.log("List them:     npx tsx list.ts")
    console.log('Decide:        npx tsx decide.ts carol approve bob reject "Not due yet." ann edit 100')
  } else {
    console.log(`The turn ended: ${JSON.stringify(end.outcome)}`)
    console.log("The model read:")
    for (const { parts } of end.messages)
      for (const part of parts) if (part.type === "tool_result") console.log(`  ${part.callId}: ${part.text.replaceAll("\n", " ")}`)
  }
  console.log(`Payments: ${ledger.payments.map(({ to, euros }) => `${to} ${euros}`).join(", ") || "none"}`)
}
