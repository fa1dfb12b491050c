/**
 * Fields of messages on their way to JSON and back. Reading is strict: what was not expected is refused, and the error
 * names the field. Pure.
 */
import { isUtf8 } from 'node:buffer';
import { ServalError } from '@serval/api';

/** How one field is written and read. `path` names it in errors. */
export interface Field<Value> {
  write(value: Value): unknown;
  /** @throws ServalError ERR_BAD_INPUT */
  read(json: unknown, path: string): Value;
}

export function badField(path: string, reason: string): ServalError {
  return new ServalError('ERR_BAD_INPUT', {
    subject: path === '' ? 'message' : `field "${path}"`,
    reason,
    remedy: 'Run agents of versions that belong together; if they do, report this as a defect',
    details: { field: path },
  });
}

function identity<Value>(value: Value): Value {
  return value;
}

/** Text of this form. The limit is checked first, so that a pattern never works on much text. */
export function text(what: string, maxLength: number, pattern = /^/): Field<string> {
  return {
    write: identity,
    read(json, path) {
      if (typeof json !== 'string') throw badField(path, 'it is no text');
      if (json.length > maxLength) throw badField(path, `it is longer than ${maxLength} characters`);
      if (!pattern.test(json)) throw badField(path, `it is not ${what}`);
      return json;
    },
  };
}

export function oneOf<Value extends string>(values: readonly Value[]): Field<Value> {
  return {
    write: identity,
    read(json, path) {
      if (!values.includes(json as Value)) throw badField(path, `it is none of ${values.join(', ')}`);
      return json as Value;
    },
  };
}

export function isWhole(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}

export function whole(min: number, max: number): Field<number> {
  return {
    write: identity,
    read(json, path) {
      if (!isWhole(json, min, max)) throw badField(path, `it is no whole number from ${min} to ${max}`);
      return json;
    },
  };
}

export const boolean: Field<boolean> = {
  write: identity,
  read(json, path) {
    if (typeof json !== 'boolean') throw badField(path, 'it is neither true nor false');
    return json;
  },
};

export const finite: Field<number> = {
  write: identity,
  read(json, path) {
    if (!Number.isFinite(json)) throw badField(path, 'it is no number, or one without end');
    return json as number;
  },
};

export function array(json: unknown, maxLength: number, path: string): unknown[] {
  if (!Array.isArray(json)) throw badField(path, 'it is no list');
  if (json.length > maxLength) throw badField(path, `it has more than ${maxLength} entries`);
  return json;
}

/** Whole numbers, many of them: no function call for each. */
export function wholes(min: number, max: number, maxLength: number): Field<number[]> {
  return {
    write: identity,
    read(json, path) {
      const list = array(json, maxLength, path);
      for (let index = 0; index < list.length; index++)
        if (!isWhole(list[index], min, max))
          throw badField(`${path}[${index}]`, `it is no whole number from ${min} to ${max}`);
      return list as number[];
    },
  };
}

export function list<Value>(
  field: Field<Value>,
  { min = 0, max }: { min?: number; max: number },
): Field<Value[]> {
  return {
    write: (values) => values.map((value) => field.write(value)),
    read(json, path) {
      const values = array(json, max, path);
      if (values.length < min) throw badField(path, `it has fewer than ${min} entries`);
      return values.map((value, index) => field.read(value, `${path}[${index}]`));
    },
  };
}

export type Fields<Value> = { [Name in keyof Value]-?: Field<Exclude<Value[Name], undefined>> };

/** True for what `{}` in JSON becomes. */
export function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

export function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

/** Name of a field that a sender made up, fit for an error. */
export function shortened(name: string): string {
  return JSON.stringify(name.slice(0, 40));
}

/** An object with these fields, all of them but the optional ones, and no others. */
export function record<Value extends object>(
  fields: Fields<Value>,
  optional: ReadonlyArray<keyof Value & string> = [],
): Field<Value> {
  const names = Object.keys(fields) as Array<keyof Value & string>;
  const known = new Set<string>(names);
  return {
    write(value) {
      const json: Record<string, unknown> = {};
      for (const name of names)
        if (value[name] !== undefined)
          json[name] = fields[name].write(value[name] as Exclude<Value[typeof name], undefined>);
      return json;
    },
    read(json, path) {
      if (!isObject(json)) throw badField(path, 'it is no object');
      for (const name of Object.keys(json))
        if (!known.has(name)) throw badField(path, `it has an unknown field ${shortened(name)}`);
      const value: Partial<Value> = {};
      for (const name of names) {
        if (Object.hasOwn(json, name)) value[name] = fields[name].read(json[name], join(path, name));
        else if (!optional.includes(name)) throw badField(join(path, name), 'it is missing');
      }
      return value as Value;
    },
  };
}

const forbiddenNames = new Set(['__proto__', 'constructor', 'prototype']);

/** Any JSON object, within these bounds: for what only a mover understands. */
export function openRecord(bounds: {
  depth: number;
  values: number;
  characters: number;
}): Field<Record<string, unknown>> {
  return {
    write: identity,
    read(json, path) {
      if (!isObject(json)) throw badField(path, 'it is no object');
      const left = { values: bounds.values, characters: bounds.characters };
      checkOpen(json, path, bounds.depth, left);
      return json;
    },
  };
}

/** Goes no deeper than `depth`, so that it can not exhaust the stack. */
function checkOpen(
  json: unknown,
  path: string,
  depth: number,
  left: { values: number; characters: number },
): void {
  left.values--;
  if (typeof json === 'string') left.characters -= json.length;
  if (typeof json === 'number' && !Number.isFinite(json)) throw badField(path, 'it has a number without end');
  if (left.values < 0 || left.characters < 0) throw badField(path, 'it holds too much');
  if (typeof json !== 'object' || json === null) return;
  if (depth === 0) throw badField(path, 'it is nested too deeply');
  for (const [name, value] of Object.entries(json)) {
    if (forbiddenNames.has(name)) throw badField(path, `it has a field with the name ${shortened(name)}`);
    left.characters -= name.length;
    checkOpen(value, path, depth - 1, left);
  }
}

/**
 * Text of JSON to values. Its nesting is measured first: a parser's memory grows with it.
 * @throws ServalError ERR_BAD_INPUT
 */
export function parseJson(buffer: Buffer, maxDepth: number): unknown {
  if (deepest(buffer, maxDepth) > maxDepth) throw badField('', `it is nested deeper than ${maxDepth} levels`);
  if (!isUtf8(buffer)) throw badField('', 'it is no UTF-8');
  try {
    return JSON.parse(buffer.toString()) as unknown;
  } catch {
    throw badField('', 'it is no JSON');
  }
}

const quote = 0x22;
const backslash = 0x5c;

/** Levels of brackets outside texts, counted until there are more than `enough`. */
function deepest(buffer: Buffer, enough: number): number {
  let depth = 0;
  let most = 0;
  for (let at = 0; at < buffer.length && most <= enough; at++) {
    const byte = buffer[at] as number;
    if (byte === quote) at = endOfText(buffer, at);
    // [ and { differ from ] and } in the same way, and from each other in one bit that does not matter here.
    else if ((byte & 0xdf) === 0x5b) most = Math.max(most, ++depth);
    else if ((byte & 0xdf) === 0x5d) depth--;
  }
  return most;
}

/** Index of the quote that ends the text beginning here. */
function endOfText(buffer: Buffer, start: number): number {
  for (let at = buffer.indexOf(quote, start + 1); at !== -1; at = buffer.indexOf(quote, at + 1)) {
    let escapes = 0;
    while (buffer[at - 1 - escapes] === backslash) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return buffer.length;
}
