/** How near a replica is to this node. */
import { rings, type Place, type Replica, type Ring } from './types.js';

/** Numbers of rings, as `rings` has their names. */
export const nodeRing = 0;
export const zoneRing = 1;
export const regionRing = 2;
export const worldRing = 3;

/** Where nobody says a zone or region, the replica counts as farther away. A zone's name counts within its region only. */
export function ringNumber(place: Place, { node, zone, region }: Replica): number {
  if (node !== undefined && node === place.node) return nodeRing;
  const otherRegion = region !== undefined && place.region !== undefined && region !== place.region;
  if (zone !== undefined && zone === place.zone && !otherRegion) return zoneRing;
  return region !== undefined && region === place.region ? regionRing : worldRing;
}

export function ringOf(place: Place, replica: Replica): Ring {
  return rings[ringNumber(place, replica)] as Ring;
}
