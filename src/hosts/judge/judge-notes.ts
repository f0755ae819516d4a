import { newChecklistState } from "../../drivers/checklist/checklist.ts"
import { restoreChecklist } from "../../drivers/checklist/manager.ts"
import { CheckpointError } from "../../errors.ts"
import { type ChecklistState, type JudgeCheckpoint, judgeValidation } from "../../schemas/checklist.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import type { StoredJournal } from "../journal/store.ts"

/** What the judge of a thread remembers. */
export interface JudgeMemory {
  readonly checklist: ChecklistState
  /** The thread's goal that the list is for, and its objective at that time. */
  readonly goalId?: string | undefined
  readonly objective?: string | undefined
  /** The last turn that was judged. */
  readonly judged?: string | undefined
  /** The judge that is at work, and on which turn; its judgement may not be applied yet. */
  readonly judging?: { readonly turnId: string; readonly checkpoint: JudgeCheckpoint } | undefined
  /** What calls used whose answers were lost, as far as it is known; not charged yet. */
  readonly lost?: TokenUsage | undefined
  /** What the thread has to be told of a judgement. */
  readonly owed?: Owed | undefined
}

interface Owed {
  /** Names it among all that the thread is ever told. */
  readonly key: string
  readonly usage?: TokenUsage
  readonly status?: "complete" | "blocked" | "paused"
  readonly reason?: string
}

const FORMAT = "turn-machine/judged-thread"
const VERSION = 1

/** The memory of a judge in a journal, which holds one JSON value: it is replaced whole with each change. */
export class JudgeNotes {
  readonly #stored: StoredJournal
  memory: JudgeMemory

  /** @throws {CheckpointError} */
  constructor(stored: StoredJournal) {
    this.#stored = stored
    this.memory = readMemory(stored.text)
  }

  /** @throws {JournalStoreError} */
  keep(changes: Partial<JudgeMemory>): Promise<void> {
    this.memory = { ...this.memory, ...changes }
    return this.#stored.replace(`${JSON.stringify({ format: FORMAT, version: VERSION, ...this.memory })}\n`)
  }

  close(): Promise<void> {
    return this.#stored.close()
  }
}

/** The list in the text of a judge's journal, which somebody may be writing. @throws {CheckpointError} */
export function readJudged(text: string | undefined): ChecklistState {
  return readMemory(text ?? "").checklist
}

function readMemory(text: string): JudgeMemory {
  if (text === "") return { checklist: newChecklistState() }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new CheckpointError("not_json", "", "The memory of the thread's judge is not JSON text.", { cause })
  }
  const { format, version, ...memory } = (value ?? {}) as JudgeMemory & { readonly format?: unknown; readonly version?: unknown }
  if (format !== FORMAT)
    throw new CheckpointError("not_a_checkpoint", "/format", `Not the memory of a thread's judge: its format is not "${FORMAT}".`)
  if (version !== VERSION)
    throw new CheckpointError(
      "unsupported_version",
      "/version",
      `The memory of the thread's judge has a version that this package does not read; it reads ${VERSION}.`,
    )
  return { ...memory, checklist: restoreChecklist({ model: "" }, memory.checklist, judgeValidation) }
}
