import { execFileSync } from "node:child_process"
import { bundled } from "./bundle.ts"
import { median } from "./rounds.ts"
import { LENGTHS } from "./script.ts"

/** The fastest and the median round in microseconds per iteration, and the ratio of the fastest to the baseline's of the same pass. */
export interface TurnFigure {
  readonly bestUs: number
  readonly medianUs: number
  readonly ratio: number
}

export interface TurnFigures {
  readonly iterations: number
  readonly floor: TurnFigure
  /** `JSON.parse(JSON.stringify(response))` of every response: the cost of only storing the turn. */
  readonly json: TurnFigure
  readonly bare: TurnFigure
  readonly validated: TurnFigure
}

const NAMES = ["floor", "json", "bare", "validated"] as const
type Row = Pick<TurnFigure, "bestUs" | "medianUs">

/** Runs several passes over all contenders, each in its own process. A ratio compares two processes of one pass. */
export function measureTurns(quick: boolean): readonly TurnFigures[] {
  const passes = bundled({ contenders: 'import "./contenders.ts"' }, ({ contenders }) =>
    Array.from({ length: quick ? 1 : 5 }, () =>
      NAMES.map(
        (name) => JSON.parse(execFileSync(process.execPath, [contenders, name, quick ? "0.2" : "1"], { encoding: "utf8" })) as readonly Row[],
      ),
    ),
  )
  return LENGTHS.map((iterations, length) => {
    const figure = (name: (typeof NAMES)[number]): TurnFigure => {
      const row = (pass: readonly (readonly Row[])[], of: (typeof NAMES)[number]): Row =>
        pass[NAMES.indexOf(of)]?.[length] ?? { bestUs: Number.NaN, medianUs: Number.NaN }
      return {
        bestUs: Math.min(...passes.map((pass) => row(pass, name).bestUs)),
        medianUs: median(passes.map((pass) => row(pass, name).medianUs)),
        ratio: median(passes.map((pass) => row(pass, name).bestUs / row(pass, "floor").bestUs)),
      }
    }
    return { iterations, floor: figure("floor"), json: figure("json"), bare: figure("bare"), validated: figure("validated") }
  })
}
