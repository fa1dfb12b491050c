/** JSON schemas of the resources, as long as there are no CRDs to take them from. */
import { apiVersion, movers, type Kind } from '@serval/api';
import { compile, type Validator } from './validate.js';

const text = { type: 'string', minLength: 1, maxLength: 4096 };
const formatted = (format: string): object => ({ type: 'string', maxLength: 4096, format });
const list = (items: object, more: object = {}): object => ({
  type: 'array',
  items,
  maxItems: 4096,
  ...more,
});
const whole = (minimum: number): object => ({ type: 'integer', minimum });
const texts = { type: 'object', additionalProperties: { type: 'string' } };
const mover = { type: 'string', enum: movers };

const metadata = {
  type: 'object',
  required: ['name'],
  properties: {
    name: formatted('name'),
    namespace: formatted('name'),
    uid: text,
    labels: texts,
    annotations: texts,
    creationTimestamp: text,
  },
};

function object(properties: Record<string, object>, required: string[]): object {
  return { type: 'object', additionalProperties: false, required, properties };
}

const specs: Record<Kind, object> = {
  ServalNode: object(
    {
      address: formatted('hostPort'),
      hostAddresses: list(formatted('address')),
      podCIDRs: list(formatted('cidr')),
      zone: text,
    },
    ['address', 'hostAddresses', 'podCIDRs'],
  ),
  ServalPod: object(
    {
      node: formatted('name'),
      netns: formatted('absolutePath'),
      interfaces: list({ ...text, maxLength: 15 }, { minItems: 1, default: ['eth0'] }),
      addresses: list(formatted('address'), { minItems: 1 }),
      hostNetwork: { type: 'boolean' },
      trackUdp: { type: 'boolean' },
      mover,
      uid: text,
      process: object({ pausePid: whole(1), pid: whole(1), cgroup: formatted('absolutePath') }, [
        'pausePid',
        'pid',
        'cgroup',
      ]),
      identityAddresses: list(formatted('address')),
      epoch: whole(0),
    },
    ['node', 'netns', 'addresses'],
  ),
  ServalMigration: object({ workload: formatted('namespacedName'), targetNode: formatted('name'), mover }, [
    'workload',
    'targetNode',
  ]),
};

const condition = object(
  {
    type: text,
    status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
    reason: text,
    message: { type: 'string' },
    lastTransitionTime: text,
  },
  ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
);
const milliseconds = { type: 'number', minimum: 0 };
const phase = object(
  { name: text, startMs: { type: 'number' }, durationMs: milliseconds, frozen: { type: 'boolean' } },
  ['name', 'startMs', 'durationMs', 'frozen'],
);

/** Nothing is required: a status grows. */
const statuses: Record<Kind, object> = {
  ServalNode: { type: 'object' },
  ServalPod: { type: 'object' },
  ServalMigration: object(
    {
      phase: text,
      migration: { type: 'string', pattern: '^[0-9a-f]{16}$' },
      reason: { type: 'string' },
      startedAt: text,
      finishedAt: text,
      timeline: list(phase),
      flows: whole(0),
      lost: { type: 'object', additionalProperties: whole(0) },
      freezeMs: milliseconds,
      switchMs: milliseconds,
      replayed: whole(0),
      conditions: list(condition),
    },
    [],
  ),
};

/** Kinds whose spec never changes. */
export const immutableSpec: ReadonlySet<Kind> = new Set<Kind>(['ServalMigration']);

function resource(kind: Kind): Validator {
  return compile({
    type: 'object',
    additionalProperties: false,
    required: ['apiVersion', 'kind', 'metadata', 'spec'],
    properties: {
      apiVersion: { const: apiVersion },
      kind: { const: kind },
      metadata,
      spec: specs[kind],
      status: { type: 'object' },
    },
  });
}

/** Of whole objects; their status is looked at by `statusValidators` alone. */
export const validators: Readonly<Record<Kind, Validator>> = {
  ServalNode: resource('ServalNode'),
  ServalPod: resource('ServalPod'),
  ServalMigration: resource('ServalMigration'),
};

export const statusValidators: Readonly<Record<Kind, Validator>> = {
  ServalNode: compile(statuses.ServalNode),
  ServalPod: compile(statuses.ServalPod),
  ServalMigration: compile(statuses.ServalMigration),
};
