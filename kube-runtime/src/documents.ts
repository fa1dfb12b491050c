/** Pure: from a file's text to objects and problems, and from an object to a changed text. */
import { hash } from 'node:crypto';
import { kinds, objectName, type Kind, type Kinds } from '@serval/api';
import { parseDocument, stringify } from 'yaml';
import { usedOf } from './endpoint-slices.js';
import { parseJson } from './json.js';
import { validators } from './schemas.js';
import type { ResourceProblem } from './store.js';

export type AnyObject = Kinds[Kind];

/** One document of a file. */
export interface FileDocument {
  /** its number in the file, from 1 */
  number: number;
  /** kind and name, where it could be read so far */
  key?: string;
  /** where it is valid; frozen, without status */
  object?: AnyObject;
  problems: ResourceProblem[];
  /** of its text, in a file of several */
  mark?: string;
}

/** Objects of documents that were read before, by the marks of their texts. */
export type KnownObjects = ReadonlyMap<string, AnyObject>;

/** Kind and name of an object: one key for all kinds. */
export function keyOf(kind: string, name: string): string {
  return `${kind} ${name}`;
}

/** Before each line that begins a document; put together again they are the text. */
function split(text: string): string[] {
  return text.split(/^(?=---(?:[ \t\r\n]|$))/m);
}

/** @param known what of it needs not be read again: of a large file mostly one document changes */
export function readDocuments(file: string, text: string, known?: KnownObjects): FileDocument[] {
  const found: FileDocument[] = [];
  const parts = split(text);
  for (const part of parts) {
    const mark = parts.length === 1 ? undefined : hash('sha256', part, 'base64');
    const object = mark === undefined ? undefined : known?.get(mark);
    const number = found.length + 1;
    const document = object === undefined ? readDocument(file, number, part) : seen(number, object);
    if (document !== undefined) found.push(mark === undefined ? document : { ...document, mark });
  }
  return found;
}

function seen(number: number, object: AnyObject): FileDocument {
  return { number, key: keyOf(object.kind, objectName(object)), object, problems: [] };
}

/** Undefined where there is nothing but comments. */
function readDocument(file: string, number: number, part: string): FileDocument | undefined {
  const problem = (reason: string, remedy: string, field?: string): ResourceProblem => ({
    file,
    document: number,
    ...(field === undefined || field === '' ? {} : { field }),
    reason,
    remedy,
  });
  const value = parse(part);
  if (value instanceof Error)
    return { number, problems: [problem(oneLine(value.message), 'Mend the YAML of this document')] };
  if (value === null || value === undefined) return undefined;
  const kind = (value as { kind?: unknown }).kind;
  if (typeof kind !== 'string' || !Object.hasOwn(kinds, kind)) {
    const reason =
      kind === undefined ? 'it is missing' : `${JSON.stringify(kind)} is no kind that is used here`;
    return { number, problems: [problem(reason, `Use one of ${Object.keys(kinds).join(', ')}`, 'kind')] };
  }
  const problems = validators[kind as Kind](value).map(({ reason, remedy, field }) =>
    problem(reason, remedy, field),
  );
  const key = keyOfValue(kind, value);
  if (problems.length > 0) return { number, ...(key === undefined ? {} : { key }), problems };
  const object = freeze(bare(value as AnyObject));
  return { number, key: keyOf(kind, objectName(object)), object, problems };
}

function parse(part: string): unknown {
  const json = parseJson(part);
  if (json !== undefined) return json;
  try {
    const document = parseDocument(part);
    // A copy: the parser's texts are slices that keep the whole file in memory.
    return document.errors[0] ?? structuredClone(document.toJS() as unknown);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function keyOfValue(kind: string, value: unknown): string | undefined {
  const { metadata } = value as { metadata?: { name?: unknown; namespace?: unknown } | null };
  const { name, namespace } = metadata ?? {};
  if (typeof name !== 'string') return undefined;
  return keyOf(
    kind,
    objectName({ kind, metadata: typeof namespace === 'string' ? { name, namespace } : { name } }),
  );
}

/** A copy without status, with the namespace that it is in; frozen through and through. */
export function normal<Any extends AnyObject>(object: Any): Any {
  return freeze(bare(structuredClone(object)));
}

function bare<Any extends AnyObject>(object: Any): Any {
  const { apiVersion, namespaced } = kinds[object.kind];
  const { namespace = 'default', ...others } = object.metadata;
  if (object.kind === 'EndpointSlice') return usedOf(object, namespace) as Any;
  return {
    apiVersion,
    kind: object.kind,
    metadata: { ...others, ...(namespaced ? { namespace } : {}) },
    spec: object.spec,
  } as Any;
}

/** Undefined where the kind has none. */
export function specOf(object: AnyObject): unknown {
  return 'spec' in object ? object.spec : undefined;
}

export function freeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}

/** The text with this object in place of the one of its key, or at the end; undefined: without it. */
export function replaceDocument(text: string, key: string, object: AnyObject | undefined): string {
  const written =
    object === undefined ? '' : stringify(object, { lineWidth: 110, aliasDuplicateObjects: false });
  let done = false;
  const parts = split(text).flatMap((part, index) => {
    if (readDocument('', 1, part)?.key !== key) return [part];
    if (done || object === undefined) return [];
    done = true;
    return [index === 0 && !part.startsWith('---') ? written : `---\n${written}`];
  });
  if (!done && object !== undefined) parts.push(parts.join('').trim() === '' ? written : `---\n${written}`);
  return parts
    .map((part, index) => (index < parts.length - 1 && !/(^|\n)$/.test(part) ? `${part}\n` : part))
    .join('');
}

/** Whether a text still has a document, good or bad. */
export function hasDocuments(text: string): boolean {
  return split(text).some((part) => readDocument('', 1, part) !== undefined);
}

function oneLine(text: string): string {
  return (text.split('\n')[0] ?? text).replace(/:$/, '');
}
