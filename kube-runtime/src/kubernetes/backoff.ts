/** Pure: how long to wait before the next try, so that many who lost the same server do not come back at the same moment. */

export interface BackoffOptions {
  /** the first wait is at most so long, ms */
  firstMs: number;
  /** and no wait is longer, ms */
  mostMs: number;
  /** uniform over [0, 1); default Math.random */
  random?: () => number;
}

/**
 * Exponential with full jitter, from a tenth of the range on: a wait of nearly nothing is a storm when all have it.
 * (Exponential Backoff And Jitter, AWS Architecture Blog, 2015.)
 */
export class Backoff {
  private failures = 0;

  constructor(private readonly options: BackoffOptions) {}

  /** What to wait now, ms; twice as long, on average, each time. */
  next(): number {
    const { firstMs, mostMs, random = Math.random } = this.options;
    const range = Math.min(mostMs, firstMs * 2 ** this.failures);
    this.failures = Math.min(this.failures + 1, 30);
    return range * (0.1 + 0.9 * random());
  }

  /** It went well. */
  reset(): void {
    this.failures = 0;
  }
}
