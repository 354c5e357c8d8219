/** Units as people read them, and the two systems that they may choose between. Storage units are those of the tables. */

export type System = "metric" | "imperial";

interface Shown {
  text: string;
  factor: number;
}

const KM_PER_MILE = 1.609344; // international mile
const FOOT_M = 0.3048;

/** UCUM code to text; only what does not read well by itself. */
const TEXTS: Record<string, string> = {
  "{veh}": "veh",
  "{veh}/h": "veh/h",
  "{veh}/km": "veh/km",
  "{PCU}": "PCU",
  m3: "m³",
  "m3/h": "m³/h",
  "m3/d": "m³/d",
  Cel: "°C",
  "ug/m3": "µg/m³",
  "kW.h": "kWh",
  "W.h": "Wh",
  "V.A": "VA",
  "1": "",
};

const IMPERIAL: Record<string, Shown> = {
  "km/h": { text: "mph", factor: 1 / KM_PER_MILE },
  km: { text: "mi", factor: 1 / KM_PER_MILE },
  m: { text: "ft", factor: 1 / FOOT_M },
  "{veh}/km": { text: "veh/mi", factor: KM_PER_MILE },
};

export function shownUnit(ucum: string | undefined, system: System): Shown {
  if (ucum === undefined) return { text: "", factor: 1 };
  return (system === "imperial" ? IMPERIAL[ucum] : undefined) ?? { text: TEXTS[ucum] ?? ucum, factor: 1 };
}
