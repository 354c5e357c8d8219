/** Short rings around what was just heard, on a canvas over the map: the map itself is not drawn anew for them. */

const PULSE_MS = 900;
/** At once; more would be a flicker that says nothing. */
const MOST = 120;
const WIDTH = { from: 5, to: 17 };

export interface Projection {
  project(at: [number, number]): { x: number; y: number };
}

export class Pulses {
  private readonly ctx: CanvasRenderingContext2D;
  private pulses: { at: [number, number]; began: number }[] = [];
  private frame: number | undefined;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly projection: Projection,
    private readonly colour: () => string,
  ) {
    this.ctx = canvas.getContext("2d")!;
  }

  /** None while somebody wants no motion. */
  add(places: Iterable<[number, number]>): void {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const began = performance.now();
    for (const at of places) {
      if (MOST <= this.pulses.length) break;
      this.pulses.push({ at, began: began + Math.random() * 120 });
    }
    if (this.frame === undefined && 0 < this.pulses.length) this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    const { canvas, ctx } = this;
    const ratio = devicePixelRatio;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    else ctx.clearRect(0, 0, width, height);
    const now = performance.now();
    this.pulses = this.pulses.filter(({ began }) => now - began < PULSE_MS);
    ctx.strokeStyle = this.colour();
    for (const { at, began } of this.pulses) {
      const part = Math.max(now - began, 0) / PULSE_MS;
      const { x, y } = this.projection.project(at);
      ctx.globalAlpha = 1 - part;
      ctx.lineWidth = (1 + 2 * (1 - part)) * ratio;
      ctx.beginPath();
      ctx.arc(x * ratio, y * ratio, (WIDTH.from + (WIDTH.to - WIDTH.from) * part) * ratio, 0, 2 * Math.PI);
      ctx.stroke();
    }
    this.frame = this.pulses.length === 0 ? undefined : requestAnimationFrame(() => this.draw());
  }

  stop(): void {
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
    this.pulses = [];
  }
}
