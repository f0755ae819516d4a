import { chatDriver } from "../../drivers/chat.ts"
import { compactingDriver } from "../../drivers/compaction/driver.ts"
import { goalDriver } from "../../drivers/goal/driver.ts"
import { costOf } from "../../hosts/models/prices.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { ProtocolDriver } from "../../machine/driver.ts"
import { chatProjector } from "../../projectors/chat.ts"
import { viewProjector } from "../../projectors/view.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import type { AgentSpec, GoalSpec } from "../data.ts"

/** The configuration that a description stands for. */
export function configOf({ driver, goal, projector, data }: AgentSpec): TurnConfig {
  const inner = DRIVERS[driver]()
  return {
    ...data,
    driver: goal === undefined ? inner : withGoal(inner, goal),
    projector: projector === "view" ? viewProjector(chatProjector) : chatProjector,
  }
}

const DRIVERS: { readonly [Name in AgentSpec["driver"]]: () => ProtocolDriver } = {
  chat: () => chatDriver(),
  "compacting(chat)": () => compactingDriver(chatDriver()),
}

function withGoal(inner: ProtocolDriver, { prices, ...options }: GoalSpec): ProtocolDriver {
  return goalDriver(inner, { ...options, ...(prices !== undefined && { costMicros: (usage: TokenUsage) => costOf(usage, prices) }) })
}
