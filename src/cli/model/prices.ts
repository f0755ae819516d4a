import * as z from "zod"
import { costOf, pricesOf, type TokenPrices } from "../../hosts/models/prices.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import { isAtHome, type ModelChoice } from "./model-settings.ts"

const Price = z.number().nonnegative()

/** Stored prices, in US dollars per million tokens. */
export const StoredPrices = z.strictObject({
  input: Price,
  cachedInput: Price,
  cacheWrite: Price.exactOptional(),
  output: Price,
})
export type StoredPrices = Readonly<z.infer<typeof StoredPrices>>

/**
 * The prices of a model: as given, as they were when the work began, or as its provider publishes them. Another endpoint has prices of its
 * own. `undefined`: they are not known.
 * @throws {CliError} the given text is not a list of prices
 */
export function resolvePrices(
  given: string | undefined,
  model: ModelChoice,
  saved: { readonly prices?: StoredPrices } | undefined,
): StoredPrices | undefined {
  if (given !== undefined) return readPrices(given)
  return saved === undefined ? publishedPrices(model) : saved.prices
}

/** The published prices of a model that is used where its provider serves it. */
export function publishedPrices(model: ModelChoice): StoredPrices | undefined {
  const published = model.type === "endpoint" && isAtHome(model) ? pricesOf(model.name) : undefined
  if (published === undefined) return undefined
  const { cacheWrite, cachedInput, input, output } = published
  return { input, cachedInput, ...(cacheWrite !== undefined && { cacheWrite }), output }
}

/** The forms of the prices that a flag gives. */
const PRICE_FORMS = "input,output, input,output,cached or input,output,cached,written"

/** Parses {@link PRICE_FORMS}. */
function readPrices(text: string): StoredPrices {
  const numbers = text.split(",").map((part) => (/^\s*\d{1,6}(?:\.\d{1,6})?\s*$/.test(part) ? Number(part) : Number.NaN))
  const [input = Number.NaN, output = Number.NaN, cachedInput = input, cacheWrite] = numbers
  if (numbers.length > 4 || [input, output, ...numbers].some(Number.isNaN)) {
    throw new CliError(
      `--price takes the prices of a million tokens in US dollars, as ${PRICE_FORMS}, such as 1.25,10,0.125, not "${oneLine(text)}".`,
    )
  }
  return { input, cachedInput, ...(cacheWrite !== undefined && { cacheWrite }), output }
}

/** What tokens cost, such as `$0.0123`; with `estimated` tokens, about that. `undefined` without prices. */
export function costText(usage: TokenUsage, prices: TokenPrices | undefined): string | undefined {
  return prices === undefined ? undefined : `${usage.estimated === true ? "about " : ""}${money(costOf(usage, prices))}`
}

/** Millionths of a dollar as `$0.0123`, at least two decimals. */
export function money(micros: number): string {
  return `$${(micros / 1_000_000).toFixed(6).replace(/0{1,4}$/, "")}`
}

/** Prices in a line. */
export function pricesText({ cachedInput, cacheWrite, input, output }: TokenPrices): string {
  const written = cacheWrite === undefined ? "" : `, $${cacheWrite} written to the cache`
  return `$${input} in, $${cachedInput} cached${written}, $${output} out per million tokens`
}
