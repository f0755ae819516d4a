import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { workDone } from "./agent.ts"
import { Client } from "./client.ts"
import { freePort, freePorts, type RunningEngine, type RunningService, startEngine, startService } from "./engine.ts"
import { faultsOf, repeatsOf } from "./world.ts"

// Three nodes on this machine, each step stored by two of them. One is lost while turns run.

const TURNS = 20
const folder = mkdtempSync(join(tmpdir(), "turn-machine-restate-"))
const world = join(folder, "world.jsonl")
const nodes: RunningEngine[] = []
let service: RunningService | undefined
let fault: string | undefined
try {
  const ports = await Promise.all([freePorts(), freePorts(), freePorts()])
  const before = Date.now()
  const started = ports.map((own, index) =>
    startEngine({
      data: join(folder, `node-${index + 1}`),
      name: `node-${index + 1}`,
      ports: own,
      env: {
        RESTATE_CLUSTER_NAME: "example",
        RESTATE_DEFAULT_REPLICATION: "2",
        RESTATE_AUTO_PROVISION: String(index === 0),
        RESTATE_METADATA_CLIENT__ADDRESSES: JSON.stringify(ports.map(({ node }) => `http://127.0.0.1:${node}`)),
      },
    }),
  )
  for (const node of started) nodes.push(await node)
  const port = await freePort()
  service = await startService(port, { env: { WORLD: world } })
  const [first, , third] = nodes as [RunningEngine, RunningEngine, RunningEngine]
  await new Client(first).register(port)
  console.log(`Three nodes run after ${Date.now() - before} ms.`)
  await sleep(2_000)

  const client = new Client(third)
  const ids = await Promise.all(Array.from({ length: TURNS }, (_, index) => client.begin({ turnId: `turn-${index}`, rounds: 12, workMs: 100 })))
  await sleep(1_000)
  const known = workDone(world).length
  console.log(`${TURNS} turns have done ${known} pieces of work. Node 1 is killed.`)
  const killedAt = Date.now()
  await first.kill()
  const ends = await Promise.all(ids.map((id) => client.end(id)))
  const work = workDone(world)
  // The attempts of the lost node end with it: what they did then was in flight.
  const faults = faultsOf(work, new Set([service.pid]))
  const open = ends.filter(({ outcome }) => outcome !== "finished").length
  console.log(`All turns have ended ${Date.now() - killedAt} ms later, ${open} of them not as finished.`)
  console.log(`${work.length} pieces of work, ${repeatsOf(work)} of them repeats of work in flight under the same key.`)
  if (open > 0 || faults.length > 0) fault = [`${open} turns did not finish.`, ...faults].join("\n")
  else console.log("No answer was lost, and nothing that must be done once was done twice.")
} finally {
  await service?.kill()
  for (const node of nodes) await node.kill()
  rmSync(folder, { recursive: true, force: true })
}
if (fault !== undefined) {
  console.error(fault)
  process.exitCode = 1
}
