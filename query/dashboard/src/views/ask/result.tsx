/** What the service answered: a chart where one fits, and the table. */

import { createMemo, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { Grid, gridColumns } from "../../chart/grid";
import type { Asked } from "../../city/answer";
import type { Answer } from "../../flight/flight";
import type { CallError } from "../../flight/grpc_web";
import { words } from "../../words/ask";
import { number } from "../../words/language";
import { AnswerPlot, chosenDrawing } from "./plot";
import { place } from "./place";

export interface ResultProps {
  sql: string;
  asked: Asked;
  rowsMax: number;
  isStopped: boolean;
  /** Puts the cursor to what is wrong. */
  onGoTo: (offset: number, length: number) => void;
}

export function Result(props: ResultProps) {
  return (
    <Figure
      name="answer"
      title={words().answer}
      about={words().bound(number(props.rowsMax))}
      asked={props.asked}
      empty={props.isStopped ? words().stopped : props.asked.answer() === undefined ? words().nothing : words().empty}
      help={(error) => <Help sql={props.sql} error={error} onGoTo={props.onGoTo} />}
    >
      <Show when={props.asked.answer()}>{(answer) => <Both answer={answer()} />}</Show>
    </Figure>
  );
}

function Both(props: { answer: Answer }) {
  const drawing = createMemo(() => chosenDrawing(props.answer));
  return (
    <>
      <Show when={drawing()}>{(drawing) => <AnswerPlot table={props.answer} drawing={drawing()} />}</Show>
      <Grid caption={words().answer} rows={props.answer.rows} columns={gridColumns(props.answer.columns)} />
    </>
  );
}

function Help(props: { sql: string; error: CallError; onGoTo: (offset: number, length: number) => void }) {
  const where = () => place(props.sql, props.error.message);
  const advice = () => {
    const { advice } = words();
    if (/computed for a range of time/.test(props.error.message)) return advice.range;
    if (/more than one statement/.test(props.error.message)) return advice.one;
    return /DML not supported|DDL not supported|Statement not supported/.test(props.error.message) ? advice.reads : undefined;
  };
  return (
    <>
      <Show when={advice()}>{(advice) => <p>{advice()}</p>}</Show>
      <Show when={where()}>
        {(where) => (
          <div class="place">
            <p>{words().line(number(where().line), number(where().column))}</p>
            <pre>{`${where().text}\n${" ".repeat(where().column - 1)}${"^".repeat(Math.max(where().length, 1))}`}</pre>
            <button type="button" onClick={() => props.onGoTo(where().offset, where().length)}>{words().goThere}</button>
          </div>
        )}
      </Show>
    </>
  );
}
