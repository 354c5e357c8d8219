/** Sensors that nobody announced, and numbers that are others now. */

import { createMemo, For, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { Grid, type GridColumn } from "../../chart/grid";
import { asked } from "../../city/answer";
import { addDays, rfc3339 } from "../../city/clock";
import { sees } from "../../city/datasets";
import { stampOf } from "../../city/format";
import { clock } from "../../city/session";
import { Pick } from "../../controls/pick";
import { numbers, texts } from "../../flight/columns";
import { quoted } from "../../flight/question";
import { param, show } from "../../route";
import { number } from "../../words/language";
import { words } from "../../words/quality";
import { ADOPT_ALL, adoptLike, adoptOne, like } from "./adopt";
import { today } from "./chosen";
import { Command } from "./command";

const MOST = 1000;

const QUARANTINE = `SELECT q.id AS sensor, count(m.metric) AS metrics, string_agg(m.metric, ', ') AS measures
FROM sensor AS q
LEFT JOIN series AS m ON m.sensor = q.id
WHERE q.state = 'quarantined'
GROUP BY q.id
ORDER BY q.id
LIMIT ${MOST}`;

export function ChangesPart() {
  return (
    <>
      <Quarantine />
      <Revisions />
    </>
  );
}

function Quarantine() {
  const text = () => words().changes;
  const answers = asked(() => (sees("sensor") === true && sees("series") === true ? { sql: QUARANTINE } : undefined));
  const names = createMemo(() => {
    const answer = answers.answer();
    return answer === undefined ? [] : texts(answer, "sensor").map((name) => name ?? "");
  });
  const columns = (): GridColumn[] => {
    const answer = answers.answer();
    if (answer === undefined) return [];
    const [metrics, measures] = [numbers(answer, "metrics"), texts(answer, "measures")];
    return [
      { title: text().columns.sensor, cell: (row) => names()[row]! },
      { title: text().columns.metrics, cell: (row) => number(metrics[row]), isNumber: true },
      { title: text().columns.measures, cell: (row) => measures[row] ?? "–" },
      { title: text().columns.command, cell: (row) => adoptOne(names()[row]!) },
    ];
  };
  const commands = () => {
    const pattern = like(names());
    return [...(names()[0] === undefined ? [] : [adoptOne(names()[0]!)]), ...(pattern === undefined ? [] : [adoptLike(pattern)]), ...(1 < names().length ? [ADOPT_ALL] : [])];
  };
  return (
    <Figure name="quarantine" title={text().quarantine} about={text().quarantineAbout} asked={answers} empty={sees("sensor") === false ? words().hidden : text().quarantineEmpty} height={120} isGrid>
      <Grid caption={text().quarantine} rows={answers.answer()?.rows ?? 0} columns={columns()} />
      <p class="hint">{text().commands}</p>
      <For each={commands()}>{(command) => <p><Command text={command} /></p>}</For>
      <p class="hint">{text().look}</p>
      <Command text="screenline registry list --quarantined" />
    </Figure>
  );
}

const SINCE = ["1", "7", "30"] as const;

function Revisions() {
  const text = () => words().changes;
  const since = () => SINCE.find((one) => one === param("since")) ?? "1";
  const answers = asked(() => {
    if (sees("revision") !== true) return undefined;
    const from = clock().start(addDays(today(), -Number(since())));
    const sum = (level: string) => `sum(CASE WHEN level = '${level}' THEN changed ELSE 0 END)`;
    return {
      sql: `SELECT sensor, metric, ${sum("5m")} AS changed_5m,
  ${sum("1h")} AS changed_1h,
  ${sum("1d")} AS changed_1d,
  sum(gone) AS gone, min(starts) AS starts, max(ends) AS ends, max(at) AS at
FROM revision
WHERE at >= ${quoted(rfc3339(from))} AND (changed > 0 OR gone > 0)
GROUP BY sensor, metric
ORDER BY changed_1d DESC, changed_1h DESC, changed_5m DESC
LIMIT ${MOST}`,
    };
  });
  const columns = (): GridColumn[] => {
    const answer = answers.answer();
    if (answer === undefined) return [];
    const { revisionColumns, several } = text();
    const [sensor, metric] = [texts(answer, "sensor"), texts(answer, "metric")];
    const [m5, h1, d1, gone, starts, ends, at] = ["changed_5m", "changed_1h", "changed_1d", "gone", "starts", "ends", "at"].map((name) => numbers(answer, name));
    const counted = (title: string, values: Float64Array): GridColumn => ({ title, cell: (row) => (values[row] === 0 ? "–" : number(values[row])), isNumber: true });
    return [
      { title: revisionColumns.sensor, cell: (row) => sensor[row] ?? several },
      { title: revisionColumns.metric, cell: (row) => metric[row] ?? "–" },
      counted(revisionColumns.d1, d1!),
      counted(revisionColumns.h1, h1!),
      counted(revisionColumns.m5, m5!),
      counted(revisionColumns.gone, gone!),
      { title: revisionColumns.from, cell: (row) => stampOf(starts![row]!) },
      { title: revisionColumns.to, cell: (row) => stampOf(ends![row]!) },
      { title: revisionColumns.at, cell: (row) => stampOf(at![row]!) },
    ];
  };
  const summary = () => {
    const answer = answers.answer();
    if (answer === undefined) return "";
    const all = (name: string) => number(numbers(answer, name).reduce((sum, value) => sum + value, 0));
    return text().revisionSum(all("changed_1h"), all("changed_1d"), number(answer.rows));
  };
  return (
    <Figure
      name="revisions"
      title={text().revisions}
      about={text().revisionsAbout}
      asked={answers}
      empty={sees("revision") === false ? words().hidden : text().revisionsEmpty}
      height={240}
      isGrid
      tools={<Pick label={text().since} options={SINCE.map((id) => ({ id, title: text().sinces[id] }))} chosen={since()} onChoose={(since) => show({ since: since === "1" ? undefined : since })} />}
    >
      <Show when={summary()}><p>{summary()}</p></Show>
      <Grid caption={text().revisions} rows={answers.answer()?.rows ?? 0} columns={columns()} />
    </Figure>
  );
}
