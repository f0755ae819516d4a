/**
 * For authors of drivers and hosts: scripted drivers, hosts and models, the laws of a
 * turn as one function, and expectations on recorded journals.
 * Arbitraries for fast-check are in `turn-machine/testing/arbitraries`.
 */

export type { Difference } from "../errors.ts"
export { type Answers, answerTo, type ScriptedDecision, type ScriptedToolAnswer } from "./answers.ts"
export { firstDifference } from "./difference.ts"
export { expectReplays, ReplayMismatch } from "./expect-replays.ts"
export { type ExpectTurnOptions, expectTurn, type TurnSummary } from "./expect-turn.ts"
export {
  type CutOff,
  type Exploration,
  type ExploreBounds,
  type ExploreTurnOptions,
  exploreTurn,
  type HostInput,
  type ReachedRow,
  type TableRow,
} from "./explore-turn.ts"
export { ConformanceError, type ConformanceFault } from "./host-conformance/conformance-error.ts"
export { CONFORMANCE_LAWS, type ConformanceLaw } from "./host-conformance/conformance-laws.ts"
export { type ConformanceCheck, hostConformance } from "./host-conformance/host-conformance.ts"
export type { MakeHost } from "./host-conformance/laboratory.ts"
export type {
  HostConformanceOptions,
  HostInstance,
  HostPromises,
  PlaceDetails,
  TestedDecision,
  TestedEnd,
  TestedHost,
  TestedProcess,
  TestedRunOptions,
  TestedSuspension,
  TestedTurn,
} from "./host-conformance/tested-host.ts"
export { testedStore } from "./host-conformance/tested-store.ts"
export { LAWS, type Law, LawError } from "./laws.ts"
export { partialAnswer, possibleAnswers } from "./possible-answers.ts"
export { type RecordedModel, type RecordedTools, recordedModel, recordedTools } from "./recorded-model.ts"
export {
  type DriverCallback,
  NUMBERS_PER_ANSWER,
  type OptionalCallback,
  type ScriptedAnswer,
  type ScriptedDriverOptions,
  scriptedDriver,
} from "./scripted-driver.ts"
export { type HostMove, type ScriptedHost, scriptedHost } from "./scripted-host.ts"
export {
  type ScriptedModel,
  type ScriptedModelAnswer,
  type ScriptedModelCall,
  type ScriptedModelData,
  type ScriptedModelOptions,
  type ScriptedToolCall,
  scriptedModel,
} from "./scripted-model.ts"
export type { DriverLaw, ExploredStep, GivenInput, StepLaw } from "./step-checker.ts"
export { storedThread } from "./thread-conformance/stored-thread.ts"
export type {
  TestedInput,
  TestedRest,
  TestedStatus,
  TestedThread,
  TestedThreadHost,
  ThreadConformanceOptions,
  ThreadInstance,
  ThreadPromises,
} from "./thread-conformance/tested-thread.ts"
export type { MakeThreadHost } from "./thread-conformance/thread-acts.ts"
export { threadConformance } from "./thread-conformance/thread-conformance.ts"
export { THREAD_LAWS, type ThreadLaw } from "./thread-conformance/thread-laws.ts"
export type { TestedMachine, TestedMachineClass, TurnInput, Verdict } from "./turn-input.ts"
export { ExplorationError } from "./witness.ts"
