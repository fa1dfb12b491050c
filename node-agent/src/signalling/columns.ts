/**
 * Long lists in JSON by columns: for each part of a row either one number that all rows share, or one for each; addresses
 * once each, in a list of their own. Pure.
 */
import type { Protocol } from '../datapath/types.js';
import { addressFamily } from './addresses.js';
import { array, badField, isWhole, shortened } from './fields.js';

/** A protocol's number in a column. */
export const protocols: readonly Protocol[] = ['tcp', 'udp'];

/** A column: the number of all rows, or one for each. */
export type Column = number | number[];

/** Numbers addresses as they come. The last one mostly comes again. */
export class AddressBook {
  readonly addresses: string[] = [];
  private readonly numbers = new Map<string, number>();
  private last = '';
  private lastNumber = -1;

  number(address: string): number {
    if (address !== this.last || this.lastNumber === -1) {
      this.lastNumber = this.numbers.get(address) ?? this.add(address);
      this.last = address;
    }
    return this.lastNumber;
  }

  private add(address: string): number {
    const number = this.addresses.push(address) - 1;
    this.numbers.set(address, number);
    return number;
  }
}

/** One number where all are the same. */
export function column<Row>(rows: readonly Row[], number: (row: Row) => number): Column {
  const numbers = new Array<number>(rows.length);
  let same = rows.length > 0;
  for (let index = 0; index < rows.length; index++) {
    numbers[index] = number(rows[index] as Row);
    same &&= numbers[index] === numbers[0];
  }
  return same ? (numbers[0] as number) : numbers;
}

/** Numbers of one column, checked; a shared one is not multiplied. */
export class Numbers {
  private constructor(
    private readonly shared: number,
    private readonly each: readonly number[] | undefined,
  ) {}

  static read(json: unknown, bounds: { count: number; min: number; max: number }, path: string): Numbers {
    const { count, min, max } = bounds;
    const fits = `a whole number from ${min} to ${max}`;
    if (!Array.isArray(json)) {
      // Of no rows there is no number to share, but an empty list.
      if (!isWhole(json, min, max) || count === 0) throw badField(path, `it is neither a list nor ${fits}`);
      return new Numbers(json, undefined);
    }
    if (json.length !== count) throw badField(path, `it has ${json.length} entries for ${count} rows`);
    for (let index = 0; index < count; index++)
      if (!isWhole(json[index], min, max)) throw badField(`${path}[${index}]`, `it is not ${fits}`);
    return new Numbers(0, json as number[]);
  }

  at(index: number): number {
    return this.each === undefined ? this.shared : (this.each[index] as number);
  }
}

export function readAddresses(
  json: unknown,
  path: string,
  most: number,
): { addresses: string[]; families: Array<0 | 4 | 6> } {
  const addresses = array(json, most, path);
  const families = addresses.map(addressFamily);
  const bad = families.indexOf(0);
  if (bad !== -1) throw badField(`${path}[${bad}]`, 'it is no IPv4 or IPv6 address in its canonical form');
  return { addresses: addresses as string[], families };
}

/** @throws ServalError ERR_BAD_INPUT where there is another field */
export function onlyFields(json: Record<string, unknown>, known: readonly string[], path: string): void {
  for (const name of Object.keys(json))
    if (!known.includes(name)) throw badField(path, `it has an unknown field ${shortened(name)}`);
}
