import { PrefixWatch } from "../replay/prefix.ts"
import type { LlmRequest } from "../wire/llm.ts"
import { describeDifference } from "./difference.ts"
import { LawError } from "./laws.ts"
import type { TracedCall } from "./turn-trace.ts"

/** Law 11, on the model calls of a turn in order. The requests are compared as they were when they were made. */
export function checkPrefix(calls: readonly TracedCall[]): void {
  const watch = new PrefixWatch()
  for (const { where, id, turn, requestText } of calls) {
    const request = JSON.parse(requestText) as LlmRequest
    const broken = watch.next(turn, request)
    if (broken === undefined || broken.marked) continue
    const { at: path, reason, previous } = broken
    const difference = { path, expected: valueAt(previous, path), received: valueAt(request, path) }
    const what = `the request of effect ${id} does not begin with the one before it (${reason})`
    throw new LawError("prefix", where, `${what}, ${describeDifference(difference)}`, difference)
  }
}

function valueAt(value: unknown, pointer: string): unknown {
  let found = value
  for (const key of pointer.split("/").slice(1))
    found = (found as Readonly<Record<string, unknown>> | undefined)?.[key.replaceAll("~1", "/").replaceAll("~0", "~")]
  return found
}
