/** Subagents: tools that run turns of their own, and the tree of turns that they make. */

export type { ChildGrants, ChildPlace, ChildReport, DetachedChildren, SuspendedChild, TokensLeft, TurnChildren } from "../host.ts"
export type { ChildRunOptions } from "./child-run.ts"
export { type ChildTask, type ChildToolOptions, childTool } from "./child-tool.ts"
export { type DetachedChildrenOptions, detachedChildren } from "./detached.ts"
export type { ChildBudget } from "./lease.ts"
export { type TurnNode, turnTree } from "./turn-tree.ts"
