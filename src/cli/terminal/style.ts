import { styleText } from "node:util"
import type { Io } from "./io.ts"

/** One or more colours and weights. */
export type Style = Parameters<typeof styleText>[0]

/** Whether output is in colour: NO_COLOR, FORCE_COLOR and TERM decide, and else whether it is a terminal. */
export function isColoured({ stdout, env }: Pick<Io, "stdout" | "env">): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = env
  const wanted = FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0"
  return (NO_COLOR ?? "") === "" && (wanted || (stdout.isTTY === true && TERM !== "dumb" && FORCE_COLOR !== "0"))
}

/** Returns a function that styles text, where output is in colour. */
export function styler(io: Pick<Io, "stdout" | "env">): (style: Style, text: string) => string {
  const coloured = isColoured(io)
  return (style, text) => (coloured ? styleText(style, text, { validateStream: false }) : text)
}

/** The columns of a terminal; infinity where the output is not a terminal. */
export function widthOf({ isTTY, columns = 0 }: Io["stdout"]): number {
  return isTTY === true && columns > 0 ? columns : Number.POSITIVE_INFINITY
}
