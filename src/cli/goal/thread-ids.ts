/** The threads of a goal's folder are `goal`, `goal-2`, `goal-3`, …: one for each goal, the newest last. */
export function threadId(number: number): string {
  return number === 1 ? "goal" : `goal-${number}`
}

/** The number of a thread in its folder; 0 for any other name. */
export function threadNumber(id: string): number {
  const [matched, number = "1"] = /^goal(?:-([2-9]|[1-9]\d{1,6}))?$/.exec(id) ?? []
  return matched === undefined ? 0 : Number(number)
}

/** Whether a file in a goal's folder is a log, the journal of a turn, or the state of a judge. */
export function isThreadFile(name: string): boolean {
  return threadNumber(name.split(".")[0] ?? "") > 0 && name.includes(".")
}
