/** The registry as views need it: what stands where. Read once, when the first view asks. */

import type { Geometry } from "geojson";
import { createMemo, createResource, createRoot, type Resource } from "solid-js";
import { type Answer, ask } from "../flight/flight";
import { numbers, texts } from "../flight/columns";
import { session } from "./session";

/** What a page holds without getting slow; of more, Ask finds the others. */
export const SENSORS_MAX = 20_000;

export interface Sensor {
  id: string;
  name: string | undefined;
  kind: string;
  owner: string | undefined;
  lon: number;
  lat: number;
  segment: string | undefined;
  direction: string | undefined;
  lane: number;
  offsetM: number;
  zone: string | undefined;
  role: string | undefined;
  isQuarantined: boolean;
}

export interface Segment {
  id: string;
  name: string | undefined;
  roadClass: string | undefined;
  direction: string | undefined;
  from: string | undefined;
  to: string | undefined;
  lengthM: number;
  limitKmh: number;
  freeKmh: number;
  lanes: number;
  /** `[lon, lat]` along the traffic; empty where the registry has none. */
  line: [number, number][];
}

export interface Zone {
  id: string;
  name: string | undefined;
  parent: string | undefined;
  geometry: Geometry | undefined;
}

export interface Registry {
  sensors: Map<string, Sensor>;
  segments: Map<string, Segment>;
  zones: Map<string, Zone>;
  /** There are more sensors than a page holds. */
  isCut: boolean;
}

const SENSORS = `SELECT id, name, kind, owner, lon, lat, segment, direction, lane, offset_m, zone, role, state
FROM sensor WHERE valid_to IS NULL OR valid_to > now() ORDER BY id LIMIT ${SENSORS_MAX + 1}`;

const known = (text: string | null | undefined): string | undefined => text ?? undefined;

function geometry(text: string | null | undefined): Geometry | undefined {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined; // the registry takes what it is given
  }
}

function sensors(answer: Answer): Map<string, Sensor> {
  const [id, name, kind, owner, segment, direction, zone, role, state] = ["id", "name", "kind", "owner", "segment", "direction", "zone", "role", "state"].map((column) => texts(answer, column));
  const [lon, lat, lane, offset] = ["lon", "lat", "lane", "offset_m"].map((column) => numbers(answer, column));
  const sensors = new Map<string, Sensor>();
  for (let row = 0; row < Math.min(answer.rows, SENSORS_MAX); row++) {
    sensors.set(id![row]!, {
      id: id![row]!,
      name: known(name![row]),
      kind: kind![row] ?? "",
      owner: known(owner![row]),
      lon: lon![row]!,
      lat: lat![row]!,
      segment: known(segment![row]),
      direction: known(direction![row]),
      lane: lane![row]!,
      offsetM: offset![row]!,
      zone: known(zone![row]),
      role: known(role![row]),
      isQuarantined: state![row] === "quarantined",
    });
  }
  return sensors;
}

function segments(answer: Answer): Map<string, Segment> {
  const [id, name, road, direction, from, to, drawn] = ["id", "name", "road_class", "direction", "from_node", "to_node", "geometry"].map((column) => texts(answer, column));
  const [length, limit, free, lanes] = ["length_m", "speed_limit_kmh", "free_flow_speed_kmh", "lanes"].map((column) => numbers(answer, column));
  const segments = new Map<string, Segment>();
  for (let row = 0; row < answer.rows; row++) {
    const shape = geometry(drawn![row]);
    segments.set(id![row]!, {
      id: id![row]!,
      name: known(name![row]),
      roadClass: known(road![row]),
      direction: known(direction![row]),
      from: known(from![row]),
      to: known(to![row]),
      lengthM: length![row]!,
      limitKmh: limit![row]!,
      freeKmh: free![row]!,
      lanes: lanes![row]!,
      line: shape?.type === "LineString" ? (shape.coordinates as [number, number][]) : [],
    });
  }
  return segments;
}

function zones(answer: Answer): Map<string, Zone> {
  const [id, name, parent, drawn] = ["id", "name", "parent", "geometry"].map((column) => texts(answer, column));
  return new Map(id!.map((zone, row) => [zone!, { id: zone!, name: known(name![row]), parent: known(parent![row]), geometry: geometry(drawn![row]) }]));
}

async function read(): Promise<Registry> {
  const { signal } = new AbortController();
  // A role may not see one of them: what it does not see is empty.
  const seen = <T>(answer: Promise<Answer>, of: (answer: Answer) => Map<string, T>) => answer.then(of).catch(() => new Map<string, T>());
  const [all, roads, areas] = await Promise.all([
    seen(ask({ sql: SENSORS }, signal), (answer) => new Map([["all", { sensors: sensors(answer), isCut: SENSORS_MAX < answer.rows }]])),
    seen(ask({ dataset: "segment" }, signal), segments),
    seen(ask({ dataset: "zone" }, signal), zones),
  ]);
  const { sensors: found, isCut } = all.get("all") ?? { sensors: new Map<string, Sensor>(), isCut: false };
  return { sensors: found, segments: roads, zones: areas, isCut };
}

const EMPTY: Registry = { sensors: new Map(), segments: new Map(), zones: new Map(), isCut: false };

const resource: Resource<Registry> = createRoot(() => createResource(() => session().state === "ready" || undefined, read)[0]);

/** Empty until it is read. */
export const registry = createRoot(() => createMemo(() => resource() ?? EMPTY));

export const isRegistryRead = (): boolean => resource.state === "ready";

/** Its name where it has one. */
export const titled = (thing: { id: string; name: string | undefined }): string => (thing.name === undefined || thing.name === thing.id ? thing.id : `${thing.name} (${thing.id})`);
