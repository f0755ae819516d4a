import { EXPLORED } from "./explored-drivers.ts"
import { exploreTurn } from "../../src/testing/explore-turn.ts"
const e0 = EXPLORED.find(({name}) => name === process.argv[2])!
const t = performance.now(), c = process.cpuUsage()
const e = exploreTurn({ ...e0.options, bounds: JSON.parse(process.argv[3]!) })
const u = process.cpuUsage(c)
console.log(process.argv[2], process.argv[3], e.states, e.transitions, ((performance.now()-t)/1000).toFixed(2), "cpu", (u.user/1e6).toFixed(1), JSON.stringify(e.cutOff.map(c=>c.bound)), e.rows.reached.map(r=>r.response+">"+r.next).join(" "))
