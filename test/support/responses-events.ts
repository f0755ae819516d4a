// The events in which the Responses API streams an answer. Written from its reference; it imports nothing of the wire.
// https://platform.openai.com/docs/api-reference/responses-streaming (2026-11)

export type ApiItem = Readonly<Record<string, unknown>> & { readonly type: string; readonly id?: string }

interface TextPart {
  readonly type: string
  readonly text?: string
  readonly refusal?: string
}

/** Cuts a text into pieces. */
export type Split = (text: string) => readonly string[]

/** Returns the events of an answer that ends with this response object. Its `output` has the items. */
export function eventsOf(
  response: Readonly<Record<string, unknown>> & { readonly output: readonly ApiItem[]; readonly status: string },
  split: Split,
): readonly Readonly<Record<string, unknown>>[] {
  const events: Readonly<Record<string, unknown>>[] = []
  const emit = (type: string, fields: object): void => void events.push({ type, sequence_number: events.length, ...fields })
  const begun = { ...response, status: "in_progress", output: [], usage: null, incomplete_details: null, error: null }
  emit("response.created", { response: begun })
  emit("response.in_progress", { response: begun })
  for (const [index, item] of response.output.entries()) emitItem(item, { output_index: index, item_id: item.id }, split, emit)
  emit(`response.${response.status}`, { response })
  return events
}

type Emit = (type: string, fields: object) => void

function emitItem(item: ApiItem, place: { readonly output_index: number; readonly item_id: string | undefined }, split: Split, emit: Emit): void {
  const { output_index } = place
  const opened = { ...item, status: "in_progress" }
  switch (item.type) {
    case "reasoning":
      emit("response.output_item.added", { output_index, item: { ...opened, summary: [], encrypted_content: "not yet" } })
      for (const [summary_index, part] of (item["summary"] as readonly TextPart[]).entries()) {
        const at = { ...place, summary_index }
        emit("response.reasoning_summary_part.added", { ...at, part: { ...part, text: "" } })
        for (const delta of split(part.text ?? "")) emit("response.reasoning_summary_text.delta", { ...at, delta })
        emit("response.reasoning_summary_text.done", { ...at, text: part.text })
        emit("response.reasoning_summary_part.done", { ...at, part })
      }
      break
    case "message":
      emit("response.output_item.added", { output_index, item: { ...opened, content: [] } })
      for (const [content_index, part] of (item["content"] as readonly TextPart[]).entries()) {
        const at = { ...place, content_index }
        const text = part.text ?? part.refusal ?? ""
        const type = part.type === "refusal" ? "response.refusal" : "response.output_text"
        emit("response.content_part.added", { ...at, part: { ...part, ...(part.type === "refusal" ? { refusal: "" } : { text: "" }) } })
        for (const delta of split(text)) emit(`${type}.delta`, { ...at, delta })
        emit(`${type}.done`, { ...at, ...(part.type === "refusal" ? { refusal: text } : { text }) })
        emit("response.content_part.done", { ...at, part })
      }
      break
    case "function_call":
      emit("response.output_item.added", { output_index, item: { ...opened, arguments: "" } })
      for (const delta of split(String(item["arguments"]))) emit("response.function_call_arguments.delta", { ...place, delta })
      emit("response.function_call_arguments.done", { ...place, arguments: item["arguments"] })
      break
    default:
      emit("response.output_item.added", { output_index, item: opened })
      emit(`response.${item.type}.in_progress`, place)
      emit(`response.${item.type}.completed`, place)
  }
  emit("response.output_item.done", { output_index, item })
}
