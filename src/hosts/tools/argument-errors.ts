import { type $ZodIssue, config, type ParseContext, toDotPath } from "zod/v4/core"
import en from "zod/v4/locales/en.js"

/** Parse options that give English messages if no locale is configured, as with `zod/mini`. Otherwise the configured locale applies. */
export function messageOptions(): ParseContext<$ZodIssue> {
  const { localeError, customError } = config()
  return localeError === undefined && customError === undefined ? { error: en().localeError } : {}
}

const MAX_ISSUES = 20

/** One line for each issue, with its path: `- files[0].path: expected string, received number`. */
export function describeIssues(issues: readonly $ZodIssue[]): string {
  const lines = issues.slice(0, MAX_ISSUES).map((issue) => {
    const path = issue.path.length === 0 ? "(the whole value)" : shorten(toDotPath(issue.path))
    return `- ${path}: ${explain(issue)}`
  })
  if (issues.length > MAX_ISSUES) lines.push(`- and ${issues.length - MAX_ISSUES} more`)
  return lines.join("\n")
}

/** Explains an issue. zod's message for a union says only that nothing matches; this adds why for each option. */
function explain(issue: $ZodIssue): string {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return shorten(issue.message)
  const options = issue.errors.map((errors) =>
    errors
      .slice(0, MAX_ISSUES)
      .map((error) => (error.path.length === 0 ? explain(error) : `${toDotPath(error.path)}: ${explain(error)}`))
      .join(" and "),
  )
  return shorten(`matches none of the options: ${options.join("; or ")}`)
}

const MAX_SHOWN = 300

/** Shortens a name or path from a model, which may have any length. */
export function shorten(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
}
