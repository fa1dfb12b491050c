/** Pure: how often something may be done, with bursts. Times are ms of one clock that is handed in. */

export interface BucketOptions {
  /** so often in the long run */
  perSecond: number;
  /** so many at once, after a rest */
  burst: number;
}

export class TokenBucket {
  /** below zero where some are promised that are not there yet */
  private tokens: number;

  constructor(
    private readonly options: BucketOptions,
    private at: number,
  ) {
    this.tokens = options.burst;
  }

  /** Takes one if there is one. */
  take(now: number): boolean {
    this.fill(now);
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }

  /** Takes one, even if it is not there yet. @returns in how many ms it is */
  reserve(now: number): number {
    this.fill(now);
    this.tokens--;
    return Math.max(0, (-this.tokens / this.options.perSecond) * 1_000);
  }

  private fill(now: number): void {
    const { perSecond, burst } = this.options;
    this.tokens = Math.min(burst, this.tokens + ((now - this.at) / 1_000) * perSecond);
    this.at = now;
  }
}
