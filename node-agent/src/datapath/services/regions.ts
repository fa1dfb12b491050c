/**
 * Room in an array that is shared with the kernel: parts of any length, given back after a grace period, since a reader
 * may still be in them. Sizes are rounded so that a part that came back fits the next of about its size. Pure.
 */
export class Regions {
  /** by size: where free parts of it begin */
  private readonly free = new Map<number, number[]>();
  private end = 0;
  private inUse = 0;

  constructor(private readonly capacity: number) {}

  /** Eight sizes between a number and its double: at most an eighth is wasted. */
  static rounded(length: number): number {
    const step = Math.max(4, 2 ** (Math.floor(Math.log2(Math.max(length, 1))) - 3));
    return Math.ceil(length / step) * step;
  }

  /** Where a part of this length begins; undefined where there is no room. */
  take(length: number): number | undefined {
    const size = Regions.rounded(length);
    const start = this.find(size) ?? (this.merge() ? this.find(size) : undefined);
    if (start !== undefined) this.inUse += size;
    return start;
  }

  give(start: number, length: number): void {
    if (length === 0) return;
    const size = Regions.rounded(length);
    this.inUse -= size;
    this.put(start, size);
  }

  /** What an earlier process has taken. Before anything is taken here, in any order. */
  adopt(parts: ReadonlyArray<{ start: number; length: number }>): void {
    const sorted = parts
      .map(({ start, length }) => ({ start, size: Regions.rounded(length) }))
      .sort((a, b) => a.start - b.start);
    for (const { start, size } of sorted) {
      if (start > this.end) this.put(this.end, start - this.end);
      this.end = Math.max(this.end, start + size);
      this.inUse += size;
    }
  }

  get used(): number {
    return this.inUse;
  }

  private find(size: number): number | undefined {
    return this.free.get(size)?.pop() ?? this.fresh(size) ?? this.split(size);
  }

  private fresh(size: number): number | undefined {
    if (this.end + size > this.capacity) return undefined;
    this.end += size;
    return this.end - size;
  }

  /** From the smallest free part that is larger. */
  private split(size: number): number | undefined {
    const larger = [...this.free].filter(([each, starts]) => each > size && starts.length > 0);
    const [from] = larger.sort(([a], [b]) => a - b)[0] ?? [];
    const start = from === undefined ? undefined : this.free.get(from)?.pop();
    if (from !== undefined && start !== undefined) this.put(start + size, from - size);
    return start;
  }

  /**
   * Makes one of free parts that lie side by side. Only where nothing fits any more: parts of the usual sizes are found at
   * once as they are. False where nothing came of it.
   */
  private merge(): boolean {
    const parts = [...this.free].flatMap(([size, starts]) => starts.map((start) => ({ start, size })));
    parts.sort((a, b) => a.start - b.start);
    const merged: typeof parts = [];
    for (const part of parts) {
      const last = merged.at(-1);
      if (last !== undefined && last.start + last.size === part.start) last.size += part.size;
      else merged.push(part);
    }
    const last = merged.at(-1);
    const isAtEnd = last !== undefined && last.start + last.size === this.end;
    if (merged.length === parts.length && !isAtEnd) return false;
    this.free.clear();
    if (isAtEnd) this.end = (merged.pop() as (typeof parts)[0]).start;
    for (const { start, size } of merged) this.put(start, size);
    return true;
  }

  private put(start: number, size: number): void {
    if (size === 0) return;
    const starts = this.free.get(size);
    if (starts === undefined) this.free.set(size, [start]);
    else starts.push(start);
  }
}
