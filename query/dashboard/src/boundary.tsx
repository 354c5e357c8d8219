/** Around a view: what is seen when it cannot be fetched. */

import { ErrorBoundary, type JSX } from "solid-js";
import { common } from "./words/common";

export function Boundary(props: { children: JSX.Element }) {
  return <ErrorBoundary fallback={(error) => <Broken error={error} />}>{props.children}</ErrorBoundary>;
}

/** Its service is away, or of another version by now; or the view itself broke. */
function Broken(props: { error: unknown }) {
  // Browsers say that an import failed, and the loader that a style could not be had before it.
  const isFetch = () => /import|preload/i.test(`${props.error}`);
  return (
    <div class="center failed" role="alert">
      <p>
        {common().failed} {isFetch() ? common().reasons.unavailable : `${props.error}`}
      </p>
      {/* What was not fetched once is not fetched again by the same page. */}
      <button type="button" onClick={() => location.reload()}>
        {common().retry}
      </button>
    </div>
  );
}
