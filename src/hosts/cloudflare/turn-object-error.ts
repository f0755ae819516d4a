import { TurnError } from "../../errors.ts"

/** What is wrong with a request to a `TurnObject`. */
export type TurnObjectErrorCode = "bad_request" | "unknown_route" | "method_not_allowed" | "request_too_large"

/** A request that a `TurnObject` does not accept. Nothing changed. */
export class TurnObjectError extends TurnError<TurnObjectErrorCode> {}
