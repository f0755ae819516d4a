/** Approvals: a person decides about tool calls before they run. Pure; each input carries its time. */

export type {
  ApprovalChoice,
  ApprovalGrant,
  ApprovalGrantRevoked,
  ApprovalRecord,
  ApprovalScope,
  Ask,
  DecidedCall,
  Decision,
  GrantKey,
  HeldCall,
  Verdict,
} from "../../wire/approval.ts"
export { callDigest, grantKey, isToolChanged, toolDigest } from "./digests.ts"
export { type ApprovalDriverOptions, approvalDriver } from "./driver.ts"
export { approvalGrant, type GrantFacts, grantsOf, revokeGrant } from "./grants.ts"
export { type ApprovalPolicy, type AskOptions, type PolicyAnswer, type PolicyFacts, summaryOf } from "./policy.ts"
