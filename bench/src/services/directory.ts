/** Services and their endpoints, as many as one likes, as the files of a directory: what the bench and tests of scale read. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  apiVersion,
  discoveryVersion,
  serviceNameLabel,
  type EndpointSlice,
  type ServalService,
} from '@serval/api';

export interface ServicesShape {
  services: number;
  /** of each service */
  endpoints: number;
  /** JSON is read nine times as fast; documents of one file are separated by `---` in both */
  format: 'json' | 'yaml';
  /** services in a file, each with its slices; 0 (default): every object has a file of its own */
  perFile?: number;
  /** endpoints in a slice, at most 1000; default 100, as Kubernetes makes them */
  perSlice?: number;
  /** hosts that the endpoints are spread over, `host-0` and on, a third of them in each of three zones; default 100 */
  hosts?: number;
  /** default: one of 10.128.0.0/9, no two alike */
  addressOf?: (service: number, endpoint: number) => string;
  /** default: one of 10.96.0.0/11, no two alike */
  virtualIPOf?: (service: number) => string;
  /** at the virtual IPs, default 80 */
  port?: number;
  /** at the endpoints, default 8080 */
  targetPort?: number;
}

/** Of every object that is made here. */
export const servicesNamespace = 'bench';

export function serviceName(service: number): string {
  return `service-${String(service).padStart(5, '0')}`;
}

/** Writes all files, over those that are there. */
export function writeServices(directory: string, shape: ServicesShape): { files: number; bytes: number } {
  mkdirSync(directory, { recursive: true });
  let files = 0;
  let bytes = 0;
  for (let first = 0; first < shape.services; first += Math.max(1, shape.perFile ?? 0))
    for (const [file, text] of filesFrom(shape, first)) {
      writeFileSync(join(directory, file), text);
      files += 1;
      bytes += text.length;
    }
  return { files, bytes };
}

/**
 * Writes the files again that have this service, with its slices as they are made of what is there, under another name
 * and renames them, as who changes files under an agent's eyes should.
 */
export function rewriteService(
  directory: string,
  shape: ServicesShape,
  service: number,
  change: (slice: EndpointSlice) => EndpointSlice,
): void {
  const perFile = Math.max(1, shape.perFile ?? 0);
  const owner = serviceName(service);
  const changed = (slice: EndpointSlice): EndpointSlice =>
    slice.metadata.labels?.[serviceNameLabel] === owner ? change(slice) : slice;
  for (const [file, text] of filesFrom(shape, service - (service % perFile), changed)) {
    const temporary = join(directory, `.${file}.tmp`);
    writeFileSync(temporary, text);
    renameSync(temporary, join(directory, file));
  }
}

export function serviceOf(shape: ServicesShape, service: number): ServalService {
  const virtualIP = shape.virtualIPOf?.(service) ?? addressFrom(96, service + 1);
  return {
    apiVersion,
    kind: 'ServalService',
    metadata: { name: serviceName(service), namespace: servicesNamespace },
    spec: { virtualIPs: [virtualIP], ports: [{ name: 'http', port: shape.port ?? 80, protocol: 'TCP' }] },
  };
}

export function slicesOf(shape: ServicesShape, service: number): EndpointSlice[] {
  const { endpoints, perSlice = 100, targetPort = 8080 } = shape;
  const name = serviceName(service);
  return Array.from({ length: Math.ceil(endpoints / perSlice) }, (_, slice) => ({
    apiVersion: discoveryVersion,
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${slice}`,
      namespace: servicesNamespace,
      labels: { [serviceNameLabel]: name },
    },
    addressType: 'IPv4',
    endpoints: Array.from({ length: Math.min(perSlice, endpoints - slice * perSlice) }, (__, place) =>
      endpointOf(shape, service, slice * perSlice + place),
    ),
    ports: [{ name: 'http', port: targetPort, protocol: 'TCP' }],
  }));
}

function endpointOf(
  shape: ServicesShape,
  service: number,
  endpoint: number,
): EndpointSlice['endpoints'][number] {
  const number = service * shape.endpoints + endpoint;
  const host = number % (shape.hosts ?? 100);
  return {
    addresses: [shape.addressOf?.(service, endpoint) ?? addressFrom(128, number + 1)],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `host-${host}`,
    zone: `zone-${host % 3}`,
    targetRef: { kind: 'Pod', namespace: servicesNamespace, name: `${serviceName(service)}-${endpoint}` },
  };
}

/** The files that have the services from this one on, as many as belong together. */
function filesFrom(
  shape: ServicesShape,
  first: number,
  change: (slice: EndpointSlice) => EndpointSlice = (slice) => slice,
): Array<[file: string, text: string]> {
  const { services, perFile = 0, format } = shape;
  const last = Math.min(services, first + Math.max(1, perFile));
  const objects = Array.from({ length: last - first }, (_, index) => first + index).flatMap((service) => [
    serviceOf(shape, service),
    ...slicesOf(shape, service).map(change),
  ]);
  const text = (object: object): string => (format === 'json' ? `${JSON.stringify(object)}\n` : yaml(object));
  if (perFile > 0) return [[`services-${first}.yaml`, objects.map(text).join('---\n')]];
  return objects.map((object) => [
    `${object.kind.toLowerCase()}_${object.metadata.name}.${format}`,
    text(object),
  ]);
}

/** The n-th address of 10.FIRST.0.0 and on. */
function addressFrom(first: number, n: number): string {
  return `10.${first + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
}

/** In blocks, as kubectl writes it. */
function yaml(value: object, indent = ''): string {
  if (Array.isArray(value))
    return value
      .map((item: unknown) =>
        isObject(item)
          ? `${indent}- ${yaml(item, `${indent}  `).slice(indent.length + 2)}`
          : `${indent}- ${scalar(item)}\n`,
      )
      .join('');
  return Object.entries(value)
    .map(([key, inner]: [string, unknown]) =>
      isObject(inner)
        ? `${indent}${key}:\n${yaml(inner, `${indent}  `)}`
        : `${indent}${key}: ${scalar(inner)}\n`,
    )
    .join('');
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function scalar(value: unknown): string {
  return typeof value === 'string' && /^[a-z][a-z0-9./-]+$/i.test(value) ? value : JSON.stringify(value);
}
