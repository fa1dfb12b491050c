/** Pure: a map of what was used lately: so many at most, and nothing that was not used for so long. Times are handed in, ms. */

export interface RecentOptions {
  /** where it is full, what was used longest ago goes */
  most: number;
  keepMs: number;
}

export class Recent<Value> {
  /** what was used last comes last */
  private readonly entries = new Map<string, { value: Value; usedAt: number }>();

  constructor(private readonly options: RecentOptions) {}

  get size(): number {
    return this.entries.size;
  }

  /** Counts as a use. */
  get(key: string, now: number): Value | undefined {
    this.expire(now);
    const found = this.entries.get(key);
    if (found !== undefined) this.set(key, found.value, now);
    return found?.value;
  }

  set(key: string, value: Value, now: number): void {
    this.entries.delete(key);
    this.entries.set(key, { value, usedAt: now });
    if (this.entries.size > this.options.most) this.dropFirst();
  }

  delete(key: string): void {
    this.entries.delete(key);
  }

  private expire(now: number): void {
    for (const { usedAt } of this.entries.values()) {
      if (usedAt + this.options.keepMs > now) return;
      this.dropFirst();
    }
  }

  private dropFirst(): void {
    for (const key of this.entries.keys()) {
      this.entries.delete(key);
      return;
    }
  }
}
