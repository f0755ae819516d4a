import type { RefObject, VNode } from "preact"
import { commandsAfterFork, forkCommands } from "../model/forks.ts"
import { clock, count } from "../model/format.ts"
import type { Place, Tab } from "../model/link.ts"
import { type Row, tokensText } from "../model/rows.ts"
import type { TurnView } from "../model/turn-view.ts"
import { Answer } from "./answer.tsx"
import { RequestTab } from "./request.tsx"
import { StepTab } from "./step.tsx"
import { Copy, Inert, Json } from "./text.tsx"

const NAMES: readonly (readonly [Tab, string])[] = [
  ["step", "Step"],
  ["request", "Request"],
  ["record", "Record"],
  ["fork", "Fork"],
]

/** What the selected record is, and what it did. */
export function Detail({
  box,
  view,
  row,
  tab,
  go,
}: {
  readonly box: RefObject<HTMLDivElement | null>
  readonly view: TurnView
  readonly row: Row | undefined
  readonly tab: Tab
  readonly go: (change: Partial<Place>) => void
  readonly replayed: number
}): VNode {
  if (row === undefined) return <section class="detail" aria-label="Record" />
  const { number, title, at, tokens, index } = row
  const record = index < 0 ? view.journal.header : view.journal.entries[index]?.record
  return (
    <section class="detail" aria-label="Record">
      <div class="detail-head">
        <h2>
          <Inert value={title} />
        </h2>
        <p class="muted">
          record {number}
          {at !== undefined && ` · ${clock(at)}`}
          {record !== undefined && "id" in record && ` · effect ${record.id}`}
          {tokens !== undefined && ` · ${tokensText(tokens)} tokens`}
        </p>
        <div class="tabs" role="tablist" aria-label="Parts of the record">
          {NAMES.map(([name, label]) => (
            <button
              key={name}
              id={`tab-${name}`}
              type="button"
              role="tab"
              aria-selected={tab === name}
              aria-controls="detail"
              onClick={() => go({ tab: name })}
            >
              {label}
            </button>
          ))}
        </div>
      </div>
      <div ref={box} id="detail" class="scroll body" role="tabpanel" tabIndex={0} aria-labelledby={`tab-${tab}`} key={`${tab} ${number}`}>
        {tab === "step" && <StepTab view={view} row={row} answer={record === undefined ? undefined : <Answer record={record} />} />}
        {tab === "request" && <RequestTab view={view} row={row} go={go} />}
        {tab === "record" && record !== undefined && <RecordTab record={record} bytes={bytesOf(view, row)} />}
        {tab === "fork" && <ForkTab view={view} row={row} />}
      </div>
    </section>
  )
}

function bytesOf({ turn }: TurnView, { index }: Row): number | undefined {
  return index < 0 ? turn.headerBytes : turn.entries[index]?.bytes
}

function RecordTab({ record, bytes }: { readonly record: object; readonly bytes: number | undefined }): VNode {
  return (
    <>
      <p class="line">
        <Copy text={() => JSON.stringify(record, undefined, 2)} label="Copy JSON" />
        {bytes !== undefined && <span class="muted">{count(bytes)} bytes in the journal</span>}
      </p>
      <Json value={record} first={20_000} />
    </>
  )
}

/** The commands that fork the journal at a record. */
export function ForkTab({ view, row }: { readonly view: TurnView; readonly row: Row }): VNode {
  const entry = view.journal.entries[row.index]
  if (entry === undefined) return <p class="muted">A fork begins at a record after the first one. Select another record.</p>
  const { header } = view.journal
  const after = commandsAfterFork(view.turn.word, header)
  return (
    <>
      <p>A fork is a copy of the journal up to this record. Resume it, and the turn continues differently from here.</p>
      <Commands list={forkCommands(view.turn.word, entry)} />
      <h3>Then</h3>
      {after.length === 1 && <p>Resume the fork with the program that wrote this journal.</p>}
      <Commands list={after} />
    </>
  )
}

function Commands({ list }: { readonly list: ReturnType<typeof forkCommands> }): VNode {
  return (
    <>
      {list.map(({ label, command }) => (
        <div class="command" key={label}>
          <p>{label}</p>
          <div class="code">
            <pre>
              <Inert value={command} />
            </pre>
            <Copy text={() => command} />
          </div>
        </div>
      ))}
    </>
  )
}
