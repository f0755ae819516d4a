import type { Verdict } from "../../wire/approval.ts"

/** A decision as a past participle. */
export function decisionWords(decision: Verdict["decision"]): string {
  switch (decision) {
    case "approve":
      return "approved"
    case "edit":
      return "approved with edited arguments"
    case "reject":
      return "rejected"
    case "expired":
      return "expired"
    case "cancelled":
      return "cancelled"
  }
}
