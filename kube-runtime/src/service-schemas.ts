/** JSON schemas of services and their endpoints. What they can't say is in service-rules.ts. */
import { discoveryVersion } from '@serval/api';
import { crds } from './crds.generated.js';
import { formatted, list, metadata, object, speaking, text, texts } from './schema-parts.js';
import { quoted, type Words } from './validate.js';

/** As Kubernetes has them. */
const longestSlice = 1_000;
const mostAddresses = 100;
const mostPorts = 1_000;

const between = (minimum: number, maximum: number): object => ({ type: 'integer', minimum, maximum });
const oneOf = (values: readonly string[]): object => ({ type: 'string', enum: values });
/** Kubernetes writes null for what isn't there. */
const orNull = (schema: object): object => ({ ...schema, nullable: true });

// --- words

const namedLabel =
  (what: string): Words =>
  (data) => {
    const name = String(data);
    if (name.length > 63)
      return {
        reason: `it has ${name.length} characters, and ${what} is a DNS label: at most 63`,
        remedy: 'Choose a shorter one',
      };
    if (name.includes('.'))
      return {
        reason: `${quoted(name)} has a dot, and ${what} is one DNS label`,
        remedy: 'Write it with "-" in place of the dots',
      };
    return {
      reason: `${quoted(name)} is not what ${what} may be: lower-case letters, digits and "-" between them`,
      remedy: 'Write it like web-1',
    };
  };

const labelOf = (what: string): object => ({
  type: 'string',
  // How long it may be is one of the things that its words are about.
  maxLength: 4096,
  format: 'label',
  says: { format: namedLabel(what) },
});

const noPort: Words = (data) => ({
  reason: `${quoted(data)} is no port: a whole number from 1 to 65535`,
  remedy: 'Write it like 443',
});

const noPortText: Words = (data, params) => {
  if (typeof data !== 'string') return noPort(data, params);
  if (/^\d+\s*[-:]\s*\d+$/.test(data))
    return { reason: `${quoted(data)} is a range of ports`, remedy: 'Declare each port by itself' };
  if (/^\d+$/.test(data))
    return { reason: `${quoted(data)} is a text, not a number`, remedy: 'Write it without quotes' };
  return noPort(data, params);
};

const port = {
  ...between(1, 65_535),
  says: { type: noPortText, minimum: noPort, maximum: noPort },
};

// --- ServalService

export const serviceMetadata = {
  ...metadata,
  properties: {
    ...metadata.properties,
    name: labelOf('the name of a service'),
    namespace: labelOf('the namespace of a service'),
  },
};

const withoutPorts: Words = () => ({
  reason: 'a service without ports is one that nobody can connect to',
  remedy: 'Declare at least one port',
});

const withoutAddress: Words = () => ({
  reason: 'a service without a virtual IP is one that nobody can connect to',
  remedy: 'Give it an address that no pod and no host has',
});

export const serviceSpec = speaking(crds.ServalService.spec, {
  // In Kubernetes the Service of the same name has the addresses; here nobody else could give one.
  '': { required: ['virtualIPs', 'ports'], says: { required: missing } },
  virtualIPs: { says: { minItems: withoutAddress } },
  'virtualIPs.items': { format: 'address' },
  ports: { says: { minItems: withoutPorts } },
  'ports.items.name': labelOf('the name of a port'),
  'ports.items.port': { says: { type: noPortText, minimum: noPort, maximum: noPort } },
});

function missing(_: unknown, { missingProperty }: Record<string, unknown>): ReturnType<Words> {
  return missingProperty === 'ports' ? withoutPorts(_, {}) : withoutAddress(_, {});
}

// --- EndpointSlice: what Kubernetes has and is not used here is let through as it is

const anything = {};

const sliceMetadata = {
  ...metadata,
  required: ['name'],
  properties: {
    ...metadata.properties,
    labels: orNull(texts),
    annotations: orNull(texts),
    creationTimestamp: orNull(text),
  },
};

const endpoint = object(
  {
    addresses: list(text, { minItems: 1, maxItems: mostAddresses }),
    conditions: orNull(
      object(
        {
          ready: orNull({ type: 'boolean' }),
          serving: orNull({ type: 'boolean' }),
          terminating: orNull({ type: 'boolean' }),
        },
        [],
      ),
    ),
    nodeName: orNull(formatted('name')),
    zone: orNull(text),
    targetRef: orNull(
      object(
        {
          kind: text,
          name: text,
          namespace: text,
          uid: text,
          apiVersion: anything,
          fieldPath: anything,
          resourceVersion: anything,
        },
        [],
      ),
    ),
    hostname: anything,
    hints: anything,
    deprecatedTopology: anything,
  },
  ['addresses'],
);

const slicePort = object(
  {
    // Empty where the service has one port without a name.
    name: orNull({ type: 'string', maxLength: 63 }),
    port: orNull(port),
    protocol: orNull(oneOf(['TCP', 'UDP', 'SCTP'])),
    appProtocol: anything,
  },
  [],
);

const tooLong: Words = (data) => ({
  reason: `it has ${(data as unknown[]).length} endpoints, and one EndpointSlice holds at most ${longestSlice}, as in Kubernetes`,
  remedy: 'Put the others into more EndpointSlices of the same service',
});

const unknownField: Words = (_, { additionalProperty }) =>
  additionalProperty === 'spec'
    ? {
        reason: 'an EndpointSlice has no spec: its fields are on the top level',
        remedy: 'Write what is in it one level further out',
      }
    : {
        reason: `an EndpointSlice of ${discoveryVersion} has no such field`,
        remedy: 'Remove it or mend its spelling; there are addressType, endpoints, ports',
      };

export const endpointSlice = {
  ...object(
    {
      apiVersion: { const: discoveryVersion },
      kind: { const: 'EndpointSlice' },
      metadata: sliceMetadata,
      addressType: oneOf(['IPv4', 'IPv6', 'FQDN']),
      endpoints: orNull(list(endpoint, { maxItems: longestSlice, says: { maxItems: tooLong } })),
      ports: orNull(list(slicePort, { maxItems: mostPorts })),
    },
    ['apiVersion', 'kind', 'metadata', 'addressType', 'endpoints'],
  ),
  says: { additionalProperties: unknownField },
};
