/** What is around every view: where one can go, how numbers are shown, and how fresh they are. */

import { type Component, createEffect, createSignal, For, lazy, Match, onCleanup, Show, Suspense, Switch } from "solid-js";
import { Dynamic } from "solid-js/web";
import { Boundary } from "./boundary";
import { instantOf } from "./city/format";
import { completeUntil, session, signIn, signOut, start, units } from "./city/session";
import type { System } from "./city/unit";
import { Link } from "./controls/link";
import { linkTo, show, type View, VIEWS, view } from "./route";
import { common } from "./words/common";
import { language, LANGUAGES, type Language, number, speak } from "./words/language";

/** Each view is loaded when it is looked at. */
const SHOWN: Record<View, Component> = {
  now: lazy(() => import("./views/now")),
  traffic: lazy(() => import("./views/traffic")),
  corridor: lazy(() => import("./views/corridor")),
  utilities: lazy(() => import("./views/utilities")),
  quality: lazy(() => import("./views/quality")),
  ask: lazy(() => import("./views/ask")),
};

const MINUTE_MS = 60_000;
/** A bucket of five minutes is closed and rolled within ten. */
const FRESH_MS = 10 * MINUTE_MS;
const OLD_MS = 60 * MINUTE_MS;

export function Shell() {
  createEffect(() => {
    document.documentElement.lang = language();
    document.title = `${common().views[view()]} · ${common().brand}`;
  });
  return (
    <>
      <a class="skip" href="#view">
        {common().skip}
      </a>
      <Switch fallback={<p class="center" role="status">{common().loading} …</p>}>
        <Match when={session().state === "signed-out"}>
          <SignIn />
        </Match>
        <Match when={session().state === "failed"}>
          <div class="center failed" role="alert">
            <p>
              {common().failed} {common().reasons.unavailable}
            </p>
            <button type="button" onClick={() => void start()}>
              {common().retry}
            </button>
          </div>
        </Match>
        <Match when={session().state === "ready"}>
          <Head />
          <main id="view" tabindex="-1">
            <Show when={view()} keyed>
              {(view) => (
                <Boundary>
                  <Suspense fallback={<p class="center" role="status">{common().loading} …</p>}>
                    <Dynamic component={SHOWN[view]} />
                  </Suspense>
                </Boundary>
              )}
            </Show>
          </main>
        </Match>
      </Switch>
    </>
  );
}

function Head() {
  const name = () => {
    const now = session();
    return now.state === "ready" ? now.city.name : undefined;
  };
  return (
    <header class="head">
      <Link to={linkTo("now")} class="brand">
        <img src="/favicon.svg" alt="" width="24" height="24" />
        {common().brand}
      </Link>
      <nav aria-label={common().navigation}>
        <For each={VIEWS}>
          {(one) => (
            <Link to={linkTo(one)} current={view() === one}>
              {common().views[one]}
            </Link>
          )}
        </For>
      </nav>
      <div class="settings">
        <AsOf />
        <label>
          <span class="unseen">{common().units}</span>
          <select value={units()} onChange={(event) => show({ units: event.currentTarget.value === "imperial" ? "imperial" : undefined })}>
            <For each={["metric", "imperial"] as System[]}>{(system) => <option value={system} selected={units() === system}>{common().systems[system]}</option>}</For>
          </select>
        </label>
        <label>
          <span class="unseen">{common().language}</span>
          <select value={language()} onChange={(event) => speak(event.currentTarget.value as Language)}>
            <For each={Object.entries(LANGUAGES)}>{([code, title]) => <option value={code} lang={code} selected={language() === code}>{title}</option>}</For>
          </select>
        </label>
        <Show when={name()}>
          {(name) => (
            <button type="button" class="quiet" title={common().signedInAs(name())} onClick={signOut}>
              {common().signOut}
            </button>
          )}
        </Show>
      </div>
    </header>
  );
}

/** How complete the numbers are: by word, and by colour. */
function AsOf() {
  const [now, setNow] = createSignal(Date.now());
  const timer = setInterval(() => setNow(Date.now()), MINUTE_MS / 4);
  onCleanup(() => clearInterval(timer));
  const age = () => {
    const until = completeUntil();
    return until === undefined ? undefined : Math.max(now() - until, 0);
  };
  const state = () => {
    const old = age();
    return old === undefined ? "unknown" : old < FRESH_MS ? "fresh" : old < OLD_MS ? "late" : "old";
  };
  const text = () => {
    const { asOf } = common();
    const until = completeUntil();
    if (until === undefined) return asOf.unknown;
    const time = instantOf(until);
    return { fresh: asOf.fresh(time), late: asOf.late(time, number((age() ?? 0) / MINUTE_MS)), old: asOf.old(time), unknown: asOf.unknown }[state()];
  };
  return (
    <span class={`badge ${state()}`} title={common().asOf.about}>
      {text()}
    </span>
  );
}

function SignIn() {
  const refused = () => {
    const now = session();
    return now.state === "signed-out" && now.refused;
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    void signIn(`${form.get("token") ?? ""}`);
  };
  return (
    <main id="view" class="sign-in" tabindex="-1">
      <h1>{common().signIn.title}</h1>
      <p>{common().signIn.about}</p>
      <form onSubmit={submit}>
        <label for="token">{common().signIn.token}</label>
        <input id="token" name="token" type="password" autocomplete="current-password" required aria-describedby={refused() ? "refused" : undefined} />
        <button type="submit">{common().signIn.submit}</button>
      </form>
      <Show when={refused()}>
        <p id="refused" class="failed" role="alert">
          {common().signIn.refused}
        </p>
      </Show>
    </main>
  );
}
