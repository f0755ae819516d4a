import { journalLineValidation } from "../src/checks/records.ts"
import { wireValidation } from "../src/checks/validation.ts"
import { chatDriver } from "../src/drivers/chat.ts"
import { encodeAscii } from "../src/hosts/journal/encode-ascii.ts"
import type { TurnConfig } from "../src/machine/config.ts"
import { chatProjector } from "../src/projectors/chat.ts"
import { JournalReader } from "../src/replay/journal.ts"
import { Recorder, type RecorderOptions } from "../src/replay/recorder.ts"
import { resume } from "../src/replay/replay.ts"
import type { Response } from "../src/schemas/response.ts"
import { TurnMachine } from "../src/validated-turn-machine.ts"
import { CONFIG, START } from "./script.ts"

/** The turns that the journals of the benchmarks record. */
export const config: TurnConfig = { ...CONFIG, driver: chatDriver(), projector: chatProjector }
export const WITHOUT_SNAPSHOTS: RecorderOptions = {}
export const SNAPSHOTS: RecorderOptions = { snapshotEveryRecords: 300, snapshotEveryChars: 1_000_000 }

/** Runs the machine with its checks and records each response before handling it. `append` gets every line. */
export function record(script: readonly Response[], options: RecorderOptions, append: (lines: string) => void): void {
  const machine = new TurnMachine(config, START)
  const { recorder, line } = Recorder.begin(config, START, "bench", options)
  append(line)
  while (machine.poll() !== undefined);
  for (const response of script) {
    const checked = machine.check(response)
    append(recorder.response(machine, checked))
    machine.handle(checked)
    while (machine.poll() !== undefined);
    const snapshot = recorder.snapshotIfDue(machine)
    if (snapshot !== "") append(snapshot)
  }
  append(recorder.end(machine))
}

export function journalText(script: readonly Response[], options: RecorderOptions): string {
  const lines: string[] = []
  record(script, options, (line) => lines.push(line))
  return lines.join("")
}

/** A journal without its end: a finished turn is not resumed. */
export function unfinished(text: string): string {
  return text.slice(0, text.lastIndexOf("\n", text.length - 400) + 1)
}

/** `JSON.parse` of each line: the least that reading a journal could cost. */
export function parseLines(text: string): unknown {
  return text.split("\n").map((line) => (line === "" ? undefined : (JSON.parse(line) as unknown)))
}

/** Reads, checks and resumes a journal as a host does. */
export function resumeText(text: string): unknown {
  const reader = new JournalReader(journalLineValidation, undefined, { encode: encodeAscii, defersRecords: true })
  reader.push(text)
  return resume(reader.end(), { ...config, validation: wireValidation })
}
