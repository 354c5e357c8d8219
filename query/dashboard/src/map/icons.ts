/** Shapes of the map, drawn here: there are no sprites and no fonts from anywhere. */

const SIZE = 48;
const RATIO = 2;

export type Mark = "finding" | "silent" | "quarantined";

export interface Icon {
  name: string;
  data: ImageData;
  pixelRatio: number;
}

type Draw = (ctx: CanvasRenderingContext2D) => void;

function drawn(name: string, draw: Draw): Icon {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const ctx = canvas.getContext("2d")!;
  ctx.translate(SIZE / 2, SIZE / 2);
  ctx.lineJoin = "round";
  ctx.lineCap = "round";
  draw(ctx);
  return { name, data: ctx.getImageData(0, 0, SIZE, SIZE), pixelRatio: RATIO };
}

function polygon(ctx: CanvasRenderingContext2D, points: [number, number][]): void {
  ctx.beginPath();
  for (const [x, y] of points) ctx.lineTo(x, y);
  ctx.closePath();
}

/** What each state looks like beside its colour; `ink` on `paper`. */
export function icons(ink: string, paper: string): Icon[] {
  const filled = (ctx: CanvasRenderingContext2D) => {
    ctx.fillStyle = paper;
    ctx.strokeStyle = ink;
    ctx.lineWidth = 4;
    ctx.fill();
    ctx.stroke();
  };
  const line = (ctx: CanvasRenderingContext2D, ...points: [number, number][]) => {
    ctx.strokeStyle = ink;
    ctx.lineWidth = 5;
    ctx.beginPath();
    for (const [x, y] of points) ctx.lineTo(x, y);
    ctx.stroke();
  };
  return [
    drawn("arrow", (ctx) => {
      polygon(ctx, [
        [-8, -9],
        [10, 0],
        [-8, 9],
        [-3, 0],
      ]);
      ctx.fillStyle = ink;
      ctx.strokeStyle = paper;
      ctx.lineWidth = 2;
      ctx.stroke();
      ctx.fill();
    }),
    drawn("finding", (ctx) => {
      polygon(ctx, [
        [0, -20],
        [20, 15],
        [-20, 15],
      ]);
      filled(ctx);
      line(ctx, [0, -7], [0, 3]);
      line(ctx, [0, 10], [0, 10]);
    }),
    drawn("silent", (ctx) => {
      ctx.beginPath();
      ctx.arc(0, 0, 15, 0, 2 * Math.PI);
      filled(ctx);
      line(ctx, [-6, -6], [6, 6]);
      line(ctx, [6, -6], [-6, 6]);
    }),
    drawn("quarantined", (ctx) => {
      polygon(ctx, [
        [-15, -15],
        [15, -15],
        [15, 15],
        [-15, 15],
      ]);
      filled(ctx);
      line(ctx, [-4, -6], [-4, 6]);
      line(ctx, [5, -6], [5, 6]);
    }),
  ];
}
