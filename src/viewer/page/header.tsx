import type { ComponentChildren, VNode } from "preact"
import type { ViewerData } from "../data.ts"
import { count, date, dollars, duration, plural, short } from "../model/format.ts"
import { outcomeText } from "../model/rows.ts"
import { type TurnView, totalsOf } from "../model/turn-view.ts"
import { Inert } from "./text.tsx"

/** What is shown, and its figures. `together`: all turns of a goal. */
export function Header({
  data,
  view,
  together,
}: {
  readonly data: ViewerData
  readonly view: TurnView
  readonly together: readonly TurnView[] | undefined
  readonly replayed: number
}): VNode {
  const { turn, journal } = view
  const { outcome } = view.outline
  const { usage, modelCalls, toolCalls, workedMs, processes, cost } = totalsOf(together ?? [view])
  const { header } = journal
  const estimated = usage.estimated === true ? " (estimated)" : ""
  return (
    <header class="top">
      <h1>
        <Inert value={together === undefined ? turn.file : data.title} />
      </h1>
      <p class="who">
        {together === undefined ? (
          <>
            <Outcome view={view} />
            <Replays view={view} />
          </>
        ) : (
          <span class="badge plain">{plural(together.length, "turn")}</span>
        )}
        {data.redacted === true && <span class="badge plain">redacted</span>}
        <span class="muted">
          <Inert value={turn.model ?? header.driver.name} />
          {header.at !== undefined && ` · ${date(header.at)}`}
        </span>
      </p>
      <dl class="figures">
        <Figure name="worked" title={processes > 1 ? `in ${plural(processes, "process", "processes")}` : "in one process"}>
          {duration(workedMs)}
        </Figure>
        <Figure name={modelCalls === 1 ? "model call" : "model calls"}>{count(modelCalls)}</Figure>
        <Figure name={toolCalls === 1 ? "tool call" : "tool calls"}>{count(toolCalls)}</Figure>
        <Figure name="input" title={`${count(usage.inputTokens)} tokens${estimated}`}>
          {short(usage.inputTokens)}
        </Figure>
        <Figure name="cached" title={`${count(usage.cachedInputTokens)} tokens${estimated}`}>
          {short(usage.cachedInputTokens)}
        </Figure>
        <Figure name="output" title={`${count(usage.outputTokens)} tokens, ${count(usage.reasoningTokens)} of reasoning${estimated}`}>
          {short(usage.outputTokens)}
        </Figure>
        {cost !== undefined && <Figure name="cost">{dollars(cost)}</Figure>}
        <Breaks views={together ?? [view]} />
      </dl>
      {outcome === undefined && turn.damage !== undefined && (
        <p class="notice bad">
          <Inert value={turn.damage} />
        </p>
      )}
      {view.note !== undefined && (
        <p class="notice">
          Recorded facts only. <Inert value={view.note} />
        </p>
      )}
      {turn.agent?.unknown !== undefined && (
        <p class="notice">
          The journal does not say: {turn.agent.unknown.join(", ")}. Requests are shown without; states are exact. To see requests as they were, make
          the page with --agent.
        </p>
      )}
    </header>
  )
}

function Figure({ name, title, children }: { readonly name: string; readonly title?: string; readonly children: ComponentChildren }): VNode {
  return (
    <div title={title ?? ""}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

function Outcome({ view }: { readonly view: TurnView }): VNode {
  const { outcome } = view.outline
  if (outcome === undefined) return <span class="badge warn">unfinished</span>
  return <span class={`badge ${outcome.type === "stopped" ? "bad" : "good"}`}>{outcomeText(outcome)}</span>
}

/** Whether the turn replays. */
export function Replays({ view }: { readonly view: TurnView }): VNode {
  const { verdict, knowledge, turn } = view
  if (knowledge === "recorded") return <span class="badge plain">not replayed</span>
  if (verdict === undefined) return <span class="badge plain">replaying… {Math.floor((view.replay?.progress ?? 0) * 100)} %</span>
  if (verdict.type === "differs")
    return (
      <span class="badge bad" title={verdict.message}>
        differs at record {verdict.record}
      </span>
    )
  const how = knowledge === "stored" ? ", when this page was made" : ", in this page"
  const what = turn.agent?.unknown === undefined ? "all as recorded" : "their kinds as recorded"
  return (
    <span class="badge good" title={`${plural(verdict.effects, "effect")}: ${what}${how}`}>
      replays
    </span>
  )
}

function Breaks({ views }: { readonly views: readonly TurnView[] }): VNode | null {
  const breaks = views.flatMap((view) => view.breaks)
  const compared = views.reduce((sum, view) => sum + view.compared, 0)
  if (views.some(({ knowledge }) => knowledge === "recorded") || (breaks.length === 0 && views.some(({ verdict }) => verdict === undefined)))
    return null
  const announced = breaks.filter(({ broken }) => broken.marked).length
  return (
    <Figure
      name={breaks.length === 1 ? "prefix break" : "prefix breaks"}
      title={`${plural(compared, "request")} compared with the one before${announced > 0 ? `, ${announced} changed as announced` : ""}`}
    >
      <span class={breaks.length > announced ? "bad-text" : ""}>{count(breaks.length)}</span>
    </Figure>
  )
}
