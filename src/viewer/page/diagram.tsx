import type { VNode } from "preact"
import type { StateName } from "../../machine/turn.ts"
import { edgesOf, NODE_HEIGHT, NODE_WIDTH, nodes, pathOf } from "../model/diagram.ts"
import { words } from "../model/format.ts"

/** The states of the machine, with the way that a step took. */
export function Diagram({ states }: { readonly states: readonly StateName[] }): VNode {
  const [first] = states
  const last = states.at(-1)
  return (
    <div class="diagram" tabIndex={0} role="group" aria-label="States">
      <svg viewBox="0 0 640 190" role="img" aria-label={`From ${states.map(words).join(" to ")}`}>
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" orient="auto">
            <path d="M0,0 L8,4 L0,8 z" class="arrow" />
          </marker>
        </defs>
        {edgesOf(states).map((edge) => (
          <path
            key={`${edge.from} ${edge.to}`}
            d={pathOf(edge)}
            class={edge.taken === undefined ? "edge" : "edge taken"}
            marker-end={edge.taken === undefined ? undefined : "url(#arrow)"}
          />
        ))}
        {nodes().map(({ name, label, x, y }) => (
          <g key={name} class={`node ${name === last ? "last" : name === first ? "first" : states.includes(name) ? "on" : ""}`}>
            <rect x={x - NODE_WIDTH / 2} y={y - NODE_HEIGHT / 2} width={NODE_WIDTH} height={NODE_HEIGHT} rx="6" />
            <text x={x} y={y + 4}>
              {label}
            </text>
          </g>
        ))}
      </svg>
    </div>
  )
}
