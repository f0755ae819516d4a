import type { Bar, LanedBar } from "./timeline.ts"
import { lanesOf } from "./timeline.ts"
import type { TurnView } from "./turn-view.ts"

/** The lanes of one kind of work, one below the other. */
export interface LaneGroup {
  readonly label: string
  readonly bars: readonly LanedBar[]
  readonly lanes: number
  /** The turn whose records the bars name, by its index in the page. */
  readonly turn: number
  /** How deep the turn is below the one that is shown. */
  readonly depth: number
}

const GROUPS: readonly (readonly [label: string, kinds: readonly Bar["kind"][]])[] = [
  ["model", ["model"]],
  ["tools", ["tool", "code"]],
  ["waits", ["held", "outside"]],
]

/** The lanes of a turn: model calls, tools, waits, and then those of its children. */
export function laneGroups(turns: readonly TurnView[], view: TurnView): readonly LaneGroup[] {
  return groupsOf(turns, view, 0, new Set([view.index]))
}

/** `seen`: the turns that have lanes. Headers may name one another in a circle. */
function groupsOf(turns: readonly TurnView[], view: TurnView, depth: number, seen: Set<number>): readonly LaneGroup[] {
  const own = GROUPS.flatMap(([label, kinds]): readonly LaneGroup[] => {
    const bars = lanesOf(view.bars.filter(({ kind }) => kinds.includes(kind)))
    return bars.length === 0 ? [] : [{ label, bars, lanes: 1 + bars.reduce((most, { lane }) => Math.max(most, lane), 0), turn: view.index, depth }]
  })
  if (depth > 4) return own
  const children = turns.filter(
    ({ turn: { header } }) => header.parent?.turnId === view.turn.header.turnId && header.turnId !== view.turn.header.turnId,
  )
  return [
    ...own,
    ...children.flatMap((child) => {
      if (seen.has(child.index)) return []
      seen.add(child.index)
      const groups = groupsOf(turns, child, depth + 1, seen)
      const { parent } = child.turn.header
      return groups.map((group, index) =>
        group.turn === child.index && index === 0 ? { ...group, label: `↳ ${parent?.name ?? parent?.callId ?? "child"}` } : group,
      )
    }),
  ]
}
