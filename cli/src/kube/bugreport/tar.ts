/** Pure: files to a tar archive (POSIX ustar), as every tar reads it. */

export interface TarFile {
  /** at most 100 bytes */
  name: string;
  content: string;
}

const block = 512;

/** @param time of all files, s since 1970 */
export function tarOf(files: readonly TarFile[], time: number): Buffer {
  const parts = files.flatMap(({ name, content }) => {
    const body = Buffer.from(content);
    return [header(name, body.length, time), body, Buffer.alloc((block - (body.length % block)) % block)];
  });
  // Two empty blocks end it.
  return Buffer.concat([...parts, Buffer.alloc(2 * block)]);
}

function header(name: string, size: number, time: number): Buffer {
  const head = Buffer.alloc(block);
  if (Buffer.byteLength(name) > 100) throw new RangeError(`${name} is longer than 100 bytes`);
  const number = (value: number, digits: number): string => value.toString(8).padStart(digits, '0');
  head.write(name, 0);
  head.write(`${number(0o644, 7)}\0${number(0, 7)}\0${number(0, 7)}\0`, 100);
  head.write(`${number(size, 11)}\0${number(Math.floor(time), 11)}\0`, 124);
  // The checksum counts itself as spaces.
  head.write('        ', 148);
  head.write('0', 156);
  head.write('ustar\u000000', 257);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${number(sum, 6)}\0 `, 148);
  return head;
}
