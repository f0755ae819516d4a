// Generated from src/schemas by scripts/generate-checks.ts. Change the schemas, and run "npm run checks".
/** What a judge takes from outside. */
import {
  atLeast,
  type Check,
  count,
  enter,
  type Fields,
  flag,
  int,
  type Key,
  leave,
  list,
  literal,
  nullable,
  number,
  oneOf,
  type Reading,
  type Tags,
  tagged,
  text,
} from "../reading.ts"
import { llmCall, llmMessage, message, tokenUsage } from "./turn.ts"

const CHECKLIST_POLICY_JUDGE_VALUES: readonly string[] = ["checklist", "freeform", "none"]

function checklistPolicyTemperatureValue(value: unknown, at: Reading, key: Key): unknown {
  return atLeast(number(value, at, key), at, key, 0)
}

export function checklistPolicy(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { model: text(from["model"], at, "model") }
  if ("modelVariant" in from) to["modelVariant"] = text(from["modelVariant"], at, "modelVariant")
  if ("sessionId" in from) to["sessionId"] = text(from["sessionId"], at, "sessionId")
  if ("compat" in from) to["compat"] = literal(from["compat"], at, "compat", "reference")
  if ("judge" in from) to["judge"] = oneOf(from["judge"], at, "judge", CHECKLIST_POLICY_JUDGE_VALUES)
  if ("defaultMaxTurns" in from) to["defaultMaxTurns"] = int(from["defaultMaxTurns"], at, "defaultMaxTurns")
  if ("maxItems" in from) to["maxItems"] = count(from["maxItems"], at, "maxItems")
  if ("maxStalledTurns" in from) to["maxStalledTurns"] = count(from["maxStalledTurns"], at, "maxStalledTurns")
  if ("maxParseFailures" in from) to["maxParseFailures"] = count(from["maxParseFailures"], at, "maxParseFailures")
  if ("maxTransportFailures" in from) to["maxTransportFailures"] = count(from["maxTransportFailures"], at, "maxTransportFailures")
  if ("maxHistoryPages" in from) to["maxHistoryPages"] = count(from["maxHistoryPages"], at, "maxHistoryPages")
  if ("historyPageChars" in from) to["historyPageChars"] = count(from["historyPageChars"], at, "historyPageChars")
  if ("maxWaitMs" in from) to["maxWaitMs"] = count(from["maxWaitMs"], at, "maxWaitMs")
  if ("maxOutputTokens" in from) to["maxOutputTokens"] = count(from["maxOutputTokens"], at, "maxOutputTokens")
  if ("temperature" in from) to["temperature"] = nullable(from["temperature"], at, "temperature", checklistPolicyTemperatureValue)
  return leave(from, to, at)
}

const JUDGED_TURN_ENDED_VALUES: readonly string[] = ["finished", "failed", "cancelled"]

function evidenceTranscript(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { id: text(from["id"], at, "id"), messages: list(from["messages"], at, "messages", message) }
  if ("lastTurn" in from) to["lastTurn"] = count(from["lastTurn"], at, "lastTurn")
  return leave(from, to, at)
}

export function judgedTurn(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { response: text(from["response"], at, "response") }
  if ("ended" in from) to["ended"] = oneOf(from["ended"], at, "ended", JUDGED_TURN_ENDED_VALUES)
  if ("transcript" in from) to["transcript"] = evidenceTranscript(from["transcript"], at, "transcript")
  if ("said" in from) to["said"] = list(from["said"], at, "said", text)
  if ("worked" in from) to["worked"] = flag(from["worked"], at, "worked")
  to["at"] = int(from["at"], at, "at")
  return leave(from, to, at)
}

const ITEM_STATUS_VALUES: readonly string[] = ["pending", "completed", "impossible"]

const CHECKLIST_ITEM_ADDED_BY_VALUES: readonly string[] = ["judge", "user"]

function evidenceText(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "text"), text: text(from["text"], at, "text") }
  return leave(from, to, at)
}

function evidenceUserMark(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "user_mark") }
  return leave(from, to, at)
}

const EVIDENCE: Tags = new Map<unknown, Check>([
  ["text", evidenceText],
  ["user_mark", evidenceUserMark],
])

function evidence(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", EVIDENCE)
}

function checklistItem(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    id: text(from["id"], at, "id"),
    text: text(from["text"], at, "text"),
    status: oneOf(from["status"], at, "status", ITEM_STATUS_VALUES),
    addedBy: oneOf(from["addedBy"], at, "addedBy", CHECKLIST_ITEM_ADDED_BY_VALUES),
    addedAt: int(from["addedAt"], at, "addedAt"),
  }
  if ("completedAt" in from) to["completedAt"] = int(from["completedAt"], at, "completedAt")
  if ("evidence" in from) to["evidence"] = evidence(from["evidence"], at, "evidence")
  return leave(from, to, at)
}

function judgeStateDecomposing(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "decomposing"),
    attempt: count(from["attempt"], at, "attempt"),
    outstanding: llmCall(from["outstanding"], at, "outstanding"),
  }
  return leave(from, to, at)
}

function judgeStateEvaluating(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "evaluating"),
    attempt: count(from["attempt"], at, "attempt"),
    outstanding: llmCall(from["outstanding"], at, "outstanding"),
    pagesLeft: count(from["pagesLeft"], at, "pagesLeft"),
    exchange: list(from["exchange"], at, "exchange", llmMessage),
  }
  return leave(from, to, at)
}

function judgeStateJudgingFreely(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "judging_freely"),
    attempt: count(from["attempt"], at, "attempt"),
    outstanding: llmCall(from["outstanding"], at, "outstanding"),
  }
  return leave(from, to, at)
}

const FINDING_INACTIVE_TYPE_VALUES: readonly string[] = ["inactive", "waiting", "turn_failed", "turn_cancelled"]

function findingInactive(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: oneOf(from["type"], at, "type", FINDING_INACTIVE_TYPE_VALUES) }
  return leave(from, to, at)
}

function findingDecomposed(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "decomposed"), items: list(from["items"], at, "items", text) }
  return leave(from, to, at)
}

const FINDING_JUDGED_ANSWER_VALUES: readonly string[] = ["usable", "unparseable", "unreachable", "unasked"]

const FINDING_JUDGED_SAYS_VALUES: readonly string[] = ["continue", "done", "blocked", "asked_to_stop", "wait", "skipped"]

const ITEM_RULING_STATUS_VALUES: readonly string[] = ["completed", "impossible"]

function itemRuling(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { itemId: text(from["itemId"], at, "itemId"), status: oneOf(from["status"], at, "status", ITEM_RULING_STATUS_VALUES) }
  if ("evidence" in from) to["evidence"] = text(from["evidence"], at, "evidence")
  return leave(from, to, at)
}

function judgeReasonText(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "text"), text: text(from["text"], at, "text") }
  return leave(from, to, at)
}

function judgeReasonDecomposed(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "decomposed"), items: count(from["items"], at, "items") }
  return leave(from, to, at)
}

const JUDGE_REASON_EMPTY_GOAL_TYPE_VALUES: readonly string[] = [
  "empty_goal",
  "empty_response",
  "empty_reply",
  "no_verdict",
  "none_given",
  "judge_off",
  "user_marks",
]

function judgeReasonEmptyGoal(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: oneOf(from["type"], at, "type", JUDGE_REASON_EMPTY_GOAL_TYPE_VALUES) }
  return leave(from, to, at)
}

function judgeReasonNotJson(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "not_json"), text: text(from["text"], at, "text") }
  return leave(from, to, at)
}

function judgeReasonBadArguments(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "bad_arguments"),
    toolName: text(from["toolName"], at, "toolName"),
    problem: text(from["problem"], at, "problem"),
  }
  return leave(from, to, at)
}

function judgeReasonJudgeError(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "judge_error") }
  if ("code" in from) to["code"] = text(from["code"], at, "code")
  to["message"] = text(from["message"], at, "message")
  return leave(from, to, at)
}

const JUDGE_REASON: Tags = new Map<unknown, Check>([
  ["text", judgeReasonText],
  ["decomposed", judgeReasonDecomposed],
  ["empty_goal", judgeReasonEmptyGoal],
  ["empty_response", judgeReasonEmptyGoal],
  ["empty_reply", judgeReasonEmptyGoal],
  ["no_verdict", judgeReasonEmptyGoal],
  ["none_given", judgeReasonEmptyGoal],
  ["judge_off", judgeReasonEmptyGoal],
  ["user_marks", judgeReasonEmptyGoal],
  ["not_json", judgeReasonNotJson],
  ["bad_arguments", judgeReasonBadArguments],
  ["judge_error", judgeReasonJudgeError],
])

function judgeReason(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", JUDGE_REASON)
}

function findingJudged(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "judged"),
    mode: oneOf(from["mode"], at, "mode", CHECKLIST_POLICY_JUDGE_VALUES),
    answer: oneOf(from["answer"], at, "answer", FINDING_JUDGED_ANSWER_VALUES),
    says: oneOf(from["says"], at, "says", FINDING_JUDGED_SAYS_VALUES),
  }
  if ("waitMs" in from) to["waitMs"] = count(from["waitMs"], at, "waitMs")
  if ("waitsFor" in from) to["waitsFor"] = text(from["waitsFor"], at, "waitsFor")
  to["rulings"] = list(from["rulings"], at, "rulings", itemRuling)
  to["newItems"] = list(from["newItems"], at, "newItems", text)
  to["reason"] = judgeReason(from["reason"], at, "reason")
  return leave(from, to, at)
}

const FINDING: Tags = new Map<unknown, Check>([
  ["inactive", findingInactive],
  ["waiting", findingInactive],
  ["turn_failed", findingInactive],
  ["turn_cancelled", findingInactive],
  ["decomposed", findingDecomposed],
  ["judged", findingJudged],
])

function finding(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", FINDING)
}

function judgeStateFinished(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "finished"), finding: finding(from["finding"], at, "finding") }
  return leave(from, to, at)
}

const JUDGE_STATE: Tags = new Map<unknown, Check>([
  ["decomposing", judgeStateDecomposing],
  ["evaluating", judgeStateEvaluating],
  ["judging_freely", judgeStateJudgingFreely],
  ["finished", judgeStateFinished],
])

function judgeState(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", JUDGE_STATE)
}

function evaluation(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    goalId: text(from["goalId"], at, "goalId"),
    revision: count(from["revision"], at, "revision"),
    goal: text(from["goal"], at, "goal"),
    items: list(from["items"], at, "items", checklistItem),
    response: text(from["response"], at, "response"),
  }
  if ("transcript" in from) to["transcript"] = evidenceTranscript(from["transcript"], at, "transcript")
  if ("contract" in from) to["contract"] = text(from["contract"], at, "contract")
  if ("said" in from) to["said"] = list(from["said"], at, "said", text)
  if ("worked" in from) to["worked"] = flag(from["worked"], at, "worked")
  to["decomposeTried"] = flag(from["decomposeTried"], at, "decomposeTried")
  to["state"] = judgeState(from["state"], at, "state")
  to["nextEffectId"] = count(from["nextEffectId"], at, "nextEffectId")
  to["requests"] = count(from["requests"], at, "requests")
  to["usage"] = tokenUsage(from["usage"], at, "usage")
  return leave(from, to, at)
}

export function judgeCheckpoint(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    format: literal(from["format"], at, "format", "turn-machine/checklist-judge"),
    version: literal(from["version"], at, "version", 1),
    evaluation: evaluation(from["evaluation"], at, "evaluation"),
  }
  return leave(from, to, at)
}

const CHECKLIST_GOAL_STATUS_VALUES: readonly string[] = ["active", "paused", "done", "cleared"]

const CHECKLIST_GOAL_LAST_VERDICT_VALUES: readonly string[] = ["decompose", "continue", "done", "blocked", "asked_to_stop", "wait", "skipped"]

function pauseReasonUser(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "user") }
  return leave(from, to, at)
}

const PAUSE_REASON_TEXT_TYPE_VALUES: readonly string[] = ["text", "blocked", "asked_to_stop"]

function pauseReasonText(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: oneOf(from["type"], at, "type", PAUSE_REASON_TEXT_TYPE_VALUES), text: text(from["text"], at, "text") }
  return leave(from, to, at)
}

const PAUSE_REASON_UNPARSEABLE_TYPE_VALUES: readonly string[] = ["unparseable", "unreachable"]

function pauseReasonUnparseable(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: oneOf(from["type"], at, "type", PAUSE_REASON_UNPARSEABLE_TYPE_VALUES),
    failures: count(from["failures"], at, "failures"),
  }
  return leave(from, to, at)
}

function pauseReasonBudget(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "budget"),
    turnsUsed: count(from["turnsUsed"], at, "turnsUsed"),
    maxTurns: int(from["maxTurns"], at, "maxTurns"),
  }
  return leave(from, to, at)
}

const PAUSE_REASON_STALLED_MODE_VALUES: readonly string[] = ["freeform", "none"]

function pauseReasonStalled(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "stalled"), turns: count(from["turns"], at, "turns") }
  if ("mode" in from) to["mode"] = oneOf(from["mode"], at, "mode", PAUSE_REASON_STALLED_MODE_VALUES)
  return leave(from, to, at)
}

const PAUSE_REASON: Tags = new Map<unknown, Check>([
  ["user", pauseReasonUser],
  ["text", pauseReasonText],
  ["blocked", pauseReasonText],
  ["asked_to_stop", pauseReasonText],
  ["unparseable", pauseReasonUnparseable],
  ["unreachable", pauseReasonUnparseable],
  ["budget", pauseReasonBudget],
  ["stalled", pauseReasonStalled],
])

function pauseReason(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", PAUSE_REASON)
}

function checklistGoal(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    goalId: text(from["goalId"], at, "goalId"),
    revision: count(from["revision"], at, "revision"),
    goal: text(from["goal"], at, "goal"),
    status: oneOf(from["status"], at, "status", CHECKLIST_GOAL_STATUS_VALUES),
    turnsUsed: count(from["turnsUsed"], at, "turnsUsed"),
    maxTurns: int(from["maxTurns"], at, "maxTurns"),
    createdAt: int(from["createdAt"], at, "createdAt"),
  }
  if ("lastTurnAt" in from) to["lastTurnAt"] = int(from["lastTurnAt"], at, "lastTurnAt")
  if ("lastVerdict" in from) to["lastVerdict"] = oneOf(from["lastVerdict"], at, "lastVerdict", CHECKLIST_GOAL_LAST_VERDICT_VALUES)
  if ("lastReason" in from) to["lastReason"] = judgeReason(from["lastReason"], at, "lastReason")
  if ("pausedReason" in from) to["pausedReason"] = pauseReason(from["pausedReason"], at, "pausedReason")
  if ("notBefore" in from) to["notBefore"] = int(from["notBefore"], at, "notBefore")
  if ("waitsFor" in from) to["waitsFor"] = text(from["waitsFor"], at, "waitsFor")
  if ("contract" in from) to["contract"] = text(from["contract"], at, "contract")
  if ("lastResponse" in from) to["lastResponse"] = text(from["lastResponse"], at, "lastResponse")
  to["consecutiveParseFailures"] = count(from["consecutiveParseFailures"], at, "consecutiveParseFailures")
  to["consecutiveTransportFailures"] = count(from["consecutiveTransportFailures"], at, "consecutiveTransportFailures")
  to["stalledTurns"] = count(from["stalledTurns"], at, "stalledTurns")
  to["checklist"] = list(from["checklist"], at, "checklist", checklistItem)
  to["decomposed"] = flag(from["decomposed"], at, "decomposed")
  to["nextItemNumber"] = count(from["nextItemNumber"], at, "nextItemNumber")
  return leave(from, to, at)
}

export function checklistState(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { nextGoalNumber: count(from["nextGoalNumber"], at, "nextGoalNumber") }
  if ("goal" in from) to["goal"] = checklistGoal(from["goal"], at, "goal")
  if ("clearedGoal" in from) to["clearedGoal"] = checklistGoal(from["clearedGoal"], at, "clearedGoal")
  return leave(from, to, at)
}
