export { ThreadCursorError, type ThreadCursorErrorCode } from "../../replay/thread-cursor.ts"
export type { ChecklistCommand, ChecklistState } from "../../wire/checklist.ts"
export type { GoalMode, TurnOrigin } from "../../wire/goal.ts"
export type {
  ApprovalDecided,
  ApprovalRequested,
  CodeEnded,
  CodeStarted,
  DurableThreadEvent,
  GoalUpdated,
  InputQueued,
  InputReordered,
  InputRetracted,
  LiveThreadEvent,
  MessageCompleted,
  MessageDelta,
  ModelCallEnded,
  ModelCallRetry,
  ModelCallStarted,
  PluginShown,
  ThreadEvent,
  ThreadEventPlace,
  ThreadNotice,
  ToolCallEnded,
  ToolCallPending,
  ToolCallProgress,
  ToolCallStarted,
  TurnEnded,
  TurnErrorShown,
  TurnRedirected,
  TurnStarted,
} from "../../wire/thread-event.ts"
export type { EndedThreadTurn } from "../journal/thread-log.ts"
export { type JudgedTurnOptions, judgedCheckpoint } from "../judge/judged-checkpoint.ts"
export { JudgedThread, type JudgedThreadOptions, readJudged } from "../judge/judged-thread.ts"
export type { CheckRequest, CheckRunner } from "./check-runner.ts"
export type { GoalTurnOptions } from "./config.ts"
export { type DeleteThreadsOptions, deleteThreads } from "./delete-threads.ts"
export { type ReadThreadEventsOptions, type ThreadEventsOptions, threadEvents } from "./events.ts"
export type { ListedThread, UnreadableThread } from "./list-threads.ts"
export type { OpenedTurn, OpenTurn, RestFacts, ThreadChecks, ThreadLoopOptions, ThreadWaiting } from "./loop-options.ts"
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
  type UserPart,
} from "./thread.ts"
export { ThreadError, type ThreadErrorCode } from "./thread-error.ts"
