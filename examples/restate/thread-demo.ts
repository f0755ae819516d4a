import type { Client } from "./client.ts"
import { ThreadClient } from "./thread-client.ts"

/** A thread with a goal, over the end of its service: `restart` kills it and starts another one. */
export async function showGoal(client: Client, restart: () => Promise<void>): Promise<void> {
  const thread = new ThreadClient(client, "report")
  console.log("\n6. A thread is an object of its own, with its log as state. It gets a goal, and works on it in turns.")
  await thread.command({ type: "set", objective: "Write a report of 12 figures.", tokenBudget: 10_000 }, "goal-1")
  await thread.until(({ turns, progress }) => turns >= 1 && (progress?.usage.inputTokens ?? 0) > 0)
  console.log("   The service is killed in the middle of a turn, and the goal continues where it was.")
  await restart()
  await thread.steer("Keep it short.", "input-1")
  const { goal, turns } = await thread.until((status) => status.goal?.status === "complete" && status.rest !== undefined)
  console.log(`   The goal is ${goal?.status}, after ${turns} turns and ${goal?.tokensUsed} tokens of ${goal?.tokenBudget}.`)
  const state = await client.query<{ service_key: string; entries: number; bytes: number; longest: number }>(
    "select service_key, count(*) as entries, sum(length(value)) as bytes, max(length(value)) as longest from state where service_name = 'agent' group by service_key order by service_key",
  )
  for (const { service_key, entries, bytes, longest } of state)
    console.log(`   The state of agent/${service_key}: ${entries} values, ${bytes} bytes; the longest value has ${longest}.`)
}
