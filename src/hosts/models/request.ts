/** How a key and further headers are sent. */
interface KeyAndHeaders {
  readonly apiKey?: string
  readonly apiKeyHeader?: string
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Joins an address and a path. Segments that the path begins with may end the address already: people paste the whole address, or one with
 * the version in it.
 * @throws {TypeError} an address that is not http or https, or one with a user name or password, which `fetch` would refuse with the secret
 * in its message
 */
export function endpointUrl(baseUrl: string, path: string): URL {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new TypeError("baseUrl is not an http or https address. Pass the whole address, such as https://api.example.com/v1.")
  if (url.username !== "" || url.password !== "") throw new TypeError("baseUrl must not contain a user name or password. Use apiKey or headers.")
  const [pathname = "", query = ""] = path.split("?")
  const base = url.pathname.split("/").filter((segment) => segment !== "")
  const added = pathname.split("/").filter((segment) => segment !== "")
  let shared = Math.min(base.length, added.length)
  while (shared > 0 && !added.slice(0, shared).every((segment, index) => segment === base[base.length - shared + index])) shared -= 1
  url.pathname = `/${[...base, ...added.slice(shared)].join("/")}`
  for (const [name, value] of new URLSearchParams(query)) url.searchParams.set(name, value)
  url.hash = ""
  return url
}

/** @throws {TypeError} a key or header that cannot be sent; the message does not quote it */
export function requestHeaders({ apiKey = "", apiKeyHeader = "authorization", headers = {} }: KeyAndHeaders, stream: boolean): Headers {
  const all = new Headers({ "content-type": "application/json", accept: stream ? "text/event-stream, application/json" : "application/json" })
  const key = apiKey.trim()
  const value = apiKeyHeader.toLowerCase() === "authorization" ? `Bearer ${key}` : key
  // setHeader hides the platform's own errors, which quote the value.
  if (key !== "") setHeader(all, apiKeyHeader, value, "The API key has characters that are not allowed in a header.")
  for (const [name, text] of Object.entries(headers)) setHeader(all, name, text, `The header ${JSON.stringify(name)} cannot be sent.`)
  return all
}

function setHeader(headers: Headers, name: string, value: string, problem: string): void {
  try {
    headers.set(name, value)
  } catch {
    throw new TypeError(problem)
  }
}
