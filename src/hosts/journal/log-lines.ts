import { canonicalJson } from "../../json.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import type { ThreadRecord, ThreadTurnEnded } from "../../wire/thread.ts"

/**
 * Shortens the records of one log, in their order: the end of a turn leaves out what the log has already. In memory, a record is always whole.
 */
export class LogLines {
  /** The messages of the user that no turn has added to the history. */
  readonly #said: Map<string, Message>

  /** `undelivered`: the messages of the user that no turn received in the records before. */
  constructor(undelivered: readonly Message[] = []) {
    this.#said = new Map(undelivered.map((message) => [message.id, message]))
  }

  /** Notes a whole record that is written or read. */
  note(record: ThreadRecord): void {
    if (record.type === "said") this.#said.set(record.message.id, record.message)
    if (record.type === "turn_begun") for (const id of record.said) this.#said.delete(id)
    if (record.type === "turn_ended") for (const index of record.said ?? []) this.#said.delete(idOf(record.records[index]))
  }

  /** A record with the marks of what its line leaves out. */
  marked(record: ThreadRecord): ThreadRecord {
    if (record.type !== "turn_ended") return record
    const said = record.records.flatMap((added, index) => (this.#has(added) ? [index] : []))
    return { ...record, ...(isAnswered(record) && { answered: true }), ...(said.length > 0 && { said }) }
  }

  /** The line of a marked record. */
  short(record: ThreadRecord): ThreadRecord {
    if (record.type !== "turn_ended") return record
    const { said = [], answered } = record
    return {
      ...record,
      ...(answered === true && { outcome: answeredWith("") }),
      ...(said.length > 0 && { records: atEach(said, record.records, (message) => ({ ...message, parts: [] })) }),
    }
  }

  /** The record of a line, in full. `undefined`: it leaves out what the log does not have. */
  whole(record: ThreadRecord): ThreadRecord | undefined {
    if (record.type !== "turn_ended" || (record.said === undefined && record.answered === undefined)) return record
    const { said = [], answered } = record
    if (!said.every((index) => this.#said.has(idOf(record.records[index])))) return undefined
    const records = atEach(said, record.records, (message) => this.#said.get(message.id) ?? message)
    if (answered !== true) return { ...record, records }
    const text = answerOf({ records })
    return text === undefined ? undefined : { ...record, records, outcome: answeredWith(text) }
  }

  #has(record: HistoryRecord): boolean {
    const known = this.#said.get(idOf(record))
    return known !== undefined && record.type === "conversation" && canonicalJson(known) === canonicalJson(record.message)
  }
}

/** The records, of which the messages at the indexes are changed. */
function atEach(indexes: readonly number[], records: readonly HistoryRecord[], change: (message: Message) => Message): readonly HistoryRecord[] {
  if (indexes.length === 0) return records
  return records.map((record, index) =>
    record.type === "conversation" && indexes.includes(index) ? { ...record, message: change(record.message) } : record,
  )
}

function idOf(record: HistoryRecord | undefined): string {
  return record?.type === "conversation" ? record.message.id : ""
}

/** The text of the last message that a turn added. */
function answerOf({ records }: Pick<ThreadTurnEnded, "records">): string | undefined {
  let index = records.length - 1
  while (index >= 0 && records[index]?.type !== "conversation") index -= 1
  const last = records[index]
  if (last?.type !== "conversation") return undefined
  let text = ""
  for (const part of last.message.parts) if (part.type === "text") text += part.text
  return text
}

function answeredWith(text: string): ThreadTurnEnded["outcome"] {
  return { type: "finished", finish: { type: "assistant_message", text } }
}

/** Whether the outcome of a turn repeats the text of its last message. */
function isAnswered({ outcome, records }: ThreadTurnEnded): boolean {
  const isMessage = outcome.type === "finished" && outcome.finish.type === "assistant_message"
  return isMessage && outcome.finish.text !== "" && outcome.finish.text === answerOf({ records })
}
