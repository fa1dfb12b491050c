/** Pure: what somebody means by the name of a service. */
import { canonical } from '../../services/addresses.js';

export interface Meant {
  /** a virtual IP, or any address, in canonical form */
  address?: string;
  /** `namespace/name`, the likeliest first */
  services: string[];
  /** that stands with the name */
  port?: number;
}

/**
 * `service` (of the namespace of who asks, as its DNS has it), `namespace/service`, `service.namespace`,
 * `service.namespace.svc` with or without the cluster's domain, or an address; each with `:port` or without, an IPv6 address
 * in brackets then. Undefined for what is none of these.
 */
export function meant(text: string, namespace: string): Meant | undefined {
  const plain = canonical(text);
  if (plain !== undefined) return { address: plain, services: [] };
  const [, inBrackets, bare, digits] = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const port = digits === undefined ? {} : { port: Number(digits) };
  if (port.port !== undefined && (port.port < 1 || port.port > 65_535)) return undefined;
  const address = canonical(inBrackets ?? bare ?? '');
  if (address !== undefined) return { address, services: [], ...port };
  const services = bare === undefined ? [] : namesOf(bare.toLowerCase(), namespace);
  return services.length === 0 ? undefined : { services, ...port };
}

const label = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

function namesOf(text: string, namespace: string): string[] {
  const slash = text.split('/');
  if (slash.length > 2) return [];
  if (slash.length === 2) return slash.every(isName) ? [text] : [];
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (!isName(name)) return [];
  const labels = name.split('.');
  if (labels.length === 1) return [`${namespace}/${name}`];
  // A resource's name may have dots itself.
  const whole = text === name ? [`${namespace}/${name}`] : [];
  const svc = labels.lastIndexOf('svc');
  const end = svc >= 2 ? svc : labels.length;
  return [...whole, `${labels[end - 1] ?? ''}/${labels.slice(0, end - 1).join('.')}`];
}

function isName(name: string): boolean {
  return name.length <= 253 && name.split('.').every((each) => each.length <= 63 && label.test(each));
}
