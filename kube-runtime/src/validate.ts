/** From a JSON schema to problems that name the field, the reason and the remedy. Used for resources and for configuration. */
import { isAbsolute } from 'node:path';
import { isIP } from 'node:net';
import { Ajv, type ErrorObject, type SchemaObject } from 'ajv';
import ipaddr from 'ipaddr.js';

export interface FieldProblem {
  /** `spec.podCIDRs[1]`; empty where the whole value is meant */
  field: string;
  reason: string;
  remedy: string;
}

/** What is wrong with a value, in words of its schema's own. */
export type Words = (
  data: unknown,
  params: Record<string, unknown>,
) => Pick<FieldProblem, 'reason' | 'remedy'>;

/** Problems of a value, none where it is fine; fields that were left out get their defaults in place. */
export type Validator = (value: unknown) => FieldProblem[];

interface Format {
  validate: (text: string) => boolean;
  /** ends the sentence `"x" is no …` */
  what: string;
  example: string;
}

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

export function isLabel(text: string): boolean {
  return label.test(text);
}

export function isName(text: string): boolean {
  // Most names are one label: asked 100,000 times of endpoints.
  return label.test(text) || (text.length <= 253 && text.split('.').every((part) => label.test(part)));
}

function isHostPort(text: string): boolean {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65535) return false;
  const bare = /^\[(.*)\]$/.exec(host)?.[1];
  return bare === undefined ? isIP(host) === 4 || isName(host) : isIP(bare) === 6;
}

/** What `format` may say in our schemas. */
const formats: Record<string, Format> = {
  name: {
    validate: isName,
    what: 'name (lower-case letters, digits, "-" and "."; each part at most 63 characters)',
    example: 'host-1',
  },
  label: {
    validate: isLabel,
    what: 'DNS label (lower-case letters, digits and "-", at most 63 characters)',
    example: 'web',
  },
  namespacedName: {
    validate: (text) => {
      const parts = text.split('/');
      return parts.length === 2 && parts.every(isName);
    },
    what: 'namespaced name',
    example: 'default/redis-0',
  },
  address: { validate: (text) => isIP(text) !== 0, what: 'IPv4 or IPv6 address', example: '10.1.0.5' },
  cidr: {
    validate: (text) => ipaddr.isValidCIDR(text) && isIP(text.split('/')[0] ?? '') !== 0,
    what: 'range of addresses',
    example: '10.1.0.0/24',
  },
  hostPort: {
    validate: isHostPort,
    what: 'host and port (IPv6 in brackets)',
    example: '192.0.2.1:7946',
  },
  absolutePath: {
    validate: (text) => isAbsolute(text) && !text.includes('\0'),
    what: 'absolute path',
    example: '/var/lib/serval',
  },
};

const ajv = new Ajv({
  allErrors: true,
  useDefaults: true,
  verbose: true,
  strict: true,
  allowUnionTypes: true, // int-or-string, as Kubernetes calls it
});
for (const [name, { validate }] of Object.entries(formats)) ajv.addFormat(name, validate);
// `says: { KEYWORD: Words }` beside a keyword: what to say where that one is not met.
ajv.addKeyword('says');

export function compile(schema: SchemaObject): Validator {
  const validate = ajv.compile(schema);
  return (value) => (validate(value) ? [] : (validate.errors ?? []).map(explain));
}

type Explain = (error: ErrorObject) => Partial<FieldProblem> & Pick<FieldProblem, 'reason' | 'remedy'>;

const explanations: Record<string, Explain> = {
  required: ({ instancePath, params }) => ({
    field: fieldName(`${instancePath}/${String(params.missingProperty)}`),
    reason: 'it is missing',
    remedy: 'Set it',
  }),
  additionalProperties: ({ instancePath, params, parentSchema }) => ({
    field: fieldName(`${instancePath}/${String(params.additionalProperty)}`),
    reason: 'there is no such field',
    remedy: `Remove it or mend its spelling; there are ${Object.keys((parentSchema?.properties ?? {}) as object).join(', ')}`,
  }),
  type: ({ data, params }) => ({
    reason: `${quoted(data)} is not of type ${String(params.type)}`,
    remedy: `Write a value of type ${String(params.type)}`,
  }),
  format: ({ data, params }) => {
    const format = formats[String(params.format)];
    return {
      reason: `${quoted(data)} is no ${format?.what ?? String(params.format)}`,
      remedy: `Write it like ${format?.example ?? String(params.format)}`,
    };
  },
  enum: ({ data, params }) => ({
    reason: `${quoted(data)} is not one of the known values`,
    remedy: `Use one of ${(params.allowedValues as unknown[]).map(String).join(', ')}`,
  }),
  const: ({ data, params }) => ({
    reason: `${quoted(data)} is not ${quoted(params.allowedValue)}`,
    remedy: `Write ${quoted(params.allowedValue)}`,
  }),
  minItems: ({ params }) => ({
    reason: `it has fewer than ${String(params.limit)} items`,
    remedy: `Give at least ${String(params.limit)}`,
  }),
  maxItems: ({ data, params }) => ({
    reason: `it has ${(data as unknown[]).length} items, and ${String(params.limit)} are the most`,
    remedy: `Give at most ${String(params.limit)}`,
  }),
  maxLength: ({ data, params }) => ({
    reason: `it has ${(data as string).length} characters, and ${String(params.limit)} are the most`,
    remedy: 'Choose a shorter one',
  }),
  minimum: outOfRange,
  maximum: outOfRange,
};

function outOfRange({ data, params, parentSchema }: ErrorObject): Pick<FieldProblem, 'reason' | 'remedy'> {
  const { minimum, maximum } = (parentSchema ?? {}) as { minimum?: number; maximum?: number };
  const range = [
    ...(minimum === undefined ? [] : [`at least ${minimum}`]),
    ...(maximum === undefined ? [] : [`at most ${maximum}`]),
  ].join(' and ');
  const side = params.comparison === '>=' ? 'less' : 'more';
  return {
    reason: `${quoted(data)} is ${side} than ${String(params.limit)}`,
    remedy: `Write a number of ${range}`,
  };
}

function explain(error: ErrorObject): FieldProblem {
  const { says } = (error.parentSchema ?? {}) as { says?: Record<string, Words> };
  const known = {
    ...explanations[error.keyword]?.(error),
    ...says?.[error.keyword]?.(error.data, error.params as Record<string, unknown>),
  };
  return {
    field: fieldName(error.instancePath),
    reason: `${quoted(error.data)} ${error.message ?? 'is not allowed'}`,
    remedy: 'Change it so that it fits',
    ...known,
  };
}

/** `/spec/podCIDRs/1` to `spec.podCIDRs[1]` */
function fieldName(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`))
    .join('')
    .replace(/^\./, '');
}

/** Short: it may be anything at all. */
export function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
