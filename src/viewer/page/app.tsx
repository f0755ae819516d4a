import type { VNode } from "preact"
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks"
import type { ViewerData } from "../data.ts"
import { branchesOf } from "../model/forks.ts"
import { FILTERS, type Filter, type Place, readLink, TABS, type View, writeLink } from "../model/link.ts"
import { isShown, type Row } from "../model/rows.ts"
import type { TurnView } from "../model/turn-view.ts"
import { Detail } from "./detail.tsx"
import { ForksView } from "./forks.tsx"
import { GoalView } from "./goal.tsx"
import { Header } from "./header.tsx"
import { Help } from "./help.tsx"
import { List } from "./list.tsx"
import { Timeline } from "./timeline.tsx"
import { Turns } from "./turns.tsx"

/** How long a slice of the replay runs before the page can react again, in milliseconds. */
const SLICE_MS = 12

export function App({ data, turns }: { readonly data: ViewerData; readonly turns: readonly TurnView[] }): VNode {
  const [place, setPlace] = useState<Place>(() => readLink(location.hash, turns.length))
  const [helps, setHelps] = useState(false)
  const search = useRef<HTMLInputElement>(null)
  const list = useRef<HTMLDivElement>(null)
  const detail = useRef<HTMLDivElement>(null)
  const view = turns[place.turn] as TurnView
  const replayed = useReplay(turns, place.turn)
  const go = useCallback((change: Partial<Place>) => setPlace((before) => ({ ...before, ...change })), [])
  useLink(place, setPlace, turns.length)

  const query = place.query.trim().toLowerCase()
  // The breaks are known when the turn was replayed.
  const broken = useMemo(() => new Map(view.breaks.map(({ record, broken: found }) => [record, found])), [view, replayed])
  const rows = useMemo(() => {
    const known = new Set(broken.keys())
    return view.rows.filter((row, index) => isShown(row, place.filter, known) && (query === "" || view.search.has(index, query)))
  }, [view, place.filter, query, broken])
  const selected = rows.findIndex(({ number }) => number === place.record)
  const row: Row | undefined = selected >= 0 ? rows[selected] : (view.rows.find(({ number }) => number === place.record) ?? rows[0])

  const move = (by: number): void => {
    const current = row === undefined ? -1 : rows.indexOf(row)
    const from = current >= 0 ? current : by > 0 ? -1 : rows.length
    const next = rows[Math.max(0, Math.min(rows.length - 1, from + by))]
    if (next !== undefined) go({ record: next.number, view: "steps" })
  }
  const turn = (by: number): void => {
    const next = place.turn + by
    if (next >= 0 && next < turns.length) go({ turn: next, record: undefined })
  }
  const leave = (): void => {
    if (helps) setHelps(false)
    else if (place.query !== "" || place.filter !== "all") go({ query: "", filter: "all" })
    search.current?.blur()
    list.current?.focus()
  }
  useKeys((key, isTyping) => {
    if (key === "Escape") return leave()
    if (isTyping) {
      if (key !== "Enter") return false
      list.current?.focus()
      return move(selected < 0 ? 1 : 0)
    }
    switch (key) {
      case "j":
        return move(1)
      case "k":
        return move(-1)
      case "g":
        return move(-view.rows.length)
      case "G":
        return move(view.rows.length)
      case "]":
        return turn(1)
      case "[":
        return turn(-1)
      case "/":
        if (place.view !== "steps") {
          go({ view: "steps" })
          // The field is drawn first.
          return void setTimeout(() => search.current?.focus())
        }
        search.current?.focus()
        return search.current?.select()
      case "Enter":
        // On a button or a link, Enter is its own.
        if (document.activeElement !== list.current && document.activeElement !== document.body) return false
        return detail.current?.focus()
      case "?":
        return setHelps(!helps)
      case "t":
        return switchTheme()
      case "1":
      case "2":
      case "3":
      case "4":
        return go({ tab: TABS[Number(key) - 1] ?? "step", view: "steps" })
      default:
        return false
    }
  })

  const hasGoal = data.threads.length > 0
  const { thread } = view.turn
  const together =
    place.view === "goal" && thread !== undefined && turns.length > 1 ? turns.filter(({ turn: other }) => other.thread === thread) : undefined
  const forks = useMemo(() => branchesOf(data.turns), [data])
  const views: readonly (readonly [View, string])[] = [
    ["steps", "Steps"],
    ["goal", hasGoal ? "Goal" : "Budget"],
    ["forks", "Forks"],
  ]
  return (
    <div class={`app ${turns.length > 1 ? "with-turns" : ""}`}>
      <Header data={data} view={view} together={together} replayed={replayed} />
      <nav class="bar" aria-label="Views">
        <div class="views">
          {views.map(([name, label]) => (
            <button key={name} type="button" aria-current={place.view === name ? "page" : undefined} onClick={() => go({ view: name })}>
              {label}
            </button>
          ))}
        </div>
        {place.view === "steps" && (
          <>
            <input
              ref={search}
              type="search"
              aria-label="Search the records"
              placeholder="Search  /"
              value={place.query}
              onInput={(event) => go({ query: event.currentTarget.value })}
            />
            <fieldset class="filters">
              <legend class="sr">Filter</legend>
              {FILTERS.map((name) => (
                <button key={name} type="button" aria-pressed={place.filter === name} onClick={() => go({ filter: name })}>
                  {FILTER_NAMES[name]}
                </button>
              ))}
            </fieldset>
            <span class="muted found" role="status">
              {query !== "" || place.filter !== "all" ? `${rows.length} of ${view.rows.length}` : ""}
            </span>
          </>
        )}
        <span class="spring" />
        <button type="button" class="small" onClick={switchTheme} title="Light or dark (t)">
          Theme
        </button>
        <button type="button" class="small" onClick={() => setHelps(!helps)} aria-expanded={helps} title="Keyboard (?)">
          Keys
        </button>
      </nav>
      {turns.length > 1 && <Turns data={data} turns={turns} place={place} go={go} replayed={replayed} />}
      <main>
        {place.view === "steps" && (
          <>
            <Timeline turns={turns} view={view} row={row} go={go} />
            <div class="split">
              <List box={list} rows={rows} all={view.rows.length} start={view.journal.header.at} selected={row} broken={broken} go={go} move={move} />
              <Detail key={`${place.turn}`} box={detail} view={view} row={row} tab={place.tab} go={go} replayed={replayed} />
            </div>
          </>
        )}
        {place.view === "goal" && <GoalView data={data} turns={turns} view={view} go={go} />}
        {place.view === "forks" && <ForksView turns={turns} branches={forks} view={view} row={row} go={go} />}
      </main>
      {helps && <Help close={() => setHelps(false)} />}
    </div>
  )
}

const FILTER_NAMES: { readonly [Name in Filter]: string } = {
  all: "All",
  model: "Model",
  tools: "Tools",
  waits: "Waits, host",
  failed: "Failed",
  breaks: "Prefix breaks",
}

/** Replays the turns, the shown one first, in slices. Returns a number that rises with what is known. */
function useReplay(turns: readonly TurnView[], shown: number): number {
  const [known, setKnown] = useState(0)
  useEffect(() => {
    let timer = 0
    let reported = 0
    const order = [...turns.slice(shown), ...turns.slice(0, shown)]
    const slice = (): void => {
      const open = order.find(({ replay }) => replay !== undefined && replay.verdict === undefined)
      if (open === undefined) {
        setKnown((before) => before + 1)
        return
      }
      const end = performance.now() + SLICE_MS
      open.replay?.run(() => performance.now() >= end)
      // Drawing the progress takes time, too.
      if (performance.now() - reported > 250 || open.replay?.verdict !== undefined) {
        reported = performance.now()
        setKnown((before) => before + 1)
      }
      timer = window.setTimeout(slice)
    }
    timer = window.setTimeout(slice, 30)
    return () => clearTimeout(timer)
  }, [turns, shown])
  return known
}

function useLink(place: Place, setPlace: (place: Place) => void, turns: number): void {
  useEffect(() => {
    // Browsers limit how often the address may change, and a held key moves often.
    const timer = setTimeout(() => {
      const link = writeLink(place)
      if (link !== (location.hash === "" ? "#" : location.hash))
        history.replaceState(null, "", link === "#" ? location.pathname + location.search : link)
    }, 120)
    return () => clearTimeout(timer)
  }, [place])
  useEffect(() => {
    const follow = (): void => setPlace(readLink(location.hash, turns))
    addEventListener("hashchange", follow)
    return () => removeEventListener("hashchange", follow)
  }, [turns])
}

/** Calls `act` with each key. Unless it returns false, the browser does nothing else with it. */
function useKeys(act: (key: string, isTyping: boolean) => unknown): void {
  const current = useRef(act)
  current.current = act
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey) return
      const { target } = event
      const isTyping = target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)
      if (current.current(event.key, isTyping) !== false) event.preventDefault()
    }
    addEventListener("keydown", press)
    return () => removeEventListener("keydown", press)
  }, [])
}

function switchTheme(): void {
  const { dataset } = document.documentElement
  const isDark = dataset["theme"] === undefined ? matchMedia("(prefers-color-scheme: dark)").matches : dataset["theme"] === "dark"
  dataset["theme"] = isDark ? "light" : "dark"
}
