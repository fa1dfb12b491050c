/**
 * The memory of an array map, shared with the kernel, as far as it is used: all that is mapped counts as resident memory, and
 * of the room for services (16 and 10 MiB) most nodes use little.
 */
import type { BpfMap } from '../../native.js';

/** Of elements. */
const least = 16_384;
/** Each growth maps all anew; what was mapped before goes when the engine finds out that nobody refers to it. */
const growth = 1.25;

export class MappedArray {
  bytes: Buffer = Buffer.alloc(0);
  words: Uint32Array = new Uint32Array();
  readonly capacity: number;
  private mapped = 0;

  constructor(private readonly map: Pick<BpfMap, 'info' | 'mapped'>) {
    this.capacity = map.info().maxEntries;
    this.reach(1);
  }

  /** So many of the first elements can be read and written. Views that were taken before go on working, on the first ones. */
  reach(elements: number): void {
    if (elements <= this.mapped) return;
    this.mapped = Math.min(this.capacity, Math.max(elements, least, Math.ceil(this.mapped * growth)));
    this.bytes = this.map.mapped(this.mapped);
    this.words = new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length / 4);
  }
}
