import { byCodePoint } from "../workspace/code-points.ts"
import type { FileList } from "../workspace/tools.ts"

/** One of the parts that a folder is surveyed in: a folder in it with all that is below, or the files that are in none. */
export interface Part {
  /** The folder, to be given to tools; `.` for the files at the top. */
  readonly folder: string
  readonly name: string
  /** The section's file in the output folder. */
  readonly section: string
  readonly files: FileList["files"]
}

/** The overview's file in a survey's folder. */
export function overviewIn(survey: string): string {
  return `${survey}/overview.md`
}

const TOP = "the top"

/** `survey`: the folder of the sections, in the output folder. */
export function partsOf(list: FileList, survey: string): readonly Part[] {
  const byFolder = new Map<string, FileList["files"][number][]>()
  for (const file of list.files) {
    const end = file.path.indexOf("/")
    const folder = end < 0 ? "." : file.path.slice(0, end)
    const files = byFolder.get(folder)
    if (files === undefined) byFolder.set(folder, [file])
    else files.push(file)
  }
  const taken = new Set([overviewIn(survey)])
  return [...byFolder]
    .sort(([left], [right]) => byCodePoint(left, right))
    .map(([folder, files]): Part => {
      const name = folder === "." ? TOP : folder
      const word = folder === "." ? "top" : folder.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+/, "") || "folder"
      let section = `${survey}/${word}.md`
      for (let number = 2; taken.has(section); number += 1) section = `${survey}/${word}.${number}.md`
      taken.add(section)
      return { folder, name, section, files }
    })
}

/** The names under which a section may have been written: another one, where somebody else's file had the first. */
export function namesOf(section: string): readonly string[] {
  return [section, section.replace(/\.md$/, "-ours.md")]
}
