import * as z from "zod"
import { Decision } from "../../../schemas/approval.ts"
import { ChecklistCommand } from "../../../schemas/checklist.ts"
import { GoalCommand, GoalContract } from "../../../schemas/goal.ts"

const when = z.enum(["now", "turn_end", "next_turn"]).exactOptional()
const more = z.int().positive().exactOptional()

/** A user's request about a goal, from any terminal. */
export const GoalRequest = z.discriminatedUnion("type", [
  /** `now`: the running turn ends at once, not at its next step. */
  z.strictObject({ type: z.literal("pause"), now: z.literal(true).exactOptional() }),
  z.strictObject({ type: z.literal("resume"), addTokens: more, addSeconds: more, addCostMicros: more }),
  z.strictObject({ type: z.literal("edit"), objective: z.string().exactOptional(), contract: GoalContract.nullable().exactOptional() }),
  z.strictObject({ type: z.literal("say"), text: z.string(), when }),
  /** Takes back what was said, if no turn has received it. */
  z.strictObject({ type: z.literal("retract"), inputId: z.string() }),
  z.strictObject({ type: z.literal("clear") }),
  /** A decision about a held call of a turn. */
  z.strictObject({ type: z.literal("decide"), turnId: z.string(), decision: Decision }),
  z.strictObject({ type: z.literal("subgoal_clear") }),
  z.strictObject({ type: z.literal("subgoal_add"), text: z.string() }),
  z.strictObject({ type: z.enum(["subgoal_done", "subgoal_impossible", "subgoal_undo", "subgoal_remove"]), index: z.string() }),
])
export type GoalRequest = Readonly<z.infer<typeof GoalRequest>>

/** A request as commands, with everything filled in that depends on the current list. Budgets are additions. */
export const ResolvedRequest = z.union([
  z.strictObject({ goal: GoalCommand, now: z.literal(true).exactOptional() }),
  z.strictObject({ say: z.string(), when }),
  z.strictObject({ retract: z.string() }),
  z.strictObject({ decide: Decision, turnId: z.string() }),
  z.strictObject({ item: ChecklistCommand }),
])
export type ResolvedRequest = Readonly<z.infer<typeof ResolvedRequest>>

/** The result of a request, for the process that made it. */
export const RequestResult = z.strictObject({
  ok: z.boolean(),
  message: z.string(),
  /** Of a decision: its result, and why it does not count. */
  status: z.enum(["accepted", "stale", "refused"]).exactOptional(),
  code: z.string().exactOptional(),
  /** Of what was said: its id in the queue. */
  inputId: z.string().exactOptional(),
})
export type RequestResult = Readonly<z.infer<typeof RequestResult>>

/** Carries out requests in two steps, so that a crash between them does not apply a request twice. */
export interface RequestHandler {
  /** The thread of the goal. Requests for another one are not carried out. Absent: all are. */
  readonly threadId?: string
  /** Fills in what depends on the goal's current state. A string says why the request cannot be carried out. */
  resolve(request: GoalRequest): ResolvedRequest | string
  /** Applies a request. Idempotent: a request with the same key is applied once. */
  apply(resolved: ResolvedRequest, key: string): Promise<RequestResult>
}
