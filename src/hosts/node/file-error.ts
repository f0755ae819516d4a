const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  ENOTDIR: "a part of its path is not a folder",
  EISDIR: "it is a folder",
  EEXIST: "it exists already",
  ELOOP: "it is a link where none is allowed, or its links form a loop",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "it has reached its size limit",
  EROFS: "the disk is read-only",
  ENAMETOOLONG: "its path is too long",
  EMFILE: "too many files are open",
}

/** Why a file operation failed, as a clause that can follow "because". */
export function fileReason(error: unknown): string {
  const code = errorCode(error)
  if (code !== undefined) return REASONS[code] ?? `of system error ${code}`
  return error instanceof Error ? error.message : String(error)
}

/** The system's code of an error, such as `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return typeof code === "string" ? code : undefined
}
