import { styleText } from "node:util"
import type { Io } from "./io.ts"

/** A colour or a weight, or several. */
export type Style = Parameters<typeof styleText>[0]

/** Whether output is in colour: on a terminal that wants it. */
export function isColoured({ stdout, env }: Pick<Io, "stdout" | "env">): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = env
  const wanted = FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0"
  return (NO_COLOR ?? "") === "" && (wanted || (stdout.isTTY === true && TERM !== "dumb" && FORCE_COLOR !== "0"))
}

/** Gives text its style, where output is in colour. */
export function styler(io: Pick<Io, "stdout" | "env">): (style: Style, text: string) => string {
  const coloured = isColoured(io)
  return (style, text) => (coloured ? styleText(style, text, { validateStream: false }) : text)
}

/** How many columns a terminal has; no limit where output goes elsewhere. */
export function widthOf({ isTTY, columns = 0 }: Io["stdout"]): number {
  return isTTY === true && columns > 0 ? columns : Number.POSITIVE_INFINITY
}
