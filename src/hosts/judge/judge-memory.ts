import { judgeValidation } from "../../checks/judge.ts"
import { newChecklistState } from "../../drivers/checklist/checklist.ts"
import { restoreChecklist } from "../../drivers/checklist/manager.ts"
import { CheckpointError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import { digest } from "../../replay/digest.ts"
import type { ChecklistState, JudgeCheckpoint } from "../../schemas/checklist.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import { textOf } from "../journal/parts.ts"
import type { JournalStore, StoredJournal } from "../journal/store.ts"
import { judgeName } from "../journal/thread-names.ts"

/** The stored state of a thread's judge. */
export interface JudgeMemory {
  readonly checklist: ChecklistState
  /** The thread's goal that the checklist belongs to, and its objective and contract when the checklist was made. */
  readonly goalId?: string | undefined
  readonly objective?: string | undefined
  readonly contract?: string | undefined
  /** The last turn that was judged. */
  readonly judged?: string | undefined
  /** The last message of the thread when a verdict was last read; "" if there was none. What the user said after it is new to the judge. */
  readonly heard?: string | undefined
  /** The goal had reached a budget when a turn was last judged. Until it is active again, no other turn is judged. */
  readonly limited?: boolean | undefined
  /** The thread's goal holds the judge's last wait. */
  readonly isHeld?: boolean | undefined
  /** The running judge and the turn it judges. Its judgement is not applied yet. */
  readonly judging?: Judging | undefined
  /** The turn that is judged again, and how often it was judged. */
  readonly again?: { readonly turnId: string; readonly judged: number } | undefined
  /** Usage of calls whose answers were lost, from an earlier version; not charged yet. */
  readonly lost?: TokenUsage | undefined
  /** What the thread must still record of a judgement. */
  readonly owed?: Owed | undefined
}

/** A running judge. Its checkpoint leaves out the transcript, which is the thread's history. */
export interface Judging {
  readonly turnId: string
  readonly checkpoint: JudgeCheckpoint
  /** How often the turn was judged, with this time. Absent: once. */
  readonly attempt?: number
  /** What was already charged. Absent: nothing. */
  readonly charged?: TokenUsage
  /** How many calls were lost or stopped. */
  readonly lostCalls?: number
  /** The outstanding call was lost or stopped and has not been made again, or the budget did not admit it. */
  readonly isLost?: true
  /** The goal had reached a budget before it was judged. */
  readonly limited?: true
}

/** What the thread must still record. */
export interface Owed {
  /** Unique in the thread, so that it is recorded once. */
  readonly key: string
  readonly usage?: TokenUsage
  readonly status?: "complete" | "blocked" | "paused" | "budget_limited"
  readonly reason?: string
  readonly wait?: { readonly until?: number; readonly event?: string; readonly reason?: string }
  /** An item was settled or added, or the turn gave something new. */
  readonly progress?: true
  /** The goal that it is about. Absent in earlier versions. */
  readonly goalId?: string
}

const FORMAT = "turn-machine/judged-thread"
/** Version 1 had no checksum. */
const VERSION = 2

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
    return this.#stored.replace(writeMemory(this.current))
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

function writeMemory(memory: JudgeMemory): string {
  // As it will be read: without undefined members.
  const value = JSON.parse(JSON.stringify({ format: FORMAT, version: VERSION, ...memory })) as Json
  return `${JSON.stringify({ checksum: digest(value), ...(value as object) })}\n`
}

function readMemory(text: string): JudgeMemory {
  if (text === "") return { checklist: newChecklistState() }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new CheckpointError("not_json", "", "The stored state of the thread's judge is not JSON.", { cause })
  }
  const { checksum, ...checked } = (value ?? {}) as JudgeMemory & {
    readonly format?: unknown
    readonly version?: unknown
    readonly checksum?: unknown
  }
  const { format, version, ...memory } = checked
  if (format !== FORMAT)
    throw new CheckpointError("not_a_checkpoint", "/format", `Not the stored state of a thread's judge: its format is not "${FORMAT}".`)
  if (version !== VERSION && (version !== 1 || checksum !== undefined))
    throw new CheckpointError(
      "unsupported_version",
      "/version",
      `The stored state of the thread's judge has an unsupported version. This package reads versions 1 and ${VERSION}.`,
    )
  if (version === VERSION && checksum !== digest(checked as unknown as Json))
    throw new CheckpointError("invalid_checkpoint", "/checksum", "The stored state of the thread's judge is damaged: its checksum does not match.")
  return { ...memory, checklist: restoreChecklist({ model: "" }, memory.checklist, judgeValidation) }
}
