import { ANSWERS, TRANSITIONS } from "../../src/machine/transitions.ts"

const LABELS: ReadonlySet<string> = new Set(["poll", ...Object.keys(ANSWERS), ...Object.values(ANSWERS).flat()])

/** Returns what is wrong with a mermaid state diagram: invalid lines, or states and labels that the machine does not have. */
export function diagramProblem(text: string): string | undefined {
  const [head, ...lines] = text.split("\n").map((line) => line.trim())
  if (head !== "stateDiagram-v2") return `It begins with ${head} instead of stateDiagram-v2.`
  const boxes = new Set(["[*]", ...Object.keys(TRANSITIONS)])
  let arrows = 0
  for (const line of lines) {
    if (line === "" || line === "direction LR") continue
    const named = /^state "[^"]+" as (\w+)$/.exec(line)
    if (named !== null) {
      boxes.add(named[1] ?? "")
      continue
    }
    const arrow = /^(\S+) --> (\S+?)(?:: (\w+))?$/.exec(line)
    if (arrow === null) return `This is not an arrow: ${line}`
    const [, from = "", to = "", label] = arrow
    const unknown = [from, to].find((box) => !boxes.has(box)) ?? (label === undefined || LABELS.has(label) ? undefined : label)
    if (unknown !== undefined) return `There is no ${unknown}: ${line}`
    arrows += 1
  }
  return arrows === 0 ? "It has no arrows." : undefined
}
