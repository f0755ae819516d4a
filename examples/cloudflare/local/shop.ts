import { createServer } from "node:http"

/** The shop: the world that the agent's tools change. It outlives the Worker, and counts what it is asked to do. */
export interface Shop {
  readonly url: string
  /** How often each refund was asked for, by its idempotency key. */
  readonly refunds: ReadonlyMap<string, number>
  /** How many orders were looked up. */
  readonly lookedUp: () => number
  /** Called before a request is answered. */
  onRequest: (method: string, path: string) => void | Promise<void>
  close(): Promise<void>
}

export async function openShop(): Promise<Shop> {
  const refunds = new Map<string, number>()
  let lookedUp = 0
  const server = createServer(async (request, response) => {
    const { method = "GET", url = "/" } = request
    const [, what, key = ""] = url.split("/")
    await shop.onRequest(method, url)
    const send = (status: number, value: object) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
    if (what === "orders") {
      lookedUp += 1
      send(200, { order: Number(key), euros: 20 })
    } else if (method === "POST") {
      refunds.set(key, (refunds.get(key) ?? 0) + 1)
      send(200, {})
    } else {
      send(refunds.has(key) ? 200 : 404, {})
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  const shop: Shop = {
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    refunds,
    lookedUp: () => lookedUp,
    onRequest: () => {},
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return shop
}
