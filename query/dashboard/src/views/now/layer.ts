/** Which layer of the map a sensor is on: by what it measures, not by what somebody called its kind. Pure. */

export const LAYERS = [
  "traffic",
  "water",
  "power",
  "gas",
  "heat",
  "weather",
  "air",
  "noise",
  "parking",
  "other",
] as const;
export type Layer = (typeof LAYERS)[number];
export type Choice = Layer | "all";

/** The first word of a metric. */
const OF: Record<string, Layer> = {
  traffic: "traffic",
  water: "water",
  energy: "power",
  power: "power",
  voltage: "power",
  current: "power",
  gas: "gas",
  heat: "heat",
  wind: "weather",
  rain: "weather",
  weather: "weather",
  air: "air",
  noise: "noise",
  parking: "parking",
};

/** Of some metrics the layer that stands first: who measures wind and air is a weather station. */
export function layerOf(metrics: Iterable<string>): Layer {
  const found = Array.from(metrics, (metric) => OF[metric.split(".", 1)[0]!] ?? "other");
  return LAYERS.find((layer) => found.includes(layer)) ?? "other";
}

/** Meters of these count what is used. */
export const isUtility = (layer: Choice): boolean => ["water", "power", "gas", "heat"].includes(layer);
