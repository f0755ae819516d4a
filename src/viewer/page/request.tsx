import type { VNode } from "preact"
import type { Block, LlmMessage } from "../../wire/llm.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import { count, plural, words } from "../model/format.ts"
import type { Place } from "../model/link.ts"
import { requestDiff, tokensRead } from "../model/request-diff.ts"
import type { Row } from "../model/rows.ts"
import type { TurnView } from "../model/turn-view.ts"
import { Copy, Fold, Inert, Json, Text } from "./text.tsx"

/** The request that a record answers, and how it differs from the one before. */
export function RequestTab({ view, row, go }: { readonly view: TurnView; readonly row: Row; readonly go: (change: Partial<Place>) => void }): VNode {
  const pair = view.request(row)
  if (row.kind !== "model") return <p class="muted">This record does not answer a model call. Press j for the next one, or filter by Model.</p>
  if (pair === undefined) return <p class="muted">The request is not known{view.note === undefined ? "." : `: ${view.note}`}</p>
  const { request, previous, previousRecord, broken } = pair
  const { kept, removed, added, toolsAdded, toolsRemoved, settings } = requestDiff(pair)
  const before = previousRecord === undefined ? undefined : usageOf(view, previousRecord)
  const read = broken === undefined ? undefined : tokensRead(usageOf(view, row.number), before)
  return (
    <>
      <p class="line">
        <span class="badge plain">
          <Inert value={request.model} />
        </span>
        <span class="muted">
          {plural(request.messages.length, "message")}, {plural(request.tools.length, "tool")}
          {previousRecord !== undefined && (
            <>
              {", compared with "}
              <button type="button" class="link" onClick={() => go({ record: previousRecord })}>
                record {previousRecord}
              </button>
            </>
          )}
        </span>
        <Copy text={() => JSON.stringify(request, undefined, 2)} label="Copy JSON" />
      </p>
      {broken !== undefined && (
        <div class={`notice ${broken.marked ? "" : "bad"}`}>
          <p>
            <b>{broken.marked ? "The prefix was reset, as announced." : "The prefix breaks."}</b> {CAUSES[broken.reason]} First difference:{" "}
            <code>
              <Inert value={broken.at} />
            </code>
          </p>
          {read !== undefined && <p>{count(read)} tokens of the request before were read again, and not from the provider's cache.</p>}
        </div>
      )}
      {broken === undefined && previous !== undefined && (
        <p class="good-text">It begins with the request before: {plural(kept.length, "message")} are the same.</p>
      )}
      {settings.map(({ key, before: old, after }) => (
        <div key={key} class="pair">
          <code>{key}</code>
          <Text class="mono removed" value={old} first={300} />
          <Text class="mono added" value={after} first={300} />
        </div>
      ))}
      {toolsRemoved.map((tool) => (
        <Fold key={tool.name} title={`− tool ${tool.name}`}>
          {() => <Json value={tool} />}
        </Fold>
      ))}
      {toolsAdded.map((tool) => (
        <Fold key={tool.name} title={`+ tool ${tool.name}`}>
          {() => <Json value={tool} />}
        </Fold>
      ))}
      {kept.length > 0 && (
        <Fold title={`${plural(kept.length, "unchanged message")}`}>
          {() => (
            <>
              {kept.slice(0, MOST).map((message, index) => (
                <LlmMessageView key={`${index}`} message={message} sign="" />
              ))}
              {kept.length > MOST && <p class="muted">and {plural(kept.length - MOST, "more message")}; Copy JSON has all of them</p>}
            </>
          )}
        </Fold>
      )}
      {removed.map((message, index) => (
        <LlmMessageView key={`removed ${index}`} message={message} sign="removed" />
      ))}
      {added.slice(0, MOST).map((message, index) => (
        <LlmMessageView key={`added ${index}`} message={message} sign={previous === undefined ? "" : "added"} />
      ))}
    </>
  )
}

/** Messages that are shown at once. */
const MOST = 200

const CAUSES = {
  system: "The system prompt differs.",
  tools: "The tools differ.",
  message: "An earlier message differs.",
} as const

function usageOf(view: TurnView, number: number): TokenUsage | undefined {
  const row = view.rows.find((each) => each.number === number)
  const record = row === undefined ? undefined : view.journal.entries[row.index]?.record
  if (record?.type !== "llm_complete") return undefined
  return record.result.ok ? record.result.response.usage : record.result.error.usage
}

function LlmMessageView({ message: { role, blocks }, sign }: { readonly message: LlmMessage; readonly sign: "" | "added" | "removed" }): VNode {
  return (
    <div class={`message role-${role} ${sign}`}>
      <p class="role">
        {sign === "added" ? "+ " : sign === "removed" ? "− " : ""}
        {role}
        {sign === "removed" && <span class="sr"> removed</span>}
        {sign === "added" && <span class="sr"> added</span>}
      </p>
      {blocks.map((block, index) => (
        <BlockView key={`${index}`} block={block} />
      ))}
    </div>
  )
}

function BlockView({ block }: { readonly block: Block }): VNode {
  switch (block.type) {
    case "text":
      return <Text value={block.text} first={1_500} />
    case "reasoning":
      return <Fold title="reasoning">{() => <Text value={block.text} />}</Fold>
    case "tool_call":
      return (
        <div class="block">
          <b>
            <Inert value={block.toolName} />
          </b>
          <Text class="mono" value={block.inputJson} first={600} />
        </div>
      )
    case "tool_result":
      return (
        <div class="block">
          <span class="muted">
            {block.isError === true ? "failed " : ""}result of <Inert value={block.toolName ?? block.callId} />
          </span>
          <Text class="mono" value={block.text} first={800} />
        </div>
      )
    default:
      return <Fold title={words(block.type)}>{() => <Json value={block} />}</Fold>
  }
}
