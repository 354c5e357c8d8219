/** Statements to begin with: examples, and what was asked before. */

import { For, Show } from "solid-js";
import { instantOf } from "../../city/format";
import { datasets, datasetsState } from "../../city/datasets";
import { words } from "../../words/ask";
import { number } from "../../words/language";
import { type Example, EXAMPLES } from "./examples";
import { forget, history } from "./history";

/** Those whose datasets the role sees; all of them while that is not known. */
export function possible(): Example[] {
  if (datasetsState() !== "ready") return EXAMPLES;
  const seen = new Set(datasets().map((dataset) => dataset.name));
  return EXAMPLES.filter((example) => example.needs.every((name) => seen.has(name)));
}

export function Examples(props: { onTake: (sql: string) => void }) {
  return (
    <section class="examples" aria-label={words().examples}>
      <h2>{words().examples}</h2>
      <div class="row">
        <For each={possible()}>
          {(example) => (
            <button type="button" title={words().exampleTexts[example.id]?.about} onClick={() => props.onTake(withTitle(example))}>
              {words().exampleTexts[example.id]?.title ?? example.id}
            </button>
          )}
        </For>
      </div>
    </section>
  );
}

/** The statement under what it asks, as a comment. */
export const withTitle = (example: Example): string => `-- ${words().exampleTexts[example.id]?.about ?? example.id}\n${example.sql}`;

const SHOWN = 140;

export function History(props: { onTake: (sql: string) => void }) {
  const line = (sql: string) => sql.replaceAll(/\s+/g, " ").slice(0, SHOWN);
  return (
    <details class="history figure">
      <summary>{words().history}</summary>
      <p class="hint">{words().historyAbout}</p>
      <ul>
        <For each={history()} fallback={<li class="hint">{words().noHistory}</li>}>
          {(past) => (
            <li>
              <button type="button" class="quiet" onClick={() => props.onTake(past.sql)}>
                <code>{line(past.sql)}</code>
              </button>
              <span class="hint">
                {instantOf(past.at)} · {words().past(number(past.rows), number(past.tookMs))}
              </span>
            </li>
          )}
        </For>
      </ul>
      <Show when={0 < history().length}>
        <button type="button" onClick={forget}>{words().forget}</button>
      </Show>
    </details>
  );
}
