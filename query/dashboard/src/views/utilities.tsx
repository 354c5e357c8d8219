import { Match, Show, Switch } from "solid-js";
import { reason } from "../chart/figure";
import { registry, titled } from "../city/registry";
import { asked } from "../city/answer";
import { Choice } from "../controls/choice";
import { DayChoice } from "../controls/day";
import { Link } from "../controls/link";
import { Pick } from "../controls/pick";
import { texts } from "../flight/columns";
import { linkTo, param, show } from "../route";
import { common } from "../words/common";
import { number } from "../words/language";
import { utilities } from "../words/utilities";
import "../style/utilities.css";
import { NO_ZONE } from "./utilities/counting";
import { MeterPage } from "./utilities/meter";
import { createPlace, PERIODS, type Place } from "./utilities/place";
import { metersOf } from "./utilities/questions";
import { metricTitle } from "./utilities/shown";
import { ZonePage } from "./utilities/zone";

/** The water, energy, gas and heat of a zone, or of one meter. */
export default function Utilities() {
  const place = createPlace();
  return (
    <div class="view utilities">
      <div class="row heading">
        <h1>{utilities().title}</h1>
        <Show when={place.meter()}>
          {(meter) => (
            <>
              <Link
                to={linkTo("utilities", {
                  zone: place.zone(),
                  metric: param("metric"),
                  day: param("day"),
                  days: param("days"),
                  on: param("on"),
                })}
              >
                ← {place.zone() === undefined ? "" : zoneTitle(place.zone()!)}
              </Link>
              <span>· {titled(registry().sensors.get(meter()) ?? { id: meter(), name: undefined })}</span>
            </>
          )}
        </Show>
      </div>
      <Switch fallback={<p role="status">{common().loading} …</p>}>
        <Match when={place.counting.error()}>
          {(error) => (
            <div class="failed" role="alert">
              <p>
                {common().failed} {reason(error())}
              </p>
              <button type="button" onClick={place.counting.again}>
                {common().retry}
              </button>
            </div>
          )}
        </Match>
        <Match
          when={place.counting.answer() !== undefined && place.zones().length === 0 && place.meter() === undefined}
        >
          <p class="figure empty">{utilities().nothing}</p>
        </Match>
        <Match when={place.counting.answer() !== undefined}>
          <Choices place={place} />
          <Show when={place.isToday()}>
            <p class="hint">{utilities().todayIsOpen}</p>
          </Show>
          <Show when={place.meter()} keyed fallback={<ZonePage place={place} />}>
            {(meter) => <MeterPage place={place} meter={meter} />}
          </Show>
        </Match>
      </Switch>
    </div>
  );
}

const zoneTitle = (zone: string): string =>
  zone === NO_ZONE ? utilities().noZone : titled(registry().zones.get(zone) ?? { id: zone, name: undefined });

function Choices(props: { place: Place }) {
  const meters = asked(() => (props.place.zone() === undefined ? undefined : metersOf(props.place.zone()!)));
  const meterOptions = () => {
    const answer = meters.answer();
    if (answer === undefined) return [];
    const names = texts(answer, "name");
    return texts(answer, "id").map((id, row) => ({
      id: id!,
      title: titled({ id: id!, name: names[row] ?? undefined }),
    }));
  };
  return (
    <div class="choices">
      <Choice
        label={utilities().zone}
        options={props.place.zones().map((zone) => ({ id: zone, title: zoneTitle(zone) }))}
        chosen={props.place.zone() === undefined ? [] : [props.place.zone()!]}
        onChoose={([zone]) => show({ zone, metric: undefined, meter: undefined })}
      />
      <Show when={props.place.meter() === undefined && 1 < props.place.metrics().length}>
        <Pick
          label={utilities().metric}
          options={props.place.metrics().map(({ name }) => ({ id: name, title: metricTitle(name) }))}
          chosen={props.place.metric()}
          onChoose={(metric) => show({ metric })}
        />
      </Show>
      <Choice
        label={utilities().meter}
        options={meterOptions()}
        chosen={props.place.meter() === undefined ? [] : [props.place.meter()!]}
        onChoose={([meter]) => show({ zone: props.place.zone(), meter })}
      />
      <DayChoice label={utilities().day} day={props.place.day()} onChoose={(day) => show({ day, on: undefined })} />
      <Pick
        label={utilities().period}
        options={PERIODS.map((days) => ({ id: `${days}`, title: utilities().days(number(days)) }))}
        chosen={`${props.place.days()}`}
        onChoose={(days) => show({ days: days === "14" ? undefined : days })}
      />
    </div>
  );
}
