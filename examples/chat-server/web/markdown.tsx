import { Fragment, type ReactNode } from "react"

/** Shows the commonest Markdown: code, headings, lists, bold, italic and links. All else is text, and nothing becomes HTML. */
export function Markdown({ text }: { readonly text: string }): ReactNode {
  return blocksOf(text).map((block, index) => {
    const key = `${index}`
    switch (block.type) {
      case "code":
        return (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and so is reached by the keyboard
          <pre key={key} tabIndex={0}>
            <code>{block.text}</code>
          </pre>
        )
      case "heading":
        return (
          <p key={key} className="heading">
            {inline(block.text)}
          </p>
        )
      case "list": {
        const List = block.isOrdered ? "ol" : "ul"
        return (
          <List key={key} {...(block.isOrdered && { start: block.start })}>
            {block.items.map((item, place) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: items have no other identity
              <li key={place}>{inline(item)}</li>
            ))}
          </List>
        )
      }
      default:
        return <p key={key}>{inline(block.text)}</p>
    }
  })
}

type Block =
  | { readonly type: "code" | "heading" | "paragraph"; readonly text: string }
  | { readonly type: "list"; readonly isOrdered: boolean; readonly start: number; readonly items: string[] }

function blocksOf(text: string): readonly Block[] {
  const blocks: Block[] = []
  let paragraph: string[] = []
  const endParagraph = () => {
    if (paragraph.length > 0) blocks.push({ type: "paragraph", text: paragraph.join("\n") })
    paragraph = []
  }
  const lines = text.split("\n")
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? ""
    const fence = /^\s*(`{3,}|~{3,})/.exec(line)?.[1]
    const item = /^\s*(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/.exec(line)
    const heading = /^#{1,6}\s+(.*)$/.exec(line)?.[1]
    if (fence !== undefined) {
      endParagraph()
      // While it is streamed, the last fence is open.
      const end = lines.findIndex((other, place) => place > at && other.trim().startsWith(fence))
      blocks.push({ type: "code", text: lines.slice(at + 1, end < 0 ? undefined : end).join("\n") })
      at = end < 0 ? lines.length : end
    } else if (item !== null) {
      endParagraph()
      const [, number, content = ""] = item
      const last = blocks.at(-1)
      const isOrdered = number !== undefined
      if (last?.type === "list" && last.isOrdered === isOrdered && lines[at - 1]?.trim() !== undefined) last.items.push(content)
      else blocks.push({ type: "list", isOrdered, start: Number(number ?? 1), items: [content] })
    } else if (heading !== undefined) {
      endParagraph()
      blocks.push({ type: "heading", text: heading })
    } else if (line.trim() === "") {
      endParagraph()
    } else {
      paragraph.push(line)
    }
  }
  endParagraph()
  return blocks
}

const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)/g

function inline(text: string): ReactNode {
  const nodes: ReactNode[] = []
  let end = 0
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, bold, italic, label, url] = match
    nodes.push(text.slice(end, match.index))
    if (code !== undefined) nodes.push(<code>{code}</code>)
    else if (bold !== undefined) nodes.push(<strong>{bold}</strong>)
    else if (italic !== undefined) nodes.push(<em>{italic}</em>)
    else
      nodes.push(
        <a href={url} target="_blank" rel="noreferrer noopener">
          {label}
        </a>,
      )
    end = match.index + whole.length
  }
  nodes.push(text.slice(end))
  // biome-ignore lint/suspicious/noArrayIndexKey: pieces of a text have no other identity
  return nodes.map((node, index) => <Fragment key={index}>{node}</Fragment>)
}
