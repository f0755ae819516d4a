import type { ComponentChildren, VNode } from "preact"
import type { JournalRecord } from "../../wire/journal.ts"
import type { LlmResponse, OutputPart } from "../../wire/llm.ts"
import type { HistoryRecord, Message, Part } from "../../wire/message.ts"
import type { CompletedToolCall } from "../../wire/tool.ts"
import { date, duration, plural, words } from "../model/format.ts"
import { inertLine } from "../model/inert.ts"
import { Fold, Inert, Json, Text } from "./text.tsx"

/** A record, as people read it. */
export function Answer({ record }: { readonly record: JournalRecord }): VNode | null {
  switch (record.type) {
    case "header":
      return (
        <>
          <Section title="Begins with">
            {record.start.messages.slice(-20).map((message) => (
              <MessageView key={message.id} message={message} />
            ))}
            {record.base !== undefined && <p class="muted">It continues a thread, after {plural(record.base.messages, "message")}.</p>}
          </Section>
          <Section title="System prompt">
            <Text value={record.surface.systemPrompt === "" ? "none" : record.surface.systemPrompt} first={600} />
          </Section>
          <Section title={plural(record.surface.tools.length, "tool")}>
            {record.surface.tools.map((tool) => (
              <Fold key={tool.name} title={tool.name}>
                {() => <Json value={tool} />}
              </Fold>
            ))}
          </Section>
        </>
      )
    case "llm_complete":
      if (record.result.ok) return <ModelAnswer response={record.result.response} />
      return (
        <Section title="Failed">
          <Text class="notice bad" value={record.result.error.message} />
          <p class="muted">
            {[record.result.error.kind ?? "", record.result.error.code ?? "", record.result.error.retryable ? "may be retried" : "not to be retried"]
              .filter((part) => part !== "")
              .join(" · ")}
          </p>
        </Section>
      )
    case "tool_results":
      return (
        <Section title={plural(record.results.length, "result")}>
          {record.results.map((result) => (
            <Result key={result.callId} result={result} />
          ))}
        </Section>
      )
    case "tool_decisions":
      return (
        <Section title={plural(record.decisions.length, "decision")}>
          {record.decisions.map((decision) => (
            <div key={decision.requestId} class="card">
              <p>
                <b>{decision.decision}</b> <Inert value={decision.requestId} />
                {decision.by !== undefined && (
                  <>
                    {" by "}
                    <Inert value={decision.by} />
                  </>
                )}
              </p>
              {decision.note !== undefined && <Text value={decision.note} />}
              {decision.decision === "edit" && <Json value={decision.args} />}
              {decision.decision === "reject" && decision.message !== undefined && <Text value={decision.message} />}
            </div>
          ))}
        </Section>
      )
    case "tool_pending":
      return (
        <Section title="Continues outside">
          <Json value={{ callId: record.callId, token: record.token, note: record.note }} />
        </Section>
      )
    case "exec_result":
      return (
        <Section title="Code">
          <Json value={record.result} />
        </Section>
      )
    case "checkpoint_delivery": {
      const delivered = Object.entries(record.delivery).filter(([, list]) => list.length > 0)
      if (delivered.length === 0) return <p class="muted">Nothing was delivered.</p>
      return (
        <Section title="Delivered">
          {delivered.map(([name, list]) => (
            <Fold key={name} title={`${name}: ${list.length}`} open>
              {() => <Json value={list} />}
            </Fold>
          ))}
        </Section>
      )
    }
    case "interruption":
      return (
        <Section title={`Command of the host: ${record.interruption.type}`}>
          <Json value={record.interruption} />
        </Section>
      )
    case "end":
      return (
        <Section title="Outcome">
          {record.outcome.type === "finished" && record.outcome.finish.type === "assistant_message" ? (
            <Text value={record.outcome.finish.text} />
          ) : (
            <Json value={record.outcome} />
          )}
        </Section>
      )
    case "snapshot":
      return <p class="muted">The turn as it was here, with {plural(record.checkpoint.messages.length, "message")}. A resumed turn starts from it.</p>
    case "effect":
      return (
        <Section title={words(record.effect.type)}>
          <Json value={record.effect} />
        </Section>
      )
    case "traced":
      return <p class="muted">{inertLine(record.trace)}</p>
    case "opened":
    case "reconfigured":
    case "call_started":
    case "child_granted":
      return record.at === undefined ? null : <p class="muted">{date(record.at)}</p>
    case "execution_surface_synced":
      return <Json value={record.result} />
  }
}

function Section({ title, children }: { readonly title: string; readonly children: ComponentChildren }): VNode {
  return (
    <section class="part">
      <h3>
        <Inert value={title} />
      </h3>
      {children}
    </section>
  )
}

function ModelAnswer({ response }: { readonly response: LlmResponse }): VNode {
  const { parts, text, terminalReason, terminalDiagnostic, durationMs, retriedUsage } = response
  return (
    <Section title="Answer">
      {parts.map((part, index) => (
        <Output key={`${index}`} part={part} />
      ))}
      {parts.length === 0 && (text === "" ? <p class="muted">Nothing was said.</p> : <Text value={text} />)}
      <p class="muted">
        {words(terminalReason)}
        {durationMs !== undefined && ` · ${duration(durationMs)}`}
        {retriedUsage !== undefined && " · after failed attempts"}
        {terminalDiagnostic !== undefined && (
          <>
            {" · "}
            <Inert value={terminalDiagnostic} />
          </>
        )}
      </p>
    </Section>
  )
}

function Output({ part }: { readonly part: OutputPart }): VNode {
  switch (part.type) {
    case "text":
      return <Text value={part.text} />
    case "reasoning":
      return <Fold title="reasoning">{() => <Text value={part.text === "" ? "The provider keeps it to itself." : part.text} />}</Fold>
    case "tool_call":
      return (
        <div class="card">
          <p>
            <b>
              <Inert value={part.toolName} />
            </b>{" "}
            <span class="muted">
              <Inert value={part.callId} />
            </span>
          </p>
          <Text class="mono" value={part.inputJson} first={600} />
        </div>
      )
    case "opaque":
      return <Fold title={`${part.kind} of ${part.provider}`}>{() => <Json value={part.data} />}</Fold>
  }
}

function Result({ result }: { readonly result: CompletedToolCall }): VNode {
  const { toolName, callId, args, output, durationMs, edited } = result
  return (
    <div class={`card ${output.status === "success" ? "" : "failed"}`}>
      <p>
        <b>
          <Inert value={toolName} />
        </b>{" "}
        <span class="muted">
          {words(output.status)} · {duration(durationMs)} · <Inert value={callId} />
          {edited === true && " · a person changed the arguments"}
        </span>
      </p>
      <Text class="mono" value={JSON.stringify(args)} first={400} />
      <div class="result">
        {output.status === "success" && <Json value={output.value} first={1_200} />}
        {output.status === "failure" && <Text value={`${output.failure.code}: ${output.failure.message}`} />}
        {output.status === "cancelled" && <Text value={output.message} />}
      </div>
    </div>
  )
}

/** A message of the transcript. */
export function MessageView({ message }: { readonly message: Message }): VNode {
  return (
    <div class={`message role-${message.role}`}>
      <p class="role">{message.role}</p>
      {message.parts.map((part) => (
        <PartView key={part.id} part={part} />
      ))}
    </div>
  )
}

function PartView({ part }: { readonly part: Part }): VNode {
  if ("text" in part && typeof part.text === "string") return <Text value={part.text} first={1_200} />
  return <Json value={part} first={600} />
}

/** Whether a record of the history is a message. */
export function isMessage(record: HistoryRecord): boolean {
  return record.type === "conversation"
}
