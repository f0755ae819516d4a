const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  ENOTDIR: "a part of its path is not a folder",
  EISDIR: "it is a folder",
  EEXIST: "it exists already",
  ELOOP: "it is a link where none is allowed, or its links go in a circle",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "it may grow no larger",
  EROFS: "the disk is read-only",
  ENAMETOOLONG: "its path is too long",
  EMFILE: "too many files are open",
}

/** Why a file operation failed, in words that can follow "…, because". */
export function fileReason(error: unknown): string {
  const code = errorCode(error)
  if (code !== undefined) return REASONS[code] ?? `of the system's error ${code}`
  return error instanceof Error ? error.message : String(error)
}

/** The system's name of an error: `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return typeof code === "string" ? code : undefined
}
