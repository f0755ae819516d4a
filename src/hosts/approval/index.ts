/** Approvals that pass a client that is not trusted. On web-standard APIs. */

export {
  type ApprovalSecret,
  ApprovalSignatureError,
  type ApprovalSignatureErrorCode,
  type SignedDecision,
  type SignedRequest,
  signRequest,
  type VerifiedDecision,
  type VerifyOptions,
  verifyDecision,
} from "./sign.ts"
