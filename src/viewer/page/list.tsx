import type { RefObject, VNode } from "preact"
import { useEffect, useLayoutEffect, useState } from "preact/hooks"
import type { RequestBreak } from "../data.ts"
import { duration, short } from "../model/format.ts"
import type { Place } from "../model/link.ts"
import { type Row, tokensText, visibleRange } from "../model/rows.ts"

const ROW = 30

/** The records, of which only those in view are in the document. */
export function List({
  box,
  rows,
  all,
  start,
  selected,
  broken,
  go,
  move,
}: {
  readonly box: RefObject<HTMLDivElement | null>
  readonly rows: readonly Row[]
  readonly all: number
  readonly start: number | undefined
  readonly selected: Row | undefined
  readonly broken: ReadonlyMap<number, RequestBreak>
  readonly go: (change: Partial<Place>) => void
  readonly move: (by: number) => void
}): VNode {
  const [scroll, setScroll] = useState({ top: 0, height: 600 })
  const place = selected === undefined ? -1 : rows.indexOf(selected)
  useLayoutEffect(() => {
    const { current } = box
    if (current === null) return
    const measure = (): void => setScroll({ top: current.scrollTop, height: current.clientHeight })
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(current)
    return () => observer.disconnect()
  }, [])
  useEffect(() => {
    const { current } = box
    if (current === null || place < 0) return
    const top = place * ROW
    if (top < current.scrollTop) current.scrollTop = top
    else if (top + ROW > current.scrollTop + current.clientHeight) current.scrollTop = top + ROW - current.clientHeight
  }, [place, rows])
  const { first, end } = visibleRange(scroll.top, scroll.height, ROW, rows.length)
  const keys = (event: KeyboardEvent): void => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -rows.length, End: rows.length }[event.key]
    if (by === undefined) return
    event.preventDefault()
    move(by)
  }
  return (
    <section class="list" aria-label="Records">
      <div
        ref={box}
        class="scroll"
        role="listbox"
        tabIndex={0}
        aria-label={`${rows.length} of ${all} records`}
        aria-activedescendant={place >= first && place < end ? `row-${selected?.number}` : undefined}
        onScroll={(event) => setScroll({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}
        onKeyDown={keys}
      >
        <div class="tall" role="presentation" style={{ height: `${rows.length * ROW}px` }}>
          {rows.slice(first, end).map((row, index) => (
            <Line
              key={row.number}
              row={row}
              top={(first + index) * ROW}
              place={first + index + 1}
              of={rows.length}
              isSelected={row === selected}
              start={start}
              broken={broken.get(row.number)}
              onClick={() => go({ record: row.number })}
            />
          ))}
        </div>
        {rows.length === 0 && <p class="empty muted">No record matches.</p>}
      </div>
    </section>
  )
}

function Line({
  row,
  top,
  place,
  of,
  isSelected,
  start,
  broken,
  onClick,
}: {
  readonly row: Row
  readonly top: number
  readonly place: number
  readonly of: number
  readonly isSelected: boolean
  readonly start: number | undefined
  readonly broken: RequestBreak | undefined
  readonly onClick: () => void
}): VNode {
  const { number, at, kind, title, detail, failed, changes, tokens } = row
  return (
    <div
      id={`row-${number}`}
      role="option"
      aria-selected={isSelected}
      aria-posinset={place}
      aria-setsize={of}
      class={`row kind-${kind} ${failed ? "failed" : ""} ${changes ? "" : "quiet"}`}
      style={{ transform: `translateY(${top}px)` }}
      onClick={onClick}
    >
      <span class="no">{number}</span>
      <span class="at">{at === undefined || start === undefined ? "" : `+${duration(at - start)}`}</span>
      <span class="mark" />
      <span class="what">
        <b>{title}</b>
        {detail !== "" && <span class="said"> {detail}</span>}
      </span>
      {broken !== undefined && <span class={`tag ${broken.marked ? "" : "bad"}`}>{broken.marked ? "reset" : "break"}</span>}
      {tokens !== undefined && (
        <span class="num muted" title={tokensText(tokens)}>
          {short(tokens.input + tokens.cached)} → {short(tokens.output)}
        </span>
      )}
    </div>
  )
}
