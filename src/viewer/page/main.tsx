import { render } from "preact"
import type { ViewerData } from "../data.ts"
import { TurnView } from "../model/turn-view.ts"
import { App } from "./app.tsx"

const root = document.getElementById("app")
const text = document.getElementById("data")?.textContent
if (root !== null && text !== null && text !== undefined) {
  const data = JSON.parse(text) as ViewerData
  const turns = data.turns.map((_, index) => new TurnView(data, index))
  root.textContent = ""
  render(<App data={data} turns={turns} />, root)
  performance.mark("shown")
  document.documentElement.dataset["ready"] = "true"
}
