import { redactor } from "../../hosts/models/secrets.ts"

/** How much is read of the answer to a refused request, in bytes. */
const MAX_ERROR_BYTES = 64 * 1024

/**
 * A `fetch` for an MCP server whose refusals do not repeat secrets: the SDK quotes them in its errors, which the model reads and journals store.
 * @param secrets the values of headers and of the query, which may contain keys
 */
export function secretiveFetch(secrets: readonly string[]): (url: string | URL, init?: RequestInit) => Promise<Response> {
  const redact = redactor(secrets)
  return async (url, init) => {
    const response = await fetch(url, init)
    // The SDK follows redirects by its own rules.
    if (response.ok || (response.status >= 300 && response.status < 400) || response.type === "opaqueredirect") return response
    const text = await startOf(response)
    const { headers, status, statusText } = response
    return new Response(text === "" ? null : redact(text), { status, statusText, headers: kept(headers) })
  }
}

/** The headers of a body that was read and is not encoded any more. */
function kept(headers: Headers): Headers {
  const own = new Headers(headers)
  for (const name of ["content-encoding", "content-length"]) own.delete(name)
  return own
}

/** The body up to the limit. What is cut off could be the end of a secret, so that the last word goes, too. */
async function startOf(response: Response): Promise<string> {
  const reader = response.body?.getReader()
  if (reader === undefined) return ""
  const decoder = new TextDecoder()
  let text = ""
  let size = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return text + decoder.decode()
      text += decoder.decode(value.subarray(0, MAX_ERROR_BYTES - size), { stream: true })
      size += value.byteLength
      if (size >= MAX_ERROR_BYTES) return text.replace(/\S+$/, "")
    }
  } finally {
    reader.cancel().catch(() => {})
  }
}
