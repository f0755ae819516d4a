import { type GoalDriverOptions, goalDriver } from "../../drivers/goal/driver.ts"
import type { GoalPolicy } from "../../drivers/goal/policy.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { GoalMode, TurnOrigin } from "../../schemas/goal.ts"

/** A turn that is about to begin, or to be taken up. */
export interface ThreadTurn {
  readonly turnId: string
  readonly origin: TurnOrigin
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

/** What the turns of a thread are configured by. */
export interface GoalTurnOptions {
  /** The configuration of a turn. Its driver is wrapped in a goal driver, which gives the model the goal tools. */
  readonly config: TurnConfig | ((turn: ThreadTurn) => TurnConfig)
  readonly policy?: GoalPolicy
  /** Default `default`; `plan`: turns are neither charged to a goal nor continued. */
  readonly mode?: GoalMode
  /** What the goal driver is told besides, as in {@link GoalDriverOptions}. */
  readonly goal?: Pick<GoalDriverOptions, "costMicros" | "estimate" | "errorOf">
}

/** The configuration of a thread's turn, its driver in a goal driver: the same for whoever runs the turn or only reads it. */
export function goalConfig(threadId: string, turn: ThreadTurn, options: GoalTurnOptions): TurnConfig {
  const { config: given, mode = "default", policy = {}, goal = {} } = options
  const config = typeof given === "function" ? given(turn) : given
  return { ...config, driver: goalDriver(config.driver, { threadId, ...turn, mode, policy, ...goal }) }
}
