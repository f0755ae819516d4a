import { startMock } from "./mock.ts"
import { models } from "./models.ts"
import { planTrip } from "./trip.ts"

const mock = await startMock()
const model = models(`${mock.url}/v1`, "none")

const planned = await planTrip(model, "Plan a trip to Oslo on the first of December.")
console.log(planned.trip)

// The first provider is overloaded, so the second answers.
mock.nextRequestError(529, { type: "overloaded_error", message: "Overloaded" })
const again = await planTrip(model, "Plan the same trip.", (event) => event.type === "retry_status" && console.log(event.reason))
console.log(again.producers)
await mock.stop()
