import { setTimeout as wait } from "node:timers/promises"
import type { Database } from "libsql"
import { defineTool, type Toolbox, ToolError, toolbox } from "turn-machine/hosts"
import * as z from "zod"

/** The agent's tools: they keep notes in the database. Reading is free; a person approves what changes something. `toolMs`: how slow reading is. */
export function noteTools(database: Database, toolMs: number): Toolbox {
  const findNotes = defineTool({
    name: "find_notes",
    description: "Finds the user's notes that contain a text. An empty text finds all.",
    input: z.object({ text: z.string() }),
    effects: "none",
    async execute({ text }, { signal, progress }) {
      progress({ message: "Looking through the notes" })
      await wait(toolMs, undefined, { signal })
      return database.prepare("SELECT id, text FROM notes WHERE instr(lower(text), lower(?)) > 0 ORDER BY id LIMIT 50").all(text)
    },
  })
  const saveNote = defineTool({
    name: "save_note",
    description: "Saves a note for the user.",
    input: z.object({ text: z.string().min(1).max(2_000) }),
    approval: () => ({ summary: "Save a note" }),
    execute({ text }, { idempotencyKey = null }) {
      // After a crash, the call may run again: it has the same key, and the note is saved once.
      database.prepare("INSERT INTO notes (text, key) VALUES (?, ?) ON CONFLICT (key) DO NOTHING").run(text, idempotencyKey)
      return database.prepare("SELECT id, text FROM notes WHERE key = ?").get(idempotencyKey)
    },
  })
  const deleteNote = defineTool({
    name: "delete_note",
    description: "Deletes one of the user's notes by its id.",
    input: z.object({ id: z.int() }),
    approval: ({ id }) => ({ summary: `Delete note ${id}`, risk: "high" }),
    execute({ id }) {
      const note = database.prepare("SELECT id, text FROM notes WHERE id = ?").get(id)
      if (note === undefined) throw new ToolError({ class: "invalid_request", code: "no_such_note", message: `There is no note ${id}.` })
      database.prepare("DELETE FROM notes WHERE id = ?").run(id)
      return { deleted: note }
    },
  })
  return toolbox([findNotes, saveNote, deleteNote])
}
