/** Incidents and queues of these hours: those of the road first, the others with a way there. */

import { Show } from "solid-js";
import { Figure } from "../../chart/figure";
import { Grid, type GridColumn, numberColumn } from "../../chart/grid";
import type { Asked } from "../../city/answer";
import { spanOf } from "../../city/format";
import type { Table } from "../../flight/arrow";
import { numbers, texts } from "../../flight/columns";
import { linkTo, param } from "../../route";
import { corridor } from "../../words/corridor";
import { number } from "../../words/language";
import { segmentTitle } from "../traffic/title";
import { road } from "./chosen";
import { distance } from "./heat";

const MINUTE_MS = 60_000;

/** When, how long, where; and whether that is on the road. */
function common(answer: Table): GridColumn[] {
  const words = corridor();
  const [time, ends] = ["time", "ends"].map((name) => numbers(answer, name));
  const segment = texts(answer, "segment");
  const isHere = (row: number) => road().some((one) => one.id === segment[row]);
  return [
    { title: words.time, cell: (row) => spanOf(time![row]!, ends![row]!) },
    { title: words.duration, cell: (row) => `${number((ends![row]! - time![row]!) / MINUTE_MS)} min`, isNumber: true },
    {
      title: words.road,
      cell: (row) => segmentTitle(segment[row] ?? ""),
      link: (row) =>
        isHere(row)
          ? linkTo("traffic", { segment: segment[row] ?? undefined, day: param("day"), measure: "speed" })
          : linkTo("corridor", { road: segment[row] ?? undefined, day: param("day") }),
    },
    { title: words.here, cell: (row) => (isHere(row) ? words.yes : words.no) },
    numberColumn(words.offset, "m", numbers(answer, "offset_m"), 0),
  ];
}

export function Incidents(props: { asked: Asked }) {
  const columns = (answer: Table): GridColumn[] => {
    const words = corridor();
    const [upstream, downstream] = ["upstream", "downstream"].map((name) => texts(answer, name));
    const length = numbers(answer, "distance_m");
    return [
      ...common(answer),
      { title: words.between, cell: (row) => distance(length[row]!), isNumber: true },
      { title: words.detectors, cell: (row) => `${upstream![row] ?? "–"} → ${downstream![row] ?? "–"}` },
    ];
  };
  return (
    <Figure
      name="incidents"
      title={corridor().incidents}
      about={corridor().incidentsAbout}
      asked={props.asked}
      empty={corridor().noIncidents}
      isGrid
      height={120}
    >
      <Show when={props.asked.answer()}>
        {(answer) => <Grid caption={corridor().incidents} rows={answer().rows} columns={columns(answer())} />}
      </Show>
    </Figure>
  );
}

export function Queues(props: { asked: Asked }) {
  const columns = (answer: Table): GridColumn[] => {
    const words = corridor();
    const [slow, free] = ["slow_at", "free_at"].map((name) => texts(answer, name));
    const [length, stations] = ["queue_m", "queue_stations"].map((name) => numbers(answer, name));
    return [
      ...common(answer),
      { title: words.length, cell: (row) => (Number.isNaN(length![row]!) ? "–" : distance(length![row]!)), isNumber: true },
      numberColumn(words.stations, undefined, stations!, 0),
      { title: words.detectors, cell: (row) => `${slow![row] ?? "–"} → ${free![row] ?? "–"}` },
    ];
  };
  return (
    <Figure
      name="queues"
      title={corridor().queues}
      about={corridor().queuesAbout}
      asked={props.asked}
      empty={corridor().noQueues}
      isGrid
      height={120}
    >
      <Show when={props.asked.answer()}>
        {(answer) => <Grid caption={corridor().queues} rows={answer().rows} columns={columns(answer())} />}
      </Show>
    </Figure>
  );
}
