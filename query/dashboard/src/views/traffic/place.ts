/** What is looked at: detectors and segments, together as a screenline. Pure. */

import type { Sensor } from "../../city/registry";
import type { Station } from "../../city/station";

/** Of a screenline: more is a network, which has its own table. */
export const MEMBERS_MAX = 20;

export interface Member {
  kind: "segment" | "sensor";
  id: string;
  direction: string | undefined;
  /** Of the registry; none where it does not know this name, or nothing stands there. */
  detectors: Sensor[];
  /** Which of the segment's stations. */
  station: Station | undefined;
}

export interface Place {
  members: Member[];
  /** Ids of all, each once. */
  sensors: string[];
}

export interface Known {
  sensors: Map<string, Sensor>;
  stations: Map<string, Station[]>;
}

/** Where a segment has several stations its vehicles pass them all: one of them counts. */
function stationOf(stations: Station[], at: number | undefined): Station | undefined {
  const chosen = at === undefined ? undefined : stations.find((station) => Math.abs(station.offsetM - at) < 1);
  const most = Math.max(...stations.map((station) => station.detectors.length));
  return chosen ?? stations.find((station) => station.detectors.length === most);
}

/** @param at metres from the begin of the segment, where it is one segment. */
export function place(segments: string[], sensors: string[], at: number | undefined, known: Known): Place {
  const roads = segments.map((id): Member => {
    const station = stationOf(known.stations.get(id) ?? [], segments.length === 1 ? at : undefined);
    return { kind: "segment", id, direction: station?.direction, detectors: station?.detectors ?? [], station };
  });
  const single = sensors.map((id): Member => {
    const sensor = known.sensors.get(id);
    const detectors = sensor === undefined ? [] : [sensor];
    return { kind: "sensor", id, direction: sensor?.direction, detectors, station: undefined };
  });
  const members = [...roads, ...single].slice(0, MEMBERS_MAX);
  const all = members.flatMap((member) => member.detectors.map((sensor) => sensor.id));
  return { members, sensors: [...new Set(all)].sort() };
}

/** What lines are drawn of, where there is more than the total. */
export type Split = "sensor" | "segment";

/** A line a segment where all are segments and several, else a line a detector: of one segment that is a lane. */
export const split = ({ members }: Place): Split =>
  1 < members.length && members.every((member) => member.kind === "segment") ? "segment" : "sensor";
