import { newChecklistState } from "../../drivers/checklist/checklist.ts"
import { restoreChecklist } from "../../drivers/checklist/manager.ts"
import { CheckpointError } from "../../errors.ts"
import { type ChecklistState, type JudgeCheckpoint, judgeValidation } from "../../schemas/checklist.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import { textOf } from "../journal/parts.ts"
import type { JournalStore, StoredJournal } from "../journal/store.ts"

/** The stored state of a thread's judge. */
export interface JudgeMemory {
  readonly checklist: ChecklistState
  /** The thread's goal that the checklist belongs to, and its objective when the checklist was made. */
  readonly goalId?: string | undefined
  readonly objective?: string | undefined
  /** The last turn that was judged. */
  readonly judged?: string | undefined
  /** The running judge and the turn it judges. Its judgement is not applied yet. */
  readonly judging?: { readonly turnId: string; readonly checkpoint: JudgeCheckpoint } | undefined
  /** Estimated usage of calls whose answers were lost; not charged yet. */
  readonly lost?: TokenUsage | undefined
  /** What the thread must still record of a judgement. */
  readonly owed?: Owed | undefined
}

interface Owed {
  /** Unique in the thread, so that it is recorded once. */
  readonly key: string
  readonly usage?: TokenUsage
  readonly status?: "complete" | "blocked" | "paused"
  readonly reason?: string
}

const FORMAT = "turn-machine/judged-thread"
const VERSION = 1

/** The state of a judge in a journal that holds one JSON value. Each change replaces it. */
export class StoredJudgeMemory {
  readonly #stored: StoredJournal
  current: JudgeMemory

  private constructor(stored: StoredJournal, current: JudgeMemory) {
    this.#stored = stored
    this.current = current
  }

  /** Reads the state from an open journal. @throws {CheckpointError | JournalStoreError} */
  static async read(stored: StoredJournal): Promise<StoredJudgeMemory> {
    return new StoredJudgeMemory(stored, readMemory(await textOf(stored.read())))
  }

  /** @throws {JournalStoreError} */
  update(changes: Partial<JudgeMemory>): Promise<void> {
    this.current = { ...this.current, ...changes }
    return this.#stored.replace(`${JSON.stringify({ format: FORMAT, version: VERSION, ...this.current })}\n`)
  }

  close(): Promise<void> {
    return this.#stored.close()
  }
}

/**
 * Reads the checklist of a thread's judge without opening its journal, which may be in use.
 * @throws {CheckpointError} `not_json`, `not_a_checkpoint`, `unsupported_version`, `invalid_checkpoint`
 * @throws {JournalStoreError} `invalid_name`, `unavailable`
 */
export async function readJudged(store: Pick<JournalStore, "read">, threadId: string): Promise<ChecklistState> {
  return readMemory(await textOf(await store.read(judgeName(threadId)))).checklist
}

/** The name of the journal that holds the state of a thread's judge. */
export function judgeName(threadId: string): string {
  return `${threadId}.judge`
}

function readMemory(text: string): JudgeMemory {
  if (text === "") return { checklist: newChecklistState() }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new CheckpointError("not_json", "", "The stored state of the thread's judge is not JSON.", { cause })
  }
  const { format, version, ...memory } = (value ?? {}) as JudgeMemory & { readonly format?: unknown; readonly version?: unknown }
  if (format !== FORMAT)
    throw new CheckpointError("not_a_checkpoint", "/format", `Not the stored state of a thread's judge: its format is not "${FORMAT}".`)
  if (version !== VERSION)
    throw new CheckpointError(
      "unsupported_version",
      "/version",
      `The stored state of the thread's judge has an unsupported version. This package reads version ${VERSION}.`,
    )
  return { ...memory, checklist: restoreChecklist({ model: "" }, memory.checklist, judgeValidation) }
}
