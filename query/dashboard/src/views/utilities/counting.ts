/** What is counted where: the zones, their metrics, and which of them a view begins with. Pure. */

/** Meters alike: of one zone, role and metric. */
export interface Counting {
  /** None: of no zone. */
  zone: string | undefined;
  role: string | undefined;
  metric: string;
  unit: string;
  meters: number;
  /** Seconds between readings of the slowest; NaN where the registry does not say it. */
  intervalS: number;
}

/** Of meters that the registry gives no zone; no zone is called so, as `*` is in no topic of ours. */
export const NO_ZONE = "*";

/** What tanks take up is counted by a metric of its own: `water.volume.total.stored` beside `water.volume.total`. */
const WATER = "water.volume";

export const isWater = (metric: string): boolean => metric.startsWith(WATER);

export const inZone = (all: Counting[], zone: string): Counting[] =>
  all.filter((one) => (one.zone ?? NO_ZONE) === zone);

const meters = (some: Counting[]): number => some.reduce((sum, one) => sum + one.meters, 0);

/** All that have meters, in order; those of no zone last. */
export function zonesOf(all: Counting[]): string[] {
  const names = [...new Set(all.map((one) => one.zone ?? NO_ZONE))];
  return names.sort(
    (a, b) => Number(a === NO_ZONE) - Number(b === NO_ZONE) || a.localeCompare(b, undefined, { numeric: true }),
  );
}

const balances = (some: Counting[]): boolean =>
  some.some((one) => one.role === "inlet" && isWater(one.metric)) &&
  some.some((one) => one.role === "customer" && isWater(one.metric));

/** One whose water balances, else the one with most meters. */
export function firstZone(all: Counting[]): string | undefined {
  const of = (zone: string) => inZone(all, zone);
  const rank = (zone: string) => (zone === NO_ZONE ? 0 : balances(of(zone)) ? 2 : 1);
  return zonesOf(all).sort((a, b) => rank(b) - rank(a) || meters(of(b)) - meters(of(a)))[0];
}

export interface Metric {
  name: string;
  unit: string;
}

/** What a zone may be looked at by, what most meters count first: without what only tanks or a few others count beside it. */
export function metricsOf(some: Counting[]): Metric[] {
  const main = some.filter((one) => one.role === "inlet" || one.role === "customer");
  const counted = new Map<string, { unit: string; meters: number }>();
  for (const { metric, unit, meters } of main.length === 0 ? some : main) {
    counted.set(metric, { unit, meters: (counted.get(metric)?.meters ?? 0) + meters });
  }
  const found = [...counted].map(([name, { unit, meters }]) => ({ name, unit, meters }));
  return found
    .sort((a, b) => b.meters - a.meters || a.name.localeCompare(b.name))
    .map(({ name, unit }) => ({ name, unit }));
}

/** The metrics that add up with one: for water also what tanks took up, in the same unit. */
export function together(some: Counting[], metric: string): string[] {
  const unit = some.find((one) => one.metric === metric)?.unit;
  const flows = some.filter(
    (one) => isWater(metric) && isWater(one.metric) && one.role !== "customer" && one.unit === unit,
  );
  return [...new Set([metric, ...flows.map((one) => one.metric)])];
}

/** Widths of buckets in which each meter says something, the finest first. */
export function widthsFor(intervalS: number): string[] {
  const seconds: [string, number][] = [
    ["15m", 900],
    ["1h", 3_600],
    ["1d", 86_400],
  ];
  return seconds.filter(([, width]) => Number.isNaN(intervalS) || intervalS <= width).map(([name]) => name);
}

/** The unit of an amount an hour, as `demand` of the service has it: kW of kW.h. */
export const demandUnit = (unit: string): string => (unit.endsWith(".h") ? unit.slice(0, -2) : `${unit}/h`);
