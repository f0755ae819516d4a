import type { ComponentChildren, VNode } from "preact"
import type { ViewerData } from "../data.ts"
import { count, date, dollars, duration, plural, short } from "../model/format.ts"
import { outcomeText } from "../model/rows.ts"
import type { TurnView } from "../model/turn-view.ts"
import { Inert } from "./text.tsx"

export function Header({ data, view, replayed: _ }: { readonly data: ViewerData; readonly view: TurnView; readonly replayed: number }): VNode {
  const { outline, turn, cost, journal } = view
  const { usage, outcome, modelCalls, toolCalls, workedMs, processes } = outline
  const { header } = journal
  const estimated = usage.estimated === true ? " (estimated)" : ""
  return (
    <header class="top">
      <h1>
        <Inert value={turn.file} />
      </h1>
      <p class="who">
        <Outcome view={view} />
        <Replays view={view} />
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
        <Breaks view={view} />
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

function Breaks({ view }: { readonly view: TurnView }): VNode | null {
  const { breaks, compared } = view
  if (view.knowledge === "recorded" || (view.verdict === undefined && breaks.length === 0)) return null
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
