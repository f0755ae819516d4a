/** The second process: lists what waits for a person, from the journals alone, and stores it as a client would get it. */
import { mkdirSync, renameSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { placeOf } from "./agent.ts"
import { openRequests } from "./desk.ts"

const place = placeOf()
const open = await openRequests(place)
mkdirSync(dirname(place.inbox), { recursive: true })
writeFileSync(`${place.inbox}.new`, JSON.stringify(open, undefined, 2))
renameSync(`${place.inbox}.new`, place.inbox)

console.log(`Waiting for a decision: ${open.length}`)
for (const { callId, summary, allow, request } of open) console.log(`  ${callId}  ${summary}  (${allow.join(", ")}; request ${request.requestId})`)
