import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as restate from "@restatedev/restate-sdk"
import { type AnswerableEffect, isAnswerable, type Response, TurnMachine } from "turn-machine"
import { performEffect, runTurn } from "turn-machine/hosts"
import type { Task } from "./agent.ts"

const folder = mkdtempSync(join(tmpdir(), "turn-machine-restate-"))
process.env["WORLD"] = join(folder, "world.jsonl")
const { agentFor } = await import("./agent.ts")
const { Client } = await import("./client.ts")
const { freePort, freePorts, startEngine } = await import("./engine.ts")
const { bytesOf, journalOf } = await import("./journal.ts")
const { longTurns, serve, turns } = await import("./service.ts")

/** Stores each effect beside its answer, and with it the whole prompt: what a loop does that stores what it got. */
const naive = restate.service({
  name: "naive",
  handlers: {
    async run(ctx: restate.Context, task: Task): Promise<{ outcome: string }> {
      const { config, start, host } = agentFor(task)
      const machine = new TurnMachine(config, start)
      for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) {
        if (!isAnswerable(effect)) continue
        const parts: readonly AnswerableEffect[] =
          effect.type === "tool_calls" ? effect.calls.map((call) => ({ ...effect, calls: [call] })) : [effect]
        for (const part of parts) {
          const check = (response: Response): Response => machine.check(response)
          const step = async () => ({
            effect: part,
            response: await performEffect(host, part, { turnId: task.turnId, check, callStarted: async () => "first" }),
          })
          machine.handle((await ctx.run(`${part.id} ${part.type}`, step)).response)
        }
      }
      return { outcome: machine.outcome?.type ?? "" }
    },
  },
})

/** The effects of a turn, with each tool call as one of its own. */
function effectsOf(rounds: number): number {
  const calls = Array.from({ length: rounds }, (_, round) => [2, 2, 3][round % 3] ?? 0).reduce((sum, count) => sum + count, 0)
  // A model call and a checkpoint in each round, and at the end one more of each.
  return calls + 2 * (rounds + 1)
}

const engine = await startEngine({ data: join(folder, "data"), ports: await freePorts() })
const port = await freePort()
const close = await serve(port, [turns, longTurns, naive])
try {
  const client = new Client(engine)
  await client.register(port)
  await client.call("/turns/run", { turnId: "warm-up", rounds: 5, workMs: 0 })
  console.log(
    "rounds  effects   restateTurn: bytes  per effect   ms per effect   prompt kept: bytes  per effect   ms per effect   in memory: ms per effect",
  )
  for (const rounds of [10, 30, 100, 250]) {
    const effects = effectsOf(rounds)
    const task = { turnId: `measured-${rounds}`, rounds, workMs: 0, resultChars: 1_000 }
    const measured = async (service: string) => {
      const before = performance.now()
      const { invocationId } = (await client.call(`/${service}/run/send`, task)) as { invocationId: string }
      await client.end(invocationId, 600_000)
      const ms = performance.now() - before
      return { bytes: bytesOf(await journalOf(client, invocationId)), ms: ms / effects }
    }
    const ours = await measured("turns")
    const theirs = rounds > 100 ? undefined : await measured("naive")
    const { config, start, host } = agentFor(task)
    const before = performance.now()
    const { tools } = host
    await runTurn(
      new TurnMachine(config, start),
      { ...host, ...(tools && { tools: { ...tools, effects: () => "none" } }) },
      { turnId: `memory-${rounds}`, suspend: true },
    )
    const memory = (performance.now() - before) / effects
    const cells = [
      [rounds, 6],
      [effects, 9],
      [ours.bytes, 21],
      [Math.round(ours.bytes / effects), 12],
      [ours.ms.toFixed(1), 16],
      [theirs?.bytes ?? "-", 21],
      [theirs === undefined ? "-" : Math.round(theirs.bytes / effects), 12],
      [theirs?.ms.toFixed(1) ?? "-", 16],
      [memory.toFixed(2), 26],
    ] as const
    console.log(cells.map(([cell, width]) => String(cell).padStart(width)).join(""))
  }
  // The same long turn in invocations of 200 effects: what they write and read of the object's state is in their journals.
  const rounds = 250
  await client.call("/longTurns/measured/run/send", { turnId: "segments", rounds, workMs: 0, resultChars: 1_000 })
  for (;;) {
    const { end } = (await client.call("/longTurns/measured/status")) as { end: string | null }
    if (end !== null) break
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  const rows = await client.query<{ entry_type: string; bytes: number; entries: number; longest: number }>(
    "select j.entry_type, sum(j.raw_length) as bytes, count(*) as entries, max(j.raw_length) as longest from sys_journal j join sys_invocation i on i.id = j.id where i.target_service_name = 'longTurns' and i.target_handler_name = 'run' group by j.entry_type order by bytes desc",
  )
  const invocations = await client.query<{ count: number }>(
    "select count(*) as count from sys_invocation where target_service_name = 'longTurns' and target_handler_name = 'run'",
  )
  console.log(`\n${rounds} rounds (${effectsOf(rounds)} effects) in ${invocations[0]?.count} invocations of at most 200 effects:`)
  for (const { entry_type, bytes, entries, longest } of rows)
    console.log(`  ${entry_type.padEnd(26)}${String(entries).padStart(6)} entries${String(bytes).padStart(10)} bytes, the longest ${longest}`)
} finally {
  close()
  await engine.kill()
  rmSync(folder, { recursive: true, force: true })
}
process.exit(0)
