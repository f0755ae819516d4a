import { TurnError } from "../../errors.ts"

/** What a caller may get wrong about a thread. */
export type ThreadErrorCode = "invalid_input" | "id_taken" | "key_reused" | "input_not_queued" | "without_goals"

/** An input or a command that the thread does not accept. Nothing was recorded. */
export class ThreadError extends TurnError<ThreadErrorCode> {}
