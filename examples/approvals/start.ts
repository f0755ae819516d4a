/** The first process: runs the turn until it waits for a person. */
import { paymentAgent, placeOf, TURN_ID } from "./agent.ts"
import { printEnd } from "./print.ts"

const place = placeOf()
const { host, turn } = paymentAgent(place)
printEnd(await host.run(TURN_ID, turn, { suspend: true }), place)
