/** Where a statement is written. */

import { createUniqueId } from "solid-js";
import { words } from "../../words/ask";

export interface EditorProps {
  sql: string;
  onWrite: (sql: string) => void;
  onRun: () => void;
  /** Gets the field, to put the cursor into it. */
  field: (field: HTMLTextAreaElement) => void;
}

/** Writes at the cursor, in a way that Undo undoes where the browser can. */
export function insert(field: HTMLTextAreaElement, text: string): void {
  field.focus();
  if (document.execCommand("insertText", false, text)) return;
  field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new InputEvent("input", { bubbles: true }));
}

export function Editor(props: EditorProps) {
  const id = createUniqueId();
  // After Escape the next Tab leaves the field, so that the keyboard is never caught in it.
  let leaves = false;
  const key = (event: KeyboardEvent & { currentTarget: HTMLTextAreaElement }) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      props.onRun();
    } else if (event.key === "Tab" && !event.shiftKey && !leaves && !event.altKey && !event.ctrlKey) {
      event.preventDefault();
      insert(event.currentTarget, "  ");
    }
    if (event.key !== "Tab" || !leaves) leaves = event.key === "Escape";
  };
  return (
    <div class="editor">
      <label for={id}>{words().statement}</label>
      <textarea
        id={id}
        ref={(field) => props.field(field)}
        rows={Math.min(Math.max(props.sql.split("\n").length + 1, 8), 24)}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        wrap="off"
        aria-describedby={`${id}-keys`}
        value={props.sql}
        onInput={(event) => props.onWrite(event.currentTarget.value)}
        onBlur={() => (leaves = false)}
        onKeyDown={key}
      />
      <p id={`${id}-keys`} class="hint">{words().keys}</p>
    </div>
  );
}
