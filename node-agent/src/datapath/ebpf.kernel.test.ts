import { datapathContract } from './contract.js';
import { KernelFixture } from './ebpf.fixture.js';
import { EbpfDatapath } from './ebpf.js';

for (const attach of ['tcx', 'clsact'] as const)
  datapathContract(`eBPF by ${attach}`, async () => {
    const fixture = new KernelFixture(attach, 2);
    const slots = 256;
    const datapath = await EbpfDatapath.open({ bpffs: fixture.bpffs, slots, attach });
    return {
      datapath,
      slots,
      pods: [fixture.pod(0), fixture.pod(1)],
      send: (...packet) => fixture.send(...packet),
      end: async () => {
        await datapath.uninstall();
        fixture.dispose();
      },
    };
  });
