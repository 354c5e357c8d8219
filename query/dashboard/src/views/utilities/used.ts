/** What each meter of a zone counted, in the order that somebody wants. Pure. */

export interface Used {
  sensor: string;
  role: string | null;
  unit: string;
  amount: number;
  sharePercent: number;
  coveragePercent: number;
  daysKnown: number;
  days: number;
  daysSpread: number;
  resets: number;
  rollovers: number;
}

export const ORDERS = ["amount", "meter", "role", "share", "coverage"] as const;
export type Order = (typeof ORDERS)[number];

/** What is not known comes last, whichever way. */
const by =
  (of: (one: Used) => number, sign: 1 | -1) =>
  (a: Used, b: Used): number => {
    const [left, right] = [of(a), of(b)];
    if (Number.isNaN(left) || Number.isNaN(right)) return Number(Number.isNaN(left)) - Number(Number.isNaN(right));
    return sign * (left - right);
  };
const named = (a: Used, b: Used): number => a.sensor.localeCompare(b.sensor, undefined, { numeric: true });

const COMPARE: Record<Order, (a: Used, b: Used) => number> = {
  amount: by((one) => one.amount, -1),
  meter: named,
  role: (a, b) => (a.role ?? "~").localeCompare(b.role ?? "~") || by((one) => one.amount, -1)(a, b),
  share: by((one) => one.sharePercent, -1),
  coverage: by((one) => one.coveragePercent, 1),
};

/** The largest first, but the least observed. */
export const ordered = (all: Used[], order: Order): Used[] =>
  [...all].sort((a, b) => COMPARE[order](a, b) || named(a, b));

export interface RoleTotal {
  role: string | null;
  unit: string;
  meters: number;
  amount: number;
}

/** Sums by role and unit, never of different units. */
export function totals(all: Used[]): RoleTotal[] {
  const found = new Map<string, RoleTotal>();
  for (const { role, unit, amount } of all) {
    const key = `${role} ${unit}`;
    const sum = found.get(key) ?? { role, unit, meters: 0, amount: Number.NaN };
    sum.meters += 1;
    if (!Number.isNaN(amount)) sum.amount = (Number.isNaN(sum.amount) ? 0 : sum.amount) + amount;
    found.set(key, sum);
  }
  return [...found.values()];
}
