import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Client } from "./client.ts"
import { freePort, freePorts, startEngine, startService } from "./engine.ts"
import { ThreadClient } from "./thread-client.ts"

// What a thread with a goal costs: the journals of its runs, its state, and the time for each effect, without the work itself.

interface Row {
  readonly handler: string
  readonly invocations: number
  readonly entries: number
  readonly bytes: number
}

const table: string[] = [
  "| steps | turns | effects | journals of runs | for each effect | state | longest value | time for each effect |",
  `${"| ---: ".repeat(8)}|`,
]
for (const [steps, perTurn] of [
  [12, 4],
  [48, 4],
  [48, 16],
  [192, 16],
] as const) {
  const folder = mkdtempSync(join(tmpdir(), "turn-machine-restate-"))
  const engine = await startEngine({ data: join(folder, "data"), ports: await freePorts() })
  const port = await freePort()
  const env = { WORLD: join(folder, "world.jsonl"), WORK_MS: "0", STEPS: String(steps), STEPS_OF_A_TURN: String(perTurn) }
  const service = await startService(port, { env })
  try {
    const client = new Client(engine)
    await client.register(port)
    const thread = new ThreadClient(client, "measured")
    await thread.say("Hello", "i1")
    const before = Date.now()
    await thread.command({ type: "set", objective: "Write a report." }, "c1")
    const { turns } = await thread.until(({ goal, rest }) => goal?.status === "complete" && rest !== undefined)
    const ms = Date.now() - before
    // Of each step, a call of the model, a call of the tool, and a checkpoint; of each end of a turn, a call of the model and a checkpoint.
    const effects = 3 * steps + 2 * (turns - 1) + 3
    const rows = await client.query<Row>(
      `select i.target_handler_name as handler, count(distinct i.id) as invocations, count(*) as entries, sum(j.raw_length) as bytes
       from sys_journal j join sys_invocation i on j.id = i.id where i.target_service_name = 'agent' group by i.target_handler_name`,
    )
    const [state] = await client.query<{ bytes: number; longest: number }>(
      "select sum(length(value)) as bytes, max(length(value)) as longest from state where service_name = 'agent'",
    )
    const runs = rows.find(({ handler }) => handler === "run")
    const bytes = runs?.bytes ?? 0
    table.push(
      `| ${steps} | ${turns - 1} | ${effects} | ${kB(bytes)} | ${Math.round(bytes / effects)} bytes | ${kB(state?.bytes ?? 0)} | ${kB(state?.longest ?? 0)} | ${(ms / effects).toFixed(1)} ms |`,
    )
  } finally {
    await service.kill()
    await engine.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}
console.log(table.join("\n"))

function kB(bytes: number): string {
  return `${Math.round(bytes / 1_000)} kB`
}
