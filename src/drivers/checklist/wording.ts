import type { Evidence, JudgeReason, PauseReason } from "../../wire/checklist.ts"

/** A judge's reason in words. */
export function reasonText(reason: JudgeReason): string {
  switch (reason.type) {
    case "text":
      return reason.text
    case "decomposed":
      return `the goal was split into ${counted(reason.items, "item")}`
    case "empty_goal":
      return "the goal has no text"
    case "empty_response":
      return "the response was empty, so there was nothing to judge"
    case "empty_reply":
      return "the judge's answer was empty"
    case "not_json":
      return `the judge's answer was not a JSON object: ${JSON.stringify(reason.text)}`
    case "no_verdict":
      return "the judge gave no verdict"
    case "bad_arguments":
      return reason.toolName === ""
        ? `the judge's verdict cannot be read: ${reason.problem}`
        : `the judge called ${reason.toolName} with arguments that cannot be read: ${reason.problem}`
    case "none_given":
      return "the judge gave no reason"
    case "judge_off":
      return "the judge is off"
    case "user_marks":
      return "the last open item was settled by the user"
    case "judge_error":
      return `the call to the judge failed${reason.code === undefined ? "" : ` (${reason.code})`}: ${reason.message}`
  }
}

export function pauseText(reason: PauseReason): string {
  switch (reason.type) {
    case "user":
      return "by the user"
    case "text":
      return reason.text
    case "blocked":
      return `blocked: ${reason.text}`
    case "asked_to_stop":
      return `the user asked to stop: ${reason.text}`
    case "unparseable":
      return `${counted(reason.failures, "answer")} of the judge in a row could not be read`
    case "unreachable":
      return `${counted(reason.failures, "call")} to the judge in a row failed`
    case "budget":
      return `the turn budget is used up, ${reason.turnsUsed}/${reason.maxTurns}`
    case "stalled":
      return reason.mode === undefined
        ? `no item was settled in ${counted(reason.turns, "turn")}`
        : `${counted(reason.turns, "turn")} in a row did no work and gave the same response`
  }
}

export function evidenceText(evidence: Evidence): string {
  return evidence.type === "text" ? evidence.text : "marked by the user"
}

export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`
}
