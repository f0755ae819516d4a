import type { VNode } from "preact"
import { useEffect, useRef } from "preact/hooks"

const KEYS: readonly (readonly [string, string])[] = [
  ["j  k", "next, previous record"],
  ["g  G", "first, last record"],
  ["[  ]", "previous, next turn"],
  ["Enter", "read the record"],
  ["/", "search"],
  ["Esc", "leave the search, show all records"],
  ["1 2 3 4", "step, request, record, fork"],
  ["+  −  0", "zoom the timeline, when it is focused"],
  ["t", "light or dark"],
  ["?", "this list"],
]

export function Help({ close }: { readonly close: () => void }): VNode {
  const box = useRef<HTMLDialogElement>(null)
  useEffect(() => box.current?.show(), [])
  return (
    <dialog ref={box} class="help" aria-label="Keyboard">
      <dl>
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="muted">The address of the page names the turn, the record and the view, so it can be sent as a link.</p>
      <button type="button" class="small" onClick={close}>
        Close
      </button>
    </dialog>
  )
}
