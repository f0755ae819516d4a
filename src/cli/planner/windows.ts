/** A line that a search found. */
export interface Hit {
  readonly path: string
  readonly line: number
  readonly text: string
}

/** A range of lines to read in one call, around one or more hits. */
export interface Window {
  readonly path: string
  readonly fromLine: number
  readonly toLine: number
}

const MAX_WINDOW_LINES = 200

/** Merges the lines around hits into windows, in the order of the first hit in each. */
export function windowsAround(hits: readonly Hit[], around: number): readonly Window[] {
  const byPath = new Map<string, number[]>()
  for (const { path, line } of hits) byPath.set(path, [...(byPath.get(path) ?? []), line])

  const windows: Window[] = []
  for (const [path, lines] of byPath) {
    let open: Window | undefined
    for (const line of lines.sort((left, right) => left - right)) {
      const [fromLine, toLine] = [Math.max(1, line - around), line + around]
      if (open !== undefined && fromLine <= open.toLine + 1 && toLine - open.fromLine < MAX_WINDOW_LINES) {
        open = { ...open, toLine }
        windows[windows.length - 1] = open
      } else {
        open = { path, fromLine, toLine }
        windows.push(open)
      }
    }
  }
  const firstNeeded = (window: Window): number => hits.findIndex((hit) => holds(window, hit))
  return windows
    .map((window) => ({ window, position: firstNeeded(window) }))
    .sort((left, right) => left.position - right.position)
    .map(({ window }) => window)
}

/** Whether a line is in a window. */
export function holds(window: Window, { path, line }: Pick<Hit, "path" | "line">): boolean {
  return window.path === path && window.fromLine <= line && line <= window.toLine
}
