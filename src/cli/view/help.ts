export const VIEW_HELP = `turn-machine journal view: writes a page that shows runs in a browser: what happened, when, in which state, and what was asked.

Usage
  turn-machine journal view FILE|FOLDER... [flags]

  --out FILE      path of the page (default: the name of the first journal, with .html, in the current folder)
  --open          open it in the browser
  --redact        replace texts, arguments and values, so that the page can be shown to others. Names of tools, ids, times
                  and numbers of tokens stay.
  --agent MODULE  a JavaScript module with the turn's configuration, for a driver or projector of your own: its default
                  export is the configuration, or a function of the journal's header that returns it. The module is run.
  --help          show this help

The page is one file, which loads nothing and sends nothing. It contains the journal with all texts in it, unless they are
redacted. It replays the turn to show states, requests and their differences. Given a folder, it shows all turns of a goal;
given a journal, that turn and its subagents; given several journals, also where forks diverge.

Exit codes: 0 written, 2 the command cannot run as given.

Examples
  turn-machine journal view run.json --open
  turn-machine journal view turn-machine-goal --out goal.html
  turn-machine journal view run.json fork.json
`
