import { catalogue } from "./language";

/** Metrics that most cities have, in words; of others the name is shown as it is. */
const metrics = catalogue<Record<string, string>>({
  en: {
    "traffic.volume": "Vehicles", "traffic.occupancy": "Occupancy", "traffic.speed.mean": "Mean speed", "traffic.speed": "Speed",
    "traffic.vehicle": "Passages", "traffic.flow": "Flow", "traffic.headway": "Headway", "traffic.travel_time": "Travel time",
    "water.volume.total": "Water register", "water.volume.total.stored": "Water stored, register", "water.flow": "Water flow",
    "water.pressure": "Water pressure", "water.level": "Water level",
    "energy.active.import": "Energy drawn, register", "energy.active.export": "Energy fed in, register", "power.active": "Active power",
    "gas.volume.total": "Gas register", "heat.energy.total": "Heat register", "heat.temperature.flow": "Flow temperature",
    "air.no2": "NO₂", "air.pm10": "PM10", "air.pm2_5": "PM2.5", "air.temperature": "Air temperature", "air.humidity": "Humidity",
    "wind.speed": "Wind speed", "rain.intensity": "Rain", "noise.level": "Noise level", "parking.free": "Free parking spaces",
  },
  de: {
    "traffic.volume": "Fahrzeuge", "traffic.occupancy": "Belegung", "traffic.speed.mean": "Mittleres Tempo", "traffic.speed": "Tempo",
    "traffic.vehicle": "Überfahrten", "traffic.flow": "Verkehrsstärke", "traffic.headway": "Zeitlücke", "traffic.travel_time": "Fahrzeit",
    "water.volume.total": "Wasserzählwerk", "water.volume.total.stored": "Wasser im Speicher, Zählwerk", "water.flow": "Wasserdurchfluss",
    "water.pressure": "Wasserdruck", "water.level": "Wasserstand",
    "energy.active.import": "Strombezug, Zählwerk", "energy.active.export": "Stromeinspeisung, Zählwerk", "power.active": "Wirkleistung",
    "gas.volume.total": "Gaszählwerk", "heat.energy.total": "Wärmezählwerk", "heat.temperature.flow": "Vorlauftemperatur",
    "air.no2": "NO₂", "air.pm10": "PM10", "air.pm2_5": "PM2,5", "air.temperature": "Lufttemperatur", "air.humidity": "Luftfeuchte",
    "wind.speed": "Windgeschwindigkeit", "rain.intensity": "Regen", "noise.level": "Schallpegel", "parking.free": "Freie Stellplätze",
  },
});

export const metricTitle = (metric: string): string => metrics()[metric] ?? metric;
