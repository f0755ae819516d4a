/** The name of a thread's log in its store. */
export function logName(threadId: string): string {
  return `${threadId}.thread`
}

/** The name of the journal that holds the state of a thread's judge. */
export function judgeName(threadId: string): string {
  return `${threadId}.judge`
}
