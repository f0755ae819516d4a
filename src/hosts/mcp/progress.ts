import { shortened } from "../../text.ts"
import type { ToolProgress } from "../tools/define-tool.ts"

/** A server may notify without end. A person could not read more. */
const LEAST_MS = 50
const MESSAGE_CHARS = 1_000

/** Receives the progress notifications of one call, and passes on what can be shown: the first, the last of its total, and one in 50 ms. */
export function progressOf(emit: (progress: ToolProgress) => void): (notification: unknown) => void {
  let shownAt = Number.NEGATIVE_INFINITY
  return (notification) => {
    const { progress, total, message } = (typeof notification === "object" && notification !== null ? notification : {}) as {
      readonly [key: string]: unknown
    }
    const now = performance.now()
    const isEnd = isNumber(progress) && isNumber(total) && progress >= total
    if (now - shownAt < LEAST_MS && !isEnd) return
    shownAt = now
    emit({
      ...(typeof message === "string" && { message: message.length > MESSAGE_CHARS ? shortened(message) : message }),
      ...(isNumber(progress) && { progress }),
      ...(isNumber(total) && { total }),
    })
  }
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value)
}
