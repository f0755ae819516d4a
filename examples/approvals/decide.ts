/**
 * The third process: decides as a person, and continues the turn. `APPROVER` is who is signed in.
 *
 *     npx tsx decide.ts carol approve bob reject "Not due yet." ann edit 100
 */
import { readFileSync } from "node:fs"
import { paymentAgent, placeOf, TURN_ID } from "./agent.ts"
import { decide, type OpenRequest } from "./desk.ts"
import { printEnd } from "./print.ts"

const { APPROVER: user = "ada" } = process.env
const place = placeOf()
const { config, host, turn } = paymentAgent(place)
const inbox = JSON.parse(readFileSync(place.inbox, "utf8")) as readonly OpenRequest[]

const words = process.argv.slice(2)
while (words.length > 0) {
  const [callId, choice] = words.splice(0, 2)
  const open = inbox.find((each) => each.callId === callId)
  if (open === undefined) throw new Error(`The inbox has no call ${callId}. Run list.ts first.`)
  const { requestId, digest } = open.request
  const decision = { requestId, digest, ...verdictOf(choice, open) }
  // A browser would send this.
  const request = new Request("http://localhost/approvals", { method: "POST", body: JSON.stringify({ request: open.request, decision }) })
  const response = await decide(request, place, user, config.tools ?? [])
  const { status, message = "" } = (await response.json()) as { readonly status: string; readonly message?: string }
  console.log(`${user}: ${choice} ${callId}: ${status} (${response.status}) ${message}`.trimEnd())
}

printEnd(await host.run(TURN_ID, turn, { suspend: true }), place)

function verdictOf(choice: string | undefined, { args }: OpenRequest): object {
  switch (choice) {
    case "approve":
      return { decision: "approve" }
    case "reject":
      return { decision: "reject", message: words.shift() }
    case "edit":
      return { decision: "edit", args: { ...(args as object), euros: Number(words.shift()) } }
    default:
      throw new Error(`Decide with approve, reject MESSAGE or edit EUROS, not with ${choice}.`)
  }
}
