/** Hatches a rectangle of a canvas: what nobody observed. */

const DISTANCE = 8;

export function hatch(ctx: CanvasRenderingContext2D, left: number, top: number, width: number, height: number, colour: string): void {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1;
  ctx.beginPath();
  // At places that do not depend on the rectangle, so that neighbours fit.
  for (let x = Math.floor((left - height) / DISTANCE) * DISTANCE; x < left + width; x += DISTANCE) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
  ctx.restore();
}
