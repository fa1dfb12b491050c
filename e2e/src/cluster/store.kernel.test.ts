/** The store on a real API server, by the same contract as a directory; the CRDs are installed as they stand in crds/. */
import { KubeClient, KubernetesStore } from '@serval/kube-runtime/kubernetes';
import { storeContract } from '@serval/kube-runtime/contract';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';

storeContract('Kubernetes', async () => {
  const plane = await ControlPlane.start({ controllerManager: false, progress: console.log });
  const client = KubeClient.load('serval-test', plane.kubeconfigFile(plane.admin()));
  await installCrds(client);
  const stores: KubernetesStore[] = [];
  return {
    open: async () => {
      const store = await KubernetesStore.open({
        client,
        kinds: { ServalNode: {}, ServalMigration: {}, ServalService: {}, EndpointSlice: {} },
        fieldManager: 'test',
        onError: (kind, error) => console.log(kind, (error as Error).message),
        times: { firstWaitMs: 200 },
      });
      stores.push(store);
      return store;
    },
    end: async () => {
      for (const store of stores) await store.close();
      await client.close();
      await plane.stop();
    },
  };
});
