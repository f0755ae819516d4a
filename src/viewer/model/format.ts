/** `1234567` → `1,234,567`. */
export function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",")
}

/** `1,234` → `1.2k`, for narrow places. */
export function short(value: number): string {
  if (value < 1_000) return String(Math.round(value))
  if (value < 999_500) return `${(value / 1_000).toFixed(value < 9_950 ? 1 : 0)}k`
  return `${(value / 1_000_000).toFixed(value < 9_950_000 ? 1 : 0)}M`
}

/** `1 call`, `2 calls`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`
}

/** `4 ms`, `1.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(milliseconds: number): string {
  const whole = Math.round(milliseconds)
  if (whole < 1_000) return `${whole} ms`
  if (whole < 59_950) return `${(whole / 1_000).toFixed(1)} s`
  const seconds = Math.round(whole / 1_000)
  if (seconds < 3_600) return joined(Math.floor(seconds / 60), "min", seconds % 60, "s")
  const minutes = Math.round(seconds / 60)
  if (minutes < 1_440) return joined(Math.floor(minutes / 60), "h", minutes % 60, "min")
  const hours = Math.round(minutes / 60)
  return joined(Math.floor(hours / 24), "d", hours % 24, "h")
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`
}

/** `812 B`, `3.4 kB`, `12 MB`. */
export function bytes(value: number): string {
  if (value < 1_000) return `${value} B`
  const [scaled, unit] = value < 999_500 ? [value / 1_000, "kB"] : [value / 1_000_000, "MB"]
  return `${scaled < 9.95 ? scaled.toFixed(1) : Math.round(scaled)} ${unit}`
}

/** Millionths of a US dollar: `$0.0132`, `$1.25`. */
export function dollars(micros: number): string {
  const value = micros / 1_000_000
  if (value === 0) return "$0"
  return value >= 1 ? `$${value.toFixed(2)}` : `$${value.toPrecision(2)}`
}

/** The time of day, with milliseconds. */
export function clock(at: number): string {
  const time = new Date(at)
  const two = (value: number): string => String(value).padStart(2, "0")
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`
}

/** The day and the time of day. */
export function date(at: number): string {
  const time = new Date(at)
  const two = (value: number): string => String(value).padStart(2, "0")
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock(at).slice(0, 8)}`
}

/** `waiting_llm` → `waiting llm`. */
export function words(name: string): string {
  return name.replaceAll("_", " ")
}
