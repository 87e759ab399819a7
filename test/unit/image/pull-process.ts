/** A pull in a process of its own, for processes.test.ts: `node <bundle> ROOT NATIVE-DIRECTORY HANG-AFTER-CHUNKS`. */
import { pathsOf } from '../../../src/disk/paths.ts';
import { pull } from '../../../src/image/pull.ts';
import { openStore } from '../../../src/image/store.ts';
import { useNativeDirectory } from '../../../src/native/library.ts';
import { parseReference } from '../../../src/registry/reference.ts';
import { FakeRegistry } from '../../harness/fake-registry.ts';
import { FakeUnpacker } from '../../harness/fake-unpacker.ts';
import { HOST, largeImage } from './store-fixture.ts';

const [root = '', native, hangAfter = ''] = process.argv.slice(2);
useNativeDirectory(native);

async function run(): Promise<void> {
  const registry = new FakeRegistry();
  registry.publish('docker.io/library/busybox:latest', await largeImage());
  let chunks = 0;
  registry.beforeChunk = async () => {
    chunks += 1;
    if (String(chunks) === hangAfter) {
      process.stdout.write('hanging\n');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  };
  const store = openStore(pathsOf({ root, runRoot: `${root}/run` }), HOST);
  const { image, status } = await pull(store, registry, parseReference('busybox'), {
    onEvent: () => {},
    unpackerPath: '/nowhere',
    unpack: new FakeUnpacker().unpack,
  });
  const sent = [...registry.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
  process.stdout.write(`${JSON.stringify({ id: image.id, status, sent })}\n`);
}

run().catch((error) => {
  process.stderr.write(`${error}\n`);
  process.exitCode = 1;
});
