// Generated from src/schemas by scripts/generate-checks.ts. Change the schemas, and run "npm run checks".
/** The records of journals and threads, and what hosts take for them. */
import {
  type Check,
  count,
  either,
  enter,
  type Fields,
  flag,
  int,
  json,
  type Key,
  leave,
  list,
  literal,
  nullable,
  number,
  oneOf,
  type Reading,
  record,
  refuseOthers,
  type Tags,
  tagged,
  text,
} from "../reading.ts"
import {
  answerableEffect,
  driverAction,
  historyRecord,
  llmResponse,
  message,
  outcome,
  response,
  tokenUsage,
  toolSpec,
  turnCheckpoint,
  turnEvent,
  turnStart,
} from "./turn.ts"

function journalHeaderDriver(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { name: text(from["name"], at, "name"), version: count(from["version"], at, "version") }
  return leave(from, to, at)
}

function journalBase(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    log: text(from["log"], at, "log"),
    records: count(from["records"], at, "records"),
    checksum: text(from["checksum"], at, "checksum"),
    messages: count(from["messages"], at, "messages"),
    events: count(from["events"], at, "events"),
  }
  if ("surface" in from) to["surface"] = literal(from["surface"], at, "surface", true)
  return leave(from, to, at)
}

function journalHeaderSurface(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { systemPrompt: text(from["systemPrompt"], at, "systemPrompt"), tools: list(from["tools"], at, "tools", toolSpec) }
  return leave(from, to, at)
}

function journalHeaderForkedFrom(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { turnId: text(from["turnId"], at, "turnId"), record: count(from["record"], at, "record") }
  return leave(from, to, at)
}

function journalParentDetached(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { toolName: text(from["toolName"], at, "toolName"), args: json(from["args"], at, "args") }
  return leave(from, to, at)
}

function journalParent(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    turnId: text(from["turnId"], at, "turnId"),
    effectId: count(from["effectId"], at, "effectId"),
    callId: text(from["callId"], at, "callId"),
  }
  if ("name" in from) to["name"] = text(from["name"], at, "name")
  to["depth"] = count(from["depth"], at, "depth")
  if ("lease" in from) to["lease"] = count(from["lease"], at, "lease")
  if ("detached" in from) to["detached"] = journalParentDetached(from["detached"], at, "detached")
  if ("trace" in from) to["trace"] = text(from["trace"], at, "trace")
  return leave(from, to, at)
}

function journalHeader(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "header"),
    format: literal(from["format"], at, "format", "turn-machine/journal"),
    version: literal(from["version"], at, "version", 2),
    turnId: text(from["turnId"], at, "turnId"),
    driver: journalHeaderDriver(from["driver"], at, "driver"),
    config: record(from["config"], at, "config", text),
    start: turnStart(from["start"], at, "start"),
  }
  if ("base" in from) to["base"] = journalBase(from["base"], at, "base")
  to["surface"] = journalHeaderSurface(from["surface"], at, "surface")
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  if ("meta" in from) to["meta"] = json(from["meta"], at, "meta")
  if ("dropped" in from) to["dropped"] = count(from["dropped"], at, "dropped")
  if ("forkedFrom" in from) to["forkedFrom"] = journalHeaderForkedFrom(from["forkedFrom"], at, "forkedFrom")
  if ("parent" in from) to["parent"] = journalParent(from["parent"], at, "parent")
  return leave(from, to, at)
}

function journalInterruptionInterruptionCancel(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "cancel") }
  if ("reason" in from) to["reason"] = text(from["reason"], at, "reason")
  if ("partial" in from) to["partial"] = llmResponse(from["partial"], at, "partial")
  if ("answer" in from) to["answer"] = response(from["answer"], at, "answer")
  return leave(from, to, at)
}

function journalInterruptionInterruptionFail(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "fail"), event: turnEvent(from["event"], at, "event") }
  if ("partial" in from) to["partial"] = llmResponse(from["partial"], at, "partial")
  return leave(from, to, at)
}

function journalInterruptionInterruptionFinish(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "finish"), outcome: outcome(from["outcome"], at, "outcome") }
  if ("partial" in from) to["partial"] = llmResponse(from["partial"], at, "partial")
  return leave(from, to, at)
}

function journalInterruptionInterruptionApply(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "apply"), actions: list(from["actions"], at, "actions", driverAction) }
  return leave(from, to, at)
}

function journalInterruptionInterruptionRedirect(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "redirect"), messages: list(from["messages"], at, "messages", message) }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  if ("partial" in from) to["partial"] = llmResponse(from["partial"], at, "partial")
  if ("answer" in from) to["answer"] = response(from["answer"], at, "answer")
  return leave(from, to, at)
}

const JOURNAL_INTERRUPTION_INTERRUPTION: Tags = new Map<unknown, Check>([
  ["cancel", journalInterruptionInterruptionCancel],
  ["fail", journalInterruptionInterruptionFail],
  ["finish", journalInterruptionInterruptionFinish],
  ["apply", journalInterruptionInterruptionApply],
  ["redirect", journalInterruptionInterruptionRedirect],
])

function journalInterruptionInterruption(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", JOURNAL_INTERRUPTION_INTERRUPTION)
}

function journalInterruption(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "interruption") }
  if ("effectId" in from) to["effectId"] = count(from["effectId"], at, "effectId")
  to["interruption"] = journalInterruptionInterruption(from["interruption"], at, "interruption")
  return leave(from, to, at)
}

function journalSnapshot(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "snapshot"), checkpoint: turnCheckpoint(from["checkpoint"], at, "checkpoint") }
  if ("continues" in from) to["continues"] = literal(from["continues"], at, "continues", true)
  return leave(from, to, at)
}

function journalEffect(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "effect"), effect: answerableEffect(from["effect"], at, "effect") }
  return leave(from, to, at)
}

function journalOpened(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "opened") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  return leave(from, to, at)
}

function journalTraced(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "traced"), trace: text(from["trace"], at, "trace") }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  return leave(from, to, at)
}

function journalReconfiguredDriver(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { name: text(from["name"], at, "name"), version: count(from["version"], at, "version") }
  return leave(from, to, at)
}

function journalReconfigured(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "reconfigured"),
    driver: journalReconfiguredDriver(from["driver"], at, "driver"),
    config: record(from["config"], at, "config", text),
  }
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  return leave(from, to, at)
}

function journalCallStarted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "call_started"), effectId: count(from["effectId"], at, "effectId") }
  if ("callId" in from) to["callId"] = text(from["callId"], at, "callId")
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  return leave(from, to, at)
}

function journalChildGranted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "child_granted"),
    effectId: count(from["effectId"], at, "effectId"),
    callId: text(from["callId"], at, "callId"),
  }
  if ("name" in from) to["name"] = text(from["name"], at, "name")
  to["lease"] = count(from["lease"], at, "lease")
  if ("at" in from) to["at"] = int(from["at"], at, "at")
  return leave(from, to, at)
}

function journalEnd(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "end"), outcome: outcome(from["outcome"], at, "outcome") }
  return leave(from, to, at)
}

const JOURNAL_RECORD: Tags = new Map<unknown, Check>([
  ["header", journalHeader],
  ["execution_surface_synced", response],
  ["llm_complete", response],
  ["tool_results", response],
  ["tool_decisions", response],
  ["tool_pending", response],
  ["exec_result", response],
  ["checkpoint_delivery", response],
  ["interruption", journalInterruption],
  ["snapshot", journalSnapshot],
  ["effect", journalEffect],
  ["opened", journalOpened],
  ["traced", journalTraced],
  ["reconfigured", journalReconfigured],
  ["call_started", journalCallStarted],
  ["child_granted", journalChildGranted],
  ["end", journalEnd],
])

export function journalRecord(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", JOURNAL_RECORD)
}

function threadHeader(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "header"),
    format: literal(from["format"], at, "format", "turn-machine/thread"),
    version: literal(from["version"], at, "version", 1),
    threadId: text(from["threadId"], at, "threadId"),
    at: int(from["at"], at, "at"),
  }
  if ("meta" in from) to["meta"] = json(from["meta"], at, "meta")
  return leave(from, to, at)
}

const THREAD_SAID_WHEN_VALUES: readonly string[] = ["turn_end", "next_turn"]

function threadSaid(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "said"),
    at: int(from["at"], at, "at"),
    message: message(from["message"], at, "message"),
  }
  if ("when" in from) to["when"] = oneOf(from["when"], at, "when", THREAD_SAID_WHEN_VALUES)
  if ("key" in from) to["key"] = text(from["key"], at, "key")
  if ("redirects" in from) to["redirects"] = literal(from["redirects"], at, "redirects", true)
  return leave(from, to, at)
}

function threadAssigned(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "assigned"),
    at: int(from["at"], at, "at"),
    inputs: list(from["inputs"], at, "inputs", text),
  }
  return leave(from, to, at)
}

function threadRetracted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "retracted"),
    at: int(from["at"], at, "at"),
    inputs: list(from["inputs"], at, "inputs", text),
  }
  if ("by" in from) to["by"] = literal(from["by"], at, "by", "interrupt")
  return leave(from, to, at)
}

function threadReordered(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "reordered"), at: int(from["at"], at, "at"), input: text(from["input"], at, "input") }
  if ("before" in from) to["before"] = text(from["before"], at, "before")
  return leave(from, to, at)
}

const GOAL_STATUS_VALUES: readonly string[] = ["active", "paused", "blocked", "usage_limited", "budget_limited", "complete"]

function goalContract(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { outcome: text(from["outcome"], at, "outcome") }
  if ("verification" in from) to["verification"] = text(from["verification"], at, "verification")
  if ("constraints" in from) to["constraints"] = text(from["constraints"], at, "constraints")
  if ("boundaries" in from) to["boundaries"] = text(from["boundaries"], at, "boundaries")
  if ("stopWhen" in from) to["stopWhen"] = text(from["stopWhen"], at, "stopWhen")
  return leave(from, to, at)
}

function goalCheck1Command2(value: unknown, at: Reading, key: Key): unknown {
  return list(value, at, key, text)
}

function goalCheck1(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { name: text(from["name"], at, "name"), command: either(from["command"], at, "command", [text, goalCheck1Command2]) }
  refuseOthers(from, at, ["name", "command"])
  return leave(from, to, at)
}

function goalCheck2(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { name: text(from["name"], at, "name"), tool: text(from["tool"], at, "tool") }
  if ("args" in from) to["args"] = json(from["args"], at, "args")
  refuseOthers(from, at, ["name", "tool", "args"])
  return leave(from, to, at)
}

function goalCheck(value: unknown, at: Reading, key: Key): unknown {
  return either(value, at, key, [goalCheck1, goalCheck2])
}

function goalCommandSetChecksValue(value: unknown, at: Reading, key: Key): unknown {
  return list(value, at, key, goalCheck)
}

function goalCommandSet(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "set") }
  if ("objective" in from) to["objective"] = text(from["objective"], at, "objective")
  if ("status" in from) to["status"] = oneOf(from["status"], at, "status", GOAL_STATUS_VALUES)
  if ("reason" in from) to["reason"] = text(from["reason"], at, "reason")
  if ("ifGoalId" in from) to["ifGoalId"] = text(from["ifGoalId"], at, "ifGoalId")
  if ("tokenBudget" in from) to["tokenBudget"] = nullable(from["tokenBudget"], at, "tokenBudget", number)
  if ("secondsBudget" in from) to["secondsBudget"] = nullable(from["secondsBudget"], at, "secondsBudget", number)
  if ("costBudgetMicros" in from) to["costBudgetMicros"] = nullable(from["costBudgetMicros"], at, "costBudgetMicros", number)
  if ("contract" in from) to["contract"] = nullable(from["contract"], at, "contract", goalContract)
  if ("checks" in from) to["checks"] = nullable(from["checks"], at, "checks", goalCommandSetChecksValue)
  return leave(from, to, at)
}

function goalCommandStart(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "start"), objective: text(from["objective"], at, "objective") }
  if ("tokenBudget" in from) to["tokenBudget"] = nullable(from["tokenBudget"], at, "tokenBudget", number)
  if ("secondsBudget" in from) to["secondsBudget"] = nullable(from["secondsBudget"], at, "secondsBudget", number)
  if ("costBudgetMicros" in from) to["costBudgetMicros"] = nullable(from["costBudgetMicros"], at, "costBudgetMicros", number)
  if ("contract" in from) to["contract"] = nullable(from["contract"], at, "contract", goalContract)
  if ("checks" in from) to["checks"] = nullable(from["checks"], at, "checks", goalCommandSetChecksValue)
  return leave(from, to, at)
}

function goalCommandResume(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "resume") }
  if ("tokenBudget" in from) to["tokenBudget"] = nullable(from["tokenBudget"], at, "tokenBudget", number)
  if ("secondsBudget" in from) to["secondsBudget"] = nullable(from["secondsBudget"], at, "secondsBudget", number)
  if ("costBudgetMicros" in from) to["costBudgetMicros"] = nullable(from["costBudgetMicros"], at, "costBudgetMicros", number)
  if ("addTokens" in from) to["addTokens"] = number(from["addTokens"], at, "addTokens")
  if ("addSeconds" in from) to["addSeconds"] = number(from["addSeconds"], at, "addSeconds")
  if ("addCostMicros" in from) to["addCostMicros"] = number(from["addCostMicros"], at, "addCostMicros")
  return leave(from, to, at)
}

function goalCommandComplete(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "complete") }
  if ("ifGoalId" in from) to["ifGoalId"] = text(from["ifGoalId"], at, "ifGoalId")
  return leave(from, to, at)
}

function goalCommandWait(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "wait") }
  if ("until" in from) to["until"] = int(from["until"], at, "until")
  if ("event" in from) to["event"] = text(from["event"], at, "event")
  if ("reason" in from) to["reason"] = text(from["reason"], at, "reason")
  if ("ifGoalId" in from) to["ifGoalId"] = text(from["ifGoalId"], at, "ifGoalId")
  return leave(from, to, at)
}

function goalCommandPause(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "pause") }
  if ("reason" in from) to["reason"] = text(from["reason"], at, "reason")
  if ("ifGoalId" in from) to["ifGoalId"] = text(from["ifGoalId"], at, "ifGoalId")
  return leave(from, to, at)
}

function goalCommandClear(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "clear") }
  return leave(from, to, at)
}

const GOAL_COMMAND: Tags = new Map<unknown, Check>([
  ["set", goalCommandSet],
  ["start", goalCommandStart],
  ["resume", goalCommandResume],
  ["complete", goalCommandComplete],
  ["wait", goalCommandWait],
  ["pause", goalCommandPause],
  ["clear", goalCommandClear],
])

export function goalCommand(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", GOAL_COMMAND)
}

function threadCommanded(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "commanded"),
    at: int(from["at"], at, "at"),
    command: goalCommand(from["command"], at, "command"),
  }
  if ("key" in from) to["key"] = text(from["key"], at, "key")
  return leave(from, to, at)
}

function threadHappened(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "happened"), at: int(from["at"], at, "at"), event: text(from["event"], at, "event") }
  if ("key" in from) to["key"] = text(from["key"], at, "key")
  return leave(from, to, at)
}

function threadNoted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "noted"),
    at: int(from["at"], at, "at"),
    records: list(from["records"], at, "records", historyRecord),
    commands: list(from["commands"], at, "commands", int),
  }
  return leave(from, to, at)
}

const TURN_ORIGIN_VALUES: readonly string[] = ["user", "continuation"]

function threadTurnBegun(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "turn_begun"),
    at: int(from["at"], at, "at"),
    turnId: text(from["turnId"], at, "turnId"),
    origin: oneOf(from["origin"], at, "origin", TURN_ORIGIN_VALUES),
    said: list(from["said"], at, "said", text),
    messages: list(from["messages"], at, "messages", message),
  }
  if ("goals" in from) to["goals"] = literal(from["goals"], at, "goals", false)
  return leave(from, to, at)
}

function threadTurnEndedNewSurface(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { systemPrompt: text(from["systemPrompt"], at, "systemPrompt"), tools: list(from["tools"], at, "tools", toolSpec) }
  return leave(from, to, at)
}

function threadTurnEnded(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = {
    type: literal(from["type"], at, "type", "turn_ended"),
    at: int(from["at"], at, "at"),
    turnId: text(from["turnId"], at, "turnId"),
    outcome: outcome(from["outcome"], at, "outcome"),
    iteration: count(from["iteration"], at, "iteration"),
    records: list(from["records"], at, "records", historyRecord),
  }
  if ("reported" in from) to["reported"] = count(from["reported"], at, "reported")
  if ("usage" in from) to["usage"] = tokenUsage(from["usage"], at, "usage")
  if ("surface" in from) to["surface"] = text(from["surface"], at, "surface")
  if ("newSurface" in from) to["newSurface"] = threadTurnEndedNewSurface(from["newSurface"], at, "newSurface")
  if ("answered" in from) to["answered"] = literal(from["answered"], at, "answered", true)
  if ("said" in from) to["said"] = list(from["said"], at, "said", count)
  return leave(from, to, at)
}

function threadDeleted(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { type: literal(from["type"], at, "type", "deleted"), at: int(from["at"], at, "at") }
  return leave(from, to, at)
}

const THREAD_RECORD: Tags = new Map<unknown, Check>([
  ["header", threadHeader],
  ["said", threadSaid],
  ["assigned", threadAssigned],
  ["retracted", threadRetracted],
  ["reordered", threadReordered],
  ["commanded", threadCommanded],
  ["happened", threadHappened],
  ["noted", threadNoted],
  ["turn_begun", threadTurnBegun],
  ["turn_ended", threadTurnEnded],
  ["deleted", threadDeleted],
])

export function threadRecord(value: unknown, at: Reading, key: Key): unknown {
  return tagged(value, at, key, "type", THREAD_RECORD)
}

export function goalCheckResult(value: unknown, at: Reading, key: Key): unknown {
  const from = enter(value, at, key)
  if (from === undefined) return undefined
  const to: Fields = { name: text(from["name"], at, "name"), ok: flag(from["ok"], at, "ok") }
  if ("exitCode" in from) to["exitCode"] = int(from["exitCode"], at, "exitCode")
  to["tail"] = text(from["tail"], at, "tail")
  return leave(from, to, at)
}
