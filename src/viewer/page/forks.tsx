import type { VNode } from "preact"
import { useMemo, useRef } from "preact/hooks"
import { type Branch, sideBySide } from "../model/forks.ts"
import { plural } from "../model/format.ts"
import { inertLine } from "../model/inert.ts"
import type { Place } from "../model/link.ts"
import { outcomeText, type Row } from "../model/rows.ts"
import type { TurnView } from "../model/turn-view.ts"
import { ForkTab } from "./detail.tsx"
import { Inert } from "./text.tsx"
import { nameOf, toneOf } from "./turns.tsx"
import { useWidth } from "./width.ts"

/** Rows of each side that are shown. */
const MOST = 200

/** The journals as branches, and two of them next to each other. */
export function ForksView({
  turns,
  branches,
  view,
  row,
  go,
}: {
  readonly turns: readonly TurnView[]
  readonly branches: readonly Branch[]
  readonly view: TurnView
  readonly row: Row | undefined
  readonly go: (change: Partial<Place>) => void
}): VNode {
  const family = familyOf(branches, view.index)
  const own = branches.find(({ turn }) => turn === view.index)
  const other = own?.parent ?? branches.find(({ parent }) => parent === view.index)?.turn
  const [first, second] = own?.parent === undefined ? [view.index, other] : [own.parent, view.index]
  const [left, right] = [turns[first], second === undefined ? undefined : turns[second]]
  return (
    <div class="forks scroll">
      <section class="part">
        <h2>Branches</h2>
        {family.length > 1 ? (
          <Tree turns={turns} family={family} shown={view.index} go={go} />
        ) : (
          <p class="muted">The page has no fork of this turn.</p>
        )}
      </section>
      {left !== undefined && right !== undefined && <Pair left={left} right={right} go={go} />}
      <section class="part">
        <h2>Fork at record {row?.number ?? 1}</h2>
        {row !== undefined && <ForkTab view={view} row={row} />}
      </section>
    </div>
  )
}

/** The branches that are connected with a turn. */
function familyOf(branches: readonly Branch[], turn: number): readonly Branch[] {
  const byTurn = new Map(branches.map((branch) => [branch.turn, branch]))
  const rootOf = (branch: Branch | undefined): number | undefined =>
    branch === undefined ? undefined : branch.parent === undefined ? branch.turn : rootOf(byTurn.get(branch.parent))
  const root = rootOf(byTurn.get(turn))
  return branches.filter((branch) => rootOf(branch) === root)
}

const LINE = 34
const MOST_WIDTH = 760

function Tree({
  turns,
  family,
  shown,
  go,
}: {
  readonly turns: readonly TurnView[]
  readonly family: readonly Branch[]
  readonly shown: number
  readonly go: (change: Partial<Place>) => void
}): VNode {
  const box = useRef<HTMLDivElement>(null)
  const width = Math.max(200, Math.min(MOST_WIDTH, useWidth(box)))
  const label = width < 500 ? 90 : 200
  const most = Math.max(...family.map(({ turn }) => turns[turn]?.rows.at(-1)?.number ?? 1))
  const x = (number: number): number => label + 10 + ((number - 1) / Math.max(1, most - 1)) * (width - label - 50)
  const lineOf = new Map(family.map(({ turn }, index) => [turn, index]))
  return (
    <div ref={box}>
      <svg class="tree" width={width} height={family.length * LINE + 6} aria-hidden="true">
        {family.map(({ turn, parent, at }, index) => {
          const view = turns[turn] as TurnView
          const last = view.rows.at(-1)?.number ?? 1
          const y = index * LINE + 18
          const from = parent === undefined ? undefined : (lineOf.get(parent) ?? 0) * LINE + 18
          const start = at === undefined ? 1 : at - 1
          return (
            <g key={turn} class={`branch ${turn === shown ? "shown" : ""}`} onClick={() => go({ turn, record: undefined })}>
              <text x="0" y={y + 4}>
                {inertLine(nameOf(view), label / 7)}
              </text>
              {from !== undefined && <path d={`M${x(start)},${from} C${x(start) + 14},${from} ${x(start)},${y} ${x(start) + 18},${y}`} />}
              <path d={`M${at === undefined ? x(1) : x(start) + 18},${y} L${Math.max(x(last), x(start) + 22)},${y}`} />
              <circle cx={Math.max(x(last), x(start) + 22)} cy={y} r="4.5" class={toneOf(view)} />
            </g>
          )
        })}
      </svg>
      <ul class="branches">
        {family.map(({ turn, parent, at }) => (
          <li key={turn}>
            <button type="button" class="link" aria-current={turn === shown ? "true" : undefined} onClick={() => go({ turn, record: undefined })}>
              <Inert value={nameOf(turns[turn] as TurnView)} />
            </button>
            <span class="muted">
              {parent === undefined ? "" : `leaves ${inertLine(nameOf(turns[parent] as TurnView))} at record ${at}, `}
              {plural(turns[turn]?.rows.length ?? 0, "record")}, {stateOf(turns[turn] as TurnView)}
            </span>
          </li>
        ))}
      </ul>
    </div>
  )
}

function stateOf({ outline: { outcome } }: TurnView): string {
  return outcome === undefined ? "unfinished" : outcomeText(outcome)
}

function Pair({ left, right, go }: { readonly left: TurnView; readonly right: TurnView; readonly go: (change: Partial<Place>) => void }): VNode {
  const { shared, why, header } = useMemo(() => sideBySide(left.journal, right.journal), [left, right])
  return (
    <section class="part">
      <h2>Side by side</h2>
      <p>
        {plural(shared, "record")} are the same in both. {why}
        {header.length > 0 && <span class="muted"> The turns also started differently: {inertLine(header.slice(0, 6).join(", "))}.</span>}
      </p>
      <div class="sides">
        {[left, right].map((view) => {
          const rows = view.rows.filter(({ number }) => number > shared)
          return (
            <div key={view.index}>
              <h3>
                <Inert value={nameOf(view)} />
              </h3>
              <ol>
                {rows.slice(0, MOST).map(({ number, title, detail, kind, failed }) => (
                  <li key={number}>
                    <button
                      type="button"
                      class={`side kind-${kind} ${failed ? "failed" : ""}`}
                      onClick={() => go({ turn: view.index, record: number, view: "steps" })}
                    >
                      <span class="no">{number}</span>
                      <span class="mark" />
                      <span class="what">
                        <b>{title}</b> <span class="said">{detail}</span>
                      </span>
                    </button>
                  </li>
                ))}
                {rows.length === 0 && <li class="muted">Nothing more.</li>}
                {rows.length > MOST && <li class="muted">and {plural(rows.length - MOST, "more record")}</li>}
              </ol>
            </div>
          )
        })}
      </div>
    </section>
  )
}
