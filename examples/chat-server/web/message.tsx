import { getToolName, isToolUIPart } from "ai"
import { memo, type ReactNode } from "react"
import { type ChatMessage, type DataParts, type Part, textOf } from "./api.ts"
import { Markdown } from "./markdown.tsx"

type Decide = (approvalId: string, approved: boolean) => void

/** A message with its parts in their order. `isOpen`: its turn has not ended. */
export const MessageView = memo(function MessageView(props: {
  readonly message: ChatMessage
  readonly isOpen: boolean
  readonly decide: Decide
}): ReactNode {
  const { message, isOpen, decide } = props
  if (message.role === "user") return <UserText text={textOf(message.parts)} />
  const asks = new Map(message.parts.flatMap((part) => (part.type === "data-approval" ? [[part.data.requestId, part.data] as const] : [])))
  return (
    <article className="answer" aria-label="Answer">
      {message.parts.map((part, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: parts are only added at the end
        <PartView key={index} part={part} asks={asks} decide={decide} />
      ))}
      {!isOpen && <Footer message={message} />}
    </article>
  )
})

/** What the user said. `note`: whether it was received. */
export function UserText({ text, note }: { readonly text: string; readonly note?: string }): ReactNode {
  return (
    <article className="said" aria-label="You">
      <p>{text}</p>
      {note !== undefined && <small>{note}</small>}
    </article>
  )
}

function PartView({
  part,
  asks,
  decide,
}: {
  readonly part: Part
  readonly asks: ReadonlyMap<string, DataParts["approval"]>
  readonly decide: Decide
}): ReactNode {
  if (isToolUIPart(part)) return <ToolView part={part} ask={asks.get(part.approval?.id ?? "")} decide={decide} />
  switch (part.type) {
    case "text":
      return <Markdown text={part.text} />
    case "reasoning":
      return part.text === "" ? null : (
        <details className="reasoning">
          <summary>{part.state === "streaming" ? "Thinking …" : "Thoughts"}</summary>
          <Markdown text={part.text} />
        </details>
      )
    case "data-user-message":
      return <UserText text={textOf(part.data.parts)} />
    default:
      return null
  }
}

type ToolPart = Extract<Part, { readonly toolCallId: string }>

const STATES: Readonly<Record<ToolPart["state"], string>> = {
  "input-streaming": "is written",
  "input-available": "runs",
  "approval-requested": "asks you",
  "approval-responded": "is decided",
  "output-available": "done",
  "output-error": "failed",
  "output-denied": "denied",
}

/** A call of a tool: what it is asked to do, whether you allow it, and its result. */
function ToolView({
  part,
  ask,
  decide,
}: {
  readonly part: ToolPart
  readonly ask: DataParts["approval"] | undefined
  readonly decide: Decide
}): ReactNode {
  const { state, approval } = part
  const name = getToolName(part).replaceAll("_", " ")
  const gist = gistOf(part.input)
  const title = ask?.summary ?? `${name.charAt(0).toUpperCase()}${name.slice(1)}`
  const asked = state === "approval-requested" && approval !== undefined ? approval.id : undefined
  // It was stopped, or something else was said, before anybody decided.
  const isDropped = state === "output-error" && ask !== undefined && ask.decision === undefined
  const responded = state === "approval-responded" ? (approval?.approved === true ? "approved" : "denied") : undefined
  const result = state === "output-available" ? json(part.output) : state === "output-error" ? part.errorText : undefined
  return (
    <section className="tool" data-state={state} aria-label={`Tool: ${title}`}>
      <header>
        <span className="title">{title}</span>
        <span className="gist">{asked === undefined && !title.includes(gist) && gist}</span>
        {ask?.risk === "high" && asked !== undefined && <span className="risk">cannot be undone</span>}
        <span className="state">{isDropped ? "did not run" : (responded ?? STATES[state])}</span>
      </header>
      {asked !== undefined && (
        <>
          <Arguments input={part.input} />
          <div className="buttons">
            <button type="button" className="primary" onClick={() => decide(asked, true)} aria-label={`Approve: ${title}`}>
              Approve
            </button>
            <button type="button" onClick={() => decide(asked, false)} aria-label={`Deny: ${title}`}>
              Deny
            </button>
          </div>
        </>
      )}
      {asked === undefined && (
        <details>
          <summary>Details</summary>
          <Arguments input={part.input} />
          {result !== undefined && <pre className="result">{result}</pre>}
        </details>
      )}
    </section>
  )
}

/** Every argument, in full: it is what the user decides about. */
function Arguments({ input }: { readonly input: unknown }): ReactNode {
  const entries = typeof input === "object" && input !== null ? Object.entries(input) : []
  return (
    <dl>
      {entries.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value === "" ? "(empty)" : visible(json(value))}</dd>
        </div>
      ))}
    </dl>
  )
}

/** A text with the characters that a reader cannot see, such as those that turn its order around, written out: it is what the user decides about. */
function visible(text: string): string {
  return text.replace(/[\p{Cf}\p{Cc}]/gu, (character) =>
    character === "\n" || character === "\t" ? character : `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  )
}

/** The first argument, to tell calls apart. */
function gistOf(input: unknown): string {
  const [first = ""] = typeof input === "object" && input !== null ? Object.values(input) : []
  return visible(json(first))
}

function json(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, undefined, 2)
}

const ENDS: Readonly<Record<string, string>> = { finished: "", cancelled: "Stopped.", provider_error: "The model failed." }

/** How the turn ended, where that is worth a line, and what it took. */
function Footer({ message: { metadata } }: { readonly message: ChatMessage }): ReactNode {
  const { outcome, usage, costMicros } = metadata ?? {}
  if (outcome === undefined) return null
  const ended = ENDS[outcome] ?? `The turn ended early: ${outcome.replaceAll("_", " ")}.`
  const count = (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0)
  const tokens = count === 0 ? [] : [`${count.toLocaleString("en")} tokens`]
  const cost = count === 0 || costMicros === undefined ? [] : [`$${(costMicros / 1_000_000).toFixed(4)}`]
  return (
    <footer>
      {ended !== "" && <strong>{ended}</strong>} {[...tokens, ...cost].join(" · ")}
    </footer>
  )
}
