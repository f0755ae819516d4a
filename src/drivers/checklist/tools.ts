import type { ToolSpec } from "../../schemas/tool.ts"

export const SUBMIT_CHECKLIST = "submit_checklist"
export const UPDATE_CHECKLIST = "update_checklist"

/** The tool that shows history has the reference's name and arguments under `compat`. */
export function historyToolName(reference: boolean): string {
  return reference ? "read_file" : "read_history"
}

const itemList = (description: string) => ({
  type: "array",
  description,
  items: { type: "object", properties: { text: { type: "string", description: "The criterion, one statement." } }, required: ["text"] },
})

export const submitChecklistTool: ToolSpec = {
  name: SUBMIT_CHECKLIST,
  description: "Hands in the criteria by which the goal will be judged.",
  inputSchema: {
    type: "object",
    properties: { items: itemList("The criteria, each a single statement about the finished work that can be checked.") },
    required: ["items"],
  },
}

/** `waits`: with the verdicts blocked and wait. */
export function updateChecklistTool(waits: boolean): ToolSpec {
  return {
    name: UPDATE_CHECKLIST,
    description: "Gives your verdict on the list and ends the evaluation.",
    inputSchema: {
      type: "object",
      properties: {
        updates: {
          type: "array",
          description: "A ruling for each open item that is settled now. Items that stay open are left out.",
          items: {
            type: "object",
            properties: {
              index: { type: "integer", description: "The item's number in the list." },
              status: { type: "string", enum: ["completed", "impossible"] },
              evidence: { type: "string", description: "One sentence: what in the output shows it." },
            },
            required: ["index", "status", "evidence"],
          },
        },
        new_items: itemList("Criteria that the list should have had from the start. Mostly empty."),
        reason: { type: "string", description: "One sentence on where the goal stands." },
        ...(waits && {
          verdict: { type: "string", enum: ["continue", "blocked", "wait"], description: "How the agent should go on." },
          wait_seconds: { type: "number", description: "With wait: in how many seconds to look again." },
        }),
      },
      required: ["updates", "new_items", "reason"],
    },
  }
}

export function historyTool(reference: boolean, pageChars: number): ToolSpec {
  const name = historyToolName(reference)
  const description = `Shows the conversation, at most ${pageChars} characters at a time. To read on, pass the \`next\` of the page before.`
  const transcript = reference ? "path" : "transcript"
  const place = reference
    ? {
        offset: { type: "integer", description: "Number of the first message to show.", default: 1 },
        limit: { type: "integer", description: "How many messages to show at most.", default: 400 },
      }
    : { cursor: { type: "string", description: "Where to begin: a message's number, or the `next` of a page. Left out: the first message." } }
  const properties = { [transcript]: { type: "string", description: "The transcript, as named in the task." }, ...place }
  return { name, description, inputSchema: { type: "object", properties, required: [transcript] } }
}
