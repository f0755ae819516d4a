export { JudgedThread, type JudgedThreadOptions, judgedDriver, readJudged } from "./judged-thread.ts"
export { type JudgedTurnOptions, judgedCheckpoint } from "./judged-turn.ts"
export {
  type Guidance,
  type RunThreadOptions,
  runThread,
  Thread,
  type ThreadOptions,
  type ThreadRest,
  type ThreadTurn,
} from "./thread.ts"
export type { GoalTurnOptions } from "./thread-config.ts"
export type { EndedThreadTurn } from "./thread-log.ts"
export { snapshotThread, type ThreadSnapshot } from "./thread-snapshot.ts"
