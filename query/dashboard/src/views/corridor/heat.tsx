/** Speed, or another measure, over time and along the road: with what stood in the way. */

import { createMemo, Show } from "solid-js";
import { RATIO_BORDERS } from "../../chart/colour";
import { Figure } from "../../chart/figure";
import { type GridColumn, numberColumn } from "../../chart/grid";
import { Heatmap } from "../../chart/heatmap";
import type { Asked } from "../../city/answer";
import { dayOf, stampOf, timeOf } from "../../city/format";
import { clock, units } from "../../city/session";
import { shownUnit } from "../../city/unit";
import type { Table } from "../../flight/arrow";
import { numbers, texts } from "../../flight/columns";
import { go, linkTo } from "../../route";
import { common } from "../../words/common";
import { corridor } from "../../words/corridor";
import { number, percent } from "../../words/language";
import { directionOf, segmentTitle } from "../traffic/title";
import { cells } from "./cells";
import { shortened } from "./chain";
import { day, measure, range, road, step, STEP_MS } from "./chosen";
import { COLUMN, type Measure } from "./sql";
import { rowAt, rowsBack } from "./stretch";

const UNITS: Record<Measure, string> = { speed: "km/h", ratio: "1", occupancy: "%", flow: "{veh}/h" };
/** No day is coloured as if it were full that is not. */
const OCCUPANCY_HIGH = 30;
const FLOW_HIGH = 1_800;

/** `0.4 km`, or `0.2 mi`. */
export function distance(metres: number): string {
  const { text, factor } = shownUnit("km", units());
  return `${number((metres / 1000) * factor, 1)} ${text}`;
}

export function Heat(props: { asked: Asked; incidents: Table | undefined; queues: Table | undefined }) {
  const now = createMemo(() => {
    const answer = props.asked.answer();
    return answer === undefined ? undefined : cells(answer, road(), COLUMN[measure()], STEP_MS[step()], Date.now());
  });
  // Travel goes up, as in every diagram of time and space.
  const fromTop = (row: number) => (now()?.rows.length ?? 0) - 1 - row;
  const labels = createMemo(() => shortened(road().map((segment) => segment.name ?? segment.id)));
  const rows = () =>
    [...now()!.rows].reverse().map((row) => {
      const name = labels()[road().indexOf(row.segment)] ?? row.segment.id;
      return { label: `${name} · ${distance(row.fromM)}`, size: row.toM - row.fromM };
    });
  const until = () => (now()!.times.at(-1) ?? range().from) + STEP_MS[step()];
  const high = () => {
    switch (measure()) {
      case "speed":
        return Math.max(...road().map((segment) => segment.freeKmh || segment.limitKmh || 0)) || undefined;
      case "occupancy":
        return OCCUPANCY_HIGH;
      case "flow":
        return FLOW_HIGH;
      case "ratio":
        return 1;
    }
  };

  const marks = () => {
    const { incidents } = props;
    if (incidents === undefined || now() === undefined) return [];
    const [time, ends, offset] = ["time", "ends", "offset_m"].map((name) => numbers(incidents, name));
    const segment = texts(incidents, "segment");
    return segment.flatMap((id, at) => {
      const row = rowAt(now()!.rows, id ?? "", offset![at]!);
      if (row < 0 || time![at]! < range().from || until() <= time![at]!) return [];
      return [{ time: time![at]!, row: fromTop(row), text: corridor().incidentAt(timeOf(time![at]!), timeOf(ends![at]!)) }];
    });
  };
  const areas = () => {
    const { queues } = props;
    if (queues === undefined || now() === undefined) return [];
    const [time, ends, offset, length] = ["time", "ends", "offset_m", "queue_m"].map((name) => numbers(queues, name));
    const segment = texts(queues, "segment");
    return segment.flatMap((id, at) => {
      const head = rowAt(now()!.rows, id ?? "", offset![at]!);
      if (head < 0 || ends![at]! <= range().from || until() <= time![at]!) return [];
      const { first, last } = rowsBack(now()!.rows, head, length![at]!);
      const text = corridor().queueAt(timeOf(time![at]!), timeOf(ends![at]!), distance(length![at]!));
      return [{ from: time![at]!, to: ends![at]!, first: fromTop(last), last: fromTop(first), text }];
    });
  };

  const choose = (row: number, _column: number) => {
    const chosen = now()!.rows[fromTop(row)]!;
    const several = 1 < now()!.rows.filter((other) => other.segment === chosen.segment).length;
    const at = several ? `${chosen.offsetM}` : undefined;
    const asked = measure() === "ratio" ? "speed" : measure();
    go(linkTo("traffic", { segment: chosen.segment.id, at, day: day(), measure: asked }));
  };

  const title = () => corridor().title(corridor().measures[measure()], day() === undefined ? "" : dayOf(clock().start(day()!)));
  const isNothing = () => now() !== undefined && now()!.values.every((row) => row.every(Number.isNaN));
  const isOfSpeed = () => measure() === "speed" || measure() === "ratio";
  const about = () =>
    [corridor().about[measure()], corridor().how, isOfSpeed() && now()?.isEstimated ? corridor().estimated : ""].join(" ");
  const answer = () => props.asked.answer();
  const direction = () => [...new Set(road().map((segment) => directionOf(segment.direction)))].join(", ");
  return (
    <Figure
      name="corridor"
      title={title()}
      about={about()}
      asked={props.asked}
      isEmpty={isNothing()}
      empty={corridor().nothing}
      table={answer() && { rows: answer()!.rows, columns: columns(answer()!) }}
      height={360}
    >
      <Show when={now()}>
        {(now) => (
          <Heatmap
            label={`${title()}. ${corridor().keys}`}
            times={now().times}
            until={until()}
            rows={rows()}
            values={[...now().values].reverse()}
            unit={UNITS[measure()]}
            low={0}
            high={high()}
            classes={measure() === "ratio" ? { borders: RATIO_BORDERS, titles: ratioTitles() } : undefined}
            isShare={measure() === "ratio"}
            rowsLabel={corridor().travel(direction())}
            marks={marks()}
            areas={areas()}
            keys={
              <>
                <Show when={0 < marks().length}>
                  <span class="key alarm">▲ {corridor().incident}</span>
                </Show>
                <Show when={0 < areas().length}>
                  <span class="key alarm">▭ {corridor().queue}</span>
                </Show>
              </>
            }
            onChoose={choose}
          />
        )}
      </Show>
      <p class="hint">{corridor().rowsAre(`${distance(0)} – ${distance(now()?.rows.at(-1)?.toM ?? 0)}`)}</p>
    </Figure>
  );
}

/** `below 30 %`, `30–40 %`, …, `above 85 %` */
function ratioTitles(): string[] {
  const shares = RATIO_BORDERS.map((border) => percent(border));
  const between = shares.slice(1).map((share, at) => `${shares[at]}–${share}`);
  return [corridor().below(shares[0]!), ...between, corridor().above(shares.at(-1)!)];
}

function columns(answer: Table): GridColumn[] {
  const words = corridor();
  const [time, estimated, ratio, coverage] = ["time", "estimated", "speed_ratio", "coverage"].map((name) => numbers(answer, name));
  const segment = texts(answer, "segment");
  const speed = numberColumn(words.measures.speed, "km/h", numbers(answer, "speed"));
  const share = (values: Float64Array) => (row: number) => percent(values[row]);
  return [
    { title: common().time, cell: (row) => stampOf(time![row]!) },
    { title: words.road, cell: (row) => segmentTitle(segment[row] ?? "") },
    numberColumn(words.offset, "m", numbers(answer, "offset_m"), 0),
    { ...speed, cell: (row) => speed.cell(row) + (estimated![row] === 1 ? ` ${words.estimatedShort}` : "") },
    { title: words.measures.ratio, cell: share(ratio!), isNumber: true },
    numberColumn(words.measures.occupancy, "%", numbers(answer, "occupancy")),
    numberColumn(words.measures.flow, "{veh}/h", numbers(answer, "lane_flow"), 0),
    { title: words.coverage, cell: share(coverage!), isNumber: true },
  ];
}
