/** Redis Cluster's slots: which key belongs where. */

export const slots = 16384;

/** CRC16 as XMODEM has it, which Redis takes. */
function crc16(data: Uint8Array): number {
  let value = 0;
  for (const byte of data) {
    value ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) value = value & 0x8000 ? (value << 1) ^ 0x1021 : value << 1;
  }
  return value & 0xffff;
}

/** The slot of a key; of one with a tag in braces, that of the tag. */
export function slotOf(key: string): number {
  const tag = /\{([^}]+)\}/.exec(key)?.[1];
  return crc16(Buffer.from(tag ?? key)) % slots;
}

/** The slots of each of so many nodes, both ends included. */
export function slotRanges(nodes: number): Array<[first: number, last: number]> {
  return Array.from({ length: nodes }, (_, index) => [
    Math.floor((slots * index) / nodes),
    Math.floor((slots * (index + 1)) / nodes) - 1,
  ]);
}

/** A tag whose keys belong into these slots. */
export function tagFor([first, last]: readonly [number, number]): string {
  for (let number = 0; ; number++) {
    const slot = slotOf(`t${number}`);
    if (slot >= first && slot <= last) return `t${number}`;
  }
}
