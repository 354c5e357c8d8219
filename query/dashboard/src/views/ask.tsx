/** Any question, in SQL. A statement from a link is run at once: nothing that it says can change anything. */

import { createEffect, createSignal, on, onCleanup, Show } from "solid-js";
import { asked } from "../city/answer";
import { datasetsState } from "../city/datasets";
import { param, show } from "../route";
import { words } from "../words/ask";
import { number } from "../words/language";
import { Editor, insert } from "./ask/editor";
import { remember } from "./ask/history";
import { Result } from "./ask/result";
import { Schema } from "./ask/schema";
import { Examples, History, possible, withTitle } from "./ask/shelf";
import "../style/ask.css";

/** A table of more rows makes a tab slow, and nobody reads them. */
const MOST = { rows: 100_000, bytes: 64 << 20 };
const SECOND_MS = 1000;

export default function Ask() {
  let field!: HTMLTextAreaElement;
  const [isStopped, setStopped] = createSignal(false);
  const [first, setFirst] = createSignal<string>();
  // Without a statement in the address the first example that can be answered is.
  createEffect(() => {
    const [example] = datasetsState() === "loading" ? [] : possible();
    if (first() === undefined && example !== undefined) setFirst(withTitle(example));
  });
  const sql = () => param("sql") ?? first() ?? "";
  const [draft, setDraft] = createSignal(sql());
  createEffect(on(sql, (sql) => {
    setDraft(sql);
    setStopped(false);
  }));
  const question = () => (isStopped() || sql().trim() === "" ? undefined : { sql: sql() });
  const answers = asked(question, undefined, MOST);
  createEffect(on(answers.answer, (answer) => {
    if (answer !== undefined && param("sql") !== undefined) remember({ sql: sql(), at: Date.now(), rows: answer.rows, tookMs: answer.tookMs });
  }));
  const run = (statement: string) => {
    const isSame = statement === sql() && !isStopped();
    setStopped(false);
    // What was drawn of another statement says nothing about this one.
    show(statement === param("sql") ? {} : { sql: statement, x: undefined, y: undefined, split: undefined, table: undefined });
    if (isSame) answers.again();
  };
  const take = (statement: string) => {
    setDraft(statement);
    run(statement);
  };
  const goTo = (offset: number, length: number) => {
    field.focus();
    field.setSelectionRange(offset, offset + length);
  };
  return (
    <div class="view ask">
      <div>
        <h1>{words().title}</h1>
        <p class="hint">{words().about}</p>
      </div>
      <div class="desk">
        <div class="work">
          <Examples onTake={take} />
          <Editor sql={draft()} onWrite={setDraft} onRun={() => run(draft())} field={(one) => (field = one)} />
          <div class="row">
            <button type="button" class="go" disabled={draft().trim() === ""} onClick={() => run(draft())}>{words().run}</button>
            <Show when={answers.isLoading()}>
              <button type="button" onClick={() => setStopped(true)}>{words().cancel}</button>
              <Running />
            </Show>
          </div>
          <Result sql={sql()} asked={answers} rowsMax={MOST.rows} isStopped={isStopped()} onGoTo={goTo} />
          <History onTake={take} />
        </div>
        <Schema onInsert={(text) => insert(field, text)} />
      </div>
    </div>
  );
}

/** How long it takes already. */
function Running() {
  const began = Date.now();
  const [now, setNow] = createSignal(began);
  const timer = setInterval(() => setNow(Date.now()), SECOND_MS);
  onCleanup(() => clearInterval(timer));
  return <span class="hint">{words().running(number((now() - began) / SECOND_MS))}</span>;
}
