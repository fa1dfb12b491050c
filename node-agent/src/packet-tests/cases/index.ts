/** Every table case. The topology that they speak of is drawn in ../topology.ts. */
import type { PacketCase } from '../case.js';
import { bystanders } from './bystanders.js';
import { errors } from './errors.js';
import { fragments } from './fragments.js';
import { givenUp } from './given-up.js';
import { headers } from './headers.js';
import { holds } from './holds.js';
import { heldPods } from './held-pods.js';
import { quietPods } from './quiet-pods.js';
import { quotes } from './quotes.js';
import { reroutes } from './reroutes.js';
import { trackedPods } from './tracked-pods.js';
import { translation } from './translation.js';

export const allCases: readonly PacketCase[] = [
  ...translation,
  ...bystanders,
  ...headers,
  ...fragments,
  ...errors,
  ...quotes,
  ...holds,
  ...heldPods,
  ...quietPods,
  ...trackedPods,
  ...reroutes,
  ...givenUp,
];
