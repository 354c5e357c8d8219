/** The frame of every chart: its title, what it is loading or lacking, its table, its files, and what was asked. */

import { createUniqueId, For, type JSX, Match, Show, Switch } from "solid-js";
import type { Asked } from "../city/answer";
import { authorization, fetched } from "../flight/flight";
import { type CallError, Code } from "../flight/grpc_web";
import { plain } from "../flight/plain";
import { downloadPath, type Format, type Question, sqlOf } from "../flight/question";
import { go, linkTo, params, show, view } from "../route";
import { common } from "../words/common";
import { number } from "../words/language";
import { Grid, type GridColumn, gridColumns } from "./grid";

export function reason(error: CallError): string {
  const { reasons } = common();
  switch (error.code) {
    case Code.unavailable:
      return reasons.unavailable;
    case Code.denied:
      return reasons.denied;
    case Code.deadline:
      return reasons.deadline;
    case Code.exhausted:
      return reasons.exhausted;
    default:
      return reasons.other(plain(error.message));
  }
}

/** With a token a link cannot carry it, so the file is fetched; without, the browser streams it to the disk. */
async function download(event: MouseEvent, path: string): Promise<void> {
  if (authorization() === undefined) return;
  event.preventDefault();
  const response = await fetched(path);
  if (!response.ok) return alert(`${common().failed} (${response.status})`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = path.slice(path.lastIndexOf("/") + 1, path.indexOf("?"));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const FORMATS: Format[] = ["csv", "parquet"];

export function Downloads(props: { question: Question; name: string }) {
  return (
    <span class="downloads" role="group" aria-label={common().download}>
      <For each={FORMATS}>
        {(format) => {
          const path = () => downloadPath(props.question, format, props.name);
          return (
            <a href={path()} download="" class="button quiet" onClick={(event) => void download(event, path())}>
              {format === "csv" ? "CSV" : "Parquet"}
            </a>
          );
        }}
      </For>
    </span>
  );
}

export interface FigureProps {
  /** Short, in letters and dashes: of the address and of files. */
  name: string;
  title: string;
  /** One sentence: what is seen. */
  about?: JSX.Element;
  asked: Asked;
  /** Shown instead of an empty chart. */
  empty?: JSX.Element;
  /** Whether there is nothing to see; by itself when there are no rows. */
  isEmpty?: boolean;
  /** The table; by itself all columns of the answer. */
  table?: { rows: number; columns: GridColumn[] };
  /** What is shown is a table by itself. */
  isGrid?: boolean;
  /** More buttons at the top. */
  tools?: JSX.Element;
  /** Told below what the service said when it failed. */
  help?: (error: CallError) => JSX.Element;
  /** How high the chart is, so that nothing jumps when it comes. */
  height?: number;
  children: JSX.Element;
}

export function Figure(props: FigureProps) {
  const title = createUniqueId();
  const answer = () => props.asked.answer();
  // Whether it is a table is part of the address, too.
  const isTable = () => props.isGrid !== true && params("table").includes(props.name);
  const toggle = () => {
    const others = params("table").filter((name) => name !== props.name);
    show({ table: (isTable() ? others : [...others, props.name]).join(",") });
  };
  const isEmpty = () => props.isEmpty ?? answer()?.rows === 0;
  return (
    <section class="figure" aria-labelledby={title} aria-busy={props.asked.isLoading()} data-figure={props.name}>
      <header>
        <h2 id={title}>{props.title}</h2>
        <div class="tools">
          {props.tools}
          <Show when={answer() !== undefined && !isEmpty() && props.isGrid !== true}>
            <button type="button" class="quiet" aria-pressed={isTable()} onClick={toggle}>
              {common().asTable}
            </button>
          </Show>
          <Show when={answer() !== undefined && props.asked.question()}>
            {(question) => (
              <>
                <Downloads question={question()} name={props.name} />
                <Show when={view() !== "ask"}>
                  <a
                    class="button quiet"
                    href={linkTo("ask", { sql: sqlOf(question()) })}
                    onClick={(event) => {
                      event.preventDefault();
                      go(linkTo("ask", { sql: sqlOf(question()) }));
                    }}
                  >
                    {common().openInAsk}
                  </a>
                </Show>
              </>
            )}
          </Show>
        </div>
      </header>
      <Show when={props.about}>
        <p class="about">{props.about}</p>
      </Show>
      <Switch>
        <Match when={props.asked.error()}>
          {(error) => (
            <div class="failed" role="alert">
              <p>
                {common().failed} {reason(error())}
              </p>
              {props.help?.(error())}
              <button type="button" onClick={props.asked.again}>
                {common().retry}
              </button>
            </div>
          )}
        </Match>
        <Match when={answer() === undefined && props.asked.question() !== undefined}>
          <div class="skeleton" style={{ height: `${props.height ?? 240}px` }} role="status" aria-label={common().loading} />
        </Match>
        <Match when={answer() === undefined || isEmpty()}>
          <p class="empty">{props.empty ?? common().empty}</p>
        </Match>
        <Match when={isTable()}>
          <Grid
            caption={props.title}
            rows={props.table?.rows ?? answer()!.rows}
            columns={props.table?.columns ?? gridColumns(answer()!.columns)}
          />
        </Match>
        <Match when={true}>{props.children}</Match>
      </Switch>
      <Show when={answer()}>
        {(answer) => (
          <p class="foot">
            <Show when={answer().isCut}>
              <strong>{common().cut(number(answer().rows))} </strong>
            </Show>
            {common().tookRows(number(answer().rows), number(answer().tookMs))}
          </p>
        )}
      </Show>
    </section>
  );
}
