/** `1234567` → `1,234,567`. */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",")
}

/** `1 file`, `2 files`, `2 matches`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}

const UNITS = ["kB", "MB", "GB", "TB"] as const

/** `812 B`, `3.4 kB`, `12 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`
  let [value, unit] = [bytes / 1_000, 0]
  for (; Math.round(value) >= 1_000 && unit + 1 < UNITS.length; unit += 1) value /= 1_000
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`
}

/** `4 ms`, `1.2 s`, `3 min 5 s`. */
export function formatDuration(durationMs: number): string {
  const milliseconds = Math.round(durationMs)
  if (milliseconds < 1_000) return `${milliseconds} ms`
  if (milliseconds < 59_950) return `${(milliseconds / 1_000).toFixed(1)} s`
  const seconds = Math.round(milliseconds / 1_000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

/** `1 min 5 s`; whole seconds. */
export function seconds(count: number): string {
  if (count < 60) return `${count} s`
  if (count < 3_600) return count % 60 === 0 ? `${count / 60} min` : formatDuration(count * 1_000)
  const minutes = Math.floor((count % 3_600) / 60)
  return `${Math.floor(count / 3_600)} h${minutes === 0 ? "" : ` ${minutes} min`}`
}

/** Cuts a text to at most `limit` characters, including an ellipsis. Never splits a surrogate pair. */
export function cutText(text: string, limit: number): string {
  if (text.length <= limit) return text
  const end = isHighSurrogate(text.charCodeAt(limit - 2)) ? limit - 2 : limit - 1
  return `${text.slice(0, end)}…`
}

/** Whether a UTF-16 code unit is the first half of a surrogate pair. */
export function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}

// Control characters (C0, DEL and C1), bidirectional marks and line separators: in a terminal they could hide or fake output.
const CONTROLS = /(?![\n\t])[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu

/** Replaces characters that could move a terminal's cursor or change its colours. Newlines and tabs stay. */
export function plainText(text: string): string {
  return text.replace(CONTROLS, (control) => (control === "\r" ? "" : "\ufffd"))
}

/** Like {@link plainText}, on one line. */
export function oneLine(text: string): string {
  return plainText(text).replace(/\s+/g, " ").trim()
}

/** Turns a message into a clause that can follow a colon: on one line, without a capital and a full stop. */
export function clause(message: string): string {
  return oneLine(message)
    .replace(/\.$/, "")
    .replace(/^[A-Z](?=[a-z ])/, (letter) => letter.toLowerCase())
}

/** Turns a clause into a sentence, on one line. */
export function sentence(text: string): string {
  const line = oneLine(text)
  return `${line.charAt(0).toUpperCase()}${line.slice(1)}${/[.!?…]$/.test(line) ? "" : "."}`
}

/** Serializes JSON for a terminal: escapes characters that could move the cursor, and changes nothing else. */
export function plainJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, undefined, indent) ?? "null"
  return text.replace(CONTROLS, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`)
}

/** Quotes a word for a shell, where it needs quotes. */
export function shellWord(word: string): string {
  return /^[\w./@%+:,~-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
