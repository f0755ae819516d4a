import { approvalDriver } from "../../drivers/approval/driver.ts"
import type { ApprovalPolicy } from "../../drivers/approval/policy.ts"
import { type GoalDriverOptions, goalDriver } from "../../drivers/goal/driver.ts"
import type { GoalPolicy } from "../../drivers/goal/policy.ts"
import { invalidOption } from "../../drivers/options.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { GoalMode, TurnOrigin } from "../../wire/goal.ts"

/** A turn of a thread, about to begin or to be resumed. */
export interface ThreadTurn {
  readonly turnId: string
  readonly origin: TurnOrigin
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

/** How the turns of a thread are configured. */
export interface GoalTurnOptions {
  /**
   * The configuration of a turn: `driver`, `projector` and `model` are needed. Its driver is wrapped in a goal driver, which offers the goal tools
   * to the model, except with `goals: false`.
   */
  readonly config: TurnConfig | ((turn: ThreadTurn) => TurnConfig)
  /**
   * `false`: the thread is a conversation. Its model is offered no goal tools, its history gets no records of a goal, and commands are refused. A goal
   * that the thread has from before is neither charged nor continued, and is unchanged when the thread is opened with goals again. An open turn
   * ends as it began, with its goal or without. Default true.
   */
  readonly goals?: boolean
  readonly policy?: GoalPolicy
  /**
   * Decides which tool calls run, which a person is asked about, and which fail, as in `approvalDriver`: `toolbox([...]).approvals`, for
   * example. Goal tools are not asked about. Default: the driver of `config` decides. If it cannot hold calls, a run
   * with tools that ask is refused as `approval_without_driver`.
   */
  readonly approvals?: ApprovalPolicy
  /** Milliseconds after which an approval counts as expired. Default: no limit. */
  readonly approvalTtlMs?: number
  /** With `plan`, turns are neither charged to a goal nor continued. Default `default`. */
  readonly mode?: GoalMode
  /** More options of the goal driver, as in {@link GoalDriverOptions}. */
  readonly goal?: Pick<GoalDriverOptions, "costMicros" | "estimate" | "errorOf">
}

/**
 * The configuration of a thread's turn, with its driver in a goal driver unless `goals` is false. Running and reading a turn use the same one.
 * @throws {SchemaError} `invalid_config`: `approvals`, and a driver that holds calls itself
 */
export function goalConfig(threadId: string, turn: ThreadTurn, options: GoalTurnOptions): TurnConfig {
  const { config: given, mode = "default", policy = {}, goal = {}, approvals, approvalTtlMs: ttlMs } = options
  const config = typeof given === "function" ? given(turn) : given
  if (approvals !== undefined && config.driver?.onToolDecisions !== undefined)
    throw invalidOption(
      "Thread",
      "approvals",
      `the driver "${config.driver.name}" of config holds calls itself; leave out approvals, or pass config the driver inside its approvalDriver`,
    )
  const driver = approvals === undefined ? config.driver : approvalDriver(config.driver, { policy: approvals, ...(ttlMs !== undefined && { ttlMs }) })
  if (options.goals === false) return { ...config, driver }
  return { ...config, driver: goalDriver(driver, { threadId, ...turn, mode, policy, ...goal }) }
}
