/** The maintenance list: what is wrong with which sensor, by finding and by how long. Pure. */

import { type Clock, type Day, daysBetween, rfc3339 } from "../../city/clock";
import { numbers, texts } from "../../flight/columns";
import type { Table } from "../../flight/arrow";
import { quoted } from "../../flight/question";
import { conditions, type Filter, today } from "./filter";

/** The service looks so many days back to say since when. */
export const LOOK_BACK = 7;

export function healthSql(filter: Filter, from: number, to: number): string {
  return `SELECT h.finding, h.sensor, h.metric, h.since, l.time AS last_heard, h.detail,
  s.name, s.kind, s.owner, s.zone, s.segment
FROM health AS h
JOIN sensor AS s ON s.id = h.sensor AND ${today("s")}
LEFT JOIN latest AS l ON l.sensor = h.sensor AND l.metric = h.metric
WHERE h.time >= ${quoted(rfc3339(from))} AND h.time < ${quoted(rfc3339(to))}${conditions(filter, "s")}
ORDER BY h.since, h.finding, h.sensor, h.metric`;
}

export interface Ill {
  finding: string;
  sensor: string;
  title: string;
  metric: string;
  since: number;
  /** Days that it holds, with the day that was judged. */
  days: number;
  /** It may have begun before the service looked. */
  isLonger: boolean;
  lastHeard: number;
  /** It said something good after the day that was judged. */
  isBack: boolean;
  detail: string;
  place: string;
  kind: string;
  owner: string;
}

export interface Group {
  finding: string;
  detail: string;
  rows: Ill[];
}

export function groups(answer: Table, day: Day, clock: Clock): Group[] {
  const [finding, sensor, metric, detail, name, kind, owner, zone, segment] = ["finding", "sensor", "metric", "detail", "name", "kind", "owner", "zone", "segment"].map((column) => texts(answer, column));
  const [since, heard] = [numbers(answer, "since"), numbers(answer, "last_heard")];
  const end = clock.range(day).to;
  const found = new Map<string, Group>();
  for (let row = 0; row < answer.rows; row++) {
    const days = daysBetween(clock.day(since[row]!), day) + 1;
    const id = sensor![row] ?? "";
    const ill: Ill = {
      finding: finding![row] ?? "",
      sensor: id,
      title: name![row] === null || name![row] === id ? id : `${name![row]} (${id})`,
      metric: metric![row] ?? "",
      since: since[row]!,
      days,
      isLonger: LOOK_BACK <= days,
      lastHeard: heard[row]!,
      isBack: end <= heard[row]!,
      detail: detail![row] ?? "",
      place: [segment![row], zone![row]].filter((text) => text !== null).join(", "),
      kind: kind![row] ?? "",
      owner: owner![row] ?? "",
    };
    const group = found.get(ill.finding) ?? { finding: ill.finding, detail: ill.detail, rows: [] };
    group.rows.push(ill);
    found.set(ill.finding, group);
  }
  const order = (a: Ill, b: Ill) => Number(a.isBack) - Number(b.isBack) || b.days - a.days || (a.lastHeard || 0) - (b.lastHeard || 0) || a.sensor.localeCompare(b.sensor, undefined, { numeric: true });
  const all = [...found.values()].map((group) => ({ ...group, rows: group.rows.toSorted(order) }));
  return all.toSorted((a, b) => Number(a.rows[0]!.isBack) - Number(b.rows[0]!.isBack) || b.rows[0]!.days - a.rows[0]!.days || b.rows.length - a.rows.length);
}
