import type { Client } from "./client.ts"

/** One entry of an invocation's journal. */
export interface Entry {
  readonly index: number
  readonly entry_type: string
  readonly name?: string
  /** Its size, in bytes. */
  readonly raw_length: number
}

/** Reads what the server holds of an invocation, with SQL. */
export function journalOf(client: Client, invocationId: string): Promise<readonly Entry[]> {
  return client.query<Entry>(`select index, entry_type, name, raw_length from sys_journal where id = '${invocationId}' order by index`)
}

export function bytesOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { raw_length }) => sum + raw_length, 0)
}

/** The steps of a journal: those of a turn are its effects, its tool calls, and the starts of calls that run once. */
export function stepsOf(entries: readonly Entry[]): number {
  return entries.filter(({ entry_type }) => entry_type === "Command: Run").length
}

/** The first entries, and how many there are. */
export function summaryOf(entries: readonly Entry[]): string {
  const shown = entries.slice(0, 12).map(({ index, entry_type, name = "", raw_length }) => {
    return `${String(index).padStart(4)}  ${entry_type.padEnd(24)}${name.padEnd(28)}${String(raw_length).padStart(6)} bytes`
  })
  const steps = stepsOf(entries)
  return [
    ...shown,
    "   …",
    `${entries.length} entries, ${steps} steps, ${bytesOf(entries)} bytes: ${Math.round(bytesOf(entries) / steps)} for each step.`,
  ].join("\n")
}
