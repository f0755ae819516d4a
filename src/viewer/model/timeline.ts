import type { JournalEntry } from "../../replay/journal-entry.ts"
import { timeOf } from "../../replay/outline.ts"
import type { JournalHeader } from "../../wire/journal.ts"

/** A stretch of time in which something ran, or waited. Milliseconds since the epoch. */
export interface Bar {
  readonly from: number
  readonly to: number
  readonly kind: "model" | "tool" | "code" | "held" | "outside" | "child"
  readonly label: string
  readonly failed: boolean
  /** The record with which it ended; for a bar that is still open, the last record. */
  readonly record: number
  /** The call of a tool, as `effect:call`. */
  readonly call?: string
  /** The turn that is the child, by its index in the page. */
  readonly turn?: number
  /** Attempts that failed before it. Absent: none, or unknown. */
  readonly retried?: true
}

/** A bar in its lane. */
export interface LanedBar extends Bar {
  readonly lane: number
}

/** What ran in a turn, in the order of the records. */
export function barsOf(header: JournalHeader, entries: readonly JournalEntry[]): readonly Bar[] {
  const bars: Bar[] = []
  /** When the turn last continued, which is when the next work began. */
  let since = header.at
  /** Calls that wait for a decision or a result from outside, and since when. */
  const held = new Map<string, number>()
  const outside = new Map<string, { readonly from: number; readonly token: string }>()
  for (const { number, record } of entries) {
    const at = timeOf(record)
    switch (record.type) {
      case "llm_complete": {
        if (at === undefined) break
        const { result } = record
        const durationMs = result.ok ? result.response.durationMs : undefined
        const retriedUsage = result.ok ? result.response.retriedUsage : result.error.retriedUsage
        const from = durationMs === undefined ? (since ?? at) : at - durationMs
        bars.push({
          from: Math.min(from, at),
          to: at,
          kind: "model",
          label: record.purpose ?? "model",
          failed: !result.ok,
          record: number,
          ...(retriedUsage !== undefined && { retried: true }),
        })
        break
      }
      case "tool_results":
        for (const { callId, toolName, output, durationMs } of record.results) {
          if (at === undefined) continue
          const call = `${record.id}:${callId}`
          const waited = outside.get(call)
          outside.delete(call)
          const failed = output.status !== "success"
          if (waited !== undefined) bars.push({ from: waited.from, to: at, kind: "outside", label: toolName, failed, record: number, call })
          else bars.push({ from: at - durationMs, to: at, kind: "tool", label: toolName, failed, record: number, call })
        }
        break
      case "exec_result":
        if (at !== undefined) {
          const { result } = record
          const durationMs = result.ok ? result.value.durationMs : 0
          bars.push({
            from: at - durationMs,
            to: at,
            kind: "code",
            label: "code",
            failed: !result.ok || result.value.error !== undefined,
            record: number,
          })
        }
        break
      case "tool_pending":
        if (at !== undefined) outside.set(`${record.id}:${record.callId}`, { from: at, token: record.token })
        break
      case "tool_decisions":
        for (const { requestId, decision } of record.decisions) {
          const from = held.get(requestId) ?? since
          if (at === undefined || from === undefined) continue
          const failed = decision === "reject" || decision === "expired" || decision === "cancelled"
          bars.push({
            from,
            to: at,
            kind: "held",
            label: `${requestId.slice(requestId.indexOf(":") + 1)} waits: ${decision}`,
            failed,
            record: number,
            call: requestId,
          })
        }
        break
      default:
    }
    // Results of one batch arrive in parts, and decisions while others wait: their calls began together.
    if (at !== undefined && record.type !== "tool_results" && record.type !== "tool_decisions" && record.type !== "tool_pending") since = at
  }
  return bars
}

/** Gives each bar the first lane that is free. Bars that do not overlap share one. */
export function lanesOf(bars: readonly Bar[]): readonly LanedBar[] {
  const ends: number[] = []
  return [...bars]
    .sort((left, right) => left.from - right.from || left.to - right.to)
    .map((bar) => {
      const free = ends.findIndex((end) => end <= bar.from)
      const lane = free < 0 ? ends.length : free
      ends[lane] = Math.max(bar.to, bar.from + 1)
      return { ...bar, lane }
    })
}

/** Maps times to positions from 0 to 1, and back. */
export interface TimeScale {
  readonly from: number
  readonly to: number
  /** The gaps that are drawn shorter than they are, by their middle position. */
  readonly gaps: readonly { readonly at: number; readonly milliseconds: number }[]
  position(time: number): number
  time(position: number): number
}

/** The share of the width that a shortened gap has. */
const GAP_SHARE = 0.035

/**
 * Makes a scale over bars. Waits and idle times that are longer than all work together are drawn short, so that three days of waiting do not
 * hide two minutes of work.
 */
export function timeScale(bars: readonly Bar[], times: readonly number[] = []): TimeScale {
  const work = bars.filter(({ kind }) => kind === "model" || kind === "tool" || kind === "code" || kind === "child")
  const points = [...bars.flatMap(({ from, to }) => [from, to]), ...times]
  const from = points.reduce((least, point) => Math.min(least, point), Number.POSITIVE_INFINITY)
  const to = points.reduce((most, point) => Math.max(most, point), Number.NEGATIVE_INFINITY)
  if (points.length === 0 || from === to) return linear(points.length === 0 ? 0 : from, (points.length === 0 ? 0 : from) + 1)
  const busy = merged(work)
  const idle = gapsBetween(busy, from, to)
  const worked = busy.reduce((sum, span) => sum + span.to - span.from, 0)
  const long = idle.filter((gap) => gap.to - gap.from > Math.max(worked, 1_000)).slice(0, 12)
  if (long.length === 0 || worked === 0) return linear(from, to)
  return broken(from, to, long)
}

interface Span {
  readonly from: number
  readonly to: number
}

function linear(from: number, to: number): TimeScale {
  const length = to - from
  return { from, to, gaps: [], position: (time) => (time - from) / length, time: (position) => from + position * length }
}

function broken(from: number, to: number, gaps: readonly Span[]): TimeScale {
  const shortened = gaps.reduce((sum, gap) => sum + gap.to - gap.from, 0)
  const rest = 1 - gaps.length * GAP_SHARE
  const unit = rest / Math.max(1, to - from - shortened)
  const knots: { time: number; position: number }[] = [{ time: from, position: 0 }]
  const last = (): { time: number; position: number } => knots[knots.length - 1] ?? { time: from, position: 0 }
  for (const gap of gaps) {
    const start = last()
    knots.push({ time: gap.from, position: start.position + (gap.from - start.time) * unit })
    knots.push({ time: gap.to, position: last().position + GAP_SHARE })
  }
  knots.push({ time: to, position: 1 })
  const between = (value: number, of: "time" | "position", wanted: "time" | "position"): number => {
    let index = 1
    while (index < knots.length - 1 && (knots[index]?.[of] ?? 0) < value) index += 1
    const [left, right] = [knots[index - 1], knots[index]]
    if (left === undefined || right === undefined) return 0
    const length = right[of] - left[of]
    return length === 0 ? left[wanted] : left[wanted] + ((value - left[of]) / length) * (right[wanted] - left[wanted])
  }
  return {
    from,
    to,
    gaps: gaps.map((gap) => ({ at: between((gap.from + gap.to) / 2, "time", "position"), milliseconds: gap.to - gap.from })),
    position: (time) => between(time, "time", "position"),
    time: (position) => between(position, "position", "time"),
  }
}

function merged(spans: readonly Span[]): readonly Span[] {
  const joined: { from: number; to: number }[] = []
  for (const { from, to } of [...spans].sort((left, right) => left.from - right.from)) {
    const last = joined.at(-1)
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to)
    else joined.push({ from, to })
  }
  return joined
}

function gapsBetween(busy: readonly Span[], from: number, to: number): readonly Span[] {
  const gaps: Span[] = []
  let at = from
  for (const span of busy) {
    if (span.from > at) gaps.push({ from: at, to: span.from })
    at = Math.max(at, span.to)
  }
  if (to > at) gaps.push({ from: at, to })
  return gaps
}

/** A bar as it is drawn: from `x` to `x + width`, in pixels. `count`: how many bars it stands for. */
export interface DrawnBar {
  readonly bar: LanedBar
  readonly x: number
  readonly width: number
  readonly count: number
}

/**
 * The bars of a window of the scale, in pixels. Bars of one lane that would be closer than a pixel are drawn as one, so that the number of
 * bars depends on the width and not on the journal.
 */
export function drawnBars(
  bars: readonly LanedBar[],
  scale: Pick<TimeScale, "position">,
  view: { readonly from: number; readonly to: number },
  width: number,
): readonly DrawnBar[] {
  const zoom = width / (view.to - view.from)
  const x = (time: number): number => (scale.position(time) - view.from) * zoom
  const drawn: DrawnBar[] = []
  const lastOf = new Map<number, number>()
  for (const bar of bars) {
    const [left, right] = [x(bar.from), x(bar.to)]
    if (right < 0 || left > width) continue
    const index = lastOf.get(bar.lane)
    const last = index === undefined ? undefined : drawn[index]
    const isTiny = right - left < 1.5
    if (last !== undefined && index !== undefined && isTiny && last.width < 6 && last.bar.kind === bar.kind && left - (last.x + last.width) < 1) {
      drawn[index] = { ...last, bar: bar.failed ? bar : last.bar, width: Math.max(right, last.x + 1) - last.x, count: last.count + 1 }
      continue
    }
    lastOf.set(bar.lane, drawn.length)
    drawn.push({ bar, x: left, width: Math.max(1.5, right - left), count: 1 })
  }
  return drawn
}

/** Times for the axis, at round distances from the start, at most about `most` of them. Milliseconds since the start. */
export function ticks(milliseconds: number, most: number): readonly number[] {
  const least = milliseconds / Math.max(1, most)
  const step = STEPS.find((candidate) => candidate >= least) ?? Math.ceil(least / 86_400_000) * 86_400_000
  const found: number[] = []
  for (let at = 0; at <= milliseconds; at += step) found.push(at)
  return found
}

/** Pixels between two times on the axis. */
const TICK_WIDTH = 110

/** The times that the axis of a window names: round ones, or, where gaps are drawn short, those at equal distances. */
export function axisTimes(scale: TimeScale, view: { readonly from: number; readonly to: number }, width: number): readonly number[] {
  const many = Math.max(2, Math.floor(width / TICK_WIDTH))
  if (scale.gaps.length > 0) return Array.from({ length: many }, (_, index) => scale.time(view.from + (index / many) * (view.to - view.from)))
  const [start, end] = [scale.time(view.from), scale.time(view.to)]
  return ticks(end - start, many).map((at) => start + at)
}

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000,
  7_200_000, 21_600_000, 43_200_000, 86_400_000,
]
