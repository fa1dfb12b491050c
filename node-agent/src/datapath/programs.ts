/**
 * The programs: a pair that translates, loaded once by each agent and shared by all pods, and a pair of entries for each
 * pod, which say whose packet it is and jump there. The kernel takes 70 ms for the former and next to nothing for the
 * latter (docs/adr/0003-one-program-for-all-pods.md).
 */
import { dirname, join } from 'node:path';
import { native, type BpfMap, type BpfProgram } from '../native.js';
import { salDirection, type SalConfig } from './abi.generated.js';
import { explained } from './errors.js';
import { encodeConfig, mapNames, type MapName } from './pins.js';

export interface ProgramContext {
  /** the compiled shared programs; the entries lie beside them */
  objectPath: string;
  config: SalConfig;
  maps: Record<MapName, BpfMap>;
  /** false: rewriting by helpers, as kernels before 6.2 need it */
  kernelContext: boolean;
}

/** One pod's. */
export interface Programs {
  ingress: BpfProgram;
  egress: BpfProgram;
}

/** Load the shared programs and let every pod's entries go on with them, from the next packet on. */
export async function installPrograms(context: ProgramContext): Promise<void> {
  await explained(context.objectPath, async () => {
    const object = native().openObject(context.objectPath);
    try {
      const config = { ...context.config, kernelContext: context.kernelContext ? 1 : 0 };
      object.setVariable('config', encodeConfig(config));
      for (const name of mapNames) object.reuseMap(name, context.maps[name]);
      await object.load();
      for (const [name, direction] of [
        ['sal_inbound', salDirection.INGRESS],
        ['sal_outbound', salDirection.EGRESS],
      ] as const) {
        const program = object.program(name);
        context.maps.sal_programs.setProgram(direction, program);
        program.close();
      }
    } finally {
      object.close();
    }
  });
}

/** Load a pod's entries. The caller closes the programs. */
export async function loadPrograms(
  context: Pick<ProgramContext, 'objectPath' | 'maps'>,
  podId: number,
): Promise<Programs> {
  const path = join(dirname(context.objectPath), 'sal_entry.bpf.o');
  return explained(path, async () => {
    const object = native().openObject(path);
    try {
      const pod = Buffer.alloc(4);
      pod.writeUInt32LE(podId);
      object.setVariable('pod', pod);
      object.reuseMap('sal_programs', context.maps.sal_programs);
      await object.load();
      return { ingress: object.program('sal_ingress'), egress: object.program('sal_egress') };
    } finally {
      object.close();
    }
  });
}

export function closePrograms(programs: Programs): void {
  programs.ingress.close();
  programs.egress.close();
}
