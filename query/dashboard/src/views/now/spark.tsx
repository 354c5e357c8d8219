/** The last three hours of one measure of whatever is chosen. */

import type { Accessor } from "solid-js";
import { asked } from "../../city/answer";
import { Figure } from "../../chart/figure";
import { Plot } from "../../chart/plot";
import { numbers } from "../../flight/columns";
import type { Question } from "../../flight/question";
import { nowWords } from "../../words/now";

const HEIGHT = 170;
const EVERY_MS = 60_000;

export interface SparkProps {
  title: string;
  question: Question;
  /** Of the answer, and what it is called. */
  column: string;
  label: string;
  unit: string;
  fromZero: boolean;
  isLive: Accessor<boolean>;
}

export function Spark(props: SparkProps) {
  const rows = asked(
    () => props.question,
    () => (props.isLive() ? EVERY_MS : undefined),
  );
  const answer = () => rows.answer()!;
  const isEmpty = () => rows.answer() !== undefined && !numbers(answer(), props.column).some(Number.isFinite);
  return (
    <Figure
      name="spark"
      title={nowWords().card.last3h(props.title)}
      asked={rows}
      isEmpty={isEmpty()}
      empty={nowWords().card.empty}
      height={HEIGHT}
    >
      <Plot
        label={props.title}
        times={numbers(answer(), "time")}
        lines={[{ label: props.label, values: numbers(answer(), props.column) }]}
        unit={props.unit}
        isStepped
        fromZero={props.fromZero}
        height={HEIGHT}
      />
    </Figure>
  );
}
