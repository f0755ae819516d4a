import type { VNode } from "preact"
import type { StateName } from "../../machine/turn.ts"
import type { DriverCall, Step } from "../data.ts"
import { plural, words } from "../model/format.ts"
import { inertLine } from "../model/inert.ts"
import type { Row } from "../model/rows.ts"
import type { TurnView } from "../model/turn-view.ts"
import { Diagram } from "./diagram.tsx"
import { Fold, Inert, Json, Text } from "./text.tsx"

/** What a record did to the turn. */
export function StepTab({ view, row, answer }: { readonly view: TurnView; readonly row: Row; readonly answer: VNode | undefined }): VNode {
  const step = view.step(row)
  if (step === undefined) {
    const state = RECORDED[view.journal.entries[row.index]?.record.type ?? ""]
    return (
      <>
        {state !== undefined && (
          <p class="muted">
            Answered in the state <code>{state}</code>.
          </p>
        )}
        {answer}
        {view.verdict?.type === "differs" && row.number >= view.verdict.record && <Difference view={view} />}
        {row.index >= 0 && view.note !== undefined && <p class="muted">What the turn did with it is not known: {view.note}</p>}
      </>
    )
  }
  return (
    <>
      {step.states.length > 1 && <Way step={step} />}
      {answer}
      <Asked calls={step.asked} />
      <Gained step={step} />
    </>
  )
}

/** The states in which records answer, for turns that are not replayed. */
const RECORDED: { readonly [type: string]: StateName | undefined } = {
  __proto__: null as never,
  llm_complete: "waiting_llm",
  tool_results: "waiting_tools",
  tool_decisions: "waiting_tools",
  tool_pending: "waiting_tools",
  exec_result: "waiting_exec",
  checkpoint_delivery: "waiting_checkpoint",
  execution_surface_synced: "waiting_execution_surface",
}

function Way({ step }: { readonly step: Step }): VNode {
  const { states, iteration, refused, effect } = step
  return (
    <>
      <Diagram states={states} />
      <p class="way muted">
        {states.map((state, index) => (
          <span key={`${index}`}>
            {index > 0 && " → "}
            <code>{state}</code>
          </span>
        ))}
        {` · iteration ${iteration}`}
        {effect?.type === "tool_calls" &&
          ` · ${plural(effect.calls.length, "call")}${effect.held === undefined ? "" : `, ${effect.held.length} held`}`}
        {effect?.type === "checkpoint" && ` · ${words(effect.checkpoint)}`}
      </p>
      {refused !== undefined && (
        <p class="notice bad">
          The turn did not change: <Inert value={refused} />
        </p>
      )}
    </>
  )
}

/** What the driver decided. */
function Asked({ calls }: { readonly calls: readonly DriverCall[] }): VNode | null {
  if (calls.length === 0) return null
  return (
    <section class="part">
      <h3>Driver</h3>
      {calls.map(({ callback, actions }, index) => (
        <div key={`${index}`} class="asked">
          <code>{callback}</code>
          <ul>
            {actions.map((action, place) => (
              <li key={`${place}`}>
                <Fold title={`${action.type}${actionText(action)}`}>{() => <Json value={action} />}</Fold>
              </li>
            ))}
            {actions.length === 0 && <li class="muted">nothing</li>}
          </ul>
        </div>
      ))}
    </section>
  )
}

function actionText(action: DriverCall["actions"][number]): string {
  switch (action.type) {
    case "emit":
      return `: ${action.event.type}`
    case "append_events":
      return `: ${action.events.map((event) => (event.type === "conversation" ? `message of the ${event.message.role}` : protocolName(event.event))).join(", ")}`
    case "start_tools":
      return `: ${inertLine(action.calls.map(({ toolName }) => toolName).join(", "), 120)}`
    case "start_checkpoint":
      return `: ${words(action.checkpoint)}`
    case "finish":
      return `: ${words(action.outcome.type)}`
    case "start_llm":
      return action.purpose === undefined ? "" : `: ${inertLine(action.purpose, 60)}`
    default:
      return ""
  }
}

function protocolName(event: unknown): string {
  const type = typeof event === "object" && event !== null && "type" in event ? event.type : undefined
  return typeof type === "string" ? inertLine(type, 60) : "event"
}

/** What the history and the transcript gained. */
function Gained({ step: { records, messages } }: { readonly step: Step }): VNode | null {
  // Messages of the history are in the transcript, too.
  const others = messages.filter((message) => !records.some((record) => record.type === "conversation" && record.message.id === message.id))
  if (records.length + others.length === 0) return null
  return (
    <section class="part">
      <h3>History gains {plural(records.length, "record")}</h3>
      <ul class="gained">
        {records.map((record, index) => (
          <li key={`${index}`}>
            {record.type === "conversation" ? (
              <Fold title={`message of the ${record.message.role}, ${plural(record.message.parts.length, "part")}`}>
                {() => <Json value={record.message} />}
              </Fold>
            ) : (
              <Fold title={protocolName(record.event)}>{() => <Json value={record.event} />}</Fold>
            )}
          </li>
        ))}
      </ul>
      {others.length > 0 && <p class="muted">The transcript alone gains {plural(others.length, "message")}, which the history does not record.</p>}
    </section>
  )
}

function Difference({ view }: { readonly view: TurnView }): VNode | null {
  const { verdict } = view
  if (verdict?.type !== "differs") return null
  return (
    <section class="part">
      <h3>The replay differs from record {verdict.record} on</h3>
      <Text class="notice bad" value={verdict.message} />
      {verdict.differences.slice(0, 8).map(({ path, expected, received }) => (
        <div key={path} class="pair">
          <code>{path === "" ? "the whole value" : path}</code>
          <Fold title="recorded">{() => <Json value={expected ?? null} />}</Fold>
          <Fold title="now">{() => <Json value={received ?? null} />}</Fold>
        </div>
      ))}
    </section>
  )
}
