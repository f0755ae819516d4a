import { type KeyboardEvent, type ReactNode, type RefObject, useLayoutEffect, useRef } from "react"
import { SendIcon, StopIcon } from "./icons.tsx"

interface ComposerProps {
  readonly draft: string
  readonly setDraft: (text: string) => void
  readonly onSend: (text: string) => void
  /** Given while there is something to stop. */
  readonly onStop?: (() => void) | undefined
  readonly hint?: ReactNode
  readonly field?: RefObject<HTMLTextAreaElement | null>
}

/** Where the user writes. Enter sends, Shift+Enter begins a line, Escape stops the model. */
export function Composer({ draft, setDraft, onSend, onStop, hint, field }: ComposerProps): ReactNode {
  const own = useRef<HTMLTextAreaElement>(null)
  const area = field ?? own
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text
  useLayoutEffect(() => {
    if (area.current === null) return
    area.current.style.height = "auto"
    area.current.style.height = `${area.current.scrollHeight}px`
  }, [draft, area])
  const send = () => {
    if (draft.trim() === "") return
    setDraft("")
    onSend(draft.trim())
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") onStop?.()
    // An input method uses Enter to choose a word.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    send()
  }
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      <div className="box">
        <textarea
          ref={area}
          rows={1}
          value={draft}
          maxLength={20_000}
          aria-label="Message"
          placeholder="Write a message"
          // biome-ignore lint/a11y/noAutofocus: writing is what the page is for
          autoFocus={matchMedia("(hover: hover)").matches}
          onChange={(event) => setDraft(event.target.value)}
          onKeyDown={onKeyDown}
        />
        {onStop !== undefined && (
          <button type="button" className="round" aria-label="Stop" title="Stop (Escape)" onClick={onStop}>
            <StopIcon />
          </button>
        )}
        {(onStop === undefined || draft.trim() !== "") && (
          <button type="submit" className="round primary" aria-label="Send" title="Send (Enter)" disabled={draft.trim() === ""}>
            <SendIcon />
          </button>
        )}
      </div>
      <p className="hint">{hint ?? <span className="keys">Enter sends, Shift+Enter begins a new line.</span>}</p>
    </form>
  )
}
