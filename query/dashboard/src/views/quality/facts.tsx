/** The city in five numbers, each of which leads to its part. */

import { createMemo, type JSX, Show } from "solid-js";
import { type Asked, asked } from "../../city/answer";
import { rfc3339 } from "../../city/clock";
import { sees } from "../../city/datasets";
import { clock } from "../../city/session";
import { numbers, texts } from "../../flight/columns";
import { quoted } from "../../flight/question";
import { show } from "../../route";
import { common } from "../../words/common";
import { number, percent } from "../../words/language";
import { words } from "../../words/quality";
import { account, accountSql } from "./account";
import { type Part, today, yesterday } from "./chosen";
import { coveredRows, coverageSql } from "./coverage";
import type { Filter } from "./filter";
import { askHealth } from "./health_part";

const ALL: Filter = { kind: [], owner: [], zone: [], segment: [] };
const WEEK_MS = 7 * 86_400_000;

export function Facts() {
  const before = clock().range(yesterday());
  const coverage = asked(() => ({ sql: coverageSql({ by: "sensor", filter: ALL, width: "1d", from: before.from, until: before.to }) }));
  const health = askHealth(() => ALL, yesterday);
  const ledger = asked(() => {
    const { from, to } = clock().range(today());
    return sees("ledger") === true ? { sql: accountSql(from, to) } : undefined;
  });
  const week = rfc3339(clock().start(today()) - WEEK_MS);
  const refused = asked(() => (sees("rejection") === true ? { sql: `SELECT count(*) AS open\nFROM rejection\nWHERE state = 'open' AND received_at >= ${quoted(week)}` } : undefined));
  const rows = createMemo(() => (coverage.answer() === undefined ? undefined : coveredRows(coverage.answer()!)));
  const sum = (of: "came" | "due") => (rows() ?? []).reduce((sum, row) => sum + row.all[of], 0);
  const silent = () => (rows() ?? []).filter((row) => row.all.state === "nothing").length;
  const ill = () => (health.answer() === undefined ? 0 : new Set(texts(health.answer()!, "sensor")).size);
  const sums = createMemo(() => (ledger.answer() === undefined ? undefined : account(ledger.answer()!)));
  const isWrong = () => 0 < (sums()?.problems.length ?? 0) + (sums()?.wrongHours ?? 0);
  const text = () => words().facts;
  return (
    <dl class="facts">
      <Fact title={text().came} asked={coverage} to="coverage">
        {percent(sum("due") === 0 ? Number.NaN : Math.floor((sum("came") / sum("due")) * 1000) / 1000, 1)} <small>{text().cameOf(number(sum("due")))}</small>
      </Fact>
      <Fact title={text().silent} asked={coverage} to="coverage" isBad={0 < silent()}>
        {number(silent())} <small>{text().silentOf(number(rows()?.length))}</small>
      </Fact>
      <Fact title={text().findings} asked={health} dataset="health" to="health" isBad={0 < ill()}>
        {number(health.answer()?.rows)} <small>{text().findingsOf(number(ill()))}</small>
      </Fact>
      <Fact title={text().open} asked={refused} dataset="rejection" to="refused">
        {number(refused.answer() === undefined ? undefined : numbers(refused.answer()!, "open")[0])}
      </Fact>
      <Fact title={text().sums} asked={ledger} dataset="ledger" to="account" isBad={isWrong()}>
        {ledger.answer()?.rows === 0 ? text().nothingYet : isWrong() ? `✕ ${text().wrong}` : `✓ ${text().hold}`}
      </Fact>
    </dl>
  );
}

function Fact(props: { title: string; asked: Asked; dataset?: string; to: Part; isBad?: boolean; children: JSX.Element }) {
  const isHidden = () => props.dataset !== undefined && sees(props.dataset) === false;
  const waiting = () => (isHidden() ? words().hidden : props.asked.error() !== undefined ? common().failed : `${common().loading} …`);
  return (
    <div>
      <dt>
        <button type="button" class="quiet button" onClick={() => show({ part: props.to === "coverage" ? undefined : props.to, day: undefined })}>{props.title}</button>
      </dt>
      <dd classList={{ bad: props.isBad === true }}>
        <Show when={props.asked.answer()} fallback={<small>{waiting()}</small>}>{props.children}</Show>
      </dd>
    </div>
  );
}
