/** How the planner interprets a task. */
export type Intent =
  | { readonly type: "todo"; readonly markers: readonly string[] }
  | { readonly type: "search"; readonly phrases: readonly string[] }
  | { readonly type: "unclear" }

const MARKERS: readonly string[] = ["TODO", "FIXME", "HACK", "XXX"]
const MAX_PHRASES = 5
const MAX_PHRASE_LENGTH = 200

// Words that phrase a task, rather than name what to search for.
const COMMON = new Set(
  (
    "able about above after again also been before being below between both call called code comment comments could describe does doing done down " +
    "each every everything explain file files find folder folders from give have here into just know like line lines list look make many mention " +
    "mentions more most much need only other over please program project read report search shall should show some source such summarise summarize " +
    "tell text that their them then there these they this those through under until used uses using want well were what when where which while will " +
    "with word words would write your"
  ).split(" "),
)

/** Interprets a task: markers such as TODO, else quoted phrases, else the words that are least common. */
export function readIntent(task: string): Intent {
  const quoted = quotedPhrases(task)
  const phrases = quoted.length > 0 ? quoted : task.split(/[^\p{L}]+/u)
  const markers = MARKERS.filter((marker) => phrases.some((phrase) => phrase.toUpperCase() === marker || phrase.toUpperCase() === `${marker}S`))
  const onlyMarkers = quoted.every((phrase) => MARKERS.includes(phrase.toUpperCase()))
  if (markers.length > 0 && onlyMarkers) return { type: "todo", markers }

  const found = quoted.length > 0 ? quoted : rareWords(task)
  return found.length === 0 ? { type: "unclear" } : { type: "search", phrases: found.slice(0, MAX_PHRASES) }
}

function quotedPhrases(task: string): readonly string[] {
  // A single quote opens only where a word could start, so an apostrophe does not open one.
  const quotes = task.matchAll(/"([^"\n]+)"|“([^”\n]+)”|`([^`\n]+)`|(?<![\p{L}\p{N}])'([^'\n]+)'(?![\p{L}\p{N}])/gu)
  return unique([...quotes].map((quote) => (quote[1] ?? quote[2] ?? quote[3] ?? quote[4] ?? "").trim()).filter((phrase) => phrase !== ""))
}

/** Words of four letters or more that are not common, and names like `maxItems`, `max_items` and `max.items` of any length. */
function rareWords(task: string): readonly string[] {
  const words = task.match(/[\p{L}\p{N}_$][\p{L}\p{N}_$.-]*[\p{L}\p{N}_$]/gu) ?? []
  return unique(words.filter((word) => isName(word) || (word.length >= 4 && !COMMON.has(word.toLowerCase()))))
}

function isName(word: string): boolean {
  return /\p{Ll}\p{Lu}|[\p{L}\p{N}][_$.][\p{L}\p{N}]/u.test(word)
}

function unique(phrases: readonly string[]): readonly string[] {
  return [...new Set(phrases.map((phrase) => phrase.slice(0, MAX_PHRASE_LENGTH)))]
}
