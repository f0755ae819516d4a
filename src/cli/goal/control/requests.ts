import * as z from "zod"
import { ChecklistCommand } from "../../schemas/checklist.ts"
import { GoalCommand } from "../../schemas/goal.ts"

const more = z.int().positive().exactOptional()

/** What a person wants of a goal, from whichever terminal. */
export const Order = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("pause") }),
  z.strictObject({ type: z.literal("resume"), addTokens: more, addSeconds: more, addCostMicros: more }),
  z.strictObject({ type: z.literal("edit"), objective: z.string() }),
  z.strictObject({ type: z.literal("clear") }),
  z.strictObject({ type: z.literal("subgoal_add"), text: z.string() }),
  z.strictObject({ type: z.enum(["subgoal_done", "subgoal_impossible", "subgoal_undo", "subgoal_remove"]), index: z.string() }),
])
export type Order = Readonly<z.infer<typeof Order>>

/** The same with what it depends on filled in. */
export const Settled = z.union([z.strictObject({ goal: GoalCommand }), z.strictObject({ item: ChecklistCommand })])
export type Settled = Readonly<z.infer<typeof Settled>>

/** What came of an order, for whoever gave it. */
export const Answer = z.strictObject({ ok: z.boolean(), message: z.string() })
export type Answer = Readonly<z.infer<typeof Answer>>

/** Settles what is ordered, given how things stand now, and does what is settled. */
export interface Office {
  /** A text says why it cannot be done. */
  settle(order: Order): Settled | string
  /** Done twice, it is as if it was done once. */
  perform(settled: Settled): Promise<Answer>
}
