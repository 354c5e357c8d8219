import { registry, titled } from "../../city/registry";
import { Link } from "../../controls/link";
import { linkTo, param } from "../../route";
import type { Place } from "./place";

/** To the history of a meter, with the days that are looked at. */
export function MeterLink(props: { place: Place; meter: string }) {
  const kept = () => ({ metric: param("metric"), day: param("day"), days: param("days"), on: param("on") });
  return (
    <Link to={linkTo("utilities", { zone: props.place.zone(), meter: props.meter, ...kept() })}>
      {titled({ id: props.meter, name: registry().sensors.get(props.meter)?.name })}
    </Link>
  );
}
