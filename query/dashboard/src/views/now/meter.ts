/** How much came in the last minute, in a fixed room. Pure. */

const SECONDS = 60;

export class Meter {
  private readonly counts = new Float64Array(SECONDS);
  private readonly seconds = new Float64Array(SECONDS).fill(-1);

  add(count: number, now: number): void {
    const second = Math.floor(now / 1000);
    const at = second % SECONDS;
    if (this.seconds[at] !== second) {
      this.seconds[at] = second;
      this.counts[at] = 0;
    }
    this.counts[at]! += count;
  }

  total(now: number): number {
    const first = Math.floor(now / 1000) - SECONDS + 1;
    return this.counts.reduce((sum, count, at) => sum + (first <= this.seconds[at]! ? count : 0), 0);
  }
}
