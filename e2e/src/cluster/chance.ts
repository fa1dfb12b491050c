/** Numbers, picks and texts by chance that come again with the same seed (mulberry32). */

const { imul } = Math;
/** What tends to be forgotten: line ends, controls, an escape, wide and combining letters, right-to-left, half a surrogate pair. */
const oddities = [
  '\n',
  '\r',
  '\t',
  '\0',
  '\u001b',
  '\u007f',
  ' ',
  'é',
  'ß',
  '猫',
  '🐈',
  '\u0301',
  '\u202e',
  '\ud800',
];
const letters = 'abcdefghijklmnopqrstuvwxyz';

export class Chance {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  /** from 0 to count - 1 */
  below(count: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * count);
  }

  percent(part: number): boolean {
    return this.below(100) < part;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  /** lower-case letters */
  word(length: number): string {
    return Array.from({ length }, () => letters[this.below(26)]).join('');
  }

  /** a word with something in it that no name has */
  odd(): string {
    return this.word(this.below(4)) + this.pick(oddities) + this.word(this.below(4));
  }
}
