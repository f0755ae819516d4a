import type { VNode } from "preact"
import { tokensOf } from "../../machine/limits.ts"
import type { ViewerData } from "../data.ts"
import { short } from "../model/format.ts"
import { inertLine } from "../model/inert.ts"
import type { Place } from "../model/link.ts"
import { outcomeText } from "../model/rows.ts"
import type { TurnView } from "../model/turn-view.ts"
import { Inert } from "./text.tsx"

/** The turns of the page: children are below their parents, forks beside what they come from. */
export function Turns({
  turns,
  place,
  go,
}: {
  readonly data: ViewerData
  readonly turns: readonly TurnView[]
  readonly place: Place
  readonly go: (change: Partial<Place>) => void
  readonly replayed: number
}): VNode {
  return (
    <aside class="turns" aria-label="Turns">
      <ol>
        {turns.map((view, index) => {
          const { header } = view.turn
          const { outcome, usage } = view.outline
          const state = outcome === undefined ? "unfinished" : outcomeText(outcome)
          const differs = view.verdict?.type === "differs"
          return (
            <li key={index}>
              <button
                type="button"
                aria-current={index === place.turn ? "true" : undefined}
                class={`depth-${Math.min(header.parent?.depth ?? 0, 4)}`}
                title={`${inertLine(view.turn.file)}: ${state}`}
                onClick={() => go({ turn: index, record: undefined })}
              >
                <span class={`dot ${toneOf(view)}`} />
                <span class="name">
                  <Inert value={nameOf(view)} />
                </span>
                {header.forkedFrom !== undefined && <span class="tag">fork</span>}
                {differs && <span class="tag bad">differs</span>}
                <span class="muted num">{short(tokensOf(usage))}</span>
                <span class="sr">tokens, {state}</span>
              </button>
            </li>
          )
        })}
      </ol>
    </aside>
  )
}

/** The colour of a turn's outcome. */
export function toneOf({ outline: { outcome } }: TurnView): "good" | "bad" | "warn" {
  return outcome === undefined ? "warn" : outcome.type === "stopped" ? "bad" : "good"
}

/** A child is named by its call; other turns by their file, without its folder. */
export function nameOf({ turn: { header, file } }: TurnView): string {
  const { parent } = header
  if (parent !== undefined) return parent.name ?? parent.callId
  return file.slice(file.lastIndexOf("/") + 1)
}
