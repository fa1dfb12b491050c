/** Pure: from a file's text to objects and problems, and from an object to a changed text. */
import { apiVersion, kinds, objectName, type Kind, type Kinds } from '@serval/api';
import { parseDocument, stringify } from 'yaml';
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
}

/** Kind and name of an object: one key for all kinds. */
export function keyOf(kind: string, name: string): string {
  return `${kind} ${name}`;
}

/** Before each line that begins a document; put together again they are the text. */
function split(text: string): string[] {
  return text.split(/^(?=---(?:[ \t\r\n]|$))/m);
}

export function readDocuments(file: string, text: string): FileDocument[] {
  const found: FileDocument[] = [];
  for (const part of split(text)) {
    const document = readDocument(file, found.length + 1, part);
    if (document !== undefined) found.push(document);
  }
  return found;
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
      kind === undefined ? 'it is missing' : `${JSON.stringify(kind)} is no kind of ${apiVersion}`;
    return { number, problems: [problem(reason, `Use one of ${Object.keys(kinds).join(', ')}`, 'kind')] };
  }
  const problems = validators[kind as Kind](value).map(({ reason, remedy, field }) =>
    problem(reason, remedy, field),
  );
  const key = keyOfValue(kind, value);
  if (problems.length > 0) return { number, ...(key === undefined ? {} : { key }), problems };
  const object = normal(value as AnyObject);
  return { number, key: keyOf(kind, objectName(object)), object, problems };
}

function parse(part: string): unknown {
  try {
    const document = parseDocument(part);
    return document.errors[0] ?? (document.toJS() as unknown);
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

/** Without status, with the namespace that it is in; frozen through and through. */
export function normal<Any extends AnyObject>(object: Any): Any {
  const { metadata, spec } = object;
  const { namespace, ...others } = metadata;
  const placed = kinds[object.kind].namespaced ? { namespace: namespace ?? 'default' } : {};
  return freeze({
    apiVersion,
    kind: object.kind,
    metadata: { ...others, ...placed },
    spec: structuredClone(spec),
  } as Any);
}

export function freeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}

/** The text with this object in place of the one of its key, or at the end; undefined: without it. */
export function replaceDocument(text: string, key: string, object: AnyObject | undefined): string {
  const written = object === undefined ? '' : stringify(object, { lineWidth: 110 });
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
