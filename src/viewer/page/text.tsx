import type { VNode } from "preact"
import { useState } from "preact/hooks"
import { count } from "../model/format.ts"
import { cut, inertPieces } from "../model/inert.ts"

/** What is shown of a long text at first, and how much each click adds. In UTF-16 units. */
const FIRST = 3_000
const MORE = 50_000

/** A text of the journal, as text: what is hidden in it is shown by its code point, and a long one is cut. */
export function Text({
  value,
  first = FIRST,
  class: name = "",
}: {
  readonly value: string
  readonly first?: number
  readonly class?: string
}): VNode {
  const [shown, setShown] = useState(first)
  const part = cut(value, shown)
  const left = value.length - part.length
  return (
    <div class={`text ${name}`}>
      <Inert value={part} />
      {left > 0 && (
        <button type="button" class="more" onClick={() => setShown(shown + MORE)}>
          {left > MORE ? `Show ${count(MORE)} of ${count(left)} more characters` : `Show ${count(left)} more characters`}
        </button>
      )}
    </div>
  )
}

/** A short text in which nothing is hidden. */
export function Inert({ value }: { readonly value: string }): VNode {
  return (
    <>
      {inertPieces(value).map((piece) =>
        "text" in piece ? (
          piece.text
        ) : (
          <span class="hidden-char" title="A character that is invisible or changes the order of others">
            {piece.hidden}
          </span>
        ),
      )}
    </>
  )
}

/** A value as JSON. */
export function Json({ value, first = 1_500 }: { readonly value: unknown; readonly first?: number }): VNode {
  return <Text class="mono" value={typeof value === "string" ? value : (JSON.stringify(value, undefined, 2) ?? "undefined")} first={first} />
}

/** A part that can be folded. */
export function Fold({ title, open = false, children }: { readonly title: string; readonly open?: boolean; readonly children: () => VNode }): VNode {
  const [isOpen, setOpen] = useState(open)
  return (
    <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <Inert value={title} />
      </summary>
      {isOpen && children()}
    </details>
  )
}

/** A button that copies a text. */
export function Copy({ text, label = "Copy" }: { readonly text: () => string; readonly label?: string }): VNode {
  const [done, setDone] = useState("")
  const copy = async (): Promise<void> => {
    try {
      await writeClipboard(text())
      setDone("Copied")
    } catch {
      setDone("Not allowed")
    }
    setTimeout(() => setDone(""), 1_500)
  }
  return (
    <button type="button" class="small" onClick={() => void copy()}>
      <span aria-live="polite">{done === "" ? label : done}</span>
    </button>
  )
}

/** Pages that are files have no clipboard of their own in some browsers. */
async function writeClipboard(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) return navigator.clipboard.writeText(text)
  const area = document.createElement("textarea")
  area.value = text
  document.body.append(area)
  area.select()
  const isDone = document.execCommand("copy")
  area.remove()
  if (!isDone) throw new Error("The browser does not allow it.")
}
