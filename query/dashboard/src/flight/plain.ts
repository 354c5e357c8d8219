/** What the service says, for people. Pure. */

/** Without the names of its parts. */
export function plain(message: string): string {
  return message
    .replace(/^(SQL error: |Error during planning: |Schema error: |Arrow error: |Execution error: )+/, "")
    .replace(/^ParserError\("(.*)"\)$/s, "$1")
    .replace(/ at Line: \d+, Column: \d+/, "");
}
