export type { ChecklistCommand, ChecklistState } from "../../wire/checklist.ts"
export type { GoalMode, TurnOrigin } from "../../wire/goal.ts"
export { type JudgedTurnOptions, judgedCheckpoint } from "../judge/judged-checkpoint.ts"
export { JudgedThread, type JudgedThreadOptions, readJudged } from "../judge/judged-thread.ts"
export type { CheckRequest, CheckRunner } from "./check-runner.ts"
export type { GoalTurnOptions } from "./config.ts"
export type { EndedThreadTurn } from "./log.ts"
export type { RestFacts, ThreadChecks, ThreadLoopOptions, ThreadWaiting } from "./loop-options.ts"
export { snapshotThread, type ThreadSnapshot } from "./snapshot.ts"
export {
  type Guidance,
  type InputPart,
  type InputReceipt,
  type InputTime,
  type Interrupted,
  type QueuedInput,
  type RedirectOptions,
  type RunThreadOptions,
  runThread,
  type SayOptions,
  type SuspendedTurn,
  Thread,
  type ThreadAnswerOptions,
  type ThreadApprovals,
  type ThreadInput,
  type ThreadInputOptions,
  type ThreadOptions,
  type ThreadRest,
  type ThreadTurn,
} from "./thread.ts"
export { ThreadError, type ThreadErrorCode } from "./thread-error.ts"
