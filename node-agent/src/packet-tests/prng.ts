/** A small seeded generator of random numbers (sfc32): the same seed gives the same packets on every machine. */
export class Random {
  private a = 0x9e3779b9;
  private b = 0x243f6a88;
  private c: number;
  private counter = 1;

  constructor(seed: number) {
    this.c = seed | 0;
    for (let i = 0; i < 16; i++) this.word();
  }

  /** 32 random bits */
  word(): number {
    const sum = (((this.a + this.b) | 0) + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** from 0 to count - 1 */
  below(count: number): number {
    return this.word() % count;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  fill(buffer: Buffer, from = 0, to = buffer.length): void {
    for (let at = from; at < to; at++) buffer[at] = this.word() >>> 24;
  }
}
