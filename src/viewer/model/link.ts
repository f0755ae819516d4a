/** What a link into the page says. Missing parts have their defaults. */
export interface Place {
  /** The turn, by its index in the page. */
  readonly turn: number
  /** The record, by its number. `undefined`: the first. */
  readonly record: number | undefined
  readonly view: View
  readonly tab: Tab
  readonly query: string
  readonly filter: Filter
}

export const VIEWS = ["steps", "goal", "forks"] as const
export type View = (typeof VIEWS)[number]
export const TABS = ["step", "request", "record", "fork"] as const
export type Tab = (typeof TABS)[number]
export const FILTERS = ["all", "model", "tools", "waits", "failed", "breaks"] as const
export type Filter = (typeof FILTERS)[number]

export const START: Place = { turn: 0, record: undefined, view: "steps", tab: "step", query: "", filter: "all" }

/** Reads a link. What it does not understand is ignored. `turns`: how many turns the page has. */
export function readLink(hash: string, turns: number): Place {
  const given = new URLSearchParams(hash.replace(/^#/, ""))
  const turn = wholeNumber(given.get("turn"))
  return {
    turn: turn !== undefined && turn >= 1 && turn <= turns ? turn - 1 : 0,
    record: wholeNumber(given.get("record")),
    view: oneOf(VIEWS, given.get("view")),
    tab: oneOf(TABS, given.get("tab")),
    query: given.get("q") ?? "",
    filter: oneOf(FILTERS, given.get("filter")),
  }
}

/** Writes a link, without what is the default. */
export function writeLink({ turn, record, view, tab, query, filter }: Place): string {
  const parts = new URLSearchParams()
  if (turn !== 0) parts.set("turn", String(turn + 1))
  if (record !== undefined) parts.set("record", String(record))
  if (view !== "steps") parts.set("view", view)
  if (tab !== "step") parts.set("tab", tab)
  if (query !== "") parts.set("q", query)
  if (filter !== "all") parts.set("filter", filter)
  return `#${parts}`
}

function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

function oneOf<Name extends string>(names: readonly [Name, ...Name[]], name: string | null): Name {
  return names.find((known) => known === name) ?? names[0]
}
