/** Every road of the city on one day, where no place is chosen. */

import { createMemo } from "solid-js";
import { Figure } from "../../chart/figure";
import { Grid, type GridColumn, numberColumn } from "../../chart/grid";
import { asked } from "../../city/answer";
import { sees } from "../../city/datasets";
import { dayOf } from "../../city/format";
import { registry, titled } from "../../city/registry";
import { clock } from "../../city/session";
import { has, numbers, texts } from "../../flight/columns";
import type { Answer } from "../../flight/flight";
import { Pick } from "../../controls/pick";
import { linkTo, param, type Params, show } from "../../route";
import { percent } from "../../words/language";
import { traffic } from "../../words/traffic";
import { day, range, sort, sorts } from "./chosen";
import { detectorsOf, network } from "./sql";
import { directionOf, laneTitle, segmentTitle } from "./title";

export function Network() {
  const sql = () => (sees("road") ? network(sort(), range()) : detectorsOf(sort(), range()));
  const answer = asked(() => (day() !== undefined && sees("road") !== undefined ? { sql: sql() } : undefined));
  const columns = createMemo(() => answer.answer() && of(answer.answer()!));
  const isNothing = () => {
    const table = answer.answer();
    return table !== undefined && numbers(table, "volume").every(Number.isNaN) && numbers(table, "speed").every(Number.isNaN);
  };
  return (
    <Figure
      name="network"
      title={traffic().networkTitle(day() === undefined ? "" : dayOf(clock().start(day()!)))}
      about={sees("road") !== false ? traffic().networkAbout : `${traffic().noRoad} ${traffic().detectorsAbout}`}
      asked={answer}
      isEmpty={isNothing()}
      empty={traffic().nothingThatDay}
      isGrid
      tools={
        <Pick
          label={traffic().sort}
          options={sorts().map((id) => ({ id, title: traffic().sorts[id] }))}
          chosen={sort()}
          onChoose={(id) => show({ sort: id === sorts()[0] ? undefined : id })}
        />
      }
    >
      <Grid caption={traffic().network} rows={answer.answer()?.rows ?? 0} columns={columns() ?? []} />
    </Figure>
  );
}

const there = (changes: Params): string => linkTo("traffic", { day: param("day"), ...changes });

/** With its direction where no column has it. */
function nameOf(id: string | null, isBare: boolean): string {
  const segment = registry().segments.get(id ?? "");
  return isBare && segment !== undefined ? titled(segment) : segmentTitle(id ?? "–");
}

function of(answer: Answer): GridColumn[] {
  const words = traffic();
  const [segment, direction] = ["segment", "direction"].map((name) => texts(answer, name));
  const column = (name: string) => numbers(answer, name);
  const share = (title: string, name: string): GridColumn => {
    const values = column(name);
    return { title, cell: (row) => percent(values[row]), isNumber: true };
  };
  const road = (title: string, link: boolean): GridColumn => ({
    title,
    cell: (row) => nameOf(segment![row] ?? null, link),
    link: (row) => (link ? there({ segment: segment![row] ?? undefined }) : undefined),
  });
  const volume = numberColumn(words.measures.volume, "{veh}", column("volume"), 0);
  const speed = numberColumn(words.measures.speed, "km/h", column("speed"));
  if (has(answer, "sensor")) {
    const sensor = texts(answer, "sensor");
    return [
      { title: words.detector, cell: (row) => laneTitle(sensor[row]!), link: (row) => there({ sensor: sensor[row] ?? undefined }) },
      road(words.road, false),
      volume,
      speed,
      numberColumn(words.v85, "km/h", column("v85")),
      numberColumn(words.measures.occupancy, "%", column("occupancy")),
      share(words.coverage, "coverage"),
    ];
  }
  const [los, losOf] = ["los", "los_of"].map((name) => texts(answer, name));
  const estimated = column("estimated");
  return [
    road(words.road, true),
    { title: words.direction, cell: (row) => directionOf(direction![row]) || "–" },
    volume,
    { ...speed, cell: (row) => speed.cell(row) + (estimated[row] === 1 ? ` ${words.estimatedShort}` : "") },
    numberColumn(words.freeSpeed, "km/h", column("free_flow_speed"), 0),
    share(words.ratio, "speed_ratio"),
    { title: words.losShort, cell: (row) => (los![row] === null ? "–" : `${los![row]} (${words.losOf[losOf![row] ?? ""] ?? ""})`) },
    numberColumn(words.delay, "h", column("delay_h")),
    share(words.coverage, "coverage"),
  ];
}
