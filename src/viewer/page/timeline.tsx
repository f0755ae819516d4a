import type { VNode } from "preact"
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks"
import { clock, duration } from "../model/format.ts"
import { inertLine } from "../model/inert.ts"
import type { Place } from "../model/link.ts"
import { laneGroups } from "../model/nested.ts"
import type { Row } from "../model/rows.ts"
import { axisTimes, type DrawnBar, drawnBars, timeScale } from "../model/timeline.ts"
import type { TurnView } from "../model/turn-view.ts"
import { useWidth } from "./width.ts"

const LANE = 15
const GAP = 7
const AXIS = 22
const LABELS = 84
const MOST_HEIGHT = 210
/** The end of the axis is below the buttons, where no time can be read. */
const BUTTONS = 150
/** Of the timeline's box, whose width has its margins in it. */
const MARGIN = 18

/** What ran when. Zoom with the buttons, with + and −, or with Ctrl and the wheel; drag to move. */
export function Timeline({
  turns,
  view,
  row,
  go,
}: {
  readonly turns: readonly TurnView[]
  readonly view: TurnView
  readonly row: Row | undefined
  readonly go: (change: Partial<Place>) => void
}): VNode | null {
  const box = useRef<HTMLDivElement>(null)
  const width = Math.max(50, useWidth(box) - LABELS - 2 * MARGIN)
  const [window, setWindow] = useState({ from: 0, to: 1 })
  const groups = useMemo(() => laneGroups(turns, view), [turns, view])
  const scale = useMemo(() => {
    const { at } = view.journal.header
    const last = view.rows.findLast((each) => each.at !== undefined)?.at
    return timeScale(
      groups.flatMap(({ bars }) => bars),
      [at, last].filter((time) => time !== undefined),
    )
  }, [groups, view])
  useLayoutEffect(() => setWindow({ from: 0, to: 1 }), [view])
  if (groups.length === 0) return null

  const zoom = (factor: number, at = 0.5): void =>
    setWindow(({ from, to }) => {
      const length = Math.min(1, Math.max(1e-6, (to - from) * factor))
      const start = Math.min(1 - length, Math.max(0, from + (to - from) * at - length * at))
      return { from: start, to: start + length }
    })
  const drag = (event: PointerEvent & { readonly currentTarget: SVGSVGElement }): void => {
    if (window.to - window.from >= 1) return
    const { clientX } = event
    const { currentTarget: target } = event
    const start = window
    const slide = (moved: PointerEvent): void => {
      const by = ((clientX - moved.clientX) / width) * (start.to - start.from)
      const from = Math.min(1 - (start.to - start.from), Math.max(0, start.from + by))
      setWindow({ from, to: from + start.to - start.from })
    }
    target.addEventListener("pointermove", slide)
    const end = (): void => target.removeEventListener("pointermove", slide)
    addEventListener("pointerup", end, { once: true })
  }
  const wheel = (event: WheelEvent & { readonly currentTarget: SVGSVGElement }): void => {
    if (!event.ctrlKey) return
    event.preventDefault()
    const { left } = event.currentTarget.getBoundingClientRect()
    zoom(event.deltaY > 0 ? 1.25 : 0.8, Math.min(1, Math.max(0, (event.clientX - left - LABELS) / width)))
  }
  const keys = (event: KeyboardEvent): void => {
    const factor = { "+": 0.6, "=": 0.6, "-": 1.6, "0": 1e9 }[event.key]
    if (factor === undefined) return
    event.preventDefault()
    event.stopPropagation()
    zoom(factor)
  }

  const tops: number[] = []
  let height = AXIS
  for (const { lanes } of groups) {
    tops.push(height)
    height += lanes * LANE + GAP
  }
  const x = (time: number): number => LABELS + ((scale.position(time) - window.from) / (window.to - window.from)) * width
  const shownTicks = axisTimes(scale, window, width)
  const isWhole = window.to - window.from >= 1
  return (
    <section class="timeline" aria-label="Timeline" ref={box}>
      <div class="zoom">
        <button type="button" class="small" aria-label="Zoom in" onClick={() => zoom(0.6)}>
          +
        </button>
        <button type="button" class="small" aria-label="Zoom out" onClick={() => zoom(1.6)} disabled={isWhole}>
          −
        </button>
        <button type="button" class="small" onClick={() => zoom(1e9)} disabled={isWhole}>
          Fit
        </button>
      </div>
      <div class="lanes" style={{ maxHeight: `${MOST_HEIGHT}px` }} tabIndex={0} role="group" aria-label="Lanes; + and − zoom" onKeyDown={keys}>
        <svg width={width + LABELS} height={height} class={isWhole ? "" : "can-move"} onPointerDown={drag} onWheel={wheel} aria-hidden="true">
          <defs>
            <pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <rect width="6" height="6" class="hatch-ground" />
              <rect width="2.2" height="6" class="hatch-line" />
            </pattern>
            <clipPath id="lanes">
              <rect x={LABELS} y="0" width={width} height={height} />
            </clipPath>
          </defs>
          {shownTicks.map((time) => (
            <g key={time} class="tick">
              <line x1={x(time)} x2={x(time)} y1={AXIS - 6} y2={height} />
              {x(time) < LABELS + width - BUTTONS && (
                <text x={x(time) + 3} y={11}>
                  +{duration(time - scale.from)}
                </text>
              )}
            </g>
          ))}
          <g clip-path="url(#lanes)">
            {scale.gaps.map(({ at, milliseconds }) => {
              const place = LABELS + ((at - window.from) / (window.to - window.from)) * width
              return (
                <g key={at} class="gap">
                  <line x1={place} x2={place} y1={AXIS} y2={height} />
                  <title>{duration(milliseconds)} without work, drawn short</title>
                </g>
              )
            })}
            {groups.map(({ bars, turn }, index) =>
              drawnBars(bars, scale, window, width).map((drawn) => (
                <BarView
                  key={`${index} ${drawn.bar.record} ${drawn.bar.lane} ${drawn.x}`}
                  drawn={drawn}
                  top={(tops[index] ?? 0) + drawn.bar.lane * LANE}
                  isSelected={turn === view.index && drawn.bar.record === row?.number}
                  onClick={() => go({ turn, record: drawn.bar.record })}
                />
              )),
            )}
            {row?.at !== undefined && <line class="now" x1={x(row.at)} x2={x(row.at)} y1={AXIS - 8} y2={height} />}
          </g>
          {groups.map(({ label, depth }, index) => (
            <text key={`${index}`} class="lane-label" x={depth * 8} y={(tops[index] ?? 0) + 10}>
              {inertLine(label, 13)}
            </text>
          ))}
        </svg>
      </div>
    </section>
  )
}

function BarView({
  drawn: { bar, x, width, count },
  top,
  isSelected,
  onClick,
}: {
  readonly drawn: DrawnBar
  readonly top: number
  readonly isSelected: boolean
  readonly onClick: () => void
}): VNode {
  const { kind, label, failed, from, to, record, retried } = bar
  const title = `${inertLine(label, 80)}${count > 1 ? `, and ${count - 1} more` : ""}: ${duration(to - from)}, at ${clock(from)}, record ${record}${failed ? ", failed" : ""}${retried === true ? ", after failed attempts" : ""}`
  return (
    <g class={`bar-${kind} ${failed ? "failed" : ""} ${isSelected ? "selected" : ""}`} onClick={onClick}>
      <rect x={x + LABELS} y={top} width={width} height={LANE - 3} rx="2" />
      {retried === true && <rect class="retried" x={x + LABELS} y={top} width={Math.min(width, 4)} height={LANE - 3} />}
      {width > 46 && (
        <text x={Math.max(x, 0) + LABELS + 4} y={top + 9.5}>
          {inertLine(label, Math.floor((width - 8) / 6.2))}
        </text>
      )}
      <title>{title}</title>
    </g>
  )
}
