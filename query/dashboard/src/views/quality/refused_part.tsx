/** What came late, was refused, or contradicted what is stored. */

import { createMemo, For, type JSX } from "solid-js";
import { Figure } from "../../chart/figure";
import { Grid, type GridColumn } from "../../chart/grid";
import { type Asked, asked } from "../../city/answer";
import { rfc3339 } from "../../city/clock";
import { sees } from "../../city/datasets";
import { stampOf } from "../../city/format";
import { clock } from "../../city/session";
import { Pick } from "../../controls/pick";
import { numbers, texts } from "../../flight/columns";
import { quoted } from "../../flight/question";
import { param, show } from "../../route";
import { refusals } from "../../words/findings";
import { number, percent } from "../../words/language";
import { words } from "../../words/quality";
import { span, today } from "./chosen";
import { Command } from "./command";
import { dayColumns } from "./coverage_part";
import { counted, type Counted, daily, lastDays, SPANS } from "./days";
import { type Cell, Matrix } from "./matrix";

const NEWEST = 200;
const compact = (value: number): string => (value < 1000 ? number(value) : value < 1e6 ? `${number(value / 1000)}k` : `${number(value / 1e6, 1)}M`);

const range = () => {
  const days = lastDays(today(), Number(span()));
  return { days, ...clock().range(days[0]!, days.length) };
};

/** Asked only where the role sees the table. */
const where = (table: string, sql: () => string): Asked => asked(() => (sees(table) === true ? { sql: sql() } : undefined));
const said = (table: string, empty: string): string => (sees(table) === false ? words().hidden : empty);

export function RefusedPart() {
  return (
    <>
      <div class="choices row">
        <Pick label={words().coverage.span} options={SPANS.map((id) => ({ id, title: words().coverage.spans[id] }))} chosen={span()} onChoose={(days) => show({ days })} />
      </div>
      <Late />
      <Refused />
      <NewestRefusals />
      <Conflicts />
      <NewestConflicts />
    </>
  );
}

/** Rows of counts by day; cells are filled by their share of the largest. */
function Counts(props: { label: string; rowsTitle: string; rows: Counted[]; title?: (name: string) => string; cell: (row: Counted, at: number) => Cell; keys?: JSX.Element }) {
  return (
    <Matrix
      label={props.label}
      rowsTitle={props.rowsTitle}
      sumTitle={words().refused.sum}
      fromEnd
      columns={dayColumns(range().days)}
      rows={props.rows.map((row) => ({ id: row.name, title: props.title?.(row.name) ?? row.name, cells: range().days.map((_, at) => props.cell(row, at)), sum: number(row.sum) }))}
      keys={props.keys ?? <Keys />}
    />
  );
}

function Keys(props: { nothing?: boolean }) {
  const keys = () => words().refused.keys;
  const looks = () => [["bar", props.nothing ? keys().share : keys().bar, "70%"], ["none", props.nothing ? keys().nothing : keys().none, "0%"]] as const;
  return <For each={looks()}>{([look, text, share]) => <span class="key"><span class={`cell ${look}`} style={{ "--share": share }} aria-hidden="true" />{text}</span>}</For>;
}

const most = (rows: Counted[]): number => Math.max(1, ...rows.flatMap((row) => [...row.values].filter((value) => !Number.isNaN(value))));

function Late() {
  const text = () => words().refused;
  const answers = where("ledger", () => {
    const { from, to } = range();
    return `SELECT d.time, t.source, sum(t.late) AS late, sum(t.stored) AS stored\n${daily("ledger", "hour", from, to)}\nGROUP BY d.time, t.source\nORDER BY d.time, t.source`;
  });
  const of = (value: string) => {
    const answer = answers.answer();
    return answer === undefined ? [] : counted(answer, "source", value, range().days, clock());
  };
  const late = createMemo(() => of("late"));
  const stored = createMemo(() => new Map(of("stored").map((row) => [row.name, row.values])));
  const cell = (row: Counted, at: number): Cell => {
    const [some, all] = [row.values[at]!, stored().get(row.name)?.[at] ?? Number.NaN];
    if (Number.isNaN(some)) return { look: "none", told: text().nothingCame };
    const share = all === 0 ? 0 : some / all;
    return { look: "bar", share: Math.min(share, 1), text: compact(some), told: text().lateOf(number(some), number(all), percent(share, 1)) };
  };
  return (
    <Figure name="late" title={text().late} about={text().lateAbout} asked={answers} empty={said("ledger", text().lateEmpty)} height={120}>
      <Counts label={text().late} rowsTitle={text().rows.source} rows={late()} cell={cell} keys={<Keys nothing />} />
    </Figure>
  );
}

function Refused() {
  const text = () => words().refused;
  const of = () => (param("of") === "source" ? "source" : "reason");
  const answers = where("rejection", () => {
    const { from, to } = range();
    return `SELECT d.time, t.${of()}, count(*) AS refused, sum(t.readings) AS readings,
  sum(CASE WHEN t.state = 'open' THEN 1 ELSE 0 END) AS open
${daily("rejection", "received_at", from, to)}
GROUP BY d.time, t.${of()}
ORDER BY d.time, t.${of()}`;
  });
  const rows = createMemo(() => {
    const answer = answers.answer();
    return answer === undefined ? [] : counted(answer, of(), "refused", range().days, clock());
  });
  const title = (name: string) => (of() === "reason" && refusals()[name] !== undefined ? `${refusals()[name]} (${name})` : name);
  return (
    <Figure
      name="refused"
      title={text().rejected}
      about={text().rejectedAbout}
      asked={answers}
      empty={said("rejection", text().rejectedEmpty)}
      height={160}
      tools={<Pick label={text().of} options={(["reason", "source"] as const).map((id) => ({ id, title: text().ofs[id] }))} chosen={of()} onChoose={(of) => show({ of: of === "reason" ? undefined : of })} />}
    >
      <Counts label={text().rejected} rowsTitle={text().rows[of()]} rows={rows()} title={title} cell={(row, at) => count(row, at, most(rows()), text().refusals)} />
    </Figure>
  );
}

function count(row: Counted, at: number, most: number, told: (n: string) => string): Cell {
  const value = row.values[at]!;
  return Number.isNaN(value) || value === 0 ? { look: "none", told: told(number(0)) } : { look: "bar", share: value / most, text: compact(value), told: told(number(value)) };
}

function NewestRefusals() {
  const text = () => words().refused;
  const isOpen = () => param("state") === "open";
  const answers = where("rejection", () => {
    const { from, to } = range();
    return `SELECT received_at, source, topic, reason, detail, readings, payload_bytes, state, attempts
FROM rejection
WHERE received_at >= ${quoted(rfc3339(from))} AND received_at < ${quoted(rfc3339(to))}${isOpen() ? "\n  AND state = 'open'" : ""}
ORDER BY received_at DESC
LIMIT ${NEWEST}`;
  });
  const columns = (): GridColumn[] => {
    const answer = answers.answer();
    if (answer === undefined) return [];
    const { columns, stateNames } = text();
    const [source, topic, reason, detail, state] = ["source", "topic", "reason", "detail", "state"].map((name) => texts(answer, name));
    const [received, readings, bytes, attempts] = ["received_at", "readings", "payload_bytes", "attempts"].map((name) => numbers(answer, name));
    return [
      { title: columns.received, cell: (row) => stampOf(received![row]!) },
      { title: columns.reason, cell: (row) => refusals()[reason![row] ?? ""] ?? reason![row] ?? "–" },
      { title: columns.detail, cell: (row) => detail![row] ?? "–" },
      { title: columns.source, cell: (row) => source![row] ?? "–" },
      { title: columns.topic, cell: (row) => topic![row] ?? "–" },
      { title: columns.readings, cell: (row) => number(readings![row]), isNumber: true },
      { title: columns.bytes, cell: (row) => number(bytes![row]), isNumber: true },
      { title: columns.state, cell: (row) => stateNames[state![row] ?? ""] ?? state![row] ?? "–" },
      { title: columns.attempts, cell: (row) => number(attempts![row]), isNumber: true },
    ];
  };
  const reason = () => {
    const answer = answers.answer();
    return answer === undefined || answer.rows === 0 ? undefined : texts(answer, "reason")[0];
  };
  return (
    <Figure
      name="refusals"
      title={text().newest}
      about={text().newestAbout}
      asked={answers}
      empty={said("rejection", text().rejectedEmpty)}
      isGrid
      height={120}
      tools={<Pick label={text().state} options={(["all", "open"] as const).map((id) => ({ id, title: text().states[id] }))} chosen={isOpen() ? "open" : "all"} onChoose={(state) => show({ state: state === "all" ? undefined : state })} />}
    >
      <Grid caption={text().newest} rows={answers.answer()?.rows ?? 0} columns={columns()} />
      <p class="hint">{text().redrive}</p>
      <Command text={`screenline rejected redrive --reason ${reason() ?? "not_json"} --dry-run`} />
    </Figure>
  );
}

function Conflicts() {
  const text = () => words().refused;
  const answers = where("conflict", () => {
    const { from, to } = range();
    return `SELECT d.time, t.source, count(*) AS conflicts\n${daily("conflict", "received_at", from, to)}\nGROUP BY d.time, t.source\nORDER BY d.time, t.source`;
  });
  const rows = createMemo(() => {
    const answer = answers.answer();
    return answer === undefined ? [] : counted(answer, "source", "conflicts", range().days, clock());
  });
  return (
    <Figure name="conflicts" title={text().conflicts} about={text().conflictsAbout} asked={answers} empty={said("conflict", text().conflictsEmpty)} height={100}>
      <Counts label={text().conflicts} rowsTitle={text().rows.source} rows={rows()} cell={(row, at) => count(row, at, most(rows()), text().conflictsCount)} />
    </Figure>
  );
}

function NewestConflicts() {
  const text = () => words().refused;
  const answers = where("conflict", () => {
    const { from, to } = range();
    return `SELECT received_at, sensor, metric, time, value, kept_value, detail, source
FROM conflict
WHERE received_at >= ${quoted(rfc3339(from))} AND received_at < ${quoted(rfc3339(to))}
ORDER BY received_at DESC
LIMIT ${NEWEST}`;
  });
  const columns = (): GridColumn[] => {
    const answer = answers.answer();
    if (answer === undefined) return [];
    const { columns } = text();
    const [sensor, metric, detail, source] = ["sensor", "metric", "detail", "source"].map((name) => texts(answer, name));
    const [received, time, value, kept] = ["received_at", "time", "value", "kept_value"].map((name) => numbers(answer, name));
    return [
      { title: columns.received, cell: (row) => stampOf(received![row]!) },
      { title: columns.sensor, cell: (row) => sensor![row] ?? "–" },
      { title: columns.metric, cell: (row) => metric![row] ?? "–" },
      { title: columns.time, cell: (row) => stampOf(time![row]!) },
      { title: columns.value, cell: (row) => number(value![row], 3), isNumber: true },
      { title: columns.kept, cell: (row) => number(kept![row], 3), isNumber: true },
      { title: columns.detail, cell: (row) => detail![row] ?? "–" },
      { title: columns.source, cell: (row) => source![row] ?? "–" },
    ];
  };
  return (
    <Figure name="contradictions" title={text().newestConflicts} about={text().newestAbout} asked={answers} empty={said("conflict", text().conflictsEmpty)} isGrid height={100}>
      <Grid caption={text().newestConflicts} rows={answers.answer()?.rows ?? 0} columns={columns()} />
    </Figure>
  );
}
