/** Whether this browser can draw a map: on the desktops of many offices it cannot. */

let can: boolean | undefined;

export function canDraw(): boolean {
  if (can === undefined) {
    const context = document.createElement("canvas").getContext("webgl2");
    can = context !== null;
    context?.getExtension("WEBGL_lose_context")?.loseContext(); // a page has few of them
  }
  return can;
}
