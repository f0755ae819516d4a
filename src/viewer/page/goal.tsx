import type { VNode } from "preact"
import { useRef } from "preact/hooks"
import { tokensOf } from "../../machine/limits.ts"
import type { ViewedThread, ViewerData } from "../data.ts"
import { type BudgetSeries, goalBudget, goalOf, type Lease, turnBudget } from "../model/budget.ts"
import { itemsOverTurns } from "../model/checklist.ts"
import { count, date, dollars, duration, plural, short, words } from "../model/format.ts"
import type { Place } from "../model/link.ts"
import { outcomeText } from "../model/rows.ts"
import { ticks } from "../model/timeline.ts"
import type { TurnView } from "../model/turn-view.ts"
import { Inert, Text } from "./text.tsx"
import { nameOf } from "./turns.tsx"
import { useWidth } from "./width.ts"

/** Budgets, and the checklist of a goal over its turns. */
export function GoalView({
  data,
  turns,
  view,
  go,
}: {
  readonly data: ViewerData
  readonly turns: readonly TurnView[]
  readonly view: TurnView
  readonly go: (change: Partial<Place>) => void
}): VNode {
  const thread = data.threads.find(({ threadId }) => threadId === view.turn.thread) ?? data.threads[0]
  const shown = thread === undefined ? [view] : turns.filter(({ turn }) => turn.thread === thread.threadId)
  const series = thread === undefined ? undefined : goalBudget(thread, leasesOf(turns))
  return (
    <div class="goal scroll">
      {thread !== undefined && <GoalHead thread={thread} />}
      <section class="part">
        <h2>Budget</h2>
        <Budget series={series ?? turnBudget(view, leasesOf(turns))} />
      </section>
      {thread !== undefined && <Checklist thread={thread} turns={shown} go={go} />}
      <TurnTable turns={thread === undefined ? turns : shown} go={go} />
    </div>
  )
}

function leasesOf(turns: readonly TurnView[]): readonly Lease[] {
  return turns.flatMap(({ journal: { header }, rows }) => {
    const { parent, at } = header
    if (parent?.lease === undefined || at === undefined) return []
    const last = rows.at(-1)
    return [{ from: at, to: last?.kind === "end" ? (last.at ?? rows.findLast((row) => row.at !== undefined)?.at) : undefined, tokens: parent.lease }]
  })
}

function GoalHead({ thread }: { readonly thread: ViewedThread }): VNode | null {
  const goal = goalOf(thread)
  if (goal === null) return null
  const tone = goal.status === "complete" ? "good" : goal.status === "active" ? "plain" : "warn"
  const facts = [
    `${count(goal.tokensUsed + goal.childTokensUsed)}${goal.tokenBudget === null ? "" : ` of ${count(goal.tokenBudget)}`} tokens`,
    `${duration(goal.secondsUsed * 1_000)}${goal.secondsBudget === null ? "" : ` of ${duration(goal.secondsBudget * 1_000)}`}`,
    ...(goal.costUsedMicros === 0 && goal.costBudgetMicros === null
      ? []
      : [`${dollars(goal.costUsedMicros)}${goal.costBudgetMicros === null ? "" : ` of ${dollars(goal.costBudgetMicros)}`}`]),
    plural(goal.continuations, "continuation"),
  ]
  return (
    <section class="part">
      <h2>Goal</h2>
      <Text value={goal.objective} />
      <p class="who">
        <span class={`badge ${tone}`}>{words(goal.status)}</span>
        <span class="muted">{facts.join(" · ")}</span>
      </p>
      {goal.reason !== undefined && <Text class="muted" value={goal.reason} />}
    </section>
  )
}

const HEIGHT = 240
const LEFT = 56
const BOTTOM = 26

/** Tokens over time, one kind on top of the other. */
export function Budget({ series }: { readonly series: BudgetSeries }): VNode {
  const { points, limit, limits, marks, used } = series
  const box = useRef<HTMLElement>(null)
  const width = Math.min(1000, Math.max(280, useWidth(box)))
  const [first] = points
  const last = points.at(-1)
  if (first === undefined || last === undefined || points.length < 2)
    return (
      <figure class="budget" ref={box}>
        <figcaption class="muted">The journal has no usage with times.</figcaption>
      </figure>
    )
  const top = Math.max(1, used, limit ?? 0, ...points.map((point) => point.own + point.judge + point.children + point.reserved)) * 1.06
  const span = Math.max(1, last.at - first.at)
  const x = (at: number): number => LEFT + ((at - first.at) / span) * (width - LEFT - 8)
  const y = (tokens: number): number => HEIGHT - BOTTOM - (tokens / top) * (HEIGHT - BOTTOM - 14)
  const layers: readonly (readonly [string, (point: (typeof points)[number]) => number])[] = [
    ["own", ({ own }) => own],
    ["judge", ({ own, judge }) => own + judge],
    ["children", ({ own, judge, children }) => own + judge + children],
    ["reserved", ({ own, judge, children, reserved }) => own + judge + children + reserved],
  ]
  const area = (upper: (point: (typeof points)[number]) => number, lower: (point: (typeof points)[number]) => number): string => {
    // Use is known at the ends of calls, so it rises in steps.
    const line = (of: typeof upper): readonly string[] =>
      points.flatMap((point, index) => {
        const before = points[index - 1]
        return before === undefined ? [`${x(point.at)},${y(of(point))}`] : [`${x(point.at)},${y(of(before))}`, `${x(point.at)},${y(of(point))}`]
      })
    return `M${line(upper).join(" L")} L${[...line(lower)].reverse().join(" L")} Z`
  }
  const shares = { own: last.own, judge: last.judge, children: last.children, reserved: last.reserved }
  const percent = limit === undefined || limit === 0 ? "" : `, ${Math.round((used / limit) * 100)} %`
  const grid = gridOf(top)
  const shownLimits = limits.length === 0 ? [{ at: first.at, limit }] : limits
  return (
    <figure class="budget" ref={box}>
      <svg
        viewBox={`0 0 ${width} ${HEIGHT}`}
        role="img"
        aria-label={`${count(used)} tokens used${limit === undefined ? "" : ` of ${count(limit)}`} in ${duration(span)}`}
      >
        <defs>
          <pattern id="hatch-budget" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="2.2" height="6" class="hatch-line" />
          </pattern>
        </defs>
        {grid.map((tokens) => (
          <g key={tokens} class="tick">
            <line x1={LEFT} x2={width - 8} y1={y(tokens)} y2={y(tokens)} />
            <text x={LEFT - 6} y={y(tokens) + 4} text-anchor="end">
              {short(tokens)}
            </text>
          </g>
        ))}
        {ticks(span, width / 120).map((at) => (
          <g key={at} class="tick">
            <text x={x(first.at + at)} y={HEIGHT - 8} text-anchor={at === 0 ? "start" : x(first.at + at) > width - 40 ? "end" : "middle"}>
              +{duration(at)}
            </text>
          </g>
        ))}
        {layers.map(([name, upper], index) => (
          <path key={name} class={`area-${name}`} d={area(upper, layers[index - 1]?.[1] ?? (() => 0))} />
        ))}
        {shownLimits.map(({ at, limit: value }, index) => {
          if (value === undefined) return null
          const end = shownLimits[index + 1]?.at ?? last.at
          return (
            <g key={at} class="limit">
              <line x1={x(at)} x2={x(end)} y1={y(value)} y2={y(value)} />
              {index === shownLimits.length - 1 && (
                <text x={width - 10} y={y(value) + 13} text-anchor="end">
                  limit {short(value)}
                </text>
              )}
            </g>
          )
        })}
        {marks.map(({ at, label }, index) => (
          <g key={`${index}`} class="mark-line">
            <line x1={x(at)} x2={x(at)} y1={12} y2={HEIGHT - BOTTOM} />
            <text x={x(at) + (x(at) > width - 120 ? -4 : 4)} y={20} text-anchor={x(at) > width - 120 ? "end" : "start"}>
              {label}
            </text>
          </g>
        ))}
      </svg>
      <figcaption>
        <b>
          {count(used)} tokens{limit === undefined ? "" : ` of ${count(limit)}`}
          {percent}
        </b>
        {(["own", "judge", "children", "reserved"] as const).map(
          (name) =>
            (name === "own" || shares[name] > 0 || points.some((point) => point[name] > 0)) && (
              <span key={name} class={`legend-${name}`}>
                <i /> {name === "own" ? "turns" : name} {count(shares[name])}
              </span>
            ),
        )}
      </figcaption>
    </figure>
  )
}

function gridOf(top: number): readonly number[] {
  const least = top / 5
  const power = 10 ** Math.floor(Math.log10(least))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= least) ?? least
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, index) => index * step)
}

/** The items of a checklist, and the turns in which they were added and settled. */
function Checklist({
  thread,
  turns,
  go,
}: {
  readonly thread: ViewedThread
  readonly turns: readonly TurnView[]
  readonly go: (change: Partial<Place>) => void
}): VNode | null {
  const items = itemsOverTurns(thread)
  if (items.length === 0) return null
  const settled = items.filter(({ settledAfter }) => settledAfter !== undefined).length
  const isWide = thread.turns.length <= 40
  return (
    <section class="part">
      <h2>
        Checklist <span class="muted">{`${settled} of ${items.length} settled`}</span>
      </h2>
      <div class="wide" tabIndex={0} role="group" aria-label="Checklist over turns">
        <table class="checklist">
          <thead>
            <tr>
              <th scope="col">item</th>
              {isWide &&
                thread.turns.map(({ turnId }, index) => {
                  const shown = turns.find(({ turn }) => turn.header.turnId === turnId)
                  return (
                    <th key={turnId} scope="col" class="turn">
                      {shown === undefined ? (
                        index + 1
                      ) : (
                        <button type="button" class="link" title={turnId} onClick={() => go({ turn: shown.index, record: undefined, view: "steps" })}>
                          {index + 1}
                        </button>
                      )}
                    </th>
                  )
                })}
              <th scope="col">evidence</th>
            </tr>
          </thead>
          <tbody>
            {items.map(({ item, addedAfter, settledAfter, evidence }) => (
              <tr key={item.id}>
                <th scope="row">
                  <span class={`dot ${item.status === "completed" ? "good" : item.status === "impossible" ? "bad" : "warn"}`} />
                  <span class="sr">{item.status}: </span>
                  <Inert value={item.text} />
                </th>
                {isWide &&
                  thread.turns.map(({ turnId }, index) => (
                    <td key={turnId} class="turn">
                      {index === settledAfter ? (
                        <span class={item.status === "completed" ? "good-text" : "bad-text"}>{item.status === "completed" ? "✓" : "✗"}</span>
                      ) : index >= Math.max(0, addedAfter) && (settledAfter === undefined || index < settledAfter) ? (
                        <span class="muted">·</span>
                      ) : null}
                    </td>
                  ))}
                <td>
                  {evidence !== undefined && <Text value={evidence} first={240} />}
                  <span class="muted">
                    {item.addedBy === "user" ? "added by the user" : ""}
                    {!isWide && settledAfter !== undefined ? ` settled after turn ${settledAfter + 1}` : ""}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function TurnTable({ turns, go }: { readonly turns: readonly TurnView[]; readonly go: (change: Partial<Place>) => void }): VNode {
  return (
    <section class="part">
      <h2>Turns</h2>
      <div class="wide" tabIndex={0} role="group" aria-label="Turns">
        <table class="figures-table">
          <thead>
            <tr>
              <th scope="col">turn</th>
              <th scope="col">started</th>
              <th scope="col">worked</th>
              <th scope="col" class="num">
                model calls
              </th>
              <th scope="col" class="num">
                tools
              </th>
              <th scope="col" class="num">
                tokens
              </th>
              <th scope="col">outcome</th>
            </tr>
          </thead>
          <tbody>
            {turns.map((view) => {
              const { at, workedMs, modelCalls, toolCalls, usage, outcome } = view.outline
              return (
                <tr key={view.index}>
                  <td>
                    <button type="button" class="link" onClick={() => go({ turn: view.index, record: undefined, view: "steps" })}>
                      <Inert value={nameOf(view)} />
                    </button>
                  </td>
                  <td>{at === undefined ? "" : date(at)}</td>
                  <td>{duration(workedMs)}</td>
                  <td class="num">{count(modelCalls)}</td>
                  <td class="num">{count(toolCalls)}</td>
                  <td class="num">{count(tokensOf(usage))}</td>
                  <td>{outcome === undefined ? "unfinished" : outcomeText(outcome)}</td>
                </tr>
              )
            })}
          </tbody>
        </table>
      </div>
    </section>
  )
}
