/** Which of the node's devices carry traffic of its own processes to pods elsewhere. */
import { readFile } from 'node:fs/promises';

/**
 * Those that routes lead out by, but for routes to a single address, as some CNIs have one for each pod of the node.
 * @param route, route6 what /proc/net/route and /proc/net/ipv6_route say
 */
export function routeDevices(route: string, route6: string): string[] {
  const devices = new Set<string>();
  for (const line of route.split('\n').slice(1)) {
    const [device, , , flags, , , , mask] = line.split('\t');
    if (device !== undefined && isUp(flags) && mask !== 'FFFFFFFF') devices.add(device);
  }
  for (const line of route6.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const [destination, length, flags, device] = [fields[0], fields[1], fields[8], fields[9]];
    if (device === undefined || destination === undefined || !isUp(flags)) continue;
    if (length !== '80' && !destination.startsWith('ff') && !destination.startsWith('fe8'))
      devices.add(device);
  }
  devices.delete('lo');
  return [...devices].sort();
}

/** RTF_UP. */
function isUp(flags: string | undefined): boolean {
  return (Number.parseInt(flags ?? '0', 16) & 1) !== 0;
}

/** Of this process's own network namespace. */
export async function hostDevices(): Promise<string[]> {
  const [route, route6] = await Promise.all(
    ['/proc/self/net/route', '/proc/self/net/ipv6_route'].map((path) =>
      readFile(path, 'utf8').catch(() => ''),
    ),
  );
  return routeDevices(route ?? '', route6 ?? '');
}
