/** Fillings of areas and dashes of lines, by their style: colour is never the only mark. */

export const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

/** Patterns `ID-0` to `ID-3`, and `ID-missing` for what nobody observed. */
export function Fillings(props: { id: string }) {
  return (
    <defs>
      <pattern id={`${props.id}-0`} width="8" height="8" patternUnits="userSpaceOnUse">
        <rect width="8" height="8" fill="var(--line-1)" />
      </pattern>
      <pattern id={`${props.id}-1`} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="6" height="6" fill="var(--paper)" />
        <rect width="3" height="6" fill="var(--line-2)" />
      </pattern>
      <pattern id={`${props.id}-2`} width="6" height="6" patternUnits="userSpaceOnUse">
        <rect width="6" height="6" fill="var(--paper)" />
        <circle cx="3" cy="3" r="1.8" fill="var(--line-3)" />
      </pattern>
      <pattern id={`${props.id}-3`} width="6" height="6" patternUnits="userSpaceOnUse">
        <rect width="6" height="6" fill="var(--paper)" />
        <rect width="6" height="2.5" fill="var(--line-4)" />
      </pattern>
      <pattern
        id={`${props.id}-missing`}
        width="8"
        height="8"
        patternUnits="userSpaceOnUse"
        patternTransform="rotate(45)"
      >
        <line x1="0" y1="0" x2="0" y2="8" stroke="var(--rule-strong)" />
      </pattern>
    </defs>
  );
}
