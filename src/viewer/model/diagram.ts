import { PREPARATION, TRANSITIONS } from "../../machine/transitions.ts"
import type { StateName } from "../../machine/turn.ts"

/** A state in the diagram: its place in the drawing, which is 640 by 190. */
export interface Node {
  readonly name: StateName
  readonly label: string
  readonly x: number
  readonly y: number
}

const NODES: readonly Node[] = [
  { name: "preparing", label: "preparing", x: 70, y: 28 },
  { name: "waiting_execution_surface", label: "waits: surface", x: 70, y: 95 },
  { name: "prepare_iteration", label: "next iteration", x: 70, y: 162 },
  { name: "waiting_llm", label: "waits: model", x: 260, y: 95 },
  { name: "waiting_tools", label: "waits: tools", x: 430, y: 28 },
  { name: "waiting_exec", label: "waits: code", x: 430, y: 95 },
  { name: "waiting_checkpoint", label: "waits: checkpoint", x: 430, y: 162 },
  { name: "finished", label: "finished", x: 580, y: 95 },
]

export const NODE_WIDTH = 112
export const NODE_HEIGHT = 30

/** An edge of the diagram. `taken`: the step took it, as its so-manieth one, from 1. */
export interface Edge {
  readonly from: StateName
  readonly to: StateName
  readonly taken: number | undefined
}

/** The states of the machine, in their places. */
export function nodes(): readonly Node[] {
  return NODES
}

/** The edges of the machine's table, and those that a step took, also if the table does not have them: a command of the host may leave any state. */
export function edgesOf(states: readonly StateName[]): readonly Edge[] {
  const taken = new Map<string, Edge>()
  for (let index = 1; index < states.length; index += 1) {
    const [from, to] = [states[index - 1], states[index]]
    if (from === undefined || to === undefined || taken.has(`${from} ${to}`)) continue
    taken.set(`${from} ${to}`, { from, to, taken: index })
  }
  const others: Edge[] = []
  for (const [from, next] of TABLE) for (const to of next) if (from !== to && !taken.has(`${from} ${to}`)) others.push({ from, to, taken: undefined })
  return [...others, ...taken.values()]
}

const TABLE: readonly (readonly [StateName, readonly StateName[]])[] = (Object.keys(TRANSITIONS) as StateName[]).map((from) => {
  const rules = TRANSITIONS[from] as { readonly [response: string]: { readonly next: readonly StateName[] } }
  const prepared = from === "preparing" || from === "prepare_iteration" ? PREPARATION[from].next : []
  return [from, [...new Set([...Object.values(rules).flatMap(({ next }) => next), ...prepared])]]
})

/** The path of an edge between the borders of its states, slightly bent so that the way there and the way back are apart. */
export function pathOf({ from, to }: Pick<Edge, "from" | "to">): string {
  const [start, end] = [place(from), place(to)]
  if (from === to) {
    const { x, y } = start
    const side = x + NODE_WIDTH / 2
    return `M${side - 26},${y - NODE_HEIGHT / 2} C${side - 20},${y - 34} ${side + 24},${y - 30} ${side},${y - 6}`
  }
  const [dx, dy] = [end.x - start.x, end.y - start.y]
  const length = Math.hypot(dx, dy)
  const bend = 10
  const middle = { x: (start.x + end.x) / 2 - (dy / length) * bend, y: (start.y + end.y) / 2 + (dx / length) * bend }
  const [a, b] = [border(start, middle), border(end, middle)]
  return `M${a.x.toFixed(1)},${a.y.toFixed(1)} Q${middle.x.toFixed(1)},${middle.y.toFixed(1)} ${b.x.toFixed(1)},${b.y.toFixed(1)}`
}

interface Point {
  readonly x: number
  readonly y: number
}

function place(name: StateName): Point {
  return NODES.find((node) => node.name === name) ?? { x: 0, y: 0 }
}

/** Where the line from the middle of a state to a point leaves its box. */
function border(box: Point, to: Point): Point {
  const [dx, dy] = [to.x - box.x, to.y - box.y]
  const [halfWidth, halfHeight] = [NODE_WIDTH / 2 + 1, NODE_HEIGHT / 2 + 1]
  const share = Math.min(
    dx === 0 ? Number.POSITIVE_INFINITY : halfWidth / Math.abs(dx),
    dy === 0 ? Number.POSITIVE_INFINITY : halfHeight / Math.abs(dy),
  )
  return { x: box.x + dx * share, y: box.y + dy * share }
}
