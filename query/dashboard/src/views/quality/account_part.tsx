/** The account of a day, checked; and what numbered sources lack. */

import { createMemo, For, Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { Grid, type GridColumn } from "../../chart/grid";
import { asked } from "../../city/answer";
import { rfc3339 } from "../../city/clock";
import { sees } from "../../city/datasets";
import { instantOf, stampOf } from "../../city/format";
import { clock } from "../../city/session";
import { DayChoice } from "../../controls/day";
import { numbers, texts } from "../../flight/columns";
import { quoted } from "../../flight/question";
import { show } from "../../route";
import { number } from "../../words/language";
import { words } from "../../words/quality";
import { account, type Account, accountSql, ASIDE, type Column, type Counts, MESSAGES, READINGS } from "./account";
import { day, today } from "./chosen";

/** The ledger's source of what was refused before and sent through again. */
const REDRIVE = "redrive";

export function AccountPart() {
  const on = () => day(today());
  return (
    <>
      <div class="choices row">
        <DayChoice day={on()} onChoose={(day) => show({ day: day === today() ? undefined : day })} />
      </div>
      <Ledger day={on()} />
      <Gaps day={on()} />
      <Positions />
    </>
  );
}

function Ledger(props: { day: string }) {
  const text = () => words().account;
  const answers = asked(() => {
    const { from, to } = clock().range(props.day);
    return sees("ledger") === true ? { sql: accountSql(from, to) } : undefined;
  });
  const sums = createMemo(() => {
    const answer = answers.answer();
    return answer === undefined ? undefined : account(answer);
  });
  return (
    <Figure name="account" title={text().title} about={text().about} asked={answers} empty={sees("ledger") === false ? words().hidden : text().empty} height={280} isGrid>
      <Show when={sums()}>
        {(sums) => (
          <>
            <Verdict account={sums()} />
            <p class="sum">{text().messages}</p>
            <Sums account={sums()} whole="received" parts={MESSAGES} of="messages" />
            <p class="sum">{text().readings}</p>
            <Sums account={sums()} whole="decoded" parts={READINGS} of="readings" />
            <p class="sum">{text().aside}</p>
            <Sums account={sums()} parts={ASIDE} />
            <p class="hint">{text().asideAbout}</p>
          </>
        )}
      </Show>
    </Figure>
  );
}

function Verdict(props: { account: Account }) {
  const text = () => words().account;
  const holds = () => props.account.problems.length === 0 && props.account.wrongHours === 0;
  return (
    <Show when={!holds()} fallback={<p class="verdict" role="status">✓ {text().hold}</p>}>
      <div class="verdict bad" role="alert">
        <p>✕ {text().wrong}</p>
        <ul>
          <For each={props.account.problems}>{({ source, whole, of, parts }) => <li>{text().problem(source, number(whole), text().of[of], number(parts))}</li>}</For>
          <Show when={props.account.problems.length === 0}><li>{text().wrongHours(number(props.account.wrongHours))}</li></Show>
        </ul>
      </div>
    </Show>
  );
}

function Sums(props: { account: Account; whole?: Column; parts: readonly Column[]; of?: "messages" | "readings" }) {
  const text = () => words().account;
  const columns = () => [...(props.whole === undefined ? [] : [props.whole]), ...props.parts];
  const added = (counts: Counts) => props.parts.reduce((sum, column) => sum + counts[column], 0);
  const check = (counts: Counts) => (props.whole !== undefined && counts[props.whole] !== added(counts) ? `✕ ${text().isWrong(number(added(counts)))}` : `✓ ${text().holds}`);
  const cells = (counts: Counts) => (
    <>
      <For each={columns()}>{(column) => <td class="number">{counts[column] === 0 ? "–" : number(counts[column])}</td>}</For>
      <Show when={props.whole}><td>{check(counts)}</td></Show>
    </>
  );
  return (
    <div class="list" tabindex="0" role="region" aria-label={props.of === undefined ? text().aside : text()[props.of]}>
      <table>
        <thead>
          <tr>
            <th scope="col">{text().source}</th>
            <For each={columns()}>{(column) => <th scope="col" class="number">{text().columns[column]}</th>}</For>
            <Show when={props.whole}><th scope="col">{text().check}</th></Show>
          </tr>
        </thead>
        <tbody>
          <For each={props.account.sources}>
            {(one) => (
              <tr>
                <th scope="row">{one.source === REDRIVE ? text().redrive : one.source}</th>
                {cells(one)}
              </tr>
            )}
          </For>
        </tbody>
        <Show when={1 < props.account.sources.length}>
          <tfoot>
            <tr>
              <th scope="row">{text().all}</th>
              {cells(props.account.all)}
            </tr>
          </tfoot>
        </Show>
      </table>
    </div>
  );
}

function Gaps(props: { day: string }) {
  const text = () => words().account;
  const answers = asked(() => {
    const { from, to } = clock().range(props.day);
    if (sees("gap") !== true) return undefined;
    return {
      sql: `SELECT source, epoch, first_seq, last_seq, last_seq - first_seq + 1 AS messages, hour
FROM gap
WHERE hour >= ${quoted(rfc3339(from))} AND hour < ${quoted(rfc3339(to))}
ORDER BY hour, source, epoch, first_seq`,
    };
  });
  const columns = (): GridColumn[] => {
    const answer = answers.answer();
    if (answer === undefined) return [];
    const { gapColumns } = text();
    const [source, epoch, first, last] = ["source", "epoch", "first_seq", "last_seq"].map((name) => texts(answer, name));
    const [messages, hour] = ["messages", "hour"].map((name) => numbers(answer, name));
    return [
      { title: gapColumns.source, cell: (row) => source![row] ?? "–" },
      { title: gapColumns.epoch, cell: (row) => epoch![row] ?? "–" },
      { title: gapColumns.messages, cell: (row) => number(messages![row]), isNumber: true },
      { title: gapColumns.first, cell: (row) => first![row] ?? "–", isNumber: true },
      { title: gapColumns.last, cell: (row) => last![row] ?? "–", isNumber: true },
      { title: gapColumns.hour, cell: (row) => instantOf(hour![row]!) },
    ];
  };
  const missing = () => {
    const answer = answers.answer();
    return answer === undefined ? 0 : numbers(answer, "messages").reduce((sum, value) => sum + value, 0);
  };
  return (
    <Figure name="gaps" title={text().gaps} about={text().gapsAbout} asked={answers} empty={sees("gap") === false ? words().hidden : text().gapsEmpty} height={100} isGrid>
      <p class="verdict bad">{text().missing(number(missing()), number(answers.answer()?.rows ?? 0))}</p>
      <Grid caption={text().gaps} rows={answers.answer()?.rows ?? 0} columns={columns()} />
    </Figure>
  );
}

function Positions() {
  const text = () => words().account;
  const answers = asked(() => (sees("source_position") === true ? { sql: "SELECT source, epoch, committed, seen_to, missing, rejected, reused, untracked, updated_at\nFROM source_position\nORDER BY source, epoch DESC" } : undefined));
  const columns = (): GridColumn[] => {
    const answer = answers.answer();
    if (answer === undefined) return [];
    const { gapColumns } = text();
    const [source, epoch, committed, seen] = ["source", "epoch", "committed", "seen_to"].map((name) => texts(answer, name));
    const [missing, rejected, reused, untracked, updated] = ["missing", "rejected", "reused", "untracked", "updated_at"].map((name) => numbers(answer, name));
    const counted = (title: string, values: Float64Array): GridColumn => ({ title, cell: (row) => number(values[row]), isNumber: true });
    return [
      { title: gapColumns.source, cell: (row) => source![row] ?? "–" },
      { title: gapColumns.epoch, cell: (row) => epoch![row] ?? "–" },
      { title: gapColumns.committed, cell: (row) => committed![row] ?? "–", isNumber: true },
      { title: gapColumns.seen, cell: (row) => seen![row] ?? "–", isNumber: true },
      counted(gapColumns.missing, missing!),
      counted(gapColumns.rejected, rejected!),
      counted(gapColumns.reused, reused!),
      counted(gapColumns.untracked, untracked!),
      { title: gapColumns.updated, cell: (row) => stampOf(updated![row]!) },
    ];
  };
  return (
    <Figure name="positions" title={text().positions} about={text().positionsAbout} asked={answers} empty={sees("source_position") === false ? words().hidden : text().positionsEmpty} height={100} isGrid>
      <Grid caption={text().positions} rows={answers.answer()?.rows ?? 0} columns={columns()} />
    </Figure>
  );
}
