import type { Exception } from "@opentelemetry/api"
import { messageOf } from "../run/failures.ts"
import { errorType, OTHER } from "./conventions.ts"

/** An error of a span. */
export interface SpanError {
  /** `error.type`. */
  readonly type: string
  readonly message: string
  /** What is recorded as an exception. Absent: only the span's status has the error. */
  readonly exception?: Raised
}

/** Where an error comes from. */
export interface Raised {
  /** What was thrown. Absent: a failure that was returned. */
  readonly thrown?: unknown
  /** It is an error of code that a model wrote: its name and its stack are the model's, too. */
  readonly ofCode?: true
}

/** An exception with its message and its stack. */
export function wholeException({ type, message }: SpanError, raised: Raised): Exception {
  if (!("thrown" in raised)) return { name: type, message }
  return raised.thrown instanceof Error ? raised.thrown : messageOf(raised.thrown)
}

/**
 * An exception without its message, which may quote a prompt, a result or code: its name, and the frames of its stack. Of code that a model
 * wrote, only the type.
 */
export function bareException({ type }: SpanError, { thrown, ofCode }: Raised): Exception {
  if (ofCode === true || !(thrown instanceof Error)) return { name: type }
  const name = errorType(thrown.name)
  const frames = framesOf(thrown)
  return { name: name === OTHER ? type : name, ...(frames !== "" && { stack: frames }) }
}

/** The frames of a stack, without the message that it begins with, and without frames of code that was evaluated. */
function framesOf({ message, stack }: Error): string {
  if (typeof stack !== "string" || typeof message !== "string") return ""
  const head = message === "" ? "" : `: ${message}`
  const at = stack.indexOf(`${head}\n    at `)
  // What is not recognized is left out: it may be an older message, or a line of the source.
  if (at < 0 || !/^[\w$.]{1,100}(?: \[\w+\])?$/.test(stack.slice(0, at))) return ""
  const lines = stack.slice(at + head.length + 1).split("\n")
  return lines.filter((line) => FRAME.test(line) && !EVALUATED.test(line)).join("\n")
}

const FRAME = /^ {4}at (?:[\w$.<># [\]]+ \()?[^()\s]+:\d+:\d+\)?$/
const EVALUATED = /\beval\b|evalmachine|<anonymous>:\d/
