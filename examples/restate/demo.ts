import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { workDone } from "./agent.ts"
import { Client } from "./client.ts"
import { freePort, freePorts, type RunningEngine, type RunningService, startEngine, startService, type WaitingCall } from "./engine.ts"
import { journalOf, summaryOf } from "./journal.ts"
import { showGoal } from "./thread-demo.ts"
import { faultsOf, repeatsOf } from "./world.ts"

const folder = mkdtempSync(join(tmpdir(), "turn-machine-restate-"))
const world = join(folder, "world.jsonl")
const waits: WaitingCall[] = []
let engine: RunningEngine | undefined
let service: RunningService | undefined
try {
  engine = await startEngine({ data: join(folder, "data"), ports: await freePorts() })
  const port = await freePort()
  const start = (): Promise<RunningService> => startService(port, { env: { WORLD: world }, onWaits: (call) => waits.push(call) })
  service = await start()
  const client = new Client(engine)
  await client.register(port)
  console.log(`Restate runs at ${engine.ingress} (admin: ${engine.admin}), and calls the handlers at http://127.0.0.1:${port}.`)

  console.log("\n1. A turn begins: the model calls tools in six rounds, and then wants to send a parcel.")
  const id = await client.begin({ turnId: "demo", rounds: 6, asks: true, workMs: 200 })
  await sleep(900)

  console.log(`2. The service is killed in the middle of it (pid ${service.pid}). A new one starts, and Restate replays the journal in it.`)
  const killed = new Set([service.pid])
  await service.kill()
  service = await start()

  while (waits.length === 0) await sleep(50)
  const [call] = waits as [WaitingCall]
  console.log(`3. The turn waits for a person: may it ${call.toolName}? Nothing runs: the invocation is suspended.`)
  await sleep(300)
  await client.decide({ invocationId: id, requestId: call.requestId, decision: { decision: "approve", by: "eve" } })
  const end = await client.end(id)
  console.log(`4. Eve approves, and the turn ends: ${end.outcome}. "${end.text}"`)

  const work = workDone(world)
  console.log(
    `\nDone outside: ${work.length} pieces of work, of which ${repeatsOf(work)} were in flight when the service was killed, and were repeated under the same key.`,
  )
  console.log(faultsOf(work, killed).length === 0 ? "No answer was lost, and no payment was made twice." : faultsOf(work, killed).join("\n"))

  const entries = await journalOf(client, id)
  console.log("\nWhat Restate holds of the turn:\n")
  console.log(summaryOf(entries))

  console.log("\n5. A long turn, of 120 rounds, continues in new invocations.")
  await client.call("/longTurns/long/run/send", { turnId: "long", rounds: 120, workMs: 0 })
  for (;;) {
    const { end: outcome, invocations } = (await client.call("/longTurns/long/status")) as { end: string | null; invocations: number }
    if (outcome !== null) {
      console.log(`   It ended as ${outcome}, after ${invocations} invocations.`)
      break
    }
    await sleep(100)
  }

  await showGoal(client, async () => {
    await service?.kill()
    service = await start()
  })
} finally {
  await service?.kill()
  await engine?.kill()
  rmSync(folder, { recursive: true, force: true })
}
