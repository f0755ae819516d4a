// The entry module of a Worker: answers the body of a request.
import { call } from "./program.js"

export default {
  async fetch(request) {
    return new Response(await call(await request.text()))
  },
}
